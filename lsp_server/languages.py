"""The door to the parsers: name a document's language, parse it, edit its tree, count its bytes.

Knows how tree-sitter counts; knows nothing of prompts, of completions or of the editor protocol.
The rows themselves stand in `grammars.py`.
"""

from __future__ import annotations

import importlib
from functools import cache
from pathlib import PurePath

from tree_sitter import Language as Grammar
from tree_sitter import Node, Parser, Point, Tree

from .grammars import ROWS
from .language_row import COMMENTS, TEXTS, Language

__all__ = ["COMMENTS", "LANGUAGES", "TEXTS", "Language", "Node", "Tree", "edit_tree", "language_for", "parse"]

# Above this a parse is felt while typing; such files fall back to lines and indentation.
MAX_BYTES = 2_000_000

LANGUAGES: dict[str, Language] = {row.name: row for row in ROWS}
_BY_ID = {i: row.name for row in ROWS for i in row.ids}
_BY_EXTENSION = {e: row.name for row in ROWS for e in row.extensions}


def language_for(language_id: str | None, path: str) -> str:
    """Our name for a document, from the editor's languageId or else the file's extension; "" if unknown."""
    if language_id and language_id.lower() in _BY_ID:
        return _BY_ID[language_id.lower()]
    return _BY_EXTENSION.get(PurePath(path).suffix.lower(), "")


@cache
def grammar(name: str) -> Grammar:
    """The loaded grammar of a language of ours."""
    module, loader = LANGUAGES[name].grammar
    return Grammar(getattr(importlib.import_module(module), loader)())


def parse_bytes(name: str, source: bytes, old_tree: Tree | None = None) -> Tree | None:
    """The tree of UTF-8 text. A parser is made for each call: it costs a microsecond and threads stay
    apart."""
    if name not in LANGUAGES or len(source) > MAX_BYTES:
        return None
    parser = Parser(grammar(name))
    return parser.parse(source, old_tree) if old_tree is not None else parser.parse(source)


def parse(name: str, text: str, old_tree: object | None = None) -> Tree | None:
    """The tree of `text`, or None for unknown languages and very large files.

    `old_tree` must have been through `edit_tree` for every edit since it was parsed.
    """
    return parse_bytes(name, to_bytes(text), old_tree if isinstance(old_tree, Tree) else None)


def to_bytes(text: str) -> bytes:
    """UTF-8 of text; a lone surrogate, which an editor may send, becomes one question mark."""
    return text.encode("utf-8", "replace")


def byte_offset(text: str, offset: int) -> int:
    """Number of UTF-8 bytes before a code-point offset."""
    return offset if text.isascii() else len(to_bytes(text[:offset]))


def point_at(source: bytes, offset: int) -> Point:
    """Row and byte column of a byte offset, as tree-sitter counts them."""
    return Point(source.count(b"\n", 0, offset), offset - (source.rfind(b"\n", 0, offset) + 1))


def point_after(start: Point, text: bytes) -> Point:
    """The point reached by writing `text` at `start`."""
    rows = text.count(b"\n")
    return Point(start.row + rows, len(text) - text.rfind(b"\n") - 1 if rows else start.column + len(text))


def edit_tree(tree: object, text_before: str, start: int, end: int, new_text: str) -> None:
    """Tell a tree that `text_before[start:end]` became `new_text` (code-point offsets), for the next
    parse."""
    if not isinstance(tree, Tree):
        return
    before, old, new = (to_bytes(part) for part in (text_before[:start], text_before[start:end], new_text))
    point = point_at(before, len(before))
    first = len(before)
    tree.edit(first, first + len(old), first + len(new), point, point_after(point, old), point_after(point, new))
