"""Blocks of GGUF tensors as small integers with scales, without passing through floats where that is exact.

It knows the block formats of GGUF files; it does not know what the tensors are for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from gguf import GGMLQuantizationType as Type
from gguf.quants import dequantize

from .layouts import GROUP, KINDS, Levels

# Rows handled at a time: bounds the memory that unpacking needs to a few tens of megabytes.
ROWS_AT_ONCE = 4096


class GgufTensor(Protocol):
    """What is used of a `gguf` reader tensor: `data` is (outputs, bytes) uint8, or floats; `shape` has the
    inputs first."""

    @property
    def tensor_type(self) -> Type: ...
    @property
    def data(self) -> np.ndarray: ...
    @property
    def shape(self) -> Any: ...


def kind_of(tensor_type: Type) -> str:
    """Name of the packed kind a tensor of this type becomes."""
    row = _READERS.get(tensor_type)
    return row[0] if row else "q8"


def read_levels(tensor: GgufTensor, rows: slice | np.ndarray) -> Levels:
    """The given output rows of a two-dimensional tensor."""
    row = _READERS.get(tensor.tensor_type)
    if row is None:
        return quantise(dequantize(tensor.data[rows], tensor.tensor_type).astype(np.float32, copy=False))
    return row[1](np.ascontiguousarray(tensor.data[rows]))


def quantise(values: np.ndarray) -> Levels:
    """Round float32 (outputs, inputs) to int8 with one scale per 32 inputs."""
    outputs, inputs = values.shape
    groups = values.reshape(outputs, inputs // GROUP, GROUP)
    scale = (np.abs(groups).max(axis=-1) / 127).astype(np.float16)
    used = scale.astype(np.float32)[..., None]
    level = np.divide(groups, used, out=np.zeros_like(groups), where=used > 0)
    level = np.clip(np.rint(level), -127, 127).astype(np.int16) + 128
    return Levels(KINDS["q8"], level.astype(np.uint8).reshape(outputs, inputs), scale)


def _blocks(data: np.ndarray, size: int) -> np.ndarray:
    return data.reshape(len(data), -1, size)


def _halves(block: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(block).view("<f2")


def _nibbles(packed: np.ndarray) -> np.ndarray:
    """Low nibbles of all bytes, then the high ones."""
    return np.concatenate([packed & 15, packed >> 4], axis=-1)


def _rows(level: np.ndarray) -> np.ndarray:
    return level.reshape(len(level), -1)


def _fifth_bits(packed: np.ndarray) -> np.ndarray:
    return np.unpackbits(packed, axis=-1, bitorder="little") << 4


def _q8_0(data: np.ndarray) -> Levels:
    block = _blocks(data, 34)
    level = block[..., 2:] ^ 0x80  # two's complement to offset 128
    return Levels(KINDS["q8"], _rows(level), _halves(block[..., :2])[..., 0])


def _q5_0(data: np.ndarray) -> Levels:
    block = _blocks(data, 22)
    level = _nibbles(block[..., 6:]) | _fifth_bits(block[..., 2:6])
    return Levels(KINDS["q5"], _rows(level), _halves(block[..., :2])[..., 0])


def _q5_1(data: np.ndarray) -> Levels:
    block = _blocks(data, 24)
    level = _nibbles(block[..., 8:]) | _fifth_bits(block[..., 4:8])
    head = _halves(block[..., :4])
    return Levels(KINDS["q5m"], _rows(level), head[..., 0], -head[..., 1])


def _q4_0(data: np.ndarray) -> Levels:
    block = _blocks(data, 18)
    return Levels(KINDS["q4"], _rows(_nibbles(block[..., 2:])), _halves(block[..., :2])[..., 0])


def _q4_1(data: np.ndarray) -> Levels:
    block = _blocks(data, 20)
    head = _halves(block[..., :4])
    return Levels(KINDS["q4m"], _rows(_nibbles(block[..., 4:])), head[..., 0], -head[..., 1])


def _k_scales(block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scale and minimum of the eight groups of a Q4_K or Q5_K block (256 inputs): (rows, groups) float16."""
    head = _halves(block[..., :4]).astype(np.float32)
    low, middle, high = block[..., 4:8], block[..., 8:12], block[..., 12:16]
    scale = np.concatenate([low & 63, (high & 15) | (low >> 2 & 48)], axis=-1)
    minimum = np.concatenate([middle & 63, (high >> 4) | (middle >> 2 & 48)], axis=-1)
    scaled = (head[..., :1] * scale, head[..., 1:2] * minimum)
    return _rows(scaled[0]).astype(np.float16), _rows(scaled[1]).astype(np.float16)


def _q4_k(data: np.ndarray) -> Levels:
    block = _blocks(data, 144)
    packed = block[..., 16:].reshape(*block.shape[:2], 4, 32)
    return Levels(KINDS["q4m"], _rows(_nibbles(packed)), *_k_scales(block))


def _q5_k(data: np.ndarray) -> Levels:
    block = _blocks(data, 176)
    low = _nibbles(block[..., 48:].reshape(*block.shape[:2], 4, 32)).reshape(*block.shape[:2], 8, 32)
    high = block[..., None, 16:48] >> np.arange(8, dtype=np.uint8)[:, None] & 1
    return Levels(KINDS["q5m"], _rows(low | high << 4), *_k_scales(block))


def _q6_k(data: np.ndarray) -> Levels:
    block = _blocks(data, 210)
    low = block[..., :128].reshape(*block.shape[:2], 2, 1, 64) >> np.array([[0], [4]], np.uint8) & 15
    high = block[..., 128:192].reshape(*block.shape[:2], 2, 1, 32) >> np.array([[0], [2], [4], [6]], np.uint8) & 3
    level = low.reshape(*high.shape) | high << 4
    fine = np.ascontiguousarray(block[..., 192:208]).view(np.int8).astype(np.float32)
    scale = (fine * _halves(block[..., 208:]).astype(np.float32)).reshape(len(data), -1, 2).astype(np.float16)
    return Levels(KINDS["q6"], _rows(level), scale[..., 0], scale[..., 1])


_READERS: dict[Type, tuple[str, Callable[[np.ndarray], Levels]]] = {
    Type.Q8_0: ("q8", _q8_0),
    Type.Q6_K: ("q6", _q6_k),
    Type.Q5_0: ("q5", _q5_0),
    Type.Q5_1: ("q5m", _q5_1),
    Type.Q5_K: ("q5m", _q5_k),
    Type.Q4_0: ("q4", _q4_0),
    Type.Q4_1: ("q4m", _q4_1),
    Type.Q4_K: ("q4m", _q4_k),
}
