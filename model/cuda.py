"""Steps of fixed shape over a preallocated cache, recorded once and replayed: the decoder on a GPU.

A step of a small model is some five hundred short kernels; launching them one by one takes longer than running
them, so a CUDA graph per number of rows launches them all. A graph repeats the same shapes at the same
addresses: ids and positions lie in buffers, attention runs over the whole cache under a mask. Prompts are
computed as they come by the plain `Transformer`. Knows no tokens' text and no files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from quatrain.model.config import ModelConfig
from quatrain.model.transformer import Storage, Transformer
from quatrain.model.trunk import Step

MOST_ROWS = 9
"""Rows of the largest recorded step: eight drafted tokens and the one before them."""


@dataclass(frozen=True, slots=True)
class Outputs:
    """Of every row of a step, on the device: logits (n, vocab) float32, best (n,), logprob (n,) float32, and the
    tapped states (n, taps, width) float32 if there are any."""

    logits: Tensor
    best: Tensor
    logprob: Tensor
    taps: Tensor | None = None


Compute: TypeAlias = Callable[[], Outputs]


@dataclass(frozen=True, slots=True)
class RecordedStep:
    """A step of n rows. `inputs` (2, n) int64 on the device: ids, then positions. `run` reads them."""

    inputs: Tensor
    run: Compute


@dataclass(frozen=True, slots=True)
class StaticStorage(Storage):
    """A cache and the steps recorded over it, by number of rows. They hold its addresses."""

    steps: dict[int, RecordedStep] = field(default_factory=dict)


class Everything:
    """Rows at `positions` (n,), a tensor on the device: shapes depend on n and on the cache's capacity only.

    Keys behind a row's position are masked away, so what rejected drafts or nobody left there is not seen.
    """

    def __init__(self, storage: Storage, positions: Tensor, turns: tuple[Tensor, Tensor]) -> None:
        self.storage, self.positions = storage, positions
        self.cos, self.sin = (part[positions] for part in turns)
        columns = torch.arange(storage.capacity, device=positions.device)
        self.mask = columns[None, :] <= positions[:, None]  # (n, capacity)

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        keys = self.storage.keys[layer].index_copy_(1, self.positions, k)  # (kv_heads, capacity, dim)
        values = self.storage.values[layer].index_copy_(1, self.positions, v)
        # query heads that share a key/value head become rows of one: no repeated keys, few large products
        share = q.shape[0] // keys.shape[0]
        rows = q.reshape(keys.shape[0], -1, q.shape[-1])  # (kv_heads, share * n, dim)
        mask = self.mask.repeat(share, 1)
        return functional.scaled_dot_product_attention(rows[None], keys[None], values[None], attn_mask=mask).reshape(
            q.shape
        )


class StaticTransformer(Transformer):
    """A `Transformer` whose small steps have fixed shapes. Runs on any device; without recording it is the
    logic of `CudaTransformer` alone, which is how that is tested."""

    def __init__(
        self,
        config: ModelConfig,
        weights: Mapping[str, Tensor],
        taps: tuple[int, ...] = (),
        most_rows: int = MOST_ROWS,
    ) -> None:
        super().__init__(config, weights, taps)
        self.most_rows = most_rows

    def allocate(self, capacity: int) -> StaticStorage:
        """Room for `capacity` positions."""
        plain = super().allocate(capacity)
        return StaticStorage(plain.keys, plain.values)

    @torch.inference_mode()
    def forward(self, ids: Sequence[int], start: int, storage: Storage, rows: Sequence[int] | None = None) -> Step:
        """See `Transformer.forward`. Passes of more rows than were recorded run as they come."""
        n = len(ids)
        if n > self.most_rows or not isinstance(storage, StaticStorage):
            return super().forward(ids, start, storage, rows)
        if start + n > storage.capacity:
            raise ValueError(f"{start} + {n} positions exceed the cache's {storage.capacity}")
        outputs = self.step(torch.tensor([list(ids), list(range(start, start + n))]), storage)
        asked = [n - 1] if rows is None else list(rows)
        logits, best, logprob = (part.cpu().numpy() for part in (outputs.logits, outputs.best, outputs.logprob))
        taps = None if outputs.taps is None else outputs.taps.cpu().numpy()
        return Step(logits[asked], best[asked].astype("int32"), logprob[asked], taps)

    def step(self, inputs: Tensor, storage: StaticStorage) -> Outputs:
        """One step; `inputs` (2, n) as in `RecordedStep`, on the host."""
        n = inputs.shape[1]
        if (known := storage.steps.get(n)) is not None:
            known.inputs.copy_(inputs)
            return known.run()
        held = inputs.to(self.device, copy=True)
        # recording runs the step some times over: with the real inputs that is harmless, it writes what is due
        storage.steps[n] = RecordedStep(held, self.record(lambda: self.compute(held, storage)))
        return storage.steps[n].run()

    def compute(self, inputs: Tensor, storage: Storage) -> Outputs:
        """The step itself: nothing in it depends on the values in `inputs` or asks for one on the host."""
        x, taps = self.states(inputs[0], Everything(storage, inputs[1], (self.cos, self.sin)))
        logits = self.linear(x, "output.weight").float()  # (n, vocab)
        best = logits.argmax(-1)
        logprob = logits.gather(-1, best[:, None])[:, 0] - logits.logsumexp(-1)
        return Outputs(logits, best, logprob, None if taps is None else taps.float())

    def record(self, compute: Compute) -> Compute:
        """How to run `compute` again and again: here, by calling it."""
        return compute


class CudaTransformer(StaticTransformer):
    """Steps as CUDA graphs. All are recorded when the cache is allocated, so that no keystroke waits for it."""

    def allocate(self, capacity: int) -> StaticStorage:
        """Room for `capacity` positions, and the recorded steps over it."""
        storage = super().allocate(capacity)
        for n in range(1, min(self.most_rows, capacity) + 1):
            self.forward([0] * n, 0, storage)
        return storage

    def record(self, compute: Compute) -> Compute:
        """Capture `compute` in a graph. Its outputs keep their addresses; a later replay overwrites them."""
        current, side = torch.cuda.current_stream(), torch.cuda.Stream()
        side.wait_stream(current)
        with torch.cuda.stream(side):  # libraries set themselves up in the first calls, which cannot be captured
            for _ in range(3):
                compute()
        current.wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            outputs = compute()

        def replay() -> Outputs:
            graph.replay()
            return outputs

        return replay
