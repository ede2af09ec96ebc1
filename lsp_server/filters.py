"""Refuses completions not worth showing: an ordered tuple of small pure functions, each with its name.

Knows the cut, the document around it and the model's probabilities; changes no text, it only says no.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from .cut import Cut

if TYPE_CHECKING:
    from .documents import Snapshot

TELLING = 8
"""Tokens that tell how sure a model is: it grows sure of itself as it goes on, right or wrong."""
ALIKE_FROM = 4  # shorter lines are alike by accident
LOOP_TIMES = 4


def empty(cut: Cut, snapshot: Snapshot) -> bool:
    """Nothing to insert."""
    return not cut.text


def whitespace(cut: Cut, snapshot: Snapshot) -> bool:
    """Only blanks."""
    return not cut.text.strip()


def repeats_above(cut: Cut, snapshot: Snapshot) -> bool:
    """The completed line says the same as the line above it."""
    start = snapshot.text.rfind("\n", 0, snapshot.cursor) + 1
    mine = _lines(snapshot.text[start : snapshot.cursor] + cut.text)
    above = _lines(snapshot.text[:start].rstrip()[-1_000:])[-1:]
    return mine == above and len(mine[0].strip()) >= ALIKE_FROM


def repeats_below(cut: Cut, snapshot: Snapshot) -> bool:
    """The inserted lines stand below the cursor already."""
    start = snapshot.text.rfind("\n", 0, snapshot.cursor) + 1
    mine = _lines(snapshot.text[start : snapshot.cursor] + cut.text)
    after = snapshot.text[snapshot.cursor + cut.replace :]
    newline = after.find("\n")
    if newline >= 0 and not after[:newline].strip():
        after = after[newline + 1 :]
    return bool(mine) and len(mine[0].strip()) >= ALIKE_FROM and _lines(after)[: len(mine)] == mine


def loop(cut: Cut, snapshot: Snapshot) -> bool:
    """The text is one piece said over and over."""
    text = cut.text.strip()
    for size in range(2, len(text) // LOOP_TIMES + 1):
        times, left = divmod(len(text), size)
        piece = text[:size]
        if times >= LOOP_TIMES and piece * times + piece[:left] == text and len(set(piece)) > 1:
            return True
    return False


def _lines(text: str) -> list[str]:
    """Lines with something on them. Their indentation counts: `return x` one level further out is another
    thing."""
    return [line.rstrip() for line in text.splitlines() if line.strip()]


Filter = Callable[[Cut, "Snapshot"], bool]

FILTERS: tuple[tuple[str, Filter], ...] = (
    ("empty", empty),
    ("whitespace", whitespace),
    ("repeats_above", repeats_above),
    ("repeats_below", repeats_below),
    ("loop", loop),
)


def confidence(probs: Sequence[float]) -> float:
    """Geometric mean of the first token probabilities; 1 when there are none."""
    if not probs:
        return 1.0
    logs = [math.log(max(p, 1e-9)) for p in probs[:TELLING]]
    return math.exp(sum(logs) / len(logs))


def apply(cut: Cut, snapshot: Snapshot, probs: Sequence[float], threshold: float = 0.0) -> Cut:
    """The cut itself, or an empty one whose reason says which filter refused it. `threshold`: least confidence.

    A cut that is empty already keeps its own reason, which says more than any filter could.
    """
    if not cut.text and cut.reason:
        return cut
    for name, refuses in FILTERS:
        if refuses(cut, snapshot):
            return Cut("", 0, f"filtered_{name}")
    if confidence(probs) < threshold:
        return Cut("", 0, "filtered_confidence")
    return cut
