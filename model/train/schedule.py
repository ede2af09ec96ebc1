"""How the learning rate goes over a run. Knows steps; knows nothing of what is trained."""

from __future__ import annotations

import math


def rate_at(step: int, steps: int, rise: int, high: float, low: float) -> float:
    """A straight rise to `high` over the first `rise` steps, then half a cosine down to `low`.

    >>> [round(rate_at(step, 10, 2, 1.0, 0.0), 2) for step in (0, 1, 2, 6, 10)]
    [0.5, 1.0, 1.0, 0.5, 0.0]
    """
    if step < rise:
        return high * (step + 1) / rise
    done = min(1.0, (step - rise) / max(1, steps - rise))
    return low + (high - low) * 0.5 * (1 + math.cos(math.pi * done))
