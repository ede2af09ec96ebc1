"""How many drafted tokens to verify: the number with the most expected tokens per millisecond.

Knows the cost of a pass and how often each source was right, neither tokens' meaning nor kernels. The choice
can make decoding faster or slower and never changes its output.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from quatrain.model.draft import Draft
from quatrain.model.step_costs import StepCosts

PRIOR_RATE, PRIOR_WEIGHT = 0.8, 4.0
"""What is believed of a source before it was tried, and how many verified tokens that belief is worth. Hopeful:
a try that fails costs a few percent of a step, one that is never made teaches nothing."""
MEMORY = 0.95
"""What a verified token counts after each further round of its source: about twenty rounds are remembered."""


def expected_tokens(rate: float, length: int) -> float:
    """Tokens that a pass over `length` drafted tokens settles, if each is right with probability `rate` given
    that those before it were: 1 + rate + rate^2 + .. + rate^length. One token always comes.

    >>> expected_tokens(0.5, 2)
    1.75
    """
    return sum(rate**i for i in range(length + 1))


def best_length(costs: StepCosts, rate: float, most: int, pending: int = 1, draft_ms: float = 0.0) -> int:
    """The draft length in 0..`most` with the most expected tokens per millisecond.

    `pending` are the rows the pass computes in any case (one, or the end of a prompt); `draft_ms` is what a
    drafted token costs before it is verified.

    >>> flat = StepCosts((10.0, 10.0, 10.0, 10.0), 100.0)
    >>> best_length(flat, 0.5, 3), best_length(flat, 0.5, 9)
    (3, 3)
    """
    pace = [expected_tokens(rate, k) / (costs.of(pending + k) + k * draft_ms) for k in range(most + 1)]
    return max(range(most + 1), key=pace.__getitem__)


def surest_length(costs: StepCosts, probs: Sequence[float], pending: int = 1) -> int:
    """As `best_length`, where token i is right with probability `probs[i]` given that those before it are.

    >>> surest_length(StepCosts((10.0, 11.0, 12.0), 100.0), (0.9, 0.05))
    1
    """
    chances = [math.prod(probs[:k]) for k in range(len(probs) + 1)]
    pace = [sum(chances[: k + 1]) / costs.of(pending + k) for k in range(len(probs) + 1)]
    return max(range(len(pace)), key=pace.__getitem__)


@dataclass(slots=True)
class Record:
    """Verified tokens of one source, the older ones counting less."""

    right: float = 0.0
    tried: float = 0.0

    @property
    def rate(self) -> float:
        """Probability that the next token of this source is right, leaning on the prior while little is known."""
        return (PRIOR_RATE * PRIOR_WEIGHT + self.right) / (PRIOR_WEIGHT + self.tried)


class DraftLengths:
    """Chooses lengths for each source by what it achieved so far. One per engine, kept between requests."""

    def __init__(self, costs: StepCosts) -> None:
        self.costs = costs
        self.records: dict[str, Record] = {}

    def record(self, source: str) -> Record:
        return self.records.setdefault(source, Record())

    def trim(self, draft: Draft, pending: int) -> Draft:
        """The part of `draft` that is worth verifying together with `pending` other rows.

        A source that says how sure it is of each token is believed; another is judged by what it achieved.
        """
        if draft.probs:
            length = surest_length(self.costs, draft.probs, pending)
        else:
            length = best_length(self.costs, self.record(draft.source).rate, len(draft.tokens), pending)
        return (
            draft if length == len(draft.tokens) else Draft(draft.tokens[:length], draft.source, draft.probs[:length])
        )

    def learn(self, draft: Draft, accepted: int) -> None:
        """Take in that the first `accepted` tokens of `draft` were right, and the next, if there is one, wrong.

        A source whose drafts were trimmed to nothing forgets a little too, so that it is tried again.
        """
        if draft.source == "none":
            return
        record = self.record(draft.source)
        tried = min(accepted + 1, len(draft.tokens))
        record.right = record.right * MEMORY + accepted
        record.tried = record.tried * MEMORY + tried
