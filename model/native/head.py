"""The causal draft head on the CPU: one native call proposes all tokens, reading the trunk's own cache.

It packs the head's weights and the unembedding rows of its draft vocabulary, and owns the arrays. The arithmetic
is in `c/head.c`. It knows neither tokens' meaning nor when a draft is worth making.
"""

from __future__ import annotations

import ctypes as c
import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ..api import QuatrainError
from .door import DraftCall, HeadBlock, HeadModel, Matrix, address, matrix_of
from .layouts import BLOCK, GROUP, KINDS, Levels, assemble
from .trunk import NativeTrunk, Storage

if TYPE_CHECKING:
    from ..heads import HeadConfig

MOST_TAPS = 8
MOST_DRAFT = 16


class NativeHead:
    """A causal head over `trunk`, which must tap `config.taps`. Not thread-safe; used on the trunk's thread."""

    def __init__(self, config: HeadConfig, weights: Mapping[str, np.ndarray], trunk: NativeTrunk) -> None:
        """`weights` as in `heads.HeadFile`. QuatrainError when the kernels cannot compute such a head."""
        if config.width % GROUP or config.ffn % GROUP or len(config.taps) > MOST_TAPS:
            raise QuatrainError(f"the native kernels cannot run this draft head: {config}")
        self.config, self.trunk = config, trunk
        self._kernels = trunk.kernels
        self._kept: list[np.ndarray] = []
        self._blocks = (HeadBlock * max(len(config.attends), 1))()
        self._model = self._describe(weights)
        handle = self._kernels.quatrain_head_new(c.byref(self._model), trunk.handle)
        if not handle:
            raise QuatrainError("no memory for the draft head")
        self._handle = c.c_void_p(handle)
        self._close = weakref.finalize(self, self._kernels.quatrain_head_free, self._handle)
        self._tokens = np.zeros(MOST_DRAFT, np.int32)
        self._probs = np.zeros(MOST_DRAFT, np.float32)

    def draft(
        self, state: np.ndarray, token: int, length: int, storage: Storage, limit: int, floor: float
    ) -> tuple[list[int], list[float]]:
        """Up to `limit` ids after `token`, and how probable the head finds each.

        `state` (taps, width) are the trunk's states at position `length` - 1, where it said `token`; `storage`
        holds `length` positions. The draft ends before it becomes less probable than `floor`.
        """
        state = np.ascontiguousarray(state, np.float32)
        turns = self.trunk.turns(min(storage.capacity + MOST_DRAFT, self.trunk.config.max_positions))
        limit = min(limit, MOST_DRAFT, len(turns) - length)
        if limit < 1:
            return [], []
        call = DraftCall(
            *(address(state), token, length, storage.capacity),
            *(address(storage.keys), address(storage.values), address(turns)),
            *(limit, floor, address(self._tokens), address(self._probs)),
        )
        count = self._kernels.quatrain_draft(self._handle, c.byref(call))
        if count < 0:
            raise QuatrainError("no memory or no threads for a draft")
        return self._tokens[:count].tolist(), self._probs[:count].tolist()

    @property
    def bytes_per_token(self) -> int:
        """Bytes of weights that one proposed token reads."""
        return sum(array.nbytes for array in self._kept)

    def _describe(self, weights: Mapping[str, np.ndarray]) -> HeadModel:
        cfg, inner = self.config, self.config.heads * self.config.head_dim
        for i, layer in enumerate(cfg.attends):
            q, o = self._matrix(weights, f"block.{i}.q"), self._matrix(weights, f"block.{i}.o")
            bias = self._floats(weights[f"block.{i}.q_bias"], inner)
            self._blocks[i] = HeadBlock(self._floats(weights[f"block.{i}.norm"], cfg.width), q, o, bias, layer)
        ids = self._keep(np.ascontiguousarray(weights["vocabulary"], np.int32))
        norms = [self._floats(weights[name], cfg.width) for name in ("state_norm", "token_norm")]
        last = [self._floats(weights[name], cfg.width) for name in ("ffn_norm", "final_norm")]
        matrices = [self._matrix(weights, name) for name in ("fuse", "join", "gate", "up", "down")]
        return HeadModel(
            *(len(cfg.taps), cfg.width, cfg.heads, cfg.kv_heads, cfg.head_dim, cfg.ffn, len(ids), len(cfg.attends)),
            cfg.rms_eps,
            self._floats(weights["tap_norms"], len(cfg.taps) * cfg.width),
            *norms,
            *matrices,
            self._rows(ids),
            self._blocks,
            *last,
            address(ids),
            self.trunk.matrix("embedding"),
        )

    def _keep(self, array: np.ndarray) -> np.ndarray:
        self._kept.append(array)
        return array

    def _floats(self, array: np.ndarray, length: int) -> int | None:
        kept = self._keep(np.ascontiguousarray(array, np.float32).reshape(-1))
        if len(kept) != length:
            raise QuatrainError(f"the draft head has {len(kept)} numbers where {length} belong")
        return address(kept)

    def _matrix(self, weights: Mapping[str, np.ndarray], name: str) -> Matrix:
        levels, scales = weights[name], weights[name + ".scale"]
        matrix = Levels(KINDS["q8"], (levels.astype(np.int16) + 128).astype(np.uint8), scales)
        return matrix_of(self._keep(assemble(matrix)), "q8", *levels.shape)

    def _rows(self, ids: np.ndarray) -> Matrix:
        """The trunk's unembedding, but for the rows that are no draft tokens."""
        kind, packed = self.trunk.output
        rows = gather_rows(packed, kind, ids, self.config.width)
        return matrix_of(self._keep(rows), kind, len(ids), self.config.width)


def gather_rows(packed: np.ndarray, kind: str, ids: np.ndarray, inputs: int) -> np.ndarray:
    """The packed matrix that has rows `ids` of `packed`, whatever its kind: levels lie in planes of 64 bytes in
    which byte 4*o+t belongs to output o, and scales in planes of 32 halves (c/layout.h)."""
    groups, bits = inputs // GROUP, KINDS[kind].bits
    blocks = packed.reshape(len(packed), groups, -1)
    level_bytes = 128 * bits
    levels = blocks[:, :, :level_bytes].reshape(len(packed), groups, 2, bits, 16, 4)
    halves = blocks[:, :, level_bytes:].reshape(len(packed), groups, -1, BLOCK, 2)
    padded = np.concatenate([ids, np.zeros(-len(ids) % BLOCK, ids.dtype)])
    block, half, lane = padded // BLOCK, padded % BLOCK // 16, padded % 16
    level = levels[block, :, half, :, lane].reshape(-1, 2, 16, groups, bits, 4)  # 32 outputs to a block again
    scale = halves[block, :, :, padded % BLOCK].reshape(-1, BLOCK, groups, halves.shape[2], 2)
    parts = (
        level.transpose(0, 3, 1, 4, 2, 5).reshape(len(level), groups, level_bytes),
        scale.transpose(0, 2, 3, 1, 4).reshape(len(level), groups, -1),
    )
    return np.ascontiguousarray(np.concatenate(parts, axis=-1).reshape(len(level), -1))
