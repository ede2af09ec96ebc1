"""What one forward pass of a trunk returns, whichever arithmetic computed it. Plain numpy, no torch.

Two trunks exist, `model.transformer.Transformer` (torch; on a GPU its `CudaTransformer`) and
`model.native.NativeTrunk` (our kernels). Both have `config`, `allocate(capacity) -> storage`,
`forward(ids, start, storage, rows) -> Step`, `arithmetic` (for people) and `bytes_per_step`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Step:
    """Results for the asked rows of one forward pass, R rows of N ids.

    `logits` (R, vocab) float32; `best` (R,) int32, ties to the lowest id; `logprob` (R,) float32, natural-log
    probability of `best`; `taps` (N, taps, width) float32 hidden states after the chosen layers, or None.
    """

    logits: np.ndarray
    best: np.ndarray
    logprob: np.ndarray
    taps: np.ndarray | None = None


def step_from_logits(logits: np.ndarray, taps: np.ndarray | None = None) -> Step:
    """Add the argmax and its log-probability to `logits` (rows, vocab)."""
    best = logits.argmax(axis=-1).astype(np.int32)
    top = np.take_along_axis(logits, best[:, None].astype(np.int64), axis=-1)
    logsum = np.log(np.exp(logits - top, dtype=np.float32).sum(axis=-1))
    return Step(logits, best, -logsum.astype(np.float32), taps)
