"""Fits what the model should read into a budget: text around the cursor whole, of the rest what `far` chooses.

What was chosen stays while the user types, so that a model's cache of the prompt survives. Knows text and a way to
count tokens; knows nothing of prompt layouts.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from .far import MOST_CHARS, Around, Count, forget, trimmed
from .languages import LANGUAGES, Language, Tree
from .lexical import begins_statement, scan

if TYPE_CHECKING:
    from .documents import Snapshot

__all__ = ["Context", "build", "estimate", "forget"]

# Where the other parts of the file go: False = at the start of the prefix, True = in `Context.outline`.
OUTLINE_APART = False

CHARS_PER_TOKEN = 3.0
LEVELS = (0.2, 0.45, 0.75)  # shares of the budget that the prefix may ask for, in steps
SPARE = 40  # tokens that may be typed into a file that fits before an edge appears


@dataclass(frozen=True, slots=True)
class Context:
    """What the model reads, with `\\n` line ends: `prefix` ends at the cursor and `suffix` begins there.

    `outline` is what changes least: other parts of the file, if they are kept apart from the prefix.
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
    room = budget - int(share * budget)
    most = room * 3 // 2 if share == LEVELS[-1] else room  # a long prefix can give way
    suffix = _until_border(language, after, room, most, count)
    left = budget - count(suffix)
    if _fits(before, left - min(SPARE, left // 8), count):
        return Context(path, language, "", before, suffix)
    if not _fits(line := before[before.rfind("\n") + 1 :], left, count):
        return Context(path, language, "", _tail(line, left, count), suffix)
    tree = snapshot.tree if isinstance(snapshot.tree, Tree) and "\r" not in snapshot.text else None
    outline, near = trimmed(Around(language, before, suffix, after[len(suffix) :], tree), left, count)
    if OUTLINE_APART:
        return Context(path, language, outline, near, suffix)
    return Context(path, language, "", outline + near, suffix)


def _fits(text: str, room: int, count: Count) -> bool:
    return len(text) <= room * MOST_CHARS and count(text) <= room


def _tail(line: str, room: int, count: Count) -> str:
    """The end of a line that is too long by itself. It begins on a grid, which typing does not move."""
    start = max(len(line) - room * MOST_CHARS, 0) // room * room
    while start < len(line) and count(line[start:]) > room:
        start += room
    return line[start:]


def _longest(text: str, room: int, count: Count) -> int:
    """How many characters of a text, in whole lines, fit."""
    ends = [match.end() for match in re.finditer(r"\n", text)] or [len(text)]
    return ends[fitting - 1] if (fitting := bisect_right(ends, room, key=lambda end: count(text[:end]))) else 0


@lru_cache(maxsize=16)
def _until_border(language: str, after: str, room: int, most: int, count: Count) -> str:
    """The beginning of `after` in at most `room` tokens, cut between statements; in `most` where that needs more."""
    if _fits(after, room, count):
        return after
    window = after[: _longest(after[: room * MOST_CHARS], room, count)]
    if not window:  # one line is too long
        window = after[: room * MOST_CHARS]
        while count(window) > room:
            window = window[: len(window) * 3 // 4]
        return window
    border = _last_border(language, after, len(window))
    if border * 2 < len(window):  # one long statement: its end is worth more than a short suffix
        longer = _longest(after[: most * MOST_CHARS], most, count)
        border = max(border, _last_border(language, after, longer, len(window)))
    return after[:border] or window


def _last_border(language: str, after: str, most: int, least: int = 0) -> int:
    """The last place between `least` and `most` where a line begins a statement; 0 for none."""
    row = LANGUAGES.get(language)
    offset = most
    while offset > max(least, after.find("\n") + 1):
        end = after.find("\n", offset)
        line = after[offset : end if end >= 0 else len(after)]
        if line.strip() and begins_statement(row, line) and not _inside(after[:offset], row):
            return offset
        offset = after.rfind("\n", 0, offset - 1) + 1
    return 0


def _inside(text: str, row: Language | None) -> bool:
    """Whether text ends inside brackets or a string that it opened itself."""
    end = scan(text, row)
    return bool(end.quote) or any(b in "([" for b in end.brackets)
