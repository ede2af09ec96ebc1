"""The transformer on the CPU: one native call per piece of input, over memory-mapped packed weights.

It checks arguments, owns the arrays and their lifetimes, and cuts long inputs into chunks. The arithmetic is
in `c/`. It knows neither tokens' meaning nor decoding strategy, and imports no torch.
"""

from __future__ import annotations

import ctypes as c
import os
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import psutil

from ..api import QuatrainError
from ..config import ModelConfig
from ..trunk import Step
from .door import (
    CHUNK,
    PHASES,
    Call,
    Layer,
    Matrix,
    Model,
    address,
    decode_rows,
    isa_paths,
    library,
    matrix_of,
)
from .layouts import KINDS
from .packed import unsupported


@dataclass(frozen=True, slots=True)
class Storage:
    """Keys and values of `capacity` positions, float16, laid out for the kernels (see c/lanes.inc)."""

    capacity: int
    keys: np.ndarray
    values: np.ndarray

    def past(self, layer: int, length: int) -> tuple[np.ndarray, np.ndarray]:
        """A layer's keys (already turned) and values of the first `length` positions: (kv_heads, length, dim)."""
        keys = self.keys[layer].swapaxes(-1, -2)  # (kv_heads, blocks of 16, 16, dim)
        return keys.reshape(*self.values.shape[1:])[:, :length], self.values[layer, :, :length]


