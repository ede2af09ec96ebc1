"""Fits what the model should read into a budget: text around the cursor whole, far parts as their outline.

Its edges lie on a grid that typing does not move, so that a model's cache of the prompt survives. Knows
text and a way to count tokens; knows nothing of prompt layouts.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

from .far import Far, forget, told
from .languages import LANGUAGES, Language, Tree
from .lexical import scan, width

if TYPE_CHECKING:
    from .documents import Snapshot

__all__ = ["Context", "build", "estimate", "forget"]

# Where elided parts of the file go: False = at the start of the prefix, True = in `Context.outline`.
OUTLINE_APART = False

Count: TypeAlias = Callable[[str], int]
CHARS_PER_TOKEN = 3.0
MOST_CHARS = 8  # per token: a longer text need not be counted
LEVELS = (0.2, 0.45, 0.75)  # shares of the budget that the prefix may ask for, in steps
OUTLINE_SHARES = ((384, 0.2), (768, 0.25), (1_000_000, 0.3))  # of the prefix's room, by budget
STEP = 0.25  # characters per token of budget by which the edge of the near part moves
SPARE = 40  # tokens that may be typed into a file that fits before an edge appears
LINE = 8  # tokens kept free for the line that is being typed


@dataclass(frozen=True, slots=True)
class Context:
    """What the model reads, with `\\n` line ends: `prefix` ends at the cursor and `suffix` begins there.

    `outline` is what changes least: elided far parts, if they are kept apart from the prefix.
    """

    path: str
    language: str
    outline: str
    prefix: str
    suffix: str


def estimate(text: str) -> int:
    """Tokens of a text, guessed on the high side, without a tokenizer."""
    size = len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
    return int(size / CHARS_PER_TOKEN) + 1


def build(snapshot: Snapshot, budget: int, count: Count = estimate) -> Context:
    """The context of a snapshot in at most `budget` tokens, by `count`."""
    before = snapshot.text[: snapshot.cursor].replace("\r\n", "\n").replace("\r", "\n")
    after = snapshot.text[snapshot.cursor :].replace("\r\n", "\n").replace("\r", "\n")
    path, language = snapshot.path, snapshot.language
    if _fits(before + after, budget - min(SPARE, budget // 8), count):
        return Context(path, language, "", before, after)
    share = next((s for s in LEVELS if _fits(before, int(s * budget) - SPARE, count)), LEVELS[-1])
    suffix = _until_border(language, after, budget - int(share * budget), count)
    left = budget - count(suffix)
    if _fits(before, left - min(SPARE, left // 8), count):
        return Context(path, language, "", before, suffix)
    outline, near = _trimmed(snapshot, before, after, suffix, left, count)
    if OUTLINE_APART:
        return Context(path, language, outline, near, suffix)
    return Context(path, language, "", outline + near, suffix)


def _fits(text: str, room: int, count: Count) -> bool:
    return len(text) <= room * MOST_CHARS and count(text) <= room


def _trimmed(snapshot: Snapshot, before: str, after: str, suffix: str, left: int, count: Count) -> tuple[str, str]:
    """What is said of the far text, and the near text, in `left` tokens.

    The edge depends on complete lines, and moves when a step's worth of them was typed; what is said of the far
    text stays as long as the edge does.
    """
    share = next(share for most, share in OUTLINE_SHARES if left <= most)
    room = left - int(left * share) - min(LINE, left // 8)
    step = max(int(left * STEP), 96)
    line = before.rfind("\n") + 1
    edge = _edge(snapshot.language, before[:line], room, step, count)
    whole = snapshot.tree if isinstance(snapshot.tree, Tree) and "\r" not in snapshot.text else None
    below = before.count("\n") + suffix.count("\n")
    far = Far(snapshot.language, before[:edge], before[edge:], suffix, after[len(suffix) :], below)
    outline = told(far, int(left * share), count, whole)
    # What the outline left unused goes to the near text: nothing typed has a say in how much that is.
    spare = int(left * share) - count(outline)
    if (earlier := _earlier(snapshot.language, before[:edge], spare, count)) < edge:
        outline = told(far.until(earlier), int(left * share) - count(before[earlier:edge]), count, whole)
        edge = earlier
    while outline and count(outline) + count(before[edge:]) > left:
        outline = outline[: outline[:-1].rfind("\n") + 1]
    while edge < line and count(before[edge:]) > left:
        edge = min(edge + step, line)
    return outline, before[edge:]


@lru_cache(maxsize=16)
def _edge(language: str, lines: str, room: int, step: int, count: Count) -> int:
    """Where the near text begins."""
    low, high = max(len(lines) - room * MOST_CHARS, 0) // step, len(lines) // step + 1
    while low < high:
        middle = (low + high) // 2
        if count(lines[_border(language, lines, middle, step) :]) <= room:
            high = middle
        else:
            low = middle + 1
    return _border(language, lines, low, step)


def _earlier(language: str, lines: str, room: int, count: Count) -> int:
    """Where a text would begin that may have some of the last of `lines` as well."""
    found = at = len(lines)
    while at > 0:
        at = lines.rfind("\n", 0, at - 1) + 1
        if len(lines) - at > room * MOST_CHARS or count(lines[at:]) > room:
            break
        if _begins_statement(language, lines[at : lines.find("\n", at)]):
            found = at
    return found


def _border(language: str, lines: str, number: int, step: int) -> int:
    """An edge: a place on a grid from the file's start, moved to a statement's border."""
    if number == 0:
        return 0
    start = number * step
    if offset := _best_border(language, lines[start : start + step // 2]):
        return min(start + offset, len(lines))
    return lines.find("\n", start) + 1 or len(lines)


def _longest(text: str, room: int, count: Count) -> int:
    """How many characters of a text, in whole lines, fit."""
    ends = [match.end() for match in re.finditer(r"\n", text)] or [len(text)]
    return ends[fitting - 1] if (fitting := bisect_right(ends, room, key=lambda end: count(text[:end]))) else 0


def _best_border(language: str, window: str) -> int:
    """The offset of the least indented line that begins a statement; the first such line after a blank one
    wins.

    Read off the lines rather than off the tree: while one line is being typed the tree around it is in
    pieces, and an edge that moves costs the whole prompt.
    """
    offset = window.find("\n") + 1
    if offset == 0:
        return 0
    best, best_key = offset, (1_000, 1, 0)
    blank = False
    for line in window[offset:].splitlines(keepends=True):
        if line.strip() and _begins_statement(language, line):
            key = (width(line), 0 if blank else 1, offset)
            if key < best_key:
                best, best_key = offset, key
        blank = not line.strip()
        offset += len(line)
    return best


def _begins_statement(language: str, line: str) -> bool:
    """Whether a line can be the first line of a statement, as far as its first word tells."""
    row = LANGUAGES.get(language)
    text = line.lstrip()
    if row is None:
        return text[:1] not in ")]}"
    word = re.match(r"\w*", text)
    return not text.startswith((*row.closers, *row.leads)) and (word.group() if word else "") not in row.continues


@lru_cache(maxsize=16)
def _until_border(language: str, after: str, room: int, count: Count) -> str:
    """The beginning of `after` in at most `room` tokens, cut between statements."""
    if _fits(after, room, count):
        return after
    window = after[: _longest(after[: room * MOST_CHARS], room, count)]
    if not window:  # one line is too long
        window = after[: room * MOST_CHARS]
        while count(window) > room:
            window = window[: len(window) * 3 // 4]
        return window
    if border := _last_border(language, window):
        return after[:border]
    longer = after[: _longest(after[: room * MOST_CHARS], room * 3 // 2, count)]
    return after[: _last_border(language, longer)] or window


def _last_border(language: str, window: str) -> int:
    """Where to cut a window: in its last third at the least indented line; before that, only if nothing better
    comes, at the last."""
    row = LANGUAGES.get(language)
    first = window.find("\n") + 1
    best, best_key = 0, (True, 1_000, 0)
    offset = first
    for line in window[first:].splitlines(keepends=True):
        if line.strip() and _begins_statement(language, line):
            late = offset > len(window) * 2 // 3
            key = (not late, width(line) if late else 0, -offset)
            if key < best_key and not _inside(window[:offset], row):
                best, best_key = offset, key
        offset += len(line)
    return best


def _inside(text: str, row: Language | None) -> bool:
    """Whether text ends inside brackets or a string that it opened itself."""
    end = scan(text, row)
    return bool(end.quote) or any(b in "([" for b in end.brackets)
