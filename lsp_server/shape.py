"""Questions about syntax nodes near a place: errors in a tree, the last code before it, what encloses it.

Pure functions on trees and bytes; knows nothing of completions.
"""

from __future__ import annotations

from .languages import COMMENTS, Node, Tree

VOID_TAGS = frozenset(b"area base br col embed hr img input link meta param source track wbr !doctype".split())


def count_errors(tree: Tree, limit: int = 1_000) -> int:
    """ERROR and MISSING nodes of a tree, counted up to `limit` + 1; sound subtrees are not walked."""
    total = 0
    stack = [tree.root_node]
    while stack and total <= limit:
        node = stack.pop()
        if node.is_error or node.is_missing:
            total += 1
        if node.has_error:
            stack.extend(child for child in node.children if child.has_error)
    return total


def last_code(tree: Tree, source: bytes, floor: int, end: int) -> tuple[int, Node | None, bool]:
    """The last byte before `end` that is not blank and not in a comment, its leaf, and whether none was
    found."""
    position = end
    comment: Node | None = None
    while True:
        position = len(source[:position].rstrip())
        if position <= floor:
            return position, comment, True
        leaf = tree.root_node.descendant_for_byte_range(position - 1, position)
        node = leaf
        while node is not None and node.type not in COMMENTS and "comment" in node.type:
            node = node.parent
        if node is None or node.type not in COMMENTS:
            return position - 1, leaf, False
        comment = node
        if node.start_byte <= floor:
            return position, comment, True
        position = node.start_byte


def ancestors(leaf: Node, floor: int) -> list[Node]:
    """The leaf and those of its ancestors that begin on the cursor's line or after it."""
    chain: list[Node] = []
    node: Node | None = leaf
    while node is not None and node.start_byte >= floor:
        chain.append(node)
        node = node.parent
    return chain


def top_node(chain: list[Node], bodies: frozenset[str]) -> Node | None:
    """The outermost node of the chain that is not merely a container of statements."""
    return next((node for node in reversed(chain) if node.type not in bodies and not node.is_error), None)


def spine(node: Node | None) -> list[Node]:
    """A node's last child that is not a comment, that one's last child, and so on."""
    spine: list[Node] = []
    while node is not None:
        spine.append(node)
        children = code_children(node)
        node = children[-1] if children else None
    return spine


def code_children(node: Node) -> list[Node]:
    """A node's named children without comments."""
    return [child for child in node.named_children if child.type not in COMMENTS]


def unclosed(element: Node, source: bytes) -> bool:
    """Whether an HTML element lacks its end tag and is not of a kind that has none."""
    children = element.named_children
    if not children or children[-1].type in ("end_tag", "self_closing_tag"):
        return False
    names = children[0].named_children
    return not names or source[names[0].start_byte : names[0].end_byte].lower() not in VOID_TAGS
