"""The packed layout of a weight matrix, as `c/layout.h` describes it: levels and scales in, bytes out.

It knows how numbers lie in memory; it knows neither files nor where the numbers come from.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

GROUP = 32
BLOCK = 16


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
        """Bytes of 16 outputs by `inputs` inputs, a multiple of 64."""
        per_group = 64 * self.bits + (64 if self.second else 32)
        return -(-(inputs // GROUP) * per_group // 64) * 64

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
    packed = np.zeros(kind.shape(outputs, inputs), np.uint8)
    level = _padded(matrix.level, blocks * BLOCK)
    # (block, output, group, vector, byte of four) -> (block, group, vector, output, byte of four)
    level = level.reshape(blocks, BLOCK, groups, 8, 4).transpose(0, 2, 3, 1, 4).reshape(blocks, groups, 8, 64)
    level_bytes = 64 * kind.bits
    packed[:, : groups * level_bytes] = _planes(level, kind.bits).reshape(blocks, -1)
    at = groups * level_bytes
    for halves in (matrix.scale, matrix.second) if kind.second else (matrix.scale,):
        assert halves is not None
        rows = _padded(halves.astype("<f2", copy=False), blocks * BLOCK)
        laid = np.ascontiguousarray(rows.reshape(blocks, BLOCK, groups).transpose(0, 2, 1))
        packed[:, at : at + groups * 32] = laid.view(np.uint8).reshape(blocks, -1)
        at += groups * 32
    return packed


def _padded(rows: np.ndarray, count: int) -> np.ndarray:
    if len(rows) == count:
        return rows
    return np.concatenate([rows, np.zeros((count - len(rows), *rows.shape[1:]), rows.dtype)])


def _planes(level: np.ndarray, bits: int) -> np.ndarray:
    """(block, group, 8, 64) levels -> (block, group, 64 * bits) bytes: nibbles, then planes of high bits."""
    if bits == 8:
        return level.reshape(*level.shape[:2], -1)
    nibbles = (level[:, :, :4] & 15) | (level[:, :, 4:] << 4)
    high = level >> 4
    planes = [nibbles.reshape(*level.shape[:2], -1)]
    if bits == 5:
        planes.append(sum((high[:, :, j] << j for j in range(1, 8)), start=high[:, :, 0]))
    if bits == 6:
        for p in (0, 4):
            planes.append(sum((high[:, :, p + i] << 2 * i for i in range(1, 4)), start=high[:, :, p]))
    return np.concatenate(planes, axis=-1)
