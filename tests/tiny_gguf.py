"""Writes a small but whole GGUF model: random weights, a byte-level tokenizer with a few merges."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter
from gguf.quants import quantize

from quatrain.model.config import ModelConfig
from quatrain.model.gguf_file import shapes
from quatrain.model.tokenizer import byte_alphabet

MERGES = ("d e", "de f", "r e", "re t", "s e", "se l", "sel f", "Ġ Ġ", "ĠĠ ĠĠ", "( self")
MARKERS = ("<|endoftext|>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>")


def write(path: Path, architecture: str = "qwen2", pre: str = "qwen2", seed: int = 0, tied: bool = True) -> Path:
    """A two-layer model of width 64, Q8_0 matrices and F32 vectors."""
    tokens = [
        *sorted(byte_alphabet(), key=byte_alphabet().__getitem__),
        *(m.replace(" ", "") for m in MERGES),
        *MARKERS,
    ]
    c = ModelConfig(2, 64, 2, 1, 32, 96, len(tokens), max_positions=512, qkv_bias=architecture == "qwen2")
    writer = GGUFWriter(path, architecture)
    writer.add_block_count(c.layers)
    writer.add_context_length(c.max_positions)
    writer.add_embedding_length(c.width)
    writer.add_feed_forward_length(c.ffn)
    writer.add_head_count(c.heads)
    writer.add_head_count_kv(c.kv_heads)
    writer.add_rope_freq_base(10_000.0)
    writer.add_layer_norm_rms_eps(c.rms_eps)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in MARKERS else 1 for token in tokens])
    writer.add_token_merges(list(MERGES))
    random = np.random.default_rng(seed)
    for name, shape in shapes(c).items():
        if name == "output.weight" and tied:
            continue
        if len(shape) == 1:
            values = np.ones(shape, np.float32) if "norm" in name else random.normal(0, 0.1, shape).astype(np.float32)
            writer.add_tensor(name, values)
        else:
            dense = (random.normal(0, 1.5, shape) / np.sqrt(shape[1])).astype(np.float32)
            packed = quantize(dense, GGMLQuantizationType.Q8_0)
            writer.add_tensor(name, packed, raw_dtype=GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
