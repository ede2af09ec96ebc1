"""Punches holes into source files where somebody might be typing: by syntax node, deterministic by seed.

Knows trees and texts; knows nothing of where files come from and what fills the holes.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random

from quatrain.lsp_server import languages
from quatrain.lsp_server.evaluate.case import Case
from quatrain.lsp_server.languages import COMMENTS, Node

MOST_LINES, MOST_CHARS = 8, 400
MOST_MIDDLE = 5
"""Tokens taken out of the middle of a line."""
TRIES = 8
WORD = re.compile(r"[^\W\d]\w{3,}")
NOT_CODE = re.compile("string|comment|text|char|fragment|heredoc|regex|escape")
OPENERS, CLOSERS = frozenset("([{"), frozenset(")]}")


@dataclass(frozen=True, slots=True)
class Span:
    """text[start:end], in code points; of `node`, when it is one."""

    start: int
    end: int
    node: Node | None = None


class Source:
    """A parsed file with what the punches look at."""

    def __init__(self, text: str, language: str) -> None:
        tree = languages.parse(language, text)
        if tree is None:
            raise ValueError(f"no grammar for {language!r}")
        self.text, self.row = text, languages.LANGUAGES[language]
        self.place = places(text)
        self.nodes = list(walk(tree.root_node))
        self.lines = self.leaves_by_line()

    def span(self, node: Node) -> Span:
        """Where a node stands, without the line end that some grammars count in."""
        start, end = self.place(node.start_byte), self.place(node.end_byte)
        return Span(start, start + len(self.text[start:end].rstrip()), node)

    def leaves_by_line(self) -> list[list[Span]]:
        """Tokens of code on each line; lines that a longer token touches are left out."""
        found, spoilt = defaultdict(list), set()
        for node in self.nodes:
            if node.child_count or node.start_byte == node.end_byte:
                continue
            span, first, last = self.span(node), node.start_point.row, node.end_point.row
            if first != last and "\n" in self.text[span.start : span.end]:
                spoilt.update(range(first, last + 1))
            elif span.end > span.start:
                found[first].append(span)
        return [found[number] for number in sorted(found) if number not in spoilt]

    def code(self, span: Span) -> bool:
        return span.node is not None and not NOT_CODE.search(span.node.type)

    def line_start(self, at: int) -> int:
        return self.text.rfind("\n", 0, at) + 1

    def line_end(self, at: int) -> int:
        end = self.text.find("\n", at)
        return len(self.text) if end < 0 else end


def places(text: str) -> Callable[[int], int]:
    """From byte offsets, which trees count, to code points."""
    if text.isascii():
        return lambda at: at
    table: list[int] = []
    for number, character in enumerate(text):
        table += [number] * len(character.encode("utf-8", "replace"))
    table.append(len(text))
    return table.__getitem__


def walk(root: Node) -> Iterator[Node]:
    """All nodes in the order of the text."""
    stack = [root]
    while stack:
        node = stack.pop()
        yield node
        stack.extend(reversed(node.children))


def statements(source: Source, random: Random) -> Iterator[Span]:
    """Whole statements that begin and end a line, the cursor after the indentation."""
    for node in source.nodes:
        if not within(node, source.row.bodies) or node.type in source.row.imports:
            continue
        span = source.span(node)
        tail = source.text[span.end : source.line_end(span.end)].rstrip()
        if not source.text[source.line_start(span.start) : span.start].strip() and tail in ("", ";", ","):
            yield Span(span.start, span.end + len(tail))


def arguments(source: Source, random: Random) -> Iterator[Span]:
    """One argument, parameter or element on one line; what is left and right of it stays."""
    for node in source.nodes:
        if within(node, source.row.arguments) and node.start_point.row == node.end_point.row:
            yield source.span(node)


def within(node: Node, kinds: frozenset[str]) -> bool:
    """Whether a node is something of its own directly inside one of `kinds`."""
    return node.is_named and node.parent is not None and node.parent.type in kinds and node.type not in COMMENTS


def blocks(source: Source, random: Random) -> Iterator[Span]:
    """The body of a function without its first indentation and its last line end."""
    for node in source.nodes:
        if node.type in source.row.functions and (body := node.child_by_field_name("body")):
            span = inside(source, body)
            if span and "\n" in source.text[source.place(node.start_byte) : span.start]:
                yield span


def openers(source: Source, random: Random) -> Iterator[Span]:
    """What follows an opening bracket or colon at the end of a line, the line break included."""
    opens = re.compile(source.row.opens)
    for node in source.nodes:
        if node.type not in source.row.bodies | source.row.arguments or (span := inside(source, node)) is None:
            continue
        begin = len(source.text[: span.start].rstrip())
        line = source.text[source.line_start(begin) : begin]
        if "\n" in source.text[begin : span.start] and opens.search(line):
            yield Span(begin, span.end)


def inside(source: Source, body: Node) -> Span | None:
    """From the first to the last thing inside a body; a docstring stays where it is."""
    parts = [child for child in body.children if child.is_named]
    if len(parts) > 1 and parts[0].child_count and all(c.type == "string" for c in parts[0].children):
        parts = parts[1:]
    return Span(source.span(parts[0]).start, source.span(parts[-1]).end) if parts else None


def middles(source: Source, random: Random) -> Iterator[Span]:
    """A few tokens out of a line; its beginning and its end stay."""
    for line in source.lines:
        for _ in range(TRIES if len(line) >= 4 and all(map(source.code, line)) else 0):
            first = random.randrange(1, len(line) - 1)
            last = random.randrange(first, min(first + MOST_MIDDLE, len(line) - 1))
            text = source.text[line[first].start : line[last].end]
            if any(map(str.isalnum, text)) and balanced(source, line[first : last + 1]):
                yield Span(line[first].start, line[last].end)
                break


def words(source: Source, random: Random) -> Iterator[Span]:
    """From inside a word to the end of the line, or to the closing bracket that an editor would have put there."""
    for line in source.lines:
        for number, leaf in enumerate(line):
            word = source.text[leaf.start : leaf.end]
            if source.code(leaf) and WORD.fullmatch(word):
                yield Span(leaf.start + random.randrange(1, len(word)), reach(source, line[number:]))


def reach(source: Source, line: Sequence[Span]) -> int:
    """Where typing from the first of these tokens would end: before a bracket that it did not open, and before
    one that this line does not close."""
    open_at: list[int] = []
    for leaf in line:
        token = source.text[leaf.start : leaf.end]
        if token[-1:] in OPENERS:
            open_at.append(leaf.start)
        elif token[:1] in CLOSERS and open_at:
            open_at.pop()
        elif token[:1] in CLOSERS:
            return line[0].start + len(source.text[line[0].start : leaf.start].rstrip())
    end = open_at[0] if open_at else line[-1].end
    return line[0].start + len(source.text[line[0].start : end].rstrip())


def balanced(source: Source, line: Sequence[Span]) -> bool:
    return reach(source, line) == line[-1].end


PUNCHES: dict[str, Callable[[Source, Random], Iterator[Span]]] = {
    "statement": statements,
    "argument": arguments,
    "block": blocks,
    "middle": middles,
    "word": words,
    "opener": openers,
}


def punch(text: str, language: str, name: str, seed: int, kinds: Sequence[str] = tuple(PUNCHES)) -> list[Case]:
    """At most one hole of each kind in a file. The same file and seed give the same holes."""
    source = Source(text, language)
    cases = []
    for kind in kinds:
        random = Random(f"{seed}|{name}|{kind}")
        spans = [span for span in PUNCHES[kind](source, random) if fits(text[span.start : span.end])]
        if spans:
            cases.append(case(source, language, name, kind, random.choice(spans)))
    return cases


def fits(hole: str) -> bool:
    """Neither empty nor so large that nobody could guess it."""
    return bool(hole.strip()) and len(hole) <= MOST_CHARS and hole.strip().count("\n") < MOST_LINES


def case(source: Source, language: str, name: str, kind: str, span: Span) -> Case:
    """The hole as a case, named by its place."""
    text = source.text
    line, column = text.count("\n", 0, span.start) + 1, span.start - source.line_start(span.start) + 1
    return Case(
        f"{name}:{line}:{column}:{kind}",
        language,
        name,
        kind,
        text[: span.start],
        text[span.start : span.end],
        text[span.end :],
    )
