"""A tiny random network over bytes, with a real engine around it: everything but the weights is the product's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from quatrain.model.config import ModelConfig
from quatrain.model.engine import LocalEngine
from quatrain.model.gguf_file import shapes
from quatrain.model.tokenizer import Vocabulary, byte_table
from quatrain.model.transformer import Transformer

TINY = ModelConfig(
    layers=2, width=64, heads=4, kv_heads=2, head_dim=16, ffn=96, vocab=260, max_positions=1024, qkv_bias=True
)
MARKERS = ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|endoftext|>")


torch.set_num_threads(1)  # tiny products; threads would only wait for each other


class ByteTokenizer:
    """The part of `tokenizers.Tokenizer` that `Vocabulary` uses, with one token per byte and some pairs."""

    encode_special_tokens = False

    def __init__(self, pairs: tuple[bytes, ...] = ()) -> None:
        self.pairs = {pair: 256 + i for i, pair in enumerate(pairs)}
        self.markers = {marker: 256 + len(pairs) + i for i, marker in enumerate(MARKERS)}

    def encode(self, text: str, add_special_tokens: bool = False) -> Encoding:
        raw, ids, at = text.encode("utf-8"), [], 0
        while at < len(raw):
            pair = self.pairs.get(raw[at : at + 2])
            ids.append(raw[at] if pair is None else pair)
            at += 1 if pair is None else 2
        return Encoding(ids, list(range(len(ids))))

    def token_to_id(self, text: str) -> int | None:
        return self.markers.get(text)


class Encoding:
    def __init__(self, ids: list[int], word_ids: list[int]) -> None:
        self.ids, self.word_ids = ids, word_ids


def byte_vocabulary(pairs: tuple[bytes, ...] = ()) -> Vocabulary:
    """256 bytes, the given two-byte tokens, then the markers."""
    raw = [bytes([b]) for b in range(256)] + list(pairs) + [m.encode() for m in MARKERS]
    special = list(range(256 + len(pairs), len(raw)))
    return Vocabulary(ByteTokenizer(pairs), byte_table(raw, special))  # type: ignore[arg-type]


def tiny_weights(config: ModelConfig, seed: int = 0) -> dict[str, torch.Tensor]:
    """Random weights, large enough that the network's choices differ from place to place."""
    random = np.random.default_rng(seed)
    weights = {}
    for name, shape in shapes(config).items():
        scale = 1.0 if len(shape) == 1 and name.endswith("norm.weight") else 1.5 / np.sqrt(shape[-1])
        values = np.ones(shape) if name.endswith("norm.weight") else random.normal(0, scale, shape)
        weights[name] = torch.tensor(values, dtype=torch.float32)
    weights["output.weight"] = weights.pop("token_embd.weight")
    return weights


def tiny_trunk(config: ModelConfig = TINY, seed: int = 0) -> Transformer:
    """A random two-layer network over bytes."""
    return Transformer(config, tiny_weights(config, seed))


def tiny_engine(pairs: tuple[bytes, ...] = (), seed: int = 0, **options: object) -> LocalEngine:
    """A real engine over the tiny network."""
    vocabulary = byte_vocabulary(pairs)
    trunk = tiny_trunk(replace(TINY, vocab=vocabulary.size), seed)
    return LocalEngine(trunk, vocabulary, "tiny", capacity=512, **options)  # type: ignore[arg-type]
