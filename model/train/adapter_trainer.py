"""Trains a low-rank adapter of a frozen trunk on documents with a hole: the loss is over the middles and their end.

Documents stand end to end in one row of tokens, each seeing only itself, so nothing is padded; logits exist at the
middles only. Resumable, the same bits as without a stop. Knows ids and weights; knows neither texts nor folders.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from quatrain.model.adapter import AdapterConfig
from quatrain.model.config import ModelConfig
from quatrain.model.train import stopped
from quatrain.model.train.examples import Packed
from quatrain.model.train.schedule import rate_at
from quatrain.model.transformer import Transformer


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train. Documents with `batch_tokens` ids together, or a little fewer, make a step."""

    steps: int
    batch_tokens: int = 2048
    rate: float = 2e-4
    last_rate: float = 1e-5
    warmup: int = 30
    weight_decay: float = 0.01
    clip: float = 1.0
    seed: int = 0

    @property
    def rise(self) -> int:
        """Steps of the warm-up; a short run has a shorter one."""
        return min(self.warmup, max(1, self.steps // 10))


@dataclass(frozen=True, slots=True)
class Batch:
    """Whole documents end to end: `ids` (n,), their `lengths`, and the `rows` whose next id is one of `wanted`;
    `last` says which of those are the ends of middles."""

    ids: Tensor
    lengths: tuple[int, ...]
    rows: Tensor
    wanted: Tensor
    last: Tensor


class EndToEnd:
    """Where rows of several documents stand: every document begins at position 0 and attends to itself alone."""

    def __init__(self, lengths: Sequence[int], turns: tuple[Tensor, Tensor]) -> None:
        self.lengths = list(lengths)
        self.cos, self.sin = (torch.cat([part[:n] for n in self.lengths]) for part in turns)  # (sum, head_dim/2)

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """See `transformer.Growing`; nothing is kept."""
        grouped = q.shape[0] != k.shape[0]
        parts = zip(*(t.split(self.lengths, dim=1) for t in (q, k, v)), strict=True)
        seen = [
            functional.scaled_dot_product_attention(a[None], b[None], c[None], is_causal=True, enable_gqa=grouped)[0]
            for a, b, c in parts
        ]
        return torch.cat(seen, dim=1)  # (heads, sum, head_dim)


class Adapted(Transformer):
    """A frozen trunk with trainable low-rank changes beside some of its matrices."""

    def __init__(
        self, config: ModelConfig, weights: Mapping[str, Tensor], adapter: AdapterConfig, seed: int = 0
    ) -> None:
        """Begins as the trunk: `up` is zero, `down` random."""
        super().__init__(config, weights)
        self.adapter = adapter
        self.pairs: dict[str, tuple[Tensor, Tensor]] = {}
        generator = torch.Generator().manual_seed(seed)
        for name in adapter.names:
            out, width = weights[name].shape
            down = torch.randn(adapter.rank, width, generator=generator) * width**-0.5
            up = torch.zeros(out, adapter.rank)
            self.pairs[name] = down.to(self.device).requires_grad_(), up.to(self.device).requires_grad_()

    def parameters(self) -> dict[str, Tensor]:
        """What is trained, float32, by the names of the file."""
        return {f"{name}.{part}": t for name, pair in self.pairs.items() for part, t in zip(PARTS, pair, strict=True)}

    def linear(self, x: Tensor, name: str) -> Tensor:
        y = super().linear(x, name)
        if name not in self.pairs:
            return y
        down, up = self.pairs[name]
        small = functional.linear(x, down.to(x.dtype))  # (n, rank)
        return y + functional.linear(small, (up * self.adapter.scale).to(x.dtype))

    def loss(self, batch: Batch) -> Tensor:
        """Cross-entropy (nats) of every wanted id."""
        window = EndToEnd(batch.lengths, (self.cos, self.sin))
        states, _ = self.states(batch.ids, window)  # (n, width)
        logits = self.linear(states[batch.rows], "output.weight")  # (wanted, vocab)
        return functional.cross_entropy(logits.float(), batch.wanted, reduction="none")


PARTS = ("down", "up")


def batch_of(packed: Packed, numbers: Sequence[int], device: torch.device) -> Batch:
    """Documents by number, end to end."""
    ids, lengths, rows, last, at = [], [], [], [], 0
    for number in numbers:
        document, middle = packed.document(number), int(packed.middle[number])
        ids.append(document)
        lengths.append(len(document))
        rows.append(np.arange(middle - 1, len(document) - 1) + at)
        last.append(np.arange(middle, len(document)) == len(document) - 1)
        at += len(document)
    joined, places = torch.from_numpy(np.concatenate(ids)).long(), torch.from_numpy(np.concatenate(rows))
    ends = torch.from_numpy(np.concatenate(last))
    tensors = (joined, places, joined[places + 1], ends)
    a, b, c, d = (tensor.to(device) for tensor in tensors)
    return Batch(a, tuple(lengths), b, c, d)


def batches(packed: Packed, recipe: Recipe) -> Iterator[list[int]]:
    """The documents of every step: all of them in a random order, then all again in another, without end."""
    lengths = (packed.starts[1:] - packed.starts[:-1]).tolist()
    turn = 0
    while True:
        chosen: list[int] = []
        tokens = 0
        for number in np.random.default_rng((recipe.seed, turn)).permutation(len(packed)).tolist():
            if chosen and tokens + lengths[number] > recipe.batch_tokens:
                yield chosen
                chosen, tokens = [], 0
            chosen.append(number)
            tokens += lengths[number]
        yield chosen
        turn += 1


class Trainer:
    """An adapter in training."""

    def __init__(self, network: Adapted, recipe: Recipe) -> None:
        self.network, self.recipe, self.step = network, recipe, 0
        self.optimizer = torch.optim.AdamW(
            list(network.parameters().values()), recipe.rate, betas=(0.9, 0.98), weight_decay=recipe.weight_decay
        )

    def train(self, packed: Packed, until: float) -> Iterator[dict[str, float]]:
        """Train until the recipe's steps are done or `time.monotonic()` passes `until`. Yields figures of each step."""
        recipe, order = self.recipe, batches(packed, self.recipe)
        for _ in range(self.step):
            next(order)
        while self.step < recipe.steps and time.monotonic() < until:
            began = time.monotonic()
            made = batch_of(packed, next(order), self.network.device)
            for group in self.optimizer.param_groups:
                group["lr"] = rate_at(self.step, recipe.steps, recipe.rise, recipe.rate, recipe.last_rate)
            self.optimizer.zero_grad(set_to_none=True)
            losses = self.network.loss(made)
            losses.mean().backward()
            norm = torch.nn.utils.clip_grad_norm_(list(self.network.parameters().values()), recipe.clip)
            self.optimizer.step()
            self.step += 1
            figures = split_of(losses.detach(), made.last) | {"gradient": norm.item(), "tokens": len(made.ids)}
            yield {"step": self.step} | figures | {"seconds": time.monotonic() - began}

    def save(self, path: Path) -> None:
        """Weights and the optimizer's state, whole or not at all."""
        stopped.save(path, self.step, self.network.parameters(), self.optimizer)

    def load(self, path: Path) -> None:
        """Go on where `save` left off."""
        self.step = stopped.load(path, self.network.parameters(), self.optimizer)


def split_of(losses: Tensor, last: Tensor) -> dict[str, float]:
    """Means over all wanted ids, over those of the middle's text, and over the ends, which are the `last`."""
    said, ends = losses[~last], losses[last]
    return {"loss": losses.mean().item(), "text": said.mean().item(), "end": ends.mean().item()}


@torch.inference_mode()
def held_loss(network: Adapted, packed: Packed, documents: int, batch_tokens: int) -> dict[str, float]:
    """`split_of` over the first so many documents."""
    chosen = range(min(documents, len(packed)))
    share = max(1, int(batch_tokens / (packed.starts[len(chosen)] / len(chosen))))
    parts = []
    for first in range(0, len(chosen), share):
        made = batch_of(packed, chosen[first : first + share], network.device)
        parts.append((network.loss(made).cpu(), made.last.cpu()))
    losses, last = (torch.cat(part) for part in zip(*parts, strict=True))
    return split_of(losses, last)
