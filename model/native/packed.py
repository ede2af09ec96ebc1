"""From a GGUF file's tensors to one memory-mapped file of packed weights, tensor by tensor.

It knows GGUF tensor names and the safetensors container; it knows nothing of arithmetic or of processors.
Names in the packed file: `output.<kind>`, `layers.<i>.<q|k|v|o|gate|up|down>.<kind>` (uint8, see layouts.py),
`layers.<i>.<attn_norm|ffn_norm|q_bias|k_bias|v_bias>` and `final_norm` (float32), and `embedding.<kind>` if
the input embedding is not the output matrix.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..api import QuatrainError
from ..config import ModelConfig
from .gguf_levels import ROWS_AT_ONCE, GgufTensor, kind_of, read_levels
from .layouts import BLOCK, KINDS, assemble

MATRICES = {
    "q": "attn_q",
    "k": "attn_k",
    "v": "attn_v",
    "o": "attn_output",
    "gate": "ffn_gate",
    "up": "ffn_up",
    "down": "ffn_down",
}
_ALIGNMENT = 64


@dataclass(frozen=True, slots=True)
class Entry:
    """One tensor of the packed file: where it comes from and what it becomes. `pieces` yields the array along
    its first axis, a few thousand rows at a time."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    pieces: Callable[[], Iterator[np.ndarray]]


def unsupported(config: ModelConfig) -> str | None:
    """Why these kernels cannot run such a model, or None if they can."""
    if config.head_dim % 32 or not 32 <= config.head_dim <= 128:
        return f"head dimension {config.head_dim} is not 32, 64, 96 or 128"
    if config.width % 32 or config.ffn % 32:
        return f"width {config.width} or feed-forward {config.ffn} is not a multiple of 32"
    if config.norm != "rms" or config.activation != "swiglu":
        return "layer norm with a bias or a feed-forward without a gate"
    if config.qk_norm or config.out_bias or config.ffn_bias:
        return "normalised queries and keys" if config.qk_norm else "biases beyond those of queries, keys and values"
    if config.heads % config.kv_heads:
        return f"{config.heads} query heads do not share {config.kv_heads} key/value heads evenly"
    return None


def plan(config: ModelConfig, tensors: Mapping[str, GgufTensor]) -> list[Entry]:
    """What the packed file of this model holds. QuatrainError for a model the kernels cannot run."""
    if reason := unsupported(config):
        raise QuatrainError(f"the native kernels cannot run this model: {reason}")
    missing = [name for name in _required(config) if name not in tensors]
    if missing:
        raise QuatrainError(f"the model file lacks {missing[0]}" + f" and {len(missing) - 1} more" * (len(missing) > 1))
    entries = [_floats("final_norm", tensors["output_norm.weight"])]
    entries += [entry for i in range(config.layers) for entry in _layer_entries(config, tensors, i)]
    embedding = tensors["token_embd.weight"]
    output = tensors.get("output.weight", embedding)
    entries.append(_matrix("output", output, None))
    if not same_matrix(embedding, output):
        entries.append(_matrix("embedding", embedding, None))
    return entries


def pack(config: ModelConfig, tensors: Mapping[str, GgufTensor]) -> dict[str, np.ndarray]:
    """The packed arrays in memory: for tests and small models. `write` does not hold them all at once."""
    return {entry.name: np.concatenate(list(entry.pieces())) for entry in plan(config, tensors)}


