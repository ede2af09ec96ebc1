"""What the product is measured against: the plainest context and the plainest cut that could work.

Knows snapshots; knows no syntax on purpose.
"""

from __future__ import annotations

from collections.abc import Callable

from quatrain.lsp_server.context import Context
from quatrain.lsp_server.cut import Cut, Cutter
from quatrain.lsp_server.documents import Snapshot

SUFFIX_SHARE = 0.25


def plain_window(snapshot: Snapshot, budget: int, count: Callable[[str], int], share: float = SUFFIX_SHARE) -> Context:
    """Whole lines around the cursor, as many as fit: `share` of the budget below, the rest above. What one side
    leaves unused goes to the other."""
    before, after = (
        part.replace("\r\n", "\n").replace("\r", "\n")
        for part in (snapshot.text[: snapshot.cursor], snapshot.text[snapshot.cursor :])
    )
    below = fit(after.splitlines(keepends=True), int(budget * share), count)
    above = fit(before.splitlines(keepends=True)[::-1], budget - count("".join(below)), count)[::-1]
    if len("".join(above)) == len(before):
        below = fit(after.splitlines(keepends=True), budget - count(before), count)
    return Context(snapshot.path, snapshot.language, "", "".join(above), "".join(below))


def fit(lines: list[str], budget: int, count: Callable[[str], int]) -> list[str]:
    """The longest run of first `lines` within `budget` tokens, at least half a token's worth of guessing apart:
    found by halving, because counting is what costs."""
    low, high = 0, len(lines)
    while low < high:
        middle = (low + high + 1) // 2
        if count("".join(lines[:middle])) <= budget:
            low = middle
        else:
            high = middle - 1
    return lines[:low]


class FirstLine(Cutter):
    """The model's own words up to the end of the line."""

    def __init__(self, snapshot: Snapshot, mode: str = "auto") -> None:
        self.text = ""

    def feed(self, text: str) -> Cut | None:
        self.text += text
        line, newline, _ = self.text.partition("\n")
        return Cut(line, 0, "line") if newline else None

    def finish(self, reason: str) -> Cut:
        return Cut(self.text.partition("\n")[0], 0, reason)
