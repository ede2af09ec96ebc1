"""What an answer is worth: each measure on answers made for it."""

from __future__ import annotations

import pytest

from quatrain.lsp_server.evaluate import measures
from quatrain.lsp_server.evaluate.case import Answer, Case


def answer(text: str, replaced: int = 0) -> Answer:
    return Answer(text, replaced, "line", 1.0, 1.0, 0.1, 1, 1, 1, 1, 0)


def case(prefix: str, expected: str, suffix: str, language: str = "python", closing: str = "") -> Case:
    return Case("case", language, "file", "kind", prefix, expected, suffix, closing)


CALL = case("x = f(", "a, b", ")\ny = 2\n")


@pytest.mark.parametrize(
    ("text", "replaced", "exact", "first"),
    [
        ("a, b", 0, True, True),
        ("a, b  ", 0, True, True),
        ("a, b)", 1, True, True),  # the closing bracket replaced by the answer's own
        ("a, b)", 0, False, False),
        (" a, b", 0, False, False),
        ("", 0, False, False),
    ],
)
def test_exact_and_first_line(text: str, replaced: int, exact: bool, first: bool) -> None:
    assert measures.exact(CALL, answer(text, replaced)) == exact
    assert measures.first_line(CALL, answer(text, replaced)) == first


def test_first_line_of_many() -> None:
    block = case("if x:", "\n    a()\n    b()", "\nend()\n")
    assert measures.first_line(block, answer("\n    a()"))
    assert not measures.exact(block, answer("\n    a()"))
    assert not measures.first_line(block, answer("\n  a()"))
    assert not measures.first_line(block, answer(""))


def test_a_hole_that_took_its_line_end_along() -> None:
    raw = case("def f():\n", "    return 1", "x = 2\n", closing="\n")
    assert measures.exact(raw, answer("    return 1"))
    assert measures.exact(raw, answer("    return 1\n"))
    assert raw.completed("    return 1", len(raw.prefix)) == raw.truth


@pytest.mark.parametrize(
    ("a", "b", "expected"), [("", "", 1), ("abc", "abc", 1), ("abc", "", 0), ("abc", "abd", 2 / 3), ("ab", "b", 0.5)]
)
def test_similarity_is_one_less_the_edits(a: str, b: str, expected: float) -> None:
    assert measures.similarity(a, b) == pytest.approx(expected)
    assert measures.similarity(b, a) == pytest.approx(expected)


def test_errors_are_counted_in_the_whole_document() -> None:
    good = measures.score(CALL, answer("a, b"))
    assert (good.errors, good.raised, good.valid) == (0, False, True)
    bad = measures.score(CALL, answer("a, ["))
    assert bad.raised and not bad.valid
    nothing = measures.score(CALL, answer(""))
    assert not nothing.raised and not nothing.offered
    assert measures.count_errors("nothing known", "(") == -1


@pytest.mark.parametrize(
    ("hole", "text", "twice"),
    [
        (CALL, "a)", True),
        (CALL, "a", False),
        (CALL, "g(a)", False),  # both brackets are needed
        (case('x = "', "a", '"\n'), 'a"', True),
        (case("f(a", ", b", ");\n", "javascript"), ", b);", False),
        (case("f(a)", "", ";\n", "javascript"), ";", True),
        (case("if (a) {", "\n  b();", "\n}\n", "javascript"), "\n  b();\n}", True),
        (case("while (1) { if (a) {", "\n  b(); }", "\n}\n", "javascript"), "\n  b();\n}", False),
    ],
)
def test_closers_said_twice(hole: Case, text: str, twice: bool) -> None:
    given = answer(text)
    done = hole.completed(text, len(hole.prefix))
    assert measures.closer_twice(hole, given, measures.count_errors(hole.language, done)) == twice


def test_next_line_said_twice() -> None:
    hole = case("def f():\n    ", "a = 1", "\n    return a\n")
    assert measures.next_line_twice(hole, answer("return a"))
    assert measures.next_line_twice(hole, answer("a = 1\n    return a"))
    assert not measures.next_line_twice(hole, answer("return ab"))
    right = case("", "return a", "\nreturn a\n")
    assert not measures.next_line_twice(right, answer("return a")), "the true text said it too"


def test_rest_of_line_said_twice() -> None:
    hole = case("x = f(", "a", ", beta=2)\n")
    assert measures.rest_twice(hole, answer("a, beta=2)"))
    assert not measures.rest_twice(hole, answer("a, beta=2)", replaced=9))
    assert not measures.rest_twice(hole, answer("a"))
