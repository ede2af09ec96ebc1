"""Which other parts of a file are shown with the text at the cursor, and how much of that text itself.

First the headers of what the cursor stands in, then whole pieces that are like the text at the cursor, wherever they
stand, then signatures that are named there; the text above the cursor takes all that is left, and a piece in its way
costs nothing. What was chosen stays while the user types. Knows texts, trees and a budget.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import TypeAlias

from .languages import LANGUAGES, TEXTS, Node, Tree
from .lexical import begins_statement
from .likeness import NAME, places
from .outline import Kept, joined, named, open_headers
from .pieces import SIZES, headers, piece

Count: TypeAlias = Callable[[str], int]

MOST_CHARS = 8  # per token: a longer text need not be counted
CORE_SHARE = 0.3  # of the room: the text above the cursor that is shown whatever else there is
HEADER_SHARE = 0.15  # of the room: the headers of what the cursor stands in
NAMED_SHARE = 0.1  # of the room: imports and signatures of what is named in the near text
LEAST_NAMED = 12  # tokens
FAINT = 0.15  # of all that could be in common: pieces with less tell less than the text above the cursor
SPARE, STEP = 16, 6  # one part in so many of the room is left for typing: at first, and when typing has used it up
LATER = 4  # one part in so many of the near text may be given up so that it begins with a statement
KEPT = 16


@dataclass(frozen=True)
class Around:
    """A document around a cursor: all before it, the suffix that is shown, and what comes below that. `tree` is that
    of the document, if it has one."""

    language: str
    before: str
    suffix: str
    below: str
    tree: Tree | None

    @cached_property
    def lines(self) -> list[str]:
        """Of the text before the cursor; the last is the cursor's own."""
        return self.before.split("\n")

    @cached_property
    def rest(self) -> list[str]:
        """Whole lines of `below`."""
        whole = self.below if self.suffix.endswith("\n") else self.below.partition("\n")[2]
        return whole.split("\n") if whole else []

    @cached_property
    def rest_row(self) -> int:
        """The row of the document on which `rest` begins."""
        return self.before.count("\n") + self.suffix.count("\n") + (not self.suffix.endswith("\n"))


@dataclass(frozen=True, slots=True)
class Shown:
    """What was chosen at a place: `said` of other parts, the text of the document `above` the near text, and how many
    tokens were shown then."""

    above: str
    said: str
    size: int


_Key: TypeAlias = tuple[str, str, int, int, int]
_kept: OrderedDict[_Key, Shown] = OrderedDict()


def forget() -> None:
    """Start afresh, to measure a first context."""
    _kept.clear()


