"""The open documents: text under LSP's line rules, positions to offsets, syntax trees kept up to date.

The event loop alone changes documents and takes snapshots. Inside the house a place is an offset in code
points; lines, columns and their encodings end here. Knows no protocol types and no model.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from quatrain.lsp_server import languages

Encoding: TypeAlias = Literal["utf-8", "utf-16", "utf-32"]
Place: TypeAlias = tuple[int, int]
"""Line and column, both from zero; the column counts units of the negotiated encoding."""

END_OF_LINE = re.compile(r"\r\n|\n|\r")  # and nothing else: no form feed, no U+2028 (LSP 3.18, text documents)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One document at one moment.

    `path` is for naming only. `language` is a key of LANGUAGES, or "" when unknown. `cursor` is an offset in
    code points into `text`. `tree` is a private copy of the syntax tree of exactly `text`, or None.
    """

    path: str
    language: str
    text: str
    cursor: int
    tree: object | None
    version: int | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """One edit of a document; no range means the whole text."""

    text: str
    start: Place | None = None
    end: Place | None = None


@dataclass(frozen=True, slots=True)
class Lines:
    """A text and where its lines begin, at one moment: an answer's places are read off what it was made for."""

    text: str
    starts: Sequence[int]

    def place(self, offset: int, encoding: Encoding) -> Place:
        """The inverse of `Document.offset`."""
        line = bisect_right(self.starts, offset) - 1
        return line, units(self.text[self.starts[line] : offset], encoding)


class Document:
    """A text with its line starts and its tree. Edits make new ones and change none that was handed out."""

    def __init__(self, path: str, language: str, text: str, version: int | None = None, language_id: str = "") -> None:
        self.path = path
        self.language_id = language_id or language
        self.language = language
        self.version = version
        self.replace_all(text)

    def replace_all(self, text: str) -> None:
        """Take a wholly new text."""
        self.text = text
        self.starts = line_starts(text)
        self.tree = languages.parse(self.language, text)

    def apply(self, changes: Sequence[Change], version: int | None, encoding: Encoding) -> None:
        """Apply edits in order. Positions past the end of a line or of the text mean its end."""
        for change in changes:
            if change.start is None or change.end is None:
                self.replace_all(change.text)
            else:
                start, end = sorted((self.offset(change.start, encoding), self.offset(change.end, encoding)))
                self.edit(start, end, change.text)
        self.version = version

    def edit(self, start: int, end: int, new: str) -> None:
        """Replace text[start:end] by `new`, keeping line starts and tree in step."""
        old = self.text
        self.text = old[:start] + new + old[end:]
        self.starts = moved_starts(self.starts, self.text, start, end, len(new))
        if self.tree is not None:
            languages.edit_tree(self.tree, old, start, end, new)
            self.tree = languages.parse(self.language, self.text, self.tree)

    def line(self, number: int) -> str:
        """The text of a line without its end."""
        start = self.starts[number]
        end = self.starts[number + 1] if number + 1 < len(self.starts) else len(self.text)
        return self.text[start:end].rstrip("\r\n")

    def offset(self, place: Place, encoding: Encoding) -> int:
        """Offset of a place, clamped to its line and to the text."""
        line, column = place
        if line < 0:
            return 0
        if line >= len(self.starts):
            return len(self.text)
        return self.starts[line] + characters(self.line(line), max(column, 0), encoding)

    def place(self, offset: int, encoding: Encoding) -> Place:
        """The inverse of `offset`."""
        return self.lines().place(offset, encoding)

    def lines(self) -> Lines:
        """The lines as they are now; later edits do not reach them."""
        return Lines(self.text, self.starts)

    def snapshot(self, offset: int) -> Snapshot:
        """The document now, with the cursor at `offset`."""
        tree = self.tree.copy() if self.tree is not None else None
        return Snapshot(self.path, self.language, self.text, offset, tree, self.version)

    def snapshot_with(self, start: int, end: int, new: str) -> Snapshot:
        """The document as if `new` stood in place of text[start:end], with the cursor after it."""
        text, tree = self.text[:start] + new + self.text[end:], None
        if self.tree is not None:
            tree = self.tree.copy()
            languages.edit_tree(tree, self.text, start, end, new)
            tree = languages.parse(self.language, text, tree)
        return Snapshot(self.path, self.language, text, start + len(new), tree, self.version)


def line_starts(text: str) -> list[int]:
    """Offsets at which lines begin; the first is 0."""
    return [0, *(match.end() for match in END_OF_LINE.finditer(text))]


def moved_starts(starts: list[int], text: str, start: int, end: int, inserted: int) -> list[int]:
    """Line starts of `text`, the result of replacing old[start:end] by `inserted` characters.

    Only the lines around the edit are read again; a character on either side is included because an edit can
    join or part a carriage return and a line feed.
    """
    shift = inserted - (end - start)
    first = bisect_right(starts, max(start - 1, 0)) - 1
    last = bisect_right(starts, end + 1)
    low = starts[first]
    high = starts[last] + shift if last < len(starts) else len(text)
    inner = [low + match.end() for match in END_OF_LINE.finditer(text[low:high])]
    if last < len(starts) and inner and inner[-1] == high:
        inner.pop()
    return [*starts[: first + 1], *inner, *(at + shift for at in starts[last:])]


def characters(line: str, column: int, encoding: Encoding) -> int:
    """How many code points of `line` lie before `column` units. Inside a character means before it."""
    if encoding == "utf-32" or line.isascii():
        return min(column, len(line))
    seen = 0
    for count, character in enumerate(line):
        seen += units(character, encoding)
        if seen > column:
            return count
    return len(line)


def units(text: str, encoding: Encoding) -> int:
    """Length of `text` in the units of `encoding`. A lone surrogate counts as what it would be encoded as."""
    if encoding == "utf-32" or text.isascii():
        return len(text)
    if encoding == "utf-8":
        return len(text.encode("utf-8", errors="surrogatepass"))
    return len(text) + sum(character > "\uffff" for character in text)
