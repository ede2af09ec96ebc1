"""Trains a draft head on a frozen trunk's states: soft targets, several tokens unrolled, resumable.

The loss is the cross-entropy against the trunk's distribution over draft tokens (EAGLE-3: soft targets, the head's
own states fed back), plus a share that pulls the head's states toward the trunk's (EAGLE, section 4.2), measured by
what the difference does to the logits: that is learned without being learned by heart. Knows batches; knows neither
files of texts nor the decode loop.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from quatrain.model.torch_head import TorchHead, Turn
from quatrain.model.train import stopped
from quatrain.model.train.batches import Batch, Lesson, Reading, Teacher, batch
from quatrain.model.train.schedule import rate_at


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train. `ahead` tokens are unrolled; `places` of each of `documents` make a batch."""

    steps: int
    ahead: int = 3
    documents: int = 12
    places: int = 64
    rate: float = 1e-3
    last_rate: float = 1e-4
    warmup: int = 40
    decay: float = 0.8
    feature: float = 1.0
    dropout: float = 0.1
    weight_decay: float = 0.05
    strangers: int = 1024
    clip: float = 1.0
    seed: int = 0


class Trainer:
    """A head in training. `embedding` (vocab, width) are the trunk's input rows."""

    def __init__(self, head: TorchHead, teacher: Teacher, embedding: Tensor, read: Reading, recipe: Recipe) -> None:
        self.head, self.teacher, self.embedding, self.read, self.recipe = head, teacher, embedding, read, recipe
        self.optimizer = torch.optim.AdamW(
            head.parameters(), lr=recipe.rate, betas=(0.9, 0.95), weight_decay=recipe.weight_decay
        )
        centred = teacher.rows - teacher.rows.mean(0)
        self.metric = centred.T @ centred / len(centred)  # (width, width): what a state's error does to the logits
        self.step = 0
        self.device = embedding.device
        head.dropout = recipe.dropout

    def train(self, lessons: Sequence[Lesson], until: float, every: int = 20) -> Iterator[dict[str, float]]:
        """Train until the recipe's steps are done or `time.monotonic()` passes `until`. Yields the mean figures of
        every few steps."""
        recipe = self.recipe
        self.head.train()
        kept: list[tuple[float, ...]] = []
        began = time.monotonic()
        while self.step < self.recipe.steps and time.monotonic() < until:
            for group in self.optimizer.param_groups:
                group["lr"] = rate_at(self.step, recipe.steps, recipe.warmup, recipe.rate, recipe.last_rate)
            torch.manual_seed(self.recipe.seed * 1_000_003 + self.step)  # for the dropout
            made = on(self.draw(lessons, self.step), self.device)
            words, feature = self.losses(made, self.vocabulary(made))
            self.optimizer.zero_grad(set_to_none=True)
            (words + self.recipe.feature * feature).backward()
            norm = torch.nn.utils.clip_grad_norm_(self.head.parameters(), self.recipe.clip)
            self.optimizer.step()
            self.step += 1
            kept.append((words.item(), feature.item(), norm.item()))
            if self.step % every == 0 or self.step == self.recipe.steps:
                means = np.mean(kept, axis=0).tolist()
                names = dict(zip(("loss", "feature", "gradient"), means, strict=True))
                yield {"step": self.step, "seconds": time.monotonic() - began, **names}
                kept = []

    def draw(self, lessons: Sequence[Lesson], step: int) -> Batch:
        """Documents and places by chance, the same for the same step: a resumed run draws as if never stopped."""
        random = np.random.default_rng((self.recipe.seed, step))
        chosen = [lessons[i] for i in random.choice(len(lessons), self.recipe.documents)]
        places = [random.choice(one.fit, self.recipe.places, p=one.chance) for one in chosen]
        return batch(list(zip(chosen, places, strict=True)), self.read, self.recipe.ahead, self.recipe.decay)

    def vocabulary(self, made: Batch) -> tuple[Tensor, Tensor]:
        """Draft tokens to compare: all that the trunk thinks of in this batch, and some others at random. Returns
        their indices, sorted, and what to add to their logits so that the sum over them stands for all."""
        count = len(self.teacher.ids)
        meant = torch.zeros(count, dtype=torch.bool, device=self.device)
        meant[made.said.flatten()] = True
        others = (~meant).nonzero()[:, 0]
        generator = torch.Generator(device="cpu").manual_seed(self.recipe.seed * 1_000_003 + self.step)
        some = torch.randperm(len(others), generator=generator)[: self.recipe.strangers].to(self.device)
        correction = torch.zeros(count, device=self.device)
        if len(some):
            correction[others[some]] = math.log(len(others) / len(some))
            meant[others[some]] = True
        chosen = meant.nonzero()[:, 0]
        return chosen, correction[chosen]

    def losses(self, made: Batch, vocabulary: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Cross-entropy (nats) and squared error of the logits that the states mean, as a share of the logits' own
        variance; weighted means over places and tokens."""
        chosen, correction = vocabulary
        rows = self.teacher.rows[chosen]  # (v, width)
        where = torch.zeros(len(self.teacher.ids), dtype=torch.long, device=self.device)
        where[chosen] = torch.arange(len(chosen), device=self.device)
        words, features = [], []
        first = state = self.head.fuse(made.taps)  # (B, P, width)
        for k in range(self.recipe.ahead):
            embedded = self.embedding[made.tokens[:, :, k]]
            turn = Turn(made.positions + 1 + k, made.mask, self.head.config)
            state = self.head.step(k, first, state, embedded, made.past, turn)
            said = self.head.say(k, state)
            logits = functional.linear(said, rows) + correction + self.head.bias(embedded, chosen)  # (B, P, v)
            probs = made.probs[:, :, k] / made.probs[:, :, k].sum(-1, keepdim=True)
            picked = logits.gather(-1, where[made.said[:, :, k]])  # (B, P, TOP)
            words.append(logits.logsumexp(-1) - (probs * picked).sum(-1))
            wanted = made.features[:, :, k]
            features.append(self.squared(said - wanted) / self.squared(wanted))
        total = made.weight.sum()
        return tuple((torch.stack(each, -1) * made.weight).sum() / total for each in (words, features))  # type: ignore[return-value]

    @torch.inference_mode()
    def held_losses(self, lessons: Sequence[Lesson], batches: int = 3) -> dict[str, float]:
        """The losses on documents that are not trained on."""
        self.head.eval()
        made = [on(self.draw(lessons, number), self.device) for number in range(batches)]
        found = np.mean([[each.item() for each in self.losses(one, self.vocabulary(one))] for one in made], axis=0)
        self.head.train()
        return dict(zip(("held_loss", "held_feature"), found.tolist(), strict=True))

    def squared(self, x: Tensor) -> Tensor:
        """Mean squared (centred) logit that x (B, P, width) means."""
        return ((x @ self.metric) * x).sum(-1)

    def save(self, path: Path) -> None:
        """Weights and the optimizer's state, whole or not at all."""
        stopped.save(path, self.step, dict(self.head.weights.items()), self.optimizer)

    def load(self, path: Path) -> None:
        """Go on where `save` left off."""
        self.step = stopped.load(path, dict(self.head.weights.items()), self.optimizer)


def on(made: Batch, device: torch.device) -> Batch:
    """The batch on another device."""
    if device.type == "cpu":
        return made
    values = {name: getattr(made, name) for name in Batch.__slots__ if name != "past"}
    past = [(keys.to(device), values_.to(device)) for keys, values_ in made.past]
    return Batch(past=past, **{name: value.to(device) for name, value in values.items()})


@torch.inference_mode()
def acceptance(trainer: Trainer, lessons: Sequence[Lesson], most: int = 16, ahead: int = 5) -> list[float]:
    """How often the first 1, 2, .. `ahead` proposed tokens are all what the trunk said, over the parts of the
    lessons that the trunk wrote itself. An estimate of the live loop's, with nothing left out for confidence."""
    head, tried = trainer.head.eval(), 0
    ahead = min(ahead, head.config.count) if head.config.design == "parallel" else ahead
    right = np.zeros(ahead)
    for one in lessons:
        begin, end = one.document.middle - 1, len(one.document.ids) - ahead - 1
        if not one.document.own or end <= begin:
            continue
        places = np.linspace(begin, end - 1, min(most, end - begin)).astype(np.int64)
        made = on(batch([(one, places)], trainer.read, ahead, 1.0), trainer.device)
        first = state = head.fuse(made.taps)
        token, good = made.tokens[:, :, 0], np.ones(len(places), bool)
        for k in range(ahead):
            embedded = trainer.embedding[token]
            turn = Turn(made.positions + 1 + k, made.mask, head.config)
            state = head.step(k, first, state, embedded, made.past, turn)
            logits = functional.linear(head.say(k, state), trainer.teacher.rows) + head.bias(embedded)
            best = logits.argmax(-1)  # (1, P)
            token = trainer.teacher.ids[best]
            good &= token[0].cpu().numpy() == one.document.ids[places + 2 + k]
            right[k] += int(good.sum())
        tried += len(places)
    head.train()
    return (right / max(tried, 1)).tolist()
