"""Pieces of a file around a row: whole syntax nodes of a few rows, and the headers of what they stand in.

Knows trees and rows; knows nothing of why a row was chosen.
"""

from __future__ import annotations

from .languages import Language, Node, Tree

SIZES = (12, 8, 5)
"""Most rows of a piece, the largest that there is room for."""
HEADER_ROWS = 5
BLIND = 3, 5  # rows before and after, where there is no tree


def piece(tree: Tree | None, line: str, row: int, low: int, high: int, most: int = SIZES[0]) -> tuple[int, int] | None:
    """First and last row of the piece around `row`, which says `line`, within `low` and `high`: the largest node of
    at most `most` rows around its first word, and that one's neighbours as far as there is room. None inside a long
    comment or string."""
    if tree is None:
        return max(low, row - BLIND[0]), min(high, row + BLIND[1])
    column = len(line) - len(line.lstrip())
    node = tree.root_node.descendant_for_point_range((row, column), (row, column + 1))
    if node is None or rows_of(node) > most:
        return None
    while node.parent is not None and node.parent.parent is not None and rows_of(node.parent) <= most:
        node = node.parent
    first, last = widened(node, low, high, most)
    return max(first, low), min(last, high)


def rows_of(node: Node) -> int:
    return node.end_point.row - node.start_point.row + 1


def widened(node: Node, low: int, high: int, most: int) -> tuple[int, int]:
    """The rows of a node and of the siblings around it, later ones first, in at most `most` rows."""
    first, last = node.start_point.row, node.end_point.row
    before: Node | None = node.prev_named_sibling
    after: Node | None = node.next_named_sibling
    while True:
        grown = False
        if after is not None and after.end_point.row <= high and after.end_point.row - first < most:
            last, after, grown = max(last, after.end_point.row), after.next_named_sibling, True
        if before is not None and before.start_point.row >= low and last - before.start_point.row < most:
            first, before, grown = min(first, before.start_point.row), before.prev_named_sibling, True
        if not grown:
            return first, last


def headers(tree: Tree | None, row: Language | None, line: int) -> list[int]:
    """Rows of the headers of the functions and classes that stand around a line."""
    if tree is None or row is None:
        return []
    found: list[int] = []
    node = tree.root_node.descendant_for_point_range((line, 0), (line, 1))
    while node is not None:
        first = node.start_point.row
        if node.type in row.functions | row.classes and first < line:
            body = node.child_by_field_name("body")
            last = body.start_point.row - row.indented if body is not None else first
            found += range(first, min(max(last, first), first + HEADER_ROWS - 1, line - 1) + 1)
        node = node.parent
    return found
