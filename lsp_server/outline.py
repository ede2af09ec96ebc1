"""The short form of a far part of a file: imports and signatures of what is named elsewhere; and which lines open the
scopes in which a text ends.

Knows one language's node kinds and how many characters it may use; knows nothing of the cursor.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import TypeAlias

from .languages import COMMENTS, LANGUAGES, Language, Node, Tree, parse_bytes, to_bytes
from .lexical import PAIRS, indentation, scan, width

Kept: TypeAlias = dict[int, tuple[int, str]]
"""What is kept: by its first row, its last row and what is said instead of all of them."""
IMPORT = 0  # the rank of imports
LONGEST_KEPT = 3  # rows of a plain statement that is worth keeping whole
_NAME = re.compile(r"[A-Za-z_]\w{2,}")


@dataclass(frozen=True, slots=True)
class Item:
    """A piece of the far text that may be kept: rows, a shorter form if it has one, and how much it tells."""

    first: int
    last: int
    short: str | None
    rank: int
    name: str


def named(
    language: str, far: str, room: int, wanted: frozenset[str], tree: Tree | None, taken: Collection[int]
) -> Kept:
    """Of `far`, in at most `room` characters: definitions whose names are `wanted`, in their short form if they are
    long, and imports that say one of those names; none of them on rows that are `taken`."""
    row = LANGUAGES.get(language)
    if row is None or room <= 0 or not far.strip():
        return {}
    lines = far.split("\n")

    def tells(item: Item) -> bool:
        if item.rank == IMPORT:
            return not wanted.isdisjoint(_NAME.findall("\n".join(lines[item.first : item.last + 1])))
        return item.name in wanted

    items = [item for item in _items(row, far, lines, tree) if tells(item)]
    return _chosen(lines, items, room, wanted, taken)


def _items(row: Language, far: str, lines: list[str], tree: Tree | None) -> list[Item]:
    """What of the far text may be kept."""
    source = to_bytes(far)
    if tree is None:
        left_open = scan(far, row).brackets
        closing = "\n" + "".join(PAIRS[b] for b in reversed(left_open)) if left_open else ""
        tree = parse_bytes(row.name, source + closing.encode())
    found: list[Item] = []
    if tree is not None:
        _collect(tree.root_node, row, source, lines, found, 0)
    return found


def _collect(node: Node, row: Language, source: bytes, lines: list[str], found: list[Item], depth: int) -> None:
    end = len(lines) - 1
    for child in node.named_children:
        kind = child.type
        if child.start_point.row >= end:
            return
        target = _definition(child, row)
        if child.end_point > (end, 0):  # the far text ends inside it
            body = target.child_by_field_name("body") if target is not None else child
            if body is not None and (target is None or target.type in row.classes):
                _collect(body, row, source, lines, found, depth + (target is not None))
        elif kind in row.imports:
            found.append(_item(child, None, IMPORT, ""))
        elif target is not None:
            name = target.child_by_field_name("name") or target.child_by_field_name("declarator")
            text = source[name.start_byte : name.end_byte].decode("utf-8", "replace") if name else ""
            body = target.child_by_field_name("body")
            found.append(_item(child, _short(child, body, row, lines, source), 2 if depth else 1, text))
            if target.type in row.classes and body is not None:
                _collect(body, row, source, lines, found, depth + 1)
        elif kind in row.bodies or child.is_error or kind.startswith(("preproc_if", "export_", "linkage_")):
            _collect(child, row, source, lines, found, depth)
        elif kind not in COMMENTS and child.end_point.row - child.start_point.row < LONGEST_KEPT:
            found.append(_item(child, None, 3, ""))


def _definition(node: Node, row: Language) -> Node | None:
    """The function or class that a node is, or that it only wraps (decorators, export, template)."""
    kinds = row.functions | row.classes
    if node.type in kinds:
        return node
    if node.type.startswith(("decorated_", "export_", "template_", "type_declaration")):
        return next((c for c in node.named_children if c.type in kinds), None)
    return None


def _item(node: Node, short: str | None, rank: int, name: str) -> Item:
    first = node.start_point.row
    last = node.end_point.row if node.end_point.column else max(node.end_point.row - 1, first)
    return Item(first, last, short, rank, _plain_name(name))


def _plain_name(text: str) -> str:
    match = _NAME.search(text)
    return match.group() if match else ""


def _short(node: Node, body: Node | None, row: Language, lines: list[str], source: bytes) -> str | None:
    """The header of a definition with its body elided, or None if that would not be shorter."""
    if body is None or node.end_point.row - node.start_point.row < LONGEST_KEPT - 1:
        return None
    begin = source.rfind(b"\n", 0, node.start_byte) + 1
    header = source[begin : body.start_byte].decode("utf-8", "replace").rstrip()
    indent = indentation(lines[node.start_point.row])
    if row.elided.startswith("{"):
        return f"{header} {row.elided}"
    inner = indentation(lines[min(body.start_point.row, len(lines) - 1)])
    inner = inner if width(inner) > width(indent) else indent + "    "
    first, _, rest = row.elided.partition("\n")
    return f"{header}\n{inner}{first}" + (f"\n{indent}{rest}" if rest else "")


def open_headers(far: str) -> list[int]:
    """Rows of the lines that open the scopes in which the far text ends, outermost first, by indentation."""
    rows: list[int] = []
    level = None
    end = len(far.rstrip("\n"))
    row = far.count("\n", 0, end)
    while end > 0 and level != 0:
        start = far.rfind("\n", 0, end) + 1
        line = far[start:end]
        end = start - 1
        if line.strip():
            indent = width(line)
            if level is None:
                level = indent + (1 if line.rstrip().endswith((":", "{", "(")) else 0)
            if indent < level and line.strip()[0] not in ")]}#/*":
                rows.append(row)
                level = indent
        row -= 1
    return rows[::-1]


def _chosen(lines: list[str], items: list[Item], room: int, wanted: frozenset[str], kept: Collection[int]) -> Kept:
    """The items that tell most, but for those on rows that are `kept` already."""
    taken, used = set(kept), 0
    chosen: list[Item] = []
    for item in sorted(items, key=lambda i: (i.rank - 1.5 * (i.name in wanted), -i.first)):
        if used >= room:
            break
        rows = range(item.first, item.last + 1)
        # Taken: a scope that is open at the end, or what is kept already, whole or as a part of something.
        cost = sum(len(lines[row]) + 1 for row in rows) if item.short is None else len(item.short)
        if used + cost + 8 > room or not taken.isdisjoint(rows):
            continue
        chosen.append(item)
        taken.update(rows)
        used += cost + 8
    found: Kept = {}
    for item in sorted(chosen, key=lambda i: (i.name not in wanted, i.first)):
        text = "\n".join(lines[item.first : item.last + 1])
        if item.short is not None:
            whole = item.name in wanted and used + len(text) - len(item.short) <= room
            used += len(text) - len(item.short) if whole else 0
            text = text if whole else item.short
        found[item.first] = (item.last, text)
    return found


def joined(kept: Kept) -> str:
    """Kept pieces in file order, an empty line where something was left out between them: a mark that says so
    would be read as code, and the model takes to writing such marks itself."""
    out: list[str] = []
    reached = -1
    for first in sorted(kept):
        last, text = kept[first]
        if first <= reached:
            continue
        if first > reached + 1 and out and out[-1].strip():
            out.append("")
        out.append(text)
        reached = max(reached, last)
    return "\n".join(out) + "\n" if out else ""
