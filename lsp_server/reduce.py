"""A document made small: whole syntax nodes far from the cursor are left out, so that parsing it is quick.

Works on bytes and trees only. What it leaves out are complete siblings of the nodes around the cursor, so the
rest is still a document of the same shape and an error near the cursor is an error in both.
"""

from __future__ import annotations

from .languages import Node, Tree

SMALL = 6_000  # bytes; a node below this is kept whole
NEAR = 3  # siblings kept on each side of the cursor
NEAR_BYTES = 1_500  # ... and more of them until this much is kept
ENDS = 2  # first and last children hold braces, tags, directives


def reduce(source: bytes, tree: Tree, cursor: int) -> tuple[bytes, bytes]:
    """The document's bytes left and right of `cursor` without the nodes that are far from it."""
    removed: list[tuple[int, int]] = []
    node: Node | None = tree.root_node
    while node is not None and node.end_byte - node.start_byte > SMALL:
        children = node.children
        at = next((i for i, c in enumerate(children) if c.end_byte >= cursor), len(children) - 1)
        if len(children) > 2 * (NEAR + ENDS) + 2 and not node.is_error:
            removed += _far(children, at)
        inside = children[at] if children and children[at].start_byte <= cursor else None
        node = inside if inside is not None and inside.child_count else None
    return _without(source, removed, cursor)


def _far(children: list[Node], at: int) -> list[tuple[int, int]]:
    """Byte ranges of the runs of children that may go: not near `at`, not at either end of the parent."""
    low, high = at, at
    while low > 0 and (at - low < NEAR or children[at].start_byte - children[low].start_byte < NEAR_BYTES):
        low -= 1
    last = len(children) - 1
    while high < last and (high - at < NEAR or children[high].end_byte - children[at].end_byte < NEAR_BYTES):
        high += 1
    ranges = []
    first, final = ENDS, last - ENDS
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


def _without(source: bytes, removed: list[tuple[int, int]], cursor: int) -> tuple[bytes, bytes]:
    left: list[bytes] = []
    right: list[bytes] = []
    position = 0
    for start, end in sorted(removed):
        if end <= cursor:
            left.append(source[position:start])
            position = end
    left.append(source[position:cursor])
    position = cursor
    for start, end in sorted(removed):
        if start >= cursor:
            right.append(source[position:start])
            position = end
    right.append(source[position:])
    return b"".join(left), b"".join(right)
