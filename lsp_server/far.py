"""What is told of the parts of a file that are too far from the cursor to be shown whole.

First the headers of what the cursor stands in, then pieces that are like the text around it, then imports and
signatures. Answers are kept for as long as the far text is the same, so that typing does not change them: they are
made from what stood around the cursor when it came here. Knows texts, trees and a budget.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import TypeAlias

from .languages import LANGUAGES, Tree
from .likeness import NAME, places
from .outline import joined, open_headers, outline
from .pieces import SIZES, headers, piece

ALIKE_SHARE = 0.9  # of the room, for pieces that are like the text around the cursor
FAINT = 0.12  # of all that could be in common: pieces with less tell no more than signatures do
KEPT = 16


@dataclass(frozen=True, slots=True)
class Far:
    """A document but for what is shown of it: texts above the edge, near the cursor on both sides, and below.

    `below_row` is the row of the document on which `below` begins.
    """

    language: str
    above: str
    near: str
    suffix: str
    below: str
    below_row: int

    def until(self, edge: int) -> Far:
        """The same with the near text beginning earlier."""
        return replace(self, above=self.above[:edge], near=self.above[edge:] + self.near)


_Key: TypeAlias = tuple[str, str, str, str, int]
_kept: OrderedDict[_Key, str] = OrderedDict()


def forget() -> None:
    """Start afresh, to measure a first context."""
    _kept.clear()


def told(far: Far, room: int, count: Callable[[str], int], tree: Tree | None) -> str:
    """Whole lines in at most `room` tokens. `tree` is that of the document; it is only looked at the first time."""
    key = (far.language, far.above, far.suffix, far.below, room)
    if key not in _kept:
        _kept[key] = _told(far, room, count, tree)
        while len(_kept) > KEPT:
            _kept.popitem(last=False)
    _kept.move_to_end(key)
    return _kept[key]


def _told(far: Far, room: int, count: Callable[[str], int], tree: Tree | None) -> str:
    above = far.above.split("\n")[:-1]
    lines = above + far.below.split("\n")
    kept = _alike(far, lines, len(above), room, count, tree)
    lower = joined({row: (row, lines[row]) for row in kept if row >= len(above)})
    left = room - count(lower)
    upper = sorted(row for row in kept if row < len(above))
    chars = len(far.suffix + far.near) / max(count(far.suffix + far.near), 1)
    used = sum(count(lines[row]) + 1 for row in upper)
    wanted = frozenset(NAME.findall(far.near + far.suffix))
    spare = int(max(left - used, 1) * chars * 0.9)
    rows = [(row, row) for row in upper]
    said = outline(far.language, far.above, spare, wanted, tree, rows)
    while count(said) > left and spare > 1:
        spare = spare * 2 // 3
        said = outline(far.language, far.above, spare, wanted, tree, rows)
    lower += "\n" if lower else ""  # an empty line where something is left out
    whole = lower + said + ("\n" if said and len(above) - 1 not in kept else "")
    return whole if count(whole) <= room else said if count(said) <= room else ""


def _alike(
    far: Far, lines: list[str], above: int, room: int, count: Callable[[str], int], tree: Tree | None
) -> set[int]:
    """Rows of `lines`, of which the first `above` stand above the edge, that are worth showing; with the rows of
    the headers around them."""
    row = LANGUAGES.get(far.language)
    remark = row.comment[0] if row else "#"
    kept = set(_open(far.above, lines, room, count))
    used = sum(count(lines[r]) + 1 for r in kept)
    starts = list(accumulate((len(line) + 1 for line in lines[:-1]), initial=0))
    found, most = places("\n".join(lines), starts, far.near, far.suffix, remark)
    for place in found:
        if place.score < FAINT * most or used > room * ALIKE_SHARE:
            break
        move = 0 if place.row < above else far.below_row - above  # from rows of `lines` to rows of the document
        low, high = (0, above - 1) if place.row < above else (above, len(lines) - 1)
        for size in SIZES:
            span = piece(tree, lines[place.row], place.row + move, low + move, high + move, size)
            if span is None:
                continue
            rows = {r for r in range(span[0] - move, span[1] - move + 1) if lines[r].strip()}
            if len(rows - kept) * 2 <= len(rows) or all(lines[r].lstrip().startswith((remark, "*")) for r in rows):
                break  # mostly told already, or nothing but comments
            rows |= {h - move for h in headers(tree, row, span[0]) if low <= h - move <= high}
            cost = count("\n".join(lines[r] for r in sorted(rows - kept))) + 2
            if used + cost <= room * ALIKE_SHARE:
                kept |= rows
                used += cost
                break
    return kept


def _open(above: str, lines: list[str], room: int, count: Callable[[str], int]) -> list[int]:
    """Rows of the headers of what the near text stands in; the middle ones go where they would take up the room."""
    rows = open_headers(above)
    while rows and sum(count(lines[row]) + 1 for row in rows) > room * 3 // 4:
        rows.pop(len(rows) // 2)
    return rows
