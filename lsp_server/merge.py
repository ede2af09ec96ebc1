"""How a completion meets what already stands right of the cursor on its line.

Pure text: proposes pairs of (text, characters replaced), best guess first; a parse decides among them.
"""

from __future__ import annotations

from collections.abc import Iterator

from .lexical import CLOSING, is_word
from .scene import Scene

CLOSERS = "".join(CLOSING) + "\"'`;,"
SEPARATORS = (";", ",")
MOST = 8


def proposals(scene: Scene, text: str) -> Iterator[tuple[str, int]]:
    """Ways to put `text` at the cursor, each as the text kept and how much of the rest of the line goes."""
    rest = "" if scene.before_line else scene.rest.rstrip()
    if not rest.strip():
        yield text, 0
        if "\n" not in text.strip("\n"):
            yield from ((shorter, 0) for shorter in _without_closers(text))
    elif scene.rest_is_closers:
        yield from _over_closers(text, rest)
    elif "\n" not in text.strip("\n"):
        yield from _before_words(text, rest)


def _over_closers(text: str, rest: str) -> Iterator[tuple[str, int]]:
    lengths = [n for n in range(min(len(rest), MOST), 0, -1) if text.rstrip().endswith(rest[:n])]
    for length in lengths:
        kept = text.rstrip()
        yield kept[: len(kept) - length], 0
    yield text, 0
    last = text.rstrip()[-1:]
    for length in range(1, min(len(rest), MOST) + 1):
        again = last in SEPARATORS and rest[length : length + 1] == last  # `f(a);` before the `;` of `);`
        if length not in lengths and not again:
            yield text, length
    if "\n" not in text.strip("\n"):
        yield from ((shorter, 0) for shorter in _without_closers(text))


def _before_words(text: str, rest: str) -> Iterator[tuple[str, int]]:
    """Text that must fit in front of words: cut where it begins to say them again."""
    if text.endswith(rest):
        yield text[: len(text) - len(rest)], 0
    places = [i for i in range(len(text)) if text.startswith(rest[0], i)] if rest else []
    places.sort(key=lambda i: (-_shared(text[i:], rest), i))
    for place in places[:4]:
        # Few characters in common are an accident, not a repetition, where they would split a word.
        glued = not place or (is_word(rest[0]) and is_word(text[place - 1]))
        if not glued or _shared(text[place:], rest) >= min(3, len(rest)):
            yield text[:place], 0
    if text and not (is_word(text[-1]) and is_word(rest[0])):
        yield text, 0
        yield from ((shorter, 0) for shorter in _without_closers(text))


def _without_closers(text: str) -> Iterator[str]:
    """The text without its last closing character, without its last two, and so on."""
    text = text.rstrip()
    for _ in range(4):
        if not text or text[-1] not in CLOSERS:
            return
        text = text[:-1].rstrip()
        yield text


def _shared(left: str, right: str) -> int:
    """Length of the common beginning."""
    for index, (a, b) in enumerate(zip(left, right, strict=False)):
        if a != b:
            return index
    return min(len(left), len(right))
