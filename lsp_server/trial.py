"""Tries a text at the cursor: parses the document with it in place and says whether it may stand there.

The measure of errors is the number of ERROR and MISSING nodes in the whole tree. The document is a reduced
one (see `reduce.py`). Knows trees; knows nothing of streams, rounds or what to do with a verdict.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from .languages import (
    Node,
    Point,
    Tree,
    byte_offset,
    edit_tree,
    parse_bytes,
    point_after,
    point_at,
    to_bytes,
)
from .lexical import scan, width
from .reduce import reduce
from .scene import Scene, adapt
from .shape import ancestors, code_children, count_errors, last_code, spine, top_node, unclosed

if TYPE_CHECKING:
    from .documents import Snapshot

# Characters above which the reduced document is believed: a whole parse would be felt. Broken documents are
# asked longer, since there the two can differ (in 1 of 2,700 trials, in a broken C++ header).
BELIEVED = 30_000
BELIEVED_BROKEN = 80_000


class Level(IntEnum):
    """How well a text stands at the cursor, worst first."""

    RAISED = 0  # more errors than there were
    LOOSE = 1  # no more errors than there were, yet not what the document could be
    OPEN = 2  # no new error, but the last statement is not finished
    DONE = 3  # finished


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judgement of one text.

    `grows`: a block by indentation stands at the end and the next line may belong to it. `remark`: nothing
    but comments. `inside`: the cursor stands in a comment or string that goes on after the text. `waits`:
    the end is a decorator or an attribute, which waits for its definition.
    """

    level: Level
    errors: int
    grows: bool = False
    remark: bool = False
    inside: bool = False
    waits: bool = False
    needs: bool = False


