"""The short form of a far part of a file: imports, signatures, headers of the scopes that are open at its
end.

Knows one language's node kinds and how many characters it may use; knows nothing of the cursor. What it says
depends on the far text alone, which typing does not change, so that its answers can be kept.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from .languages import COMMENTS, LANGUAGES, Language, Node, parse_bytes, to_bytes
from .lexical import indentation, scan, width

LONGEST_KEPT = 3  # rows of a plain statement that is worth keeping whole
_NAME = re.compile(r"[A-Za-z_]\w{2,}")


@dataclass(frozen=True, slots=True)
class Item:
    """A piece of the far text that may be kept: rows, short form, whole form, and how much it tells."""

    first: int
    last: int
    short: str
    whole: str
    rank: int
    name: str


def outline(language: str, far: str, room: int, wanted: frozenset[str] = frozenset()) -> str:
    """The short form of `far` in at most `room` characters, whole lines, ends with a line end or is "".

    Definitions whose names are `wanted` come before others of their rank, and are kept whole if there is
    room.
    """
    if room <= 0 or not far.strip():
        return ""
    row = LANGUAGES.get(language)
    items = _items(language, far) if row else ()
    headers = _open_headers(far)
    return _write(far, items, headers, room, wanted)


@lru_cache(maxsize=32)
def _items(language: str, far: str) -> tuple[Item, ...]:
    row = LANGUAGES[language]
    left_open = scan(far, row).brackets
    closing = "\n" + "".join({"(": ")", "[": "]", "{": "}"}[b] for b in reversed(left_open)) if left_open else ""
    source = to_bytes(far + closing)
    tree = parse_bytes(language, source)
    if tree is None:
        return ()
    found: list[Item] = []
    lines = far.split("\n")
    _collect(tree.root_node, row, source, lines, found, 0)
    return tuple(found)


def _collect(node: Node, row: Language, source: bytes, lines: list[str], found: list[Item], depth: int) -> None:
    for child in node.named_children:
        kind = child.type
        target = _definition(child, row)
        if kind in row.imports:
            found.append(_item(child, lines, None, 0, ""))
        elif target is not None:
            name = target.child_by_field_name("name") or target.child_by_field_name("declarator")
            text = source[name.start_byte : name.end_byte].decode("utf-8", "replace") if name else ""
            body = target.child_by_field_name("body")
            is_class = target.type in row.classes
            found.append(_item(child, lines, _short(child, body, row, lines, source), 2 if depth else 1, text))
            if is_class and body is not None:
                _collect(body, row, source, lines, found, depth + 1)
        elif kind in row.bodies or child.is_error or kind.startswith(("preproc_if", "export_", "linkage_")):
            _collect(child, row, source, lines, found, depth)
        elif kind not in COMMENTS and child.end_point.row - child.start_point.row < LONGEST_KEPT:
            found.append(_item(child, lines, None, 3, ""))


def _definition(node: Node, row: Language) -> Node | None:
    """The function or class that a node is, or that it only wraps (decorators, export, template)."""
    kinds = row.functions | row.classes
    if node.type in kinds:
        return node
    if node.type.startswith(("decorated_", "export_", "template_", "type_declaration")):
        return next((c for c in node.named_children if c.type in kinds), None)
    return None


def _item(node: Node, lines: list[str], short: str | None, rank: int, name: str) -> Item:
    first = node.start_point.row
    last = node.end_point.row if node.end_point.column else max(node.end_point.row - 1, first)
    last = min(last, len(lines) - 1)
    whole = "\n".join(lines[first : last + 1])
    return Item(first, last, whole if short is None else short, whole, rank, _plain_name(name))


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


def _open_headers(far: str) -> tuple[int, ...]:
    """Rows of the lines that open the scopes in which the far text ends, outermost first, by indentation."""
    lines = far.rstrip("\n").split("\n")
    rows: list[int] = []
    level = None
    for index in range(len(lines) - 1, -1, -1):
        line = lines[index]
        if not line.strip():
            continue
        indent = width(line)
        if level is None:
            level = indent + (1 if line.rstrip().endswith((":", "{", "(")) else 0)
        if indent < level and line.strip()[0] not in ")]}#/*":
            rows.append(index)
            level = indent
        if level == 0:
            break
    return tuple(reversed(rows))


def _write(
    far: str,
    items: tuple[Item, ...],
    headers: tuple[int, ...],
    room: int,
    wanted: frozenset[str],
) -> str:
    lines = far.split("\n")
    kept: dict[int, tuple[int, str]] = {r: (r, lines[r]) for r in headers}
    used = sum(len(text) + 1 for _, text in kept.values())
    order = sorted(items, key=lambda i: (i.rank - 1.5 * (i.name in wanted), -i.first))
    chosen: list[Item] = []
    for item in order:
        if any(item.first <= r <= item.last for r in headers):
            continue  # a scope that is open at the end: its header is there, its rest follows
        if any(c.first <= item.first and item.last <= c.last for c in chosen):
            continue
        cost = len(item.short) + 8
        if used + cost > room:
            continue
        chosen.append(item)
        used += cost
    for item in sorted(chosen, key=lambda i: (i.name not in wanted, i.first)):
        whole = item.name in wanted and used + len(item.whole) - len(item.short) <= room
        used += len(item.whole) - len(item.short) if whole else 0
        kept[item.first] = (item.last, item.whole if whole else item.short)
    return _join(lines, kept)


def _join(lines: list[str], kept: dict[int, tuple[int, str]]) -> str:
    """Kept pieces in file order, an empty line where something was left out between them: a mark that says so
    would be read as code, and the model takes to writing such marks itself."""
    out: list[str] = []
    reached = -1
    for first in sorted(kept):
        last, text = kept[first]
        if first <= reached:
            continue
        gap = lines[reached + 1 : first]
        if gap and out:
            out.append("")
        out.append(text)
        reached = max(reached, last)
    return "\n".join(out) + "\n" if out else ""
