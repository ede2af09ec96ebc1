"""Where a finished completion may be accepted in part: offsets at the ends of whole syntax nodes.

Reads the tree of the document with the completion in it; knows nothing of how it came about.
"""

from __future__ import annotations

from .language_row import Language
from .languages import Node, Tree, to_bytes

_RANK = {"line": 0, "expression": 1, "argument": 2, "statement": 3, "block": 4}
_STATEMENTS = ("_statement", "_declaration", "_definition", "_item", "_directive", "_clause")
MOST_NODES = 3_000


def safe_offsets(tree: Tree | None, row: Language | None, start: int, text: str) -> tuple[tuple[int, str], ...]:
    """Safe ends inside `text`, which stands at byte `start` of the tree: (code-point offset, kind),
    ascending."""
    found: dict[int, str] = {}
    for offset, char in enumerate(text):
        if char == "\n" and text[:offset].strip():
            found[offset - (text[offset - 1] == "\r")] = "line"
    if tree is not None and row is not None and not tree.root_node.is_error:
        source = to_bytes(text)
        for byte, kind in _node_ends(tree, row, start, start + len(source)):
            offset = len(source[: byte - start].decode("utf-8", "ignore"))
            if offset > 0 and _RANK[kind] >= _RANK.get(found.get(offset, "line"), 0):
                found[offset] = kind
    if text.strip():
        found.setdefault(len(text), "line")
    return tuple(sorted(found.items()))


def _node_ends(tree: Tree, row: Language, start: int, end: int) -> list[tuple[int, str]]:
    ends: list[tuple[int, str]] = []
    stack = [tree.root_node]
    seen = 0
    while stack and seen < MOST_NODES:
        node = stack.pop()
        seen += 1
        if node.is_named and not node.is_error and not node.has_error and start < node.end_byte <= end:
            ends.append((node.end_byte, _kind(node, row)))
        if "string" not in node.type:
            stack.extend(c for c in node.children if c.start_byte < end and c.end_byte > start)
    return ends


def _kind(node: Node, row: Language) -> str:
    if node.type in row.bodies | row.functions | row.classes:
        return "block"
    parent = node.parent
    if node.type.endswith(_STATEMENTS) or (parent is not None and parent.type in row.bodies):
        return "statement"
    return "argument" if parent is not None and parent.type in row.arguments else "expression"
