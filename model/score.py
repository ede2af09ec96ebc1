"""How probable the model finds a given text: the log-probability of each token after a prompt.

For comparing contexts, where generating says too little. Knows tokens, no text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from quatrain.model.cache import KVCache

if TYPE_CHECKING:
    from quatrain.model.decode import Trunk

PIECE = 256
"""Prompt tokens per forward pass."""
ROWS = 32
"""Rows of logits at a time: each has one number for every token of the vocabulary."""


def score(trunk: Trunk, prompt: Sequence[int], continuation: Sequence[int]) -> list[float]:
    """Natural-log probabilities of the `continuation`'s tokens, each after `prompt` and those before it.

    Example: prompt (p, q), continuation (a, b): row q gives log P(a | p q), row a gives log P(b | p q a).
    """
    if not prompt:
        raise ValueError("a continuation needs something to continue")
    ids = [*prompt, *continuation]
    cache = KVCache(trunk.allocate(len(ids)), len(ids))
    first = len(prompt) - 1  # the row that speaks of continuation[0]
    while len(cache) < first:
        piece = ids[len(cache) : min(len(cache) + PIECE, first)]
        trunk.forward(piece, len(cache), cache.storage, ())
        cache.extend(piece)
    found: list[float] = []
    while len(found) < len(continuation):
        piece = ids[len(cache) : min(len(cache) + ROWS, len(ids) - 1)]
        logits = trunk.forward(piece, len(cache), cache.storage, range(len(piece))).logits  # (rows, vocab)
        cache.extend(piece)
        targets = np.asarray(ids[len(cache) - len(piece) + 1 : len(cache) + 1])
        found += log_probabilities(logits, targets).tolist()
    return found


def log_probabilities(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Of target i under row i of logits (rows, vocab)."""
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=-1, keepdims=True)
    return wide[np.arange(len(targets)), targets] - np.log(np.exp(wide).sum(axis=-1))