def trimmed(around: Around, room: int, count: Count) -> tuple[str, str]:
    """What is said of other parts, whole lines, and the near text that ends at the cursor, in `room` tokens."""
    key = (around.language, around.suffix, len(around.below), hash(around.below), room)
    shown = _kept.get(key)
    typed = shown is not None and around.before.startswith(shown.above)
    size = count(shown.said + around.before[len(shown.above) :]) if shown is not None and typed else 0
    if shown is None or not shown.size // 2 <= size <= room:  # elsewhere, or much was deleted, or too much typed
        shown = choose(around, room - room // (STEP if size > room else SPARE), count)
        _kept[key] = shown
        while len(_kept) > KEPT:
            _kept.popitem(last=False)
    _kept.move_to_end(key)
    return shown.said, around.before[len(shown.above) :]


def choose(around: Around, room: int, count: Count) -> Shown:
    """Pieces first, then near text until `room` tokens are used, beginning with a statement."""
    lines = around.lines
    core = _first_row(lines, int(room * CORE_SHARE), count)
    outside = _Outside(around, core, count)
    rows = outside.headers(int(room * HEADER_SHARE))
    left = room - count("\n".join(lines[core:]))
    rows = outside.alike(rows, left)
    left = min(left - outside.cost(rows), int(room * NAMED_SHARE))
    low = {row for row in rows if row >= core}  # below the suffix, the others stand above
    below = joined({row: (row, outside.lines[row]) for row in low})
    below += "\n" if below else ""  # an empty line where something is left out
    items: Kept = {}

    def said(edge: int) -> str:
        kept = {row: (row, lines[row]) for row in rows if row < min(edge, core)}
        above = joined(items | kept)
        return below + above + ("\n" if above and edge - 1 not in kept else "")

    def fits(edge: int) -> bool:
        text = said(edge) + "\n".join(lines[edge:])
        return len(text) <= room * MOST_CHARS and count(text) <= room

    edges = range(len(lines) - 1)
    edge = bisect_left(edges, True, key=fits)
    items = _named(around, edge, {row for row in rows if row < edge}, left, count)
    if items:
        edge = bisect_left(edges, True, lo=edge, key=fits)
    edge = _border(around, edge, core)
    whole = said(edge) if fits(edge) else ""  # nothing goes beside a line that fills the room
    size = count(whole + "\n".join(lines[edge:]))
    return Shown(_whole(lines[:edge]), whole, size)


def _named(around: Around, edge: int, taken: set[int], room: int, count: Count) -> Kept:
    """Imports and signatures above `edge` of what is named below it; the tree is not walked for less than a line."""
    if room < LEAST_NAMED:
        return {}
    near = "\n".join(around.lines[edge:]) + around.suffix
    chars = int(room * len(near) / max(count(near), 1))
    above = _whole(around.lines[:edge])
    return named(around.language, above, chars, frozenset(NAME.findall(near)), around.tree, taken)


def _whole(lines: Iterable[str]) -> str:
    return "".join(line + "\n" for line in lines)


def _first_row(lines: list[str], room: int, count: Count) -> int:
    """Where the last lines begin that fit; the last line does not count."""
    row = len(lines) - 1
    left = room - count(lines[row])
    while row > 0 and (left := left - count(lines[row - 1]) - 1) >= 0:
        row -= 1
    return row


def _border(around: Around, edge: int, core: int) -> int:
    """The first row from `edge` on that begins a statement and does not stand inside a string or comment; `edge` if
    there is none nearby."""
    row = edge
    last = min(core, edge + (len(around.lines) - edge) // LATER)
    while 0 < row < last:
        line = around.lines[row]
        if line.strip() and begins_statement(LANGUAGES.get(around.language), line):
            inside = _text_around(around.tree, row, len(line) - len(line.lstrip()))
            if inside is None:
                return row
            row = max(inside.end_point.row, row)
        row += 1
    return edge


def _text_around(tree: Tree | None, row: int, column: int) -> Node | None:
    """The string or comment that began on an earlier row and holds this place, if one does."""
    node = tree.root_node.descendant_for_point_range((row, column), (row, column)) if tree else None
    while node is not None and node.start_point.row == row:
        node = node.parent
    while node is not None:
        if node.type in TEXTS:
            return node
        node = node.parent
    return None


class _Outside:
    """The lines of a document but for those that are shown in any case: above the row `core`, and below the suffix.

    Rows from `core` on stand below; `moved` turns such a row into one of the document.
    """

    def __init__(self, around: Around, core: int, count: Count) -> None:
        self.around, self.core = around, core
        self.lines = around.lines[:core] + around.rest
        self.row = LANGUAGES.get(around.language)
        self.remark = self.row.comment[0] if self.row else "#"
        self._count, self._costs = count, dict[int, int]()

    def cost(self, rows: Iterable[int]) -> int:
        """Tokens of these lines, a little high."""
        for row in rows:
            if row not in self._costs:
                self._costs[row] = self._count(self.lines[row]) + 1
        return sum(self._costs[row] for row in rows)

    def headers(self, room: int) -> set[int]:
        """Of what the core stands in; the middle ones go where they would take up the room."""
        rows = open_headers(_whole(self.lines[: self.core]))
        while rows and self.cost(rows) > room:
            rows.pop(len(rows) // 2)
        return set(rows)

    def alike(self, kept: set[int], room: int) -> set[int]:
        """`kept`, and the rows of pieces that are like the text at the cursor, best first, with their headers."""
        kept, used = set(kept), self.cost(kept)
        starts = list(accumulate((len(line) + 1 for line in self.lines[:-1]), initial=0))
        near = "\n".join(self.around.lines[self.core :])
        found, most = places("\n".join(self.lines), starts, near, self.around.suffix, self.remark)
        for place in found:
            if place.score < FAINT * most or used >= room:
                break
            for size in SIZES:
                rows = self.piece(place.row, size)
                if rows and (len(rows - kept) * 2 <= len(rows) or self.remarks(rows)):
                    break  # mostly told already, or nothing but comments
                if rows and used + (cost := self.cost(rows - kept) + 2) <= room:
                    kept |= rows
                    used += cost
                    break
        return kept

    def remarks(self, rows: Iterable[int]) -> bool:
        return all(self.lines[row].lstrip().startswith((self.remark, "*")) for row in rows)

    def piece(self, at: int, size: int) -> set[int]:
        """The rows of the piece around a row, and of the headers around that; none inside a long text."""
        above = at < self.core
        move = 0 if above else self.around.rest_row - self.core
        low, high = (0, self.core - 1) if above else (self.core, len(self.lines) - 1)
        span = piece(self.around.tree, self.lines[at], at + move, low + move, high + move, size)
        if span is None:
            return set()
        rows = {row for row in range(span[0] - move, span[1] - move + 1) if self.lines[row].strip()}
        around = {row - move for row in headers(self.around.tree, self.row, span[0])}
        return rows | {row for row in around if low <= row <= high}
