"""Which token a row of logits says: the best one, or one drawn from the model's own distribution.

A draft names its tokens outright, so exact rejection sampling (Leviathan et al. 2023, section 2.3) comes down to
drawing from the model and seeing whether the draft had said the same: a drafted token x is then accepted with
probability p(x), and what replaces it follows p without x. One draw is spent on each token that is said, so the same
seed gives the same text whatever was drafted. Knows logits and bytes; knows no drafts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from quatrain.model.api import QuatrainError
from quatrain.model.tokenizer import Vocabulary
from quatrain.model.trunk import Step

FEW = 512
"""Candidates looked at first: a nucleus is nearly always smaller than this."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """`temperature` divides the logits; of the result only the likeliest tokens with a sum of `top_p` are kept."""

    temperature: float
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not (0 < self.temperature <= 10 and 0 < self.top_p <= 1):
            raise QuatrainError("temperature must be above 0 and at most 10, top-p above 0 and at most 1")


class Chooser:
    """Chooses along one text. Without `sampling` it is greedy."""

    def __init__(self, vocabulary: Vocabulary, sampling: Sampling | None = None) -> None:
        self.vocabulary = vocabulary
        self.sampling = sampling
        self.random = np.random.default_rng(sampling.seed if sampling else 0)

    def __call__(self, step: Step, row: int, forced: bytes) -> tuple[int, float]:
        """The token to say at `row` and its probability in the model's own, untempered distribution, given that
        only tokens that agree with the bytes in `forced` can come."""
        if not forced and self.sampling is None:
            return int(step.best[row]), math.exp(step.logprob[row])
        ids = self.vocabulary.compatible(forced) if forced else None
        logits = step.logits[row] if ids is None else step.logits[row][ids]  # (allowed,)
        at = int(logits.argmax()) if self.sampling is None else draw(logits, self.sampling, self.random.random())
        share = np.exp(logits - logits[at], dtype=np.float64).sum()
        return at if ids is None else int(ids[at]), 1.0 / float(share)


def draw(logits: np.ndarray, sampling: Sampling, chance: float) -> int:
    """The index that `chance` (0..1) falls on where the kept tokens lie side by side, likeliest first."""
    scaled = logits.astype(np.float64) / sampling.temperature
    weights = np.exp(scaled - scaled.max())  # (allowed,)
    kept, held = nucleus(weights, sampling.top_p)
    return int(kept[min(np.searchsorted(held, chance * held[-1], side="right"), len(kept) - 1)])


def nucleus(weights: np.ndarray, top_p: float) -> tuple[np.ndarray, np.ndarray]:
    """The fewest indices, likeliest first, whose weights are `top_p` of all, and the running sums of their weights."""
    total = weights.sum() * top_p
    order = np.arange(len(weights))
    if len(weights) > FEW:
        few = np.argpartition(-weights, FEW)[:FEW]
        order = few if weights[few].sum() >= total else order
    order = order[np.argsort(-weights[order], kind="stable")]
    held = np.cumsum(weights[order])
    count = int(np.searchsorted(held, total)) + 1
    return order[:count], held[:count]
