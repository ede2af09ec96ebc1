"""Fits what the model should read into a budget: text around the cursor whole, far parts as their outline.

Its edges lie on a grid that typing does not move, so that a model's cache of the prompt survives. Knows
text and a way to count tokens; knows nothing of prompt layouts.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from .languages import LANGUAGES, Language
from .lexical import scan, width
from .outline import _items as outlined_items
from .outline import outline

if TYPE_CHECKING:
    from .documents import Snapshot

# Where elided parts of the file go: False = at the start of the prefix, True = in `Context.outline`.
OUTLINE_APART = False

CHARS_PER_TOKEN = 3.0
LEVELS = (0.2, 0.45, 0.7)  # shares of the budget that the prefix may ask for, in steps
OUTLINE_SHARE = 0.3  # of the prefix's room, where the prefix does not fit
STEPS = 4  # the near part's edge moves by this fraction of its room
SPARE = 160  # characters that may be typed into a file that fits before an edge appears
_NAME = re.compile(r"[A-Za-z_]\w{2,}")


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


def build(snapshot: Snapshot, budget: int, count: Callable[[str], int] = estimate) -> Context:
    """The context of a snapshot in at most `budget` tokens, by `count`."""
    before = snapshot.text[: snapshot.cursor].replace("\r\n", "\n").replace("\r", "\n")
    after = snapshot.text[snapshot.cursor :].replace("\r\n", "\n").replace("\r", "\n")
    room = int(budget * _chars_per_token(before, after, count))
    for _ in range(6):
        context = _fit(snapshot, before, after, room)
        if count(context.outline + context.prefix + context.suffix) <= budget:
            return context
        room = int(room * 0.8)
    return context


def _chars_per_token(before: str, after: str, count: Callable[[str], int]) -> float:
    """Measured on text that typing does not change, and rounded, so that edges do not follow every key."""
    sample = after[:3_000] if len(after) > 600 else before[:3_000]
    if len(sample) < 200:
        return CHARS_PER_TOKEN * 0.8
    return max(int(len(sample) / max(count(sample), 1) * 4 - 0.5) / 4, 0.5)


def _fit(snapshot: Snapshot, before: str, after: str, room: int) -> Context:
    path, language = snapshot.path, snapshot.language
    if len(before) + len(after) + min(SPARE, room // 8) <= room:
        return Context(path, language, "", before, after)
    share = next((s for s in LEVELS if len(before) + SPARE <= s * room), LEVELS[-1])
    suffix = _until_border(language, after, room - int(share * room))
    left = room - len(suffix)
    if len(before) + min(SPARE, left // 8) <= left:
        return Context(path, language, "", before, suffix)
    near = int(left * (1 - OUTLINE_SHARE))
    edge = _edge(language, before, near)
    # Names to look up are read from text that stays while the edge stays: typing must not change the outline.
    steady = before[edge : edge + near - 2 * near // STEPS]
    wanted = frozenset(_NAME.findall(steady + suffix))
    far = _outline(language, before[:edge], left - near, wanted)
    if OUTLINE_APART:
        return Context(path, language, far, before[edge:], suffix)
    return Context(path, language, "", far + before[edge:], suffix)


@lru_cache(maxsize=16)
def _outline(language: str, far: str, room: int, wanted: frozenset[str]) -> str:
    return outline(language, far, room, wanted)


def _edge(language: str, before: str, near: int) -> int:
    """Where the text that is kept whole begins: on a grid from the file's start, moved to a node's border."""
    step = max(near // STEPS, 1)
    start = -(-(len(before) - near + step // 2) // step) * step
    return start + _best_border(language, before[start : start + step // 2])


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
def _until_border(language: str, after: str, room: int) -> str:
    """The beginning of `after` in at most `room` characters, cut between statements."""
    if len(after) <= room:
        return after
    row = LANGUAGES.get(language)
    window = after[:room]
    first = window.find("\n") + 1
    best, best_key = 0, (True, 1_000, 0)
    offset = first
    for line in window[first:].splitlines(keepends=True):
        if line.strip() and _begins_statement(language, line):
            # In the last half the least indented line; before that, only if nothing better comes, the last.
            late = offset > room // 2
            key = (not late, width(line) if late else 0, -offset)
            if key < best_key and not _inside(window[first:offset], row):
                best, best_key = offset, key
        offset += len(line)
    return after[:best] if best else window[: window.rfind("\n") + 1] or window


def _inside(text: str, row: Language | None) -> bool:
    """Whether text ends inside brackets or a string that it opened itself."""
    end = scan(text, row)
    return bool(end.quote) or any(b in "([" for b in end.brackets)


def forget() -> None:
    """Empty what is kept between contexts, to measure a first one."""
    for kept in (_outline, _until_border, outlined_items):
        kept.cache_clear()
