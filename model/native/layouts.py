"""The packed layout of a weight matrix, as `c/layout.h` describes it: levels and scales in, bytes out.

It knows how numbers lie in memory; it knows neither files nor where the numbers come from.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

GROUP = 32
BLOCK = 32


@dataclass(frozen=True, slots=True)
class Kind:
    """How the weights of one matrix are stored. `code` is the C enumeration; `second`: a second row of halves
    per group, the minimum of `affine` kinds or the scale of inputs 16..31."""

    code: int
    name: str
    bits: int
    affine: bool = False
    second: bool = False

    def block_bytes(self, inputs: int) -> int:
        """Bytes of 32 outputs by `inputs` inputs, a multiple of 64."""
        return inputs // GROUP * (128 * self.bits + (128 if self.second else 64))

    def shape(self, outputs: int, inputs: int) -> tuple[int, int]:
        """Shape of the packed uint8 array: (blocks, bytes per block)."""
        return -(-outputs // BLOCK), self.block_bytes(inputs)


KINDS = {
    kind.name: kind
    for kind in (
        Kind(0, "q8", 8),
        Kind(1, "q6", 6, second=True),
        Kind(2, "q5", 5),
        Kind(3, "q5m", 5, affine=True, second=True),
        Kind(4, "q4", 4),
        Kind(5, "q4m", 4, affine=True, second=True),
    )
}


@dataclass(frozen=True, slots=True)
class Levels:
    """A matrix as small integers. `level` is uint8 (outputs, inputs), counted from 0; `scale` and `second`
    are float16 (outputs, inputs / 32). value = (level - 2^(bits-1)) * scale, or level * scale - second."""

    kind: Kind
    level: np.ndarray
    scale: np.ndarray
    second: np.ndarray | None = None


def assemble(matrix: Levels) -> np.ndarray:
    """Pack a matrix: uint8 (blocks, bytes per block). Outputs are padded to whole blocks with zeros."""
    kind = matrix.kind
    outputs, inputs = matrix.level.shape
    blocks, groups = -(-outputs // BLOCK), inputs // GROUP
    level = _padded(matrix.level, blocks * BLOCK)
    # (block, half, output, group, vector, byte of four) -> (block, group, half, vector, output, byte of four)
    level = level.reshape(blocks, 2, 16, groups, 8, 4).transpose(0, 3, 1, 4, 2, 5)
    parts = [_planes(level.reshape(blocks, groups, 2, 8, 64), kind.bits)]
    for halves in (matrix.scale, matrix.second) if kind.second else (matrix.scale,):
        assert halves is not None
        rows = _padded(halves.astype("<f2", copy=False), blocks * BLOCK)
        parts.append(np.ascontiguousarray(rows.reshape(blocks, BLOCK, groups).transpose(0, 2, 1)).view(np.uint8))
    return np.concatenate(parts, axis=-1).reshape(kind.shape(outputs, inputs))


def _padded(rows: np.ndarray, count: int) -> np.ndarray:
    if len(rows) == count:
        return rows
    return np.concatenate([rows, np.zeros((count - len(rows), *rows.shape[1:]), rows.dtype)])


def _planes(level: np.ndarray, bits: int) -> np.ndarray:
    """(block, group, half, 8, 64) levels -> (block, group, 128 * bits) bytes: nibbles, then high bits."""
    shape = level.shape[:2]
    if bits == 8:
        return level.reshape(*shape, -1)
    high = level >> 4
    planes = [(level[..., :4, :] & 15) | (level[..., 4:, :] << 4)]
    if bits == 5:
        planes.append(_stacked(high, 1))
    if bits == 6:
        planes += [_stacked(high[..., :4, :], 2), _stacked(high[..., 4:, :], 2)]
    return np.concatenate(planes, axis=-2).reshape(*shape, -1)


def _stacked(high: np.ndarray, bits: int) -> np.ndarray:
    """Put vectors (second-last axis) of few bits side by side into the bytes of one."""
    shifts = (bits * np.arange(high.shape[-2], dtype=np.uint8))[:, None]
    return np.bitwise_or.reduce(high << shifts, axis=-2, keepdims=True)
