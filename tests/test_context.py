"""Context: within the budget, whole around the cursor, cut at borders, and still while the user types."""

from __future__ import annotations

import argparse
import inspect
import itertools
import random
import textwrap
from dataclasses import replace
from functools import cache

import pytest

from quatrain.lsp_server import context
from quatrain.lsp_server.context import Context, build, estimate
from quatrain.lsp_server.documents import Snapshot
from quatrain.lsp_server.languages import parse
from quatrain.lsp_server.outline import joined, named

SOURCE = inspect.getsource(argparse)
TYPED = "        value = self.find(name)\n        if value:"
BUDGETS = (256, 512, 1024, 2048)


@cache
def parsed(language: str, text: str) -> object:
    return parse(language, text)


def at(text: str, cursor: int, language: str = "python") -> Snapshot:
    return Snapshot("a.py", language, text, cursor, parsed(language, text))


def cursors(count: int, seed: int) -> list[int]:
    rng = random.Random(seed)
    return [SOURCE.index("\n", rng.randrange(len(SOURCE) - 10)) + 1 for _ in range(count)]


def test_a_small_file_is_given_whole() -> None:
    text = "import os\n\n\ndef f():\n    \n"
    assert build(at(text, len(text) - 1), 1024) == Context("a.py", "python", "", text[:-1], "\n")


