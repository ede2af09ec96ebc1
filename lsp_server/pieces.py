"""Pieces of a file around a row: whole syntax nodes of a few rows, and the headers of what they stand in.

Knows trees and rows; knows nothing of why a row was chosen.
"""

from __future__ import annotations

from .languages import Language, Node, Tree

MOST_ROWS = 12
BLIND = 3, 5  # rows before and after, where there is no tree


def piece(tree: Tree | None, line: str, row: int, low: int, high: int) -> tuple[int, int] | None:
    """First and last row of the piece around `row`, which says `line`, within `low` and `high`: the largest node of at
    most MOST_ROWS rows around its first word, and that one's neighbours as far as there is room. None
    inside a long comment or string."""
    if tree is None:
        return max(low, row - BLIND[0]), min(high, row + BLIND[1])
    column = len(line) - len(line.lstrip())
    node = tree.root_node.descendant_for_point_range((row, column), (row, column + 1))
    if node is None or rows_of(node) > MOST_ROWS:
        return None
    while node.parent is not None and node.parent.parent is not None and rows_of(node.parent) <= MOST_ROWS:
        node = node.parent
    first, last = widened(node, low, high)
    return max(first, low), min(last, high)


def rows_of(node: Node) -> int:
    return node.end_point.row - node.start_point.row + 1


def widened(node: Node, low: int, high: int) -> tuple[int, int]:
    """The rows of a node and of the siblings around it, later ones first, in at most MOST_ROWS rows."""
    first, last = node.start_point.row, node.end_point.row
    before: Node | None = node.prev_named_sibling
    after: Node | None = node.next_named_sibling
    while True:
        grown = False
        if after is not None and after.end_point.row <= high and after.end_point.row - first < MOST_ROWS:
            last, after, grown = max(last, after.end_point.row), after.next_named_sibling, True
        if before is not None and before.start_point.row >= low and last - before.start_point.row < MOST_ROWS:
            first, before, grown = min(first, before.start_point.row), before.prev_named_sibling, True
        if not grown:
            return first, last


def headers(tree: Tree | None, row: Language | None, line: int) -> list[int]:
    """Rows on which the functions and classes begin that stand around a line, outermost first."""
    if tree is None or row is None:
        return []
    found: list[int] = []
    node = tree.root_node.descendant_for_point_range((line, 0), (line, 1))
    while node is not None:
        if node.type in row.functions | row.classes and node.start_point.row < line:
            found.append(node.start_point.row)
        node = node.parent
    return found[::-1]
