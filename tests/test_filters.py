"""Filters: for each, a completion it refuses and one it must leave alone."""

from __future__ import annotations

import pytest

from quatrain.lsp_server import filters
from quatrain.lsp_server.cut import Cut
from quatrain.lsp_server.documents import Snapshot


def at(text: str) -> Snapshot:
    cursor = text.index("|")
    return Snapshot("a.py", "python", text.replace("|", "", 1), cursor, None)


BODY = at("def f(x):\n    y = x + 1\n    |\n    return y\n")


@pytest.mark.parametrize(
    ("snapshot", "text", "reason"),
    [
        (BODY, "", "filtered_empty"),
        (BODY, "  \n  ", "filtered_whitespace"),
        (BODY, "y = x + 1", "filtered_repeats_above"),
        (BODY, "return y", "filtered_repeats_below"),
        (at("a(1)\n|\nfirst()\nsecond()\n"), "first()\nsecond()", "filtered_repeats_below"),
        (at("xs = |\n"), "ab, ab, ab, ab, ab, ab", "filtered_loop"),
        (at("    ret|\n    return y\n"), "urn y", "filtered_repeats_below"),
    ],
)
def test_refused(snapshot: Snapshot, text: str, reason: str) -> None:
    assert filters.apply(Cut(text, 0, ""), snapshot, ()) == Cut("", 0, reason)


@pytest.mark.parametrize(
    ("snapshot", "text"),
    [
        (BODY, "y *= 2"),
        (BODY, "y = x + 2"),
        (BODY, "return y + 1"),
        (at("xs = |\n"), "[0, 0, 0]"),
        (at("line = |\n"), '"-" * 20'),
        (at("x = foo(|)\n"), "a"),
        (at("pass\n|\n"), "x"),
    ],
)
def test_left_alone(snapshot: Snapshot, text: str) -> None:
    cut = Cut(text, 0, "statement", ((len(text), "statement"),))
    assert filters.apply(cut, snapshot, (0.9, 0.8)) is cut
    assert filters.apply(filters.apply(cut, snapshot, ()), snapshot, ()) is cut


def test_an_empty_cut_keeps_its_reason() -> None:
    cut = Cut("", 0, "syntax")
    assert filters.apply(cut, BODY, ()) is cut


def test_confidence_is_a_threshold() -> None:
    cut = Cut("y *= 2", 0, "statement")
    assert filters.apply(cut, BODY, (0.5, 0.5), threshold=0.6).reason == "filtered_confidence"
    assert filters.apply(cut, BODY, (0.5, 0.5), threshold=0.4) is cut
    assert filters.apply(cut, BODY, (), threshold=0.9) is cut
    assert filters.confidence((0.25, 1.0)) == pytest.approx(0.5)


def test_indentation_makes_another_line() -> None:
    snapshot = at("def f(x):\n    if x:\n        return False\n|\n")
    cut = Cut("    return False", 0, "statement")
    assert filters.apply(cut, snapshot, ()) is cut


def test_the_first_tokens_tell() -> None:
    """A model grows sure of itself as it goes on: what it was not sure of at first does not wash out."""
    assert filters.confidence((0.25,) * 8 + (1.0,) * 40) == pytest.approx(0.25)