class Trial:
    """One document with a hole at the cursor into which texts are put, each judged from the same start."""

    def __init__(self, snapshot: Snapshot, scene: Scene) -> None:
        self.scene = scene
        self._snapshot = snapshot
        self.language = snapshot.language
        self.base = self.goal = 0
        self.tree: Tree | None = None
        self.left = self.right = b""
        self._put: tuple[str, int] | None = None  # the last text tried, whose tree is asked for twice
        self._put_tree: Tree | None = None
        self.point = point_at(b"", 0)
        if not isinstance(snapshot.tree, Tree) or scene.row is None:
            return
        source = to_bytes(snapshot.text)
        cursor = byte_offset(snapshot.text, snapshot.cursor)
        self.left, self.right = reduce(scene.row, source, snapshot.tree, cursor)
        whole = len(self.left) + len(self.right) == len(source)
        self.tree = snapshot.tree if whole else self._parse(b"", 0)
        self.base = count_errors(self.tree) if self.tree else 0
        if not whole and self.base and not snapshot.tree.root_node.has_error:
            self.left, self.right = source[:cursor], source[cursor:]
            self.tree, self.base = snapshot.tree, 0
        self.point = point_at(self.left, len(self.left))
        self.goal = min(self.base, self._errors_without_line()) if self.base else 0

    def _parse(self, middle: bytes, replace: int, old: Tree | None = None) -> Tree | None:
        return parse_bytes(self.language, self.left + middle + self.right[replace:], old)

    def _errors_without_line(self) -> int:
        """Errors of the document without the cursor's line: what a completion of that line can reach."""
        start = self.left.rfind(b"\n") + 1
        end = self.right.find(b"\n")
        end = end if end >= 0 else len(self.right)
        old = self.tree.copy() if self.tree is not None else None
        if old is not None:
            last = point_after(self.point, self.right[:end])
            first = Point(self.point.row, 0)
            old.edit(start, len(self.left) + end, start, first, last, first)
        tree = parse_bytes(self.language, self.left[:start] + self.right[end:], old)
        return count_errors(tree) if tree else 0

    def put(self, text: str, replace: int) -> tuple[Tree | None, int, int]:
        """The tree with `text` in place of `replace` characters, and where the text begins and ends in it."""
        middle = to_bytes(text)
        start = len(self.left)
        if self.tree is None:
            return None, start, start + len(middle)
        if self._put == (text, replace):
            return self._put_tree, start, start + len(middle)
        old = self.right.decode("utf-8", "replace")[:replace] if replace else ""
        taken = to_bytes(old)
        tree = self.tree.copy()
        tree.edit(
            start,
            start + len(taken),
            start + len(middle),
            self.point,
            point_after(self.point, taken),
            point_after(self.point, middle),
        )
        self._put, self._put_tree = (text, replace), self._parse(middle, len(taken), tree)
        return self._put_tree, start, start + len(middle)

    def rendered(self, text: str) -> str:
        """Text as it goes into the file: its line endings and indentation, and its own line if it needs
        one."""
        text = adapt(self.scene, text)
        return text + self.scene.eol + self.scene.head if self.scene.before_line else text

    def harms(self, text: str, replace: int) -> bool:
        """Whether the whole document, not only the reduced one, would have more errors than before.

        Asked once, at the end, and not of large documents.
        """
        tree = self._snapshot.tree
        if not isinstance(tree, Tree) or self.tree is None:
            return False
        if len(self._snapshot.text) > (BELIEVED_BROKEN if tree.root_node.has_error else BELIEVED):
            return False
        cursor = self._snapshot.cursor
        after = self._snapshot.text
        trial = tree.copy()
        edit_tree(trial, after, cursor, cursor + replace, text)
        after = after[:cursor] + text + after[cursor + replace :]
        now = parse_bytes(self.language, to_bytes(after), trial)
        if now is None or not now.root_node.has_error:
            return False  # what was wrong before need not be counted
        before = count_errors(tree)
        return count_errors(now, before) > before

    def judge(self, text: str, replace: int) -> Verdict:
        """Whether raw model text, as it would be put into the file, may stand at the cursor."""
        if self.tree is None or self.scene.row is None:
            return self._judge_plain(text, replace)
        middle = self.rendered(text)
        tree, start, end = self.put(middle, replace)
        if tree is None:
            return self._judge_plain(text, replace)
        errors = count_errors(tree, self.base)
        if errors > self.base:
            return Verdict(Level.RAISED, errors)
        source = self.left + to_bytes(middle) + self._kept(replace)
        if self.scene.before_line:
            end -= len(to_bytes(self.scene.eol + self.scene.head))
        return self._shape(tree, source, start, end, errors, text)

    def _kept(self, replace: int) -> bytes:
        if not replace:
            return self.right
        return to_bytes(self.right.decode("utf-8", "replace")[replace:])

    def _judge_plain(self, text: str, replace: int) -> Verdict:
        """Without a tree: brackets and quotes of the line must come out even, with what stays on its
        right."""
        scene = self.scene
        before = scan(scene.head, scene.row)
        after = scan(scene.head + text + scene.rest[replace:], scene.row)
        first = scene.rest.strip()[:1]
        if after.quote or after.low > before.low:
            return Verdict(Level.RAISED, 1)
        if len(after.brackets) > (0 if not first else len(before.brackets)):
            return Verdict(Level.RAISED, 1)
        deeper = "\n" in text.strip() and width(text.rstrip().split("\n")[-1]) > width(scene.head or text.lstrip("\n"))
        if text.rstrip().endswith(":") and scene.row is None:
            return Verdict(Level.OPEN, 0)
        return Verdict(Level.DONE, 0, grows=deeper)

    def _shape(self, tree: Tree, source: bytes, start: int, end: int, errors: int, text: str) -> Verdict:
        """The verdict on a text that raises no error, from the nodes around its end."""
        line_start = source.rfind(b"\n", 0, start) + 1
        last, leaf, remark = last_code(tree, source, line_start, end)
        if leaf is None or remark:
            inside = leaf is not None and leaf.start_byte < start
            level = Level.DONE if errors <= self.goal else Level.LOOSE
            return Verdict(level, errors, remark=not inside, inside=inside)
        chain = ancestors(leaf, line_start)
        owner = leaf.parent if leaf.parent is not None else leaf
        text_node = next((n for n in (leaf, owner) if "string" in n.type or n.type in ("text", "raw_text")), None)
        inside = text_node is not None and text_node.start_byte < start and text_node.end_byte > end
        loose = errors > self.goal
        if loose and not scan(text, self.scene.row).balanced:
            return Verdict(Level.RAISED, errors)
        level, waits, needs = self._finish(chain, source, start, end, last)
        if loose:
            level = min(level, Level.LOOSE)
        return Verdict(level, errors, self._grows(chain, last), inside=inside, waits=waits, needs=needs)

    def _finish(self, chain: list[Node], source: bytes, start: int, end: int, last: int) -> tuple[Level, bool, bool]:
        """Whether the last statement is finished; whether it waits for a definition; whether it needs a
        clause."""
        row = self.scene.row
        assert row is not None
        kinds = dict(row.needs)
        top = top_node(chain, row.bodies)
        for node in [*chain, *spine(top)]:
            if node.type in kinds and not any(c.type in kinds[node.type] for c in node.named_children):
                return Level.OPEN, False, True
            if row.indented and node.type in row.bodies and not code_children(node):
                return Level.OPEN, False, False
            if node.type in row.labels and len(code_children(node)) < 2 and source[last : last + 1] in (b":", b")"):
                return Level.OPEN, False, True
            if node.type == "element" and node.start_byte >= start and unclosed(node, source):
                return Level.OPEN, False, False
        if any(node.type in row.decorators for node in chain):
            apart = not self.scene.touching or not (self.scene.spaced or self.scene.before_line)
            return (Level.OPEN if apart else Level.DONE), apart, False
        if top is not None and self._swallows(top, source, end):
            return Level.OPEN, False, False
        return Level.DONE, False, False

    def _swallows(self, top: Node, source: bytes, end: int) -> bool:
        """Whether the statement takes in lines below that are not its body: they would change their
        meaning."""
        line_end = source.find(b"\n", end)
        stop = top.end_byte
        while stop > end and source[stop - 1 : stop].isspace():
            stop -= 1
        if line_end < 0 or stop <= line_end:
            return False
        begin = source.rfind(b"\n", 0, top.start_byte) + 1
        own = width(source[begin : top.start_byte + 1].decode("utf-8", "replace"))
        below = self.scene.below
        braced = self.scene.row is not None and not self.scene.row.indented and below.lstrip().startswith("{")
        return not (width(below) > own or self.scene.closes(below) or braced or top.type.startswith("preproc"))

    def _grows(self, chain: list[Node], last: int) -> bool:
        row = self.scene.row
        top = top_node(chain, row.bodies) if row else None
        if row is None or top is None:
            return False
        if not row.indented:
            return any(n.type in row.labels and n.start_point.row < chain[0].start_point.row for n in chain)
        return any(
            node.type in row.bodies and node.start_point.row > top.start_point.row
            for node in [*chain, *spine(top)]
            if node.start_byte <= last
        )