class NativeTrunk:
    """A Llama- or Qwen2-family trunk on packed weights (see packed.py).

    `taps` are numbers of layers: 0 is the embedding, i the state after i layers, `config.layers` the state
    after the final norm. Not thread-safe: one thread owns a trunk. The weights are kept alive, not copied.
    """

    def __init__(
        self,
        config: ModelConfig,
        tensors: Mapping[str, np.ndarray],
        threads: int | None = None,
        isa: str | None = None,
        taps: tuple[int, ...] = (),
    ) -> None:
        """QuatrainError when the kernels, the path `isa` or this model's shape are not available here."""
        kernels = library()
        if isinstance(kernels, str):
            raise QuatrainError(kernels)
        if reason := unsupported(config):
            raise QuatrainError(f"the native kernels cannot run this model: {reason}")
        if isa is not None and isa not in isa_paths():
            raise QuatrainError(f"no {isa} on this machine; available: {', '.join(isa_paths())}")
        if any(not 0 <= tap <= config.layers for tap in taps):
            raise ValueError(f"taps {taps} are outside 0..{config.layers}")
        self.config, self.taps = config, taps
        self.isa = isa or isa_paths()[0]
        self.threads = threads or physical_cores()
        self.kernels = kernels
        self._tensors = dict(tensors)
        self._tap_layers = np.array(taps, np.int32)
        self._turns = np.empty((0, config.head_dim), np.float32)
        self._seconds: np.ndarray | None = None
        self._layers = (Layer * config.layers)(*(self._layer(i) for i in range(config.layers)))
        self._model = self._describe()
        handle = kernels.quatrain_trunk_new(c.byref(self._model), self.isa.encode(), self.threads)
        if not handle:
            raise QuatrainError("no memory or no threads for the native kernels")
        self.handle = c.c_void_p(handle)
        self._close = weakref.finalize(self, kernels.quatrain_trunk_free, self.handle)

    @property
    def arithmetic(self) -> str:
        """For people: which kernels, on how many threads."""
        return f"native {self.isa}, {self.threads} threads"

    @property
    def bytes_per_step(self) -> int:
        """Bytes of weights that one forward pass reads (the embedding rows and the cache not counted)."""
        return sum(array.nbytes for name, array in self._tensors.items() if not name.startswith("embedding"))

    def allocate(self, capacity: int) -> Storage:
        """Empty storage for `capacity` positions, rounded up to a multiple of 16. The caller owns it."""
        cfg, whole = self.config, -(-capacity // 16) * 16
        keys = np.zeros((cfg.layers, cfg.kv_heads, whole // 16, cfg.head_dim, 16), np.float16)
        values = np.zeros((cfg.layers, cfg.kv_heads, whole, cfg.head_dim), np.float16)
        return Storage(whole, keys, values)

    def forward(self, ids: Sequence[int], start: int, storage: Storage, rows: Sequence[int] | None = None) -> Step:
        """Place `ids` at start, start+1, ..; they attend to storage[0:start] and, causally, to themselves.

        Logits come for `rows`, rising indices into ids (None: the last one only; empty: none). Every row's
        result has the same bits however many ids and rows come with it. Any number of ids: pieces of `CHUNK`
        rows are computed one after the other; a caller that wants to stop early passes smaller pieces.
        ValueError for ids or positions out of range.
        """
        tokens = np.ascontiguousarray(ids, np.int32)
        asked = np.array([len(tokens) - 1] if rows is None else rows, np.int32)
        self._check(tokens, asked, start, storage)
        self.turns(storage.capacity)
        step = self._empty_step(len(tokens), len(asked))
        for first in range(0, len(tokens), CHUNK):
            piece = slice(first, first + CHUNK)
            mine = slice(*np.searchsorted(asked, (first, first + CHUNK)))
            self._call(tokens[piece], start + first, storage, asked[mine] - first, step, piece, mine)
        return step

    def embed(self, ids: Sequence[int]) -> np.ndarray:
        """Input embeddings, float32 (len(ids), width)."""
        return decode_rows(self._model.embedding, np.array(ids, np.int32))

    def measure(self, on: bool = True) -> None:
        """Start (from zero) or stop adding up the time of each phase."""
        self._seconds = np.zeros(len(PHASES)) if on else None

    def phase_ms(self) -> dict[str, float]:
        """Milliseconds spent in each phase since `measure()`; empty if not measuring."""
        return {} if self._seconds is None else dict(zip(PHASES, (self._seconds * 1e3).tolist(), strict=True))

    def close(self) -> None:
        """Stop the threads and free the working memory. Also happens when the trunk is collected."""
        self._close()

    def _call(
        self,
        tokens: np.ndarray,
        start: int,
        storage: Storage,
        asked: np.ndarray,
        step: Step,
        piece: slice,
        mine: slice,
    ) -> None:
        asked = np.ascontiguousarray(asked, np.int32)
        taps = None if step.taps is None else step.taps[piece]
        call = Call(
            *(address(tokens), len(tokens), start, storage.capacity),
            *(address(storage.keys), address(storage.values), address(self._turns)),
            *(address(asked), len(asked)),
            *(address(part[mine]) for part in (step.logits, step.best, step.logprob)),
            *(address(self._tap_layers), len(self.taps), address(taps), address(self._seconds)),
        )
        if not self.handle or not self.kernels.quatrain_forward(self.handle, c.byref(call)):
            raise QuatrainError("no memory or no threads for a forward pass")

    def _check(self, tokens: np.ndarray, asked: np.ndarray, start: int, storage: Storage) -> None:
        cfg = self.config
        if not self._close.alive:
            raise ValueError("this trunk is closed")
        if tokens.ndim != 1 or not len(tokens) or tokens.min() < 0 or tokens.max() >= cfg.vocab:
            raise ValueError(f"ids must be one or more numbers in 0..{cfg.vocab - 1}")
        if start < 0 or start + len(tokens) > storage.capacity:
            raise ValueError(f"{len(tokens)} ids at {start} do not fit a storage of {storage.capacity}")
        if len(asked) and (asked[0] < 0 or asked[-1] >= len(tokens) or (np.diff(asked) <= 0).any()):
            raise ValueError("rows must be rising indices into ids")
        expected = (cfg.layers, cfg.kv_heads, storage.capacity // 16, cfg.head_dim, 16)
        if storage.keys.shape != expected or storage.values.size != storage.keys.size:
            raise ValueError("this storage belongs to another model")

    def _empty_step(self, count: int, asked: int) -> Step:
        taps = np.empty((count, len(self.taps), self.config.width), np.float32) if self.taps else None
        logits = np.empty((asked, self.config.vocab), np.float32)
        return Step(logits, np.zeros(asked, np.int32), np.zeros(asked, np.float32), taps)

    def turns(self, positions: int) -> np.ndarray:
        """Cosines, then sines, of at least the first `positions` positions: float32 (positions, head_dim)."""
        if len(self._turns) >= positions:
            return self._turns
        half = self.config.head_dim // 2
        speed = self.config.rope_theta ** (-np.arange(half) / half)
        angle = np.arange(positions)[:, None] * speed
        self._turns = np.concatenate([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
        return self._turns

    def matrix(self, name: str) -> Matrix:
        """The "embedding" or the "output", as the kernels see it."""
        return {"embedding": self._model.embedding, "output": self._model.output}[name]

    @property
    def output(self) -> tuple[str, np.ndarray]:
        """Kind and packed bytes of the unembedding."""
        return next((kind, array) for kind in KINDS if (array := self._tensors.get(f"output.{kind}")) is not None)

    def _describe(self) -> Model:
        cfg = self.config
        output = self._matrix("output", cfg.vocab, cfg.width)
        tied = not any(name.startswith("embedding.") for name in self._tensors)
        embedding = output if tied else self._matrix("embedding", cfg.vocab, cfg.width)
        shape = (cfg.layers, cfg.width, cfg.heads, cfg.kv_heads, cfg.head_dim, cfg.ffn, cfg.vocab)
        return Model(*shape, cfg.rms_eps, self._layers, embedding, output, self._floats("final_norm", cfg.width))

    def _layer(self, i: int) -> Layer:
        cfg, prefix = self.config, f"layers.{i}."
        q, kv = cfg.heads * cfg.head_dim, cfg.kv_heads * cfg.head_dim
        shapes = {"q": (q, cfg.width), "k": (kv, cfg.width), "v": (kv, cfg.width), "o": (cfg.width, q)}
        shapes |= {"gate": (cfg.ffn, cfg.width), "up": (cfg.ffn, cfg.width), "down": (cfg.width, cfg.ffn)}
        layer = Layer(*(self._matrix(prefix + name, *shape) for name, shape in shapes.items()))
        layer.attn_norm = self._floats(prefix + "attn_norm", cfg.width)
        layer.ffn_norm = self._floats(prefix + "ffn_norm", cfg.width)
        if cfg.qkv_bias:
            layer.q_bias = self._floats(prefix + "q_bias", q)
            layer.k_bias = self._floats(prefix + "k_bias", kv)
            layer.v_bias = self._floats(prefix + "v_bias", kv)
        return layer

    def _matrix(self, name: str, outputs: int, inputs: int) -> Matrix:
        for kind in KINDS:
            if (array := self._tensors.get(f"{name}.{kind}")) is not None:
                return matrix_of(array, kind, outputs, inputs)
        raise ValueError(f"the packed weights lack {name}")

    def _floats(self, name: str, length: int) -> int | None:
        array = self._tensors[name]
        if array.shape != (length,) or array.dtype != np.float32 or not array.flags.c_contiguous:
            raise ValueError(f"{name} should be {length} contiguous float32, not {array.dtype} {array.shape}")
        return address(array)


def physical_cores() -> int:
    """Cores this process may use, hyperthreads counted once."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(psutil.cpu_count(logical=False) or allowed, allowed))
