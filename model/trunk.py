"""What a transformer pass returns, whoever computed it. Plain numpy: importing this costs no torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Step:
    """One forward pass. `logits` (rows, vocab) float32 for the asked rows; `best` (rows,) int32, the greatest
    logit, ties to the lowest id; `logprob` (rows,) float32, natural-log probability of `best`. `taps`
    (ids, taps, width) float32, hidden states of all rows, or None when no tap was configured."""

    logits: np.ndarray
    best: np.ndarray
    logprob: np.ndarray
    taps: np.ndarray | None = None