@pytest.mark.parametrize("budget", BUDGETS)
def test_budget_and_cursor(budget: int) -> None:
    for cursor in cursors(12, budget):
        got = build(at(SOURCE, cursor), budget)
        assert estimate(got.outline + got.prefix + got.suffix) <= budget
        assert SOURCE[cursor:].startswith(got.suffix)
        near = min(len(got.prefix), budget // 2)
        assert SOURCE[:cursor].endswith(got.prefix[-near:])
        assert estimate(got.outline + got.prefix + got.suffix) >= budget * 0.5


@pytest.mark.parametrize("budget", BUDGETS)
def test_another_way_to_count_is_obeyed(budget: int) -> None:
    def words(text: str) -> int:
        return len(text.split()) * 2

    for cursor in cursors(4, 7):
        got = build(at(SOURCE, cursor), budget, words)
        assert words(got.outline + got.prefix + got.suffix) <= budget


@pytest.mark.parametrize("budget", BUDGETS)
def test_edges_stay_while_typing(budget: int) -> None:
    steps = 0
    for cursor in cursors(10, budget + 1):
        seen: list[Context] = []
        for typed in range(41):
            text = SOURCE[:cursor] + TYPED[:typed] + SOURCE[cursor:]
            seen.append(build(Snapshot("a.py", "python", text, cursor + typed, None), budget))
        assert len({(c.outline, c.suffix) for c in seen}) == 1
        moved = sum(not b.prefix.startswith(a.prefix) for a, b in itertools.pairwise(seen))
        assert moved <= 1
        steps += moved
    assert steps <= 5


def test_suffix_ends_at_a_border() -> None:
    tree = parse("python", SOURCE)
    assert tree is not None
    borders = places = 0
    for cursor in cursors(60, 3):
        here = tree.root_node.descendant_for_byte_range(cursor, cursor + 1)
        if here is None or "string" in here.type:
            continue  # inside a docstring there are no statements to cut between
        places += 1
        got = build(at(SOURCE, cursor), 512)
        end = cursor + len(got.suffix)
        rest = SOURCE[end:]
        if not rest.strip():
            borders += 1
            continue
        first = end + len(rest) - len(rest.lstrip())
        node = tree.root_node.descendant_for_byte_range(first, first + 1)
        while node is not None and node.parent is not None and node.parent.start_byte == node.start_byte:
            node = node.parent
        kind = node.type if node is not None else ""
        borders += kind == "block" or kind.endswith(("_statement", "_definition", "_clause", "comment"))
    assert borders == places


def told(language: str, far: str, room: int, *names: str) -> str:
    return joined(named(language, far, room, frozenset(names), None, ()))


def test_signatures_and_imports_of_what_is_named() -> None:
    far = textwrap.dedent(
        """\
        import os
        from sys import path

        LIMIT = 3


        def helper(a, b):
            one = 1
            two = 2
            return a + b


        class Big:
            def first(self, x):
                one = 1
                two = 2
                return x

            def second(self, y):
                one = 1
                two = 2
                return y

            def third(self):
                if self.x:
                    one = 1
        """
    )
    short = told("python", far, 600, "path", "helper", "first")
    assert "from sys import path" in short and "import os" not in short
    assert "def helper(a, b):" in short and "class Big:" not in short
    assert "    def first(self, x):" in short and "def third" not in short
    assert "        ..." in told("python", far, 60, "first")
    assert "return a + b" in told("python", far, 600, "helper")  # whole, where there is room
    assert len(told("python", far, 60, "helper", "first", "second")) <= 68
    assert told("python", far, 600, "LIMIT") == ""  # no definition, no import
    assert named("python", far, 600, frozenset({"helper"}), None, {7}) == {}  # told already


def test_signatures_of_braces() -> None:
    far = "import a from 'a';\n\nfunction f3(x) {\n  one();\n  two();\n  return x;\n}\n\nclass A {\n  g33(y) {\n"
    far += "    one();\n    two();\n    return y;\n  }\n\n  h() {\n    if (x) {\n"
    assert told("javascript", far, 40, "f3") == ""  # no identifier of less than three letters is told apart
    assert "  g33(y) { /* ... */ }" in told("javascript", far, 40, "g33")


def test_a_definition_that_goes_on_below_the_edge_is_no_signature() -> None:
    far = "def whole(a):\n    b = a\n    c = b\n    return c\n\n\ndef part(a):\n    b = a\n    c = b\n"
    tree = parse("python", far + "    return c\n")
    assert named("python", far, 600, frozenset({"whole", "part"}), tree, ()).keys() == {0}


def test_line_ends_become_lf() -> None:
    text = "a = 1\r\nb = 2\r\n"
    got = build(at(text, 7), 100)
    assert (got.prefix, got.suffix) == ("a = 1\n", "b = 2\n")


def test_an_unknown_language_has_a_context() -> None:
    text = "\n\n".join(f"section {i}\n  line one\n  line two\n" for i in range(300))
    got = build(Snapshot("a.txt", "", text, len(text) // 2, None), 256)
    assert estimate(got.prefix + got.suffix) <= 256
    assert text[len(text) // 2 :].startswith(got.suffix)


def test_outline_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    cursor = SOURCE.index("def _format_usage") + 400
    joined = build(at(SOURCE, cursor), 512)
    monkeypatch.setattr(context, "OUTLINE_APART", True)
    apart = build(at(SOURCE, cursor), 512)
    assert apart.outline
    assert apart.outline + apart.prefix == joined.prefix


FAR = textwrap.dedent(
    """\
    class Store:
        def load(self, key):
            row = self.table.find(key)
            if row is None:
                raise MissingRow(key)
            return row.value

    """
)
FILLER = "".join(
    f"def filler_{i}(first, second):\n    total = first * {i}\n    return total - second\n\n\n" for i in range(150)
)
NEAR = "class Other:\n    def erase(self, key):\n        row = self.table.find(key)\n        "
BELOW = "\n            raise MissingRow(key)\n        row.clear()\n\n\n"


@pytest.mark.parametrize("far_is_above", [True, False])
@pytest.mark.parametrize("parse_it", [True, False])
def test_far_text_that_is_like_the_cursors_surroundings_is_shown(far_is_above: bool, parse_it: bool) -> None:
    before = (FAR if far_is_above else "") + FILLER + NEAR
    after = BELOW + FILLER + ("" if far_is_above else FAR)
    snapshot = at(before + after, len(before))
    if not parse_it:
        snapshot = replace(snapshot, tree=None)
    got = build(snapshot, 640)
    assert "if row is None:" in got.prefix
    assert got.prefix.endswith(NEAR)
    if parse_it:
        assert "class Store:" in got.prefix and "def load(self, key):" in got.prefix


def test_far_text_stays_while_lines_are_typed_and_is_fresh_elsewhere() -> None:
    before, after = FAR + FILLER + NEAR, BELOW + FILLER
    context.forget()
    first = build(at(before + after, len(before)), 384)
    typed = "if row is None:\n            "
    second = build(Snapshot("a.py", "python", before + typed + after, len(before + typed), None), 384)
    assert second.prefix == first.prefix + typed and second.suffix == first.suffix
    elsewhere = len(FAR + FILLER) // 2
    assert "MissingRow" not in build(at(before + after, before.index("\n\n\n", elsewhere) + 3), 384).prefix


def test_the_headers_around_the_edge_are_shown() -> None:
    lines = "".join(f"        self.note({i}, 'some words to fill the line')\n" for i in range(200))
    text = "class Outer:\n    def method(self, value):\n" + lines
    got = build(at(text, len(text)), 256)
    assert got.prefix.startswith("class Outer:\n    def method(self, value):\n")


@pytest.mark.parametrize("before", ["", "x = 1\n" * 500])
@pytest.mark.parametrize("after", ["", "\nfoo()\n" * 300])
def test_a_line_that_is_longer_than_the_budget_is_cut_at_its_far_end(before: str, after: str) -> None:
    line = "var a = [" + ",".join(map(str, range(9000)))
    for cursor in (5, 20_000, len(line)):
        text = before + line + "];" + after
        got = build(Snapshot("a.js", "javascript", text, len(before) + cursor, None), 256)
        assert estimate(got.prefix) + estimate(got.suffix) <= 257
        assert (before + line[:cursor]).endswith(got.prefix[-5:]) and text[len(before) + cursor :].startswith(
            got.suffix
        )
        assert cursor < 1000 or len(got.prefix) > 300


def test_a_long_statement_below_does_not_break_the_budget() -> None:
    table = "table = [\n" + "".join(f"    ({i}, 'name {i}', {i * i}),\n" for i in range(400)) + "]\n"
    text = "import os\n\n\n" + "value = 2\n" + table
    for budget in (256, 384, 1024):
        got = build(at(text, 11), budget)
        assert estimate(got.prefix) + estimate(got.suffix) <= budget + 1


def test_after_a_deletion_the_room_is_used_again() -> None:
    cursor = SOURCE.index("\n", len(SOURCE) // 2) + 1
    context.forget()
    first = build(at(SOURCE, cursor), 512)
    start = cursor - 700
    shorter = SOURCE[:start] + SOURCE[cursor:]
    second = build(at(shorter, start), 512)
    assert estimate(second.prefix) > estimate(first.prefix) * 0.8


def test_counting_stays_near_the_cursor() -> None:
    counted: list[int] = []

    def count(text: str) -> int:
        counted.append(len(text))
        return estimate(text)

    text = SOURCE * 10
    context.forget()
    build(at(text, text.index("\n", len(text) // 2) + 1), 1024, count)
    assert max(counted) <= 1024 * 8
