"""Brackets, quotes and indentation read off plain text, for when there is no tree or the tree is in pieces.

An approximation by design: it knows a language's quotes and comment mark and nothing of its grammar.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, lru_cache

from .language_row import Language

PAIRS = {"(": ")", "[": "]", "{": "}"}
CLOSING = frozenset(PAIRS.values())
TAB_WIDTH = 4
_HEREDOC = re.compile(r"<<<?[-~]?['\"]?([A-Za-z_]\w*)")
# The first tab or all spaces of an indented line; a line of a block comment is one column off.
_INDENTED = re.compile(r"^(\t| +)(?=[^\s*])", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Scan:
    """What a piece of text leaves open: `brackets` still open, `low` closers without an opener, `quote`."""

    brackets: tuple[str, ...]
    low: int
    quote: str

    @property
    def balanced(self) -> bool:
        """Nothing opened is still open."""
        return not self.brackets and not self.quote


@cache
def _tokens(quotes: tuple[str, ...], comment: str) -> re.Pattern[str]:
    words = [re.escape(q) for q in sorted(quotes, key=len, reverse=True)]
    return re.compile("|".join([r"\\.", r"[()\[\]{}\n]", re.escape(comment), *words]))


def scan(text: str, language: Language | None) -> Scan:
    """Walk over `text` and say what is open at its end."""
    quotes = language.quotes if language else ('"', "'")
    comment = language.comment[0] if language else "#"
    stack: list[str] = []
    low, quote, skip = 0, "", False
    for match in _tokens(quotes, comment).finditer(text):
        token = match.group()
        if token == "\n":
            skip = False
            if quote and len(quote) == 1 and quote != "`":
                quote = ""  # an ordinary string ends with its line, closed or not
        elif skip or token[0] == "\\":
            continue
        elif quote:
            quote = "" if token == quote else quote
        elif token in quotes:
            quote = token
        elif token == comment:
            skip = True
        elif token in PAIRS:
            stack.append(token)
        elif token in CLOSING:
            if stack and PAIRS[stack[-1]] == token:
                stack.pop()
            else:
                low += 1
    return Scan(tuple(stack), low, quote)


def in_heredoc(text: str) -> bool:
    """Whether text ends inside a here-document, which ends with a line that says its mark."""
    marks = _HEREDOC.findall(text)
    lines = [line.strip(" \t;") for line in text.split("\n")[1:]]
    return bool(marks) and marks[-1] not in lines


def indentation(line: str) -> str:
    """The blanks a line begins with."""
    return line[: len(line) - len(line.lstrip(" \t"))]


def width(line: str) -> int:
    """How far a line is indented, in columns."""
    return len(indentation(line).expandtabs(TAB_WIDTH))


def is_word(char: str) -> bool:
    """Whether a character can be part of a name."""
    return char.isalnum() or char == "_"


def line_ending(text: str) -> str:
    """The line ending a file uses: that of its first line."""
    newline = text.find("\n")
    return "\r\n" if newline > 0 and text[newline - 1] == "\r" else "\n"


def indent_unit(text: str) -> str:
    """One step of indentation in a file: a tab, or the narrowest indentation seen, by default four spaces."""
    return _narrowest(text[:12_000])


@lru_cache(maxsize=8)
def _narrowest(text: str) -> str:
    blanks = [found for found in _INDENTED.findall(text) if found != " "]
    if "\t" in blanks:
        return "\t"
    return min(blanks, key=len) if blanks and len(min(blanks, key=len)) <= 8 else "    "


def begins_statement(language: Language | None, line: str) -> bool:
    """Whether a line can be the first line of a statement, as far as its first word tells."""
    text = line.lstrip()
    if language is None:
        return text[:1] not in ")]}"
    word = re.match(r"\w*", text)
    return not text.startswith((*language.closers, *language.leads)) and (
        (word.group() if word else "") not in language.continues
    )