def write(
    config: ModelConfig,
    tensors: Mapping[str, GgufTensor],
    path: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Write the packed file (safetensors, tensors aligned to 64 bytes). The caller moves it into place.

    `progress` is called with the bytes written and their total.
    """
    entries = plan(config, tensors)
    header, at = {}, 0
    for entry in entries:
        size = int(np.prod(entry.shape)) * (4 if entry.dtype == "F32" else 1)
        header[entry.name] = {
            "dtype": entry.dtype,
            "shape": list(entry.shape),
            "data_offsets": [at, at + size],
        }
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-(8 + len(text)) % _ALIGNMENT)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for entry in entries:
            for piece in entry.pieces():
                file.write(np.ascontiguousarray(piece).data)
            progress(file.tell(), at)


def open_packed(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a packed file, memory-mapped and read-only. QuatrainError if the file is cut short."""
    raw = np.memmap(path, np.uint8, mode="r")
    start = 8 + int.from_bytes(raw[:8].tobytes(), "little")
    if start > raw.size:
        raise QuatrainError(f"{path} is damaged: delete it and it will be made again")
    arrays = {}
    for name, row in json.loads(raw[8:start].tobytes()).items():
        first, last = (start + offset for offset in row["data_offsets"])
        if last > raw.size:
            raise QuatrainError(f"{path} is damaged: delete it and it will be made again")
        arrays[name] = raw[first:last].view(np.float32 if row["dtype"] == "F32" else np.uint8).reshape(row["shape"])
    return arrays


def same_matrix(a: GgufTensor, b: GgufTensor) -> bool:
    """Whether two tensors are roundings of one matrix (a tied embedding is sometimes stored twice)."""
    if a is b:
        return True
    if len(a.data) != len(b.data):
        return False
    rows = np.linspace(0, len(a.data) - 1, 64).astype(int)
    left, right = _values(a, rows), _values(b, rows)
    return bool(left.shape == right.shape and np.linalg.norm(left - right) < 0.2 * np.linalg.norm(right))


def _values(tensor: GgufTensor, rows: np.ndarray) -> np.ndarray:
    from gguf.quants import dequantize

    return dequantize(np.ascontiguousarray(tensor.data[rows]), tensor.tensor_type)


def _required(config: ModelConfig) -> Iterator[str]:
    yield from ("token_embd.weight", "output_norm.weight")
    for i in range(config.layers):
        for name in (*MATRICES.values(), "attn_norm", "ffn_norm"):
            yield f"blk.{i}.{name}.weight"
        if config.qkv_bias:
            yield from (f"blk.{i}.attn_{name}.bias" for name in "qkv")


def _layer_entries(config: ModelConfig, tensors: Mapping[str, GgufTensor], i: int) -> Iterator[Entry]:
    turned = {"q": config.heads, "k": config.kv_heads} if config.rope_interleaved else {}
    for name, source in MATRICES.items():
        tensor = tensors[f"blk.{i}.{source}.weight"]
        yield _matrix(f"layers.{i}.{name}", tensor, _half_order(config, turned.get(name)))
        if config.qkv_bias and name in "qkv":
            bias = tensors[f"blk.{i}.{source}.bias"]
            yield _floats(f"layers.{i}.{name}_bias", bias, _half_order(config, turned.get(name)))
    for name in ("attn_norm", "ffn_norm"):
        yield _floats(f"layers.{i}.{name}", tensors[f"blk.{i}.{name}.weight"])


def _half_order(config: ModelConfig, heads: int | None) -> np.ndarray | None:
    """Row order that turns rotary pairs (0,1),(2,3).. into halves; a score does not see the difference.
    With head_dim 4: rows 0 2 1 3 of every head."""
    if heads is None:
        return None
    one = np.arange(config.head_dim).reshape(-1, 2).T.ravel()
    return (np.arange(heads)[:, None] * config.head_dim + one).ravel()


def _matrix(name: str, tensor: GgufTensor, order: np.ndarray | None) -> Entry:
    outputs, inputs = len(tensor.data), int(tensor.shape[0])
    kind = KINDS[kind_of(tensor.tensor_type)]

    def pieces() -> Iterator[np.ndarray]:
        for first in range(0, outputs, ROWS_AT_ONCE):
            rows = slice(first, min(first + ROWS_AT_ONCE, outputs))
            yield assemble(read_levels(tensor, rows if order is None else order[rows]))

    assert ROWS_AT_ONCE % BLOCK == 0
    return Entry(f"{name}.{kind.name}", "U8", kind.shape(outputs, inputs), pieces)


def _floats(name: str, tensor: GgufTensor, order: np.ndarray | None = None) -> Entry:
    def pieces() -> Iterator[np.ndarray]:
        from gguf.quants import dequantize

        values = dequantize(tensor.data, tensor.tensor_type).astype(np.float32).reshape(-1)
        yield values if order is None else values[order]

    return Entry(name, "F32", (int(np.prod(tensor.shape)),), pieces)
