"""Shapes of a transformer and the models we know by name. Knows no weights, no files and no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """A decoder of the Llama, Qwen or StarCoder2 family. `rope_interleaved`: pairs are (0,1),(2,3).. (Llama GGUF
    files, Meta), else halves (0,h/2),(1,h/2+1).. (Qwen2, Hugging Face). `qk_norm`: queries and keys are normalised
    head by head. `norm`: root mean square, or mean and deviation with a bias; both take `rms_eps`. `activation`:
    a gated product (three matrices), or GELU in its tanh form between two."""

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
    out_bias: bool = False
    ffn_bias: bool = False
    qk_norm: bool = False
    norm: Literal["rms", "layer"] = "rms"
    activation: Literal["swiglu", "gelu"] = "swiglu"
