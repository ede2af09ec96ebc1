"""Opens a GGUF file and says what is in it, or why it cannot be used; names and shapes of all weights.

Knows no arithmetic and no folders.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from gguf import GGUFReader, ReaderTensor
from gguf.quants import dequantize
from tokenizers import Tokenizer

from quatrain.model import tokenizer
from quatrain.model.api import QuatrainError
from quatrain.model.config import ModelConfig

if TYPE_CHECKING:
    from quatrain.model.native.gguf_levels import GgufTensor

ARCHITECTURES = {"qwen2": False, "llama": True}  # architecture -> rotary pairs are interleaved
MAX_POSITIONS = 32_768


@dataclass(frozen=True, slots=True)
class GgufModel:
    """A readable file: `fields` are its metadata, `tensors` its weights still packed, by name."""

    path: Path
    config: ModelConfig
    fields: dict[str, Any]
    tensors: dict[str, ReaderTensor]
    head_count: int = 0  # GGUF files hold no draft heads
    chained: bool = False

    @property
    def tied(self) -> bool:
        """Whether input and output share one matrix. The default model stores its tied matrix twice, in two
        widths; the finer output copy is then used for both."""
        return "output.weight" not in self.tensors or self.fields["general.architecture"] == "qwen2"

    def tokenizer(self) -> tuple[Tokenizer, dict[str, np.ndarray]]:
        """See `tokenizer.build`."""
        return tokenizer.build(self.fields)


def read(path: Path) -> GgufModel:
    """Open `path`. Raises QuatrainError for anything but a whole Llama- or Qwen2-family GGUF file."""
    if not path.is_file():
        raise QuatrainError(f"{path}: no such file")
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise QuatrainError(f"{path} is not a GGUF file. Quatrain reads Llama- and Qwen2-family GGUF models.")
    try:
        reader = GGUFReader(path)
        fields = {name: field.contents() for name, field in reader.fields.items()}
        tensors = {tensor.name: tensor for tensor in reader.tensors}
    except Exception as error:  # the reader fails in many ways on damaged files
        raise QuatrainError(
            f"{path} is damaged or cut short ({type(error).__name__}: {error}). Get the file again."
        ) from error
    config = config_of(path, fields, tensors)
    check(path, config, tensors)
    return GgufModel(path, config, fields, tensors)


def config_of(path: Path, fields: dict[str, Any], tensors: dict[str, ReaderTensor]) -> ModelConfig:
    """The shape of the model. Raises QuatrainError for other architectures and missing fields."""
    arch = fields.get("general.architecture")
    if arch not in ARCHITECTURES:
        raise QuatrainError(f"{path} holds a {arch!r} model; supported are {', '.join(ARCHITECTURES)}.")
    try:
        width, heads = int(fields[f"{arch}.embedding_length"]), int(fields[f"{arch}.attention.head_count"])
        return ModelConfig(
            layers=int(fields[f"{arch}.block_count"]),
            width=width,
            heads=heads,
            kv_heads=int(fields.get(f"{arch}.attention.head_count_kv", heads)),
            head_dim=int(fields.get(f"{arch}.attention.key_length", width // heads)),
            ffn=int(fields[f"{arch}.feed_forward_length"]),
            vocab=len(fields["tokenizer.ggml.tokens"]),
            rope_theta=float(fields.get(f"{arch}.rope.freq_base", 10_000.0)),
            rms_eps=float(fields[f"{arch}.attention.layer_norm_rms_epsilon"]),
            max_positions=min(int(fields.get(f"{arch}.context_length", 2048)), MAX_POSITIONS),
            qkv_bias="blk.0.attn_q.bias" in tensors,
            rope_interleaved=ARCHITECTURES[arch],
        )
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise QuatrainError(f"{path} lacks the metadata of a {arch} model ({error}).") from error


def check(path: Path, config: ModelConfig, tensors: Mapping[str, GgufTensor]) -> None:
    """Every weight is there in the expected shape. Raises QuatrainError naming the first that is not."""
    for name, shape in shapes(config).items():
        found = tensors.get(name)
        if found is None and name == "output.weight" and "token_embd.weight" in tensors:
            found = tensors["token_embd.weight"]  # tied
        if found is None:
            raise QuatrainError(f"{path} has no tensor {name}: the file is not a whole model.")
        if tuple(int(n) for n in reversed(found.shape)) != shape:
            raise QuatrainError(f"{path}: tensor {name} has shape {tuple(found.shape)[::-1]}, expected {shape}.")
    for name in tensors:
        if name == "rope_freqs.weight":
            raise QuatrainError(f"{path} scales its rotary frequencies (Llama 3.1 and later): not supported.")


def shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """(out, in) of every weight by its GGUF name. `token_embd.weight` is listed even where it is tied."""
    c = config
    found: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (c.vocab, c.width),
        "output.weight": (c.vocab, c.width),
        "output_norm.weight": (c.width,),
    }
    layer = {
        "attn_norm.weight": (c.width,),
        "ffn_norm.weight": (c.width,),
        "attn_q.weight": (c.heads * c.head_dim, c.width),
        "attn_k.weight": (c.kv_heads * c.head_dim, c.width),
        "attn_v.weight": (c.kv_heads * c.head_dim, c.width),
        "attn_output.weight": (c.width, c.heads * c.head_dim),
        "ffn_gate.weight": (c.ffn, c.width),
        "ffn_up.weight": (c.ffn, c.width),
        "ffn_down.weight": (c.width, c.ffn),
    }
    if c.activation == "gelu":
        del layer["ffn_gate.weight"]
    if c.qk_norm:
        layer |= {"attn_q_norm.weight": (c.head_dim,), "attn_k_norm.weight": (c.head_dim,)}
    if c.norm == "layer":
        found |= {"output_norm.bias": (c.width,)}
        layer |= {"attn_norm.bias": (c.width,), "ffn_norm.bias": (c.width,)}
    biased = ["attn_q", "attn_k", "attn_v"] if c.qkv_bias else []
    biased += ["attn_output"] if c.out_bias else []
    biased += [name for name in ("ffn_gate", "ffn_up", "ffn_down") if c.ffn_bias and f"{name}.weight" in layer]
    layer |= {f"{name}.bias": layer[f"{name}.weight"][:1] for name in biased}
    return found | {f"blk.{i}.{name}": shape for i in range(c.layers) for name, shape in layer.items()}


def dense(tensor: GgufTensor) -> np.ndarray:
    """The weight as float32 in its logical (out, in) shape."""
    shape = tuple(int(n) for n in reversed(tensor.shape))
    return dequantize(tensor.data, tensor.tensor_type).astype(np.float32, copy=False).reshape(shape)
