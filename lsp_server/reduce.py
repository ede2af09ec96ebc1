"""A document made small: whole syntax nodes far from the cursor are left out, so that parsing it is quick.

Works on bytes and trees only. What it leaves out are complete siblings of the nodes around the cursor, so the
rest is still a document of the same shape and an error near the cursor is an error in both.
"""

from __future__ import annotations

import re

from .language_row import Language
from .languages import Node, Tree

_BEGINS = re.compile(rb"^([ \t]*)[^\W\d]|^()[@#]", re.MULTILINE)

SMALL = 3_000  # bytes; a node below this is kept whole
NEAR = 2  # siblings kept on each side of the cursor
NEAR_BYTES = 800  # ... and more of them until this much is kept
LARGE = 600  # bytes; a sibling above this loses the middle of its bodies
ENDS = 2  # first and last children hold braces, tags, directives
BROKEN = 12_000  # bytes; more than this and only whole top-level lines help
# Other kinds hold statements or members side by side, beside those that a language names.
_HOLDERS = frozenset({"element", "jsx_element", "preproc_if", "preproc_ifdef", "preproc_else", "declaration_list"})
_WHOLE = ("_statement", "_declaration", "_definition", "_item", "_directive", "method", "rule_set")


def reduce(row: Language, source: bytes, tree: Tree, cursor: int) -> tuple[bytes, bytes]:
    """The document's bytes left and right of `cursor` without the nodes that are far from it."""
    removed: list[tuple[int, int]] = []
    holders = row.bodies | row.arguments | _HOLDERS
    node: Node | None = tree.root_node
    while node is not None and node.end_byte - node.start_byte > SMALL:
        children = node.children
        at = next((i for i, c in enumerate(children) if c.end_byte >= cursor), len(children) - 1)
        low, high = 0, len(children) - 1
        if len(children) > 2 * (NEAR + ENDS) + 2:
            if node.is_error:
                low, high = _near(children, at)
                removed += _pieces(children, low, high)
            elif node.type in holders:
                low, high = _near(children, at)
                removed += _runs(children, low, high)
        kept = (*children[:ENDS], *children[low : high + 1], *children[-ENDS:])
        removed += [r for c in kept if c != children[at] for r in _inner(c, holders)]
        inside = children[at] if children and children[at].start_byte <= cursor else None
        node = inside if inside is not None and inside.child_count else None
    left, right = _without(source, removed, cursor)
    return _window(left, right) if len(left) + len(right) > BROKEN and tree.root_node.has_error else (left, right)


def _near(children: list[Node], at: int) -> tuple[int, int]:
    """Indices of the first and last child that count as near to the child `at`."""
    low = high = at
    last = len(children) - 1
    while low > 0 and (at - low < NEAR or children[at].start_byte - children[low].start_byte < NEAR_BYTES):
        low -= 1
    while high < last and (high - at < NEAR or children[high].end_byte - children[at].end_byte < NEAR_BYTES):
        high += 1
    return low, high


def _runs(children: list[Node], low: int, high: int) -> list[tuple[int, int]]:
    """Byte ranges of the two runs of children that may go: not near, not at either end of the parent."""
    ranges = []
    first, final = ENDS, len(children) - 1 - ENDS
    # Separators are children too: a run must end as it began, or two values would meet without a comma.
    while low > first and children[low].is_named != children[first].is_named:
        low -= 1
    if low > first:
        ranges.append((children[first].start_byte, children[low].start_byte))
    while high < final and children[high].is_named != children[final].is_named:
        high += 1
    if high < final:
        ranges.append((children[high].end_byte, children[final].end_byte))
    return ranges


def _inner(node: Node, holders: frozenset[str]) -> list[tuple[int, int]]:
    """Byte ranges of the middles of the bodies inside a large node that stays."""
    if node.end_byte - node.start_byte < LARGE:
        return []
    children = node.children
    if node.has_error:
        gone = _pieces(children, ENDS, ENDS - 1)
        return gone + [r for child in children if child.has_error for r in _inner(child, holders)]
    ranges: list[tuple[int, int]] = []
    stay = children
    last = len(children) - ENDS
    if node.type in holders and last > ENDS:
        while last > ENDS and children[last].is_named != children[ENDS].is_named:
            last -= 1
        if last > ENDS:
            ranges.append((children[ENDS].start_byte, children[last].start_byte))
            stay = [*children[:ENDS], *children[last:]]
    return ranges + [r for child in stay for r in _inner(child, holders)]


def _pieces(children: list[Node], low: int, high: int) -> list[tuple[int, int]]:
    """Inside an ERROR node, where headers lie about as loose tokens: only sound whole statements may go."""
    far = children[:low] + children[high + 1 :]
    return [(c.start_byte, c.end_byte) for c in far if c.type.endswith(_WHOLE) and not c.has_error]


def _window(left: bytes, right: bytes) -> tuple[bytes, bytes]:
    """A broken document: the stretch around the cursor between lines that are indented the least in it."""
    near = BROKEN // 3
    before = _BEGINS.finditer(left, max(len(left) - near, 0))
    after = list(_BEGINS.finditer(right, min(right.find(b"\n") + 1, len(right)), 2 * near))
    starts = [(len(m.group(1) or b""), m.start()) for m in before]
    level = min([indent for indent, _ in starts] + [len(m.group(1) or b"") for m in after], default=0)
    start = next((at for indent, at in starts if indent == level), len(left) - near if len(left) > near else 0)
    ends = [m.start() for m in after if m.start() > near and len(m.group(1) or b"") <= level]
    return left[start:], right[: ends[0] if ends else len(right) if len(right) < 2 * near else 2 * near]


def _without(source: bytes, removed: list[tuple[int, int]], cursor: int) -> tuple[bytes, bytes]:
    left: list[bytes] = []
    right: list[bytes] = []
    position = 0
    for start, end in sorted(set(removed)):
        if end <= position:
            continue  # inside a range that is gone already
        if end <= cursor:
            left.append(source[position:start])
            position = end
    left.append(source[position:cursor])
    position = cursor
    for start, end in sorted(set(removed)):
        if end <= position:
            continue
        if start >= cursor:
            right.append(source[position:start])
            position = end
    right.append(source[position:])
    return b"".join(left), b"".join(right)
