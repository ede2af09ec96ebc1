"""Shapes of a transformer and the models we know by name. Knows no weights, no files and no torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """A Llama- or Qwen2-family decoder. `rope_interleaved`: pairs are (0,1),(2,3).. (Llama GGUF files),
    else halves (0,h/2),(1,h/2+1).. (Qwen2, Hugging Face)."""

    layers: int
    width: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    vocab: int
    rope_theta: float = 10_000.0
    rms_eps: float = 1e-6
    max_positions: int = 32_768
    qkv_bias: bool = False
    rope_interleaved: bool = False
