"""Writes small but whole model folders in the layouts of others: Hugging Face's by its own library."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    Starcoder2Config,
    Starcoder2ForCausalLM,
)

TEXT = ["def f(self):\n    return self.value + 1\n", "for index in range(10):\n    print(index)\n"] * 3
MARKERS = ["<|endoftext|>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>"]
VOCAB = 288
SHAPE: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "initializer_range": 0.2,
}
FAMILIES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "llama": (LlamaConfig, LlamaForCausalLM, {"tie_word_embeddings": False}),
    "llama-biased": (LlamaConfig, LlamaForCausalLM, {"attention_bias": True, "mlp_bias": True}),
    "llama-wide-heads": (LlamaConfig, LlamaForCausalLM, {"head_dim": 32}),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM, {"tie_word_embeddings": True}),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM, {"head_dim": 32, "tie_word_embeddings": True}),
    "starcoder2": (Starcoder2Config, Starcoder2ForCausalLM, {"tie_word_embeddings": True}),
    "starcoder2-untied": (Starcoder2Config, Starcoder2ForCausalLM, {"tie_word_embeddings": False}),
}


def hugging_face(folder: Path, family: str, dtype: torch.dtype = torch.float32, **changes: Any) -> PreTrainedModel:
    """Write a random model of `family` with its tokenizer; the model is returned as the reference."""
    config, kind, fields = FAMILIES[family]
    shards = changes.pop("max_shard_size", "5GB")
    torch.manual_seed(1)
    model = kind(config(**(SHAPE | fields | changes)))
    with torch.no_grad():  # norms and biases start at one and zero, which would hide that they are forgotten
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter += 0.2 * torch.randn_like(parameter)
    model = model.to(dtype).eval()
    model.save_pretrained(folder, max_shard_size=shards)
    byte_tokenizer().save(str(folder / "tokenizer.json"))
    return model


def byte_tokenizer() -> Tokenizer:
    """A byte-level BPE tokenizer whose markers are added tokens, not all of them called special."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=VOCAB - 8, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(TEXT, trainer)
    tokenizer.add_special_tokens(MARKERS[:1])
    tokenizer.add_tokens(MARKERS[1:])
    return tokenizer


def change_json(path: Path, **changes: Any) -> None:
    """Set fields of a JSON file; None takes one out."""
    found = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in found.items() if value is not None}))
