"""What stands around the cursor: the line left and right of it, its neighbours, the body it is in, the style.

Reads a snapshot once; knows nothing of what a model says.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from .languages import LANGUAGES, Language, Node, Tree, byte_offset, to_bytes
from .lexical import CLOSING, indent_unit, indentation, is_word, line_ending, width

if TYPE_CHECKING:
    from .documents import Snapshot

Body = Literal["", "block", "members"]

REST_PUNCTUATION = re.compile(r"[\s)\]}>\"'`;,:{(=]*")


@dataclass(frozen=True, slots=True)
class Scene:
    """The cursor's surroundings.

    `head` and `rest` are the cursor's line left and right of the cursor. `below` is the next line that is not
    blank, `touching` whether it follows directly; `above` is the last line that is not blank, `spaced`
    whether blank lines stand between. `body` says that the cursor stands in an empty body whose header is
    indented by `header` columns. `before_line` means that a whole line stands right of the cursor: text
    goes above it.
    """

    row: Language | None
    head: str
    rest: str
    above: str
    below: str
    touching: bool
    spaced: bool
    body: Body
    header: int
    before_line: bool
    eol: str
    unit: str

    @property
    def rest_is_closers(self) -> bool:
        """Nothing but punctuation stands right of the cursor."""
        return REST_PUNCTUATION.fullmatch(self.rest) is not None

    def closes(self, line: str) -> bool:
        """Whether a line begins by closing something opened before it."""
        text = line.lstrip()
        for closer in self.row.closers if self.row else tuple(CLOSING):
            if text.startswith(closer) and not (closer[-1].isalpha() and is_word(text[len(closer) :][:1] or " ")):
                return True
        return False

    def leads_on(self, text: str) -> bool:
        """Whether a line that begins like this continues the expression of the line before."""
        return self.row is not None and bool(self.row.leads) and text.startswith(self.row.leads)


def look(snapshot: Snapshot) -> Scene:
    """Read the surroundings of a snapshot's cursor."""
    text, cursor = snapshot.text, snapshot.cursor
    row = LANGUAGES.get(snapshot.language)
    start = text.rfind("\n", 0, cursor) + 1
    end = text.find("\n", cursor)
    end = len(text) if end < 0 else end
    head, rest = text[start:cursor], text[cursor:end].rstrip("\r")
    above, spaced = _last_line(text[:start])
    below, touching = _first_line(text[end + 1 :])
    before_line = not head.strip() and bool(rest.strip()) and REST_PUNCTUATION.fullmatch(rest) is None
    body: Body = ""
    header = -1
    if not before_line:
        body, header = _empty_body(snapshot, row, head, rest, above, below)
    if before_line:
        below, touching = head + rest, True
    return Scene(
        row=row,
        head=head,
        rest=rest,
        above=above,
        below=below,
        touching=touching,
        spaced=spaced,
        body=body,
        header=header,
        before_line=before_line,
        eol=line_ending(text),
        unit="\t" if head.startswith("\t") else indent_unit(text),
    )


def _last_line(text: str) -> tuple[str, bool]:
    """The last line that is not blank, and whether blank lines follow it."""
    stripped = text.rstrip()
    line = stripped[stripped.rfind("\n") + 1 :]
    return line, text[len(stripped) :].count("\n") > 1


def _first_line(text: str) -> tuple[str, bool]:
    """The first line that is not blank, and whether it stands first."""
    stripped = text.lstrip()
    skipped = text[: len(text) - len(stripped)]
    start = skipped.rfind("\n") + 1
    end = text.find("\n", len(skipped))
    return text[start : len(text) if end < 0 else end].rstrip(), start == 0


def _empty_body(
    snapshot: Snapshot, row: Language | None, head: str, rest: str, above: str, below: str
) -> tuple[Body, int]:
    """Whether the cursor stands in a body with nothing in it, and how far the body's header is indented."""
    if row is None or (rest.strip() and rest.strip()[0] not in ")]}<"):
        return "", -1
    if rest.strip() and head.rstrip()[-1:] in ("(", "["):
        return "", -1  # an argument list within one line is a line, not a body
    header_line = head if head.strip() else above
    if not header_line.strip() or not re.search(row.opens, header_line):
        return "", -1
    offset = snapshot.cursor - len(head) if not head.strip() else snapshot.cursor
    header, members, quoted = _header(snapshot, row, offset, width(header_line))
    if quoted:
        return "", -1
    following = rest.strip() or below
    indent = header if rest.strip() else width(below)
    if following and indent > header:
        return "", -1
    ends = following.lstrip().startswith((*row.closers, *row.continues))
    if following and indent == header and not row.indented and not ends:
        return "", -1
    return ("members" if members else "block"), header


def _header(snapshot: Snapshot, row: Language, offset: int, fallback: int) -> tuple[int, bool, bool]:
    """Indentation of the statement that opens before `offset`, whether it is a class, whether it is text.

    The header may be broken over several lines, so its last line alone does not tell.
    """
    if not isinstance(snapshot.tree, Tree):
        return fallback, False, False
    before = snapshot.text[:offset].rstrip()
    position = max(byte_offset(snapshot.text, len(before)) - 1, 0)
    node: Node | None = snapshot.tree.root_node.descendant_for_byte_range(position, position + 1)
    quoted = node is not None and ("string" in node.type or "comment" in node.type)
    while node is not None and node.type not in row.functions | row.classes:
        if row.indented and node.type.endswith(("_statement", "_clause")):
            break
        if not row.indented and node.start_point.row != node.end_point.row and node.type not in row.bodies:
            break
        node = node.parent
    if node is None or node.is_error or node.parent is None:
        return fallback, False, quoted
    if not row.indented:
        return fallback, node.type in row.classes, quoted
    source = to_bytes(before)
    line = source[source.rfind(b"\n", 0, node.start_byte) + 1 : node.start_byte + 1]
    return width(line.decode("utf-8", "replace")), node.type in row.classes, quoted


def clamp_first(scene: Scene, line: str) -> str:
    """Take away blanks that a model repeats at an indentation that is already typed."""
    if not scene.head or scene.head.strip() or not line[:1].isspace():
        return line
    deepest = width(scene.above)
    if scene.row and re.search(scene.row.opens, scene.above):
        deepest += len(scene.unit.expandtabs(4))
    return line if width(scene.head + line) <= deepest else line.lstrip(" \t")


def adapt(scene: Scene, text: str) -> str:
    """Put text into the file's own indentation characters and line endings."""
    lines = text.split("\n")
    lines[0] = clamp_first(scene, lines[0])
    step = len(scene.unit)
    for index, line in enumerate(lines):
        if index == 0 and scene.head:
            continue
        blanks = indentation(line)
        if scene.unit == "\t" and " " in blanks and "\t" not in blanks:
            tabs, left = divmod(len(blanks), _step(lines))
            lines[index] = "\t" * tabs + " " * left + line[len(blanks) :]
        elif scene.unit != "\t" and "\t" in blanks:
            lines[index] = blanks.replace("\t", " " * step) + line[len(blanks) :]
    return scene.eol.join(lines)


def _step(lines: list[str]) -> int:
    """How many spaces a model means by one level, when the file has tabs."""
    widths = [len(indentation(line)) for line in lines if line.startswith(" ") and line.strip()]
    return 2 if any(w % 4 for w in widths) else 4
