"""The table of languages: every row loads, every name in it exists; parsing and edits count correctly."""

from __future__ import annotations

import random
import threading

import pytest

from quatrain.lsp_server import languages
from quatrain.lsp_server.languages import LANGUAGES, Language, edit_tree, language_for, parse

ROWS = list(LANGUAGES.values())


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_node_kind_exists(row: Language) -> None:
    grammar = languages.grammar(row.name)
    kinds = row.functions | row.classes | row.bodies | row.imports | row.arguments | row.decorators | row.labels
    kinds |= {kind for kind, _ in row.needs} | {child for _, children in row.needs for child in children}
    known = {grammar.node_kind_for_id(i) for i in range(grammar.node_kind_count)}
    assert kinds <= known


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_row_parses(row: Language) -> None:
    tree = parse(row.name, "")
    assert tree is not None
    assert row.closers
    assert row.bodies


def test_names_are_unique() -> None:
    assert len({i for row in ROWS for i in row.ids}) == sum(len(row.ids) for row in ROWS)
    assert len({e for row in ROWS for e in row.extensions}) == sum(len(row.extensions) for row in ROWS)


@pytest.mark.parametrize(
    ("language_id", "path", "name"),
    [
        ("python", "a", "python"),
        ("javascriptreact", "a.jsx", "javascript"),
        ("typescriptreact", "a.tsx", "tsx"),
        ("typescript", "a.ts", "typescript"),
        ("shellscript", "a", "bash"),
        ("csharp", "a.cs", "csharp"),
        ("cpp", "a.h", "cpp"),
        ("c", "a.h", "c"),
        (None, "a.h", "cpp"),
        (None, "file:///x/y.RS", "rust"),
        ("plaintext", "a.py", "python"),
        (None, "Makefile", ""),
        ("klingon", "a.klingon", ""),
    ],
)
def test_language_for(language_id: str | None, path: str, name: str) -> None:
    assert language_for(language_id, path) == name


def test_unknown_and_huge_have_no_tree() -> None:
    assert parse("", "x") is None
    assert parse("python", "x = 1\n" * (languages.MAX_BYTES // 6 + 1)) is None


def test_edits_keep_the_tree_true() -> None:
    rng = random.Random(5)
    text = "def f(x):\n    s = '😀é'\n    return s + x\n\n\nclass A:\n    n = 1\n"
    tree = parse("python", text)
    pieces = ["", "x", "\n", "😀", "(", ")", "    y = 2\n", "é", "'"]
    for _ in range(300):
        start = rng.randrange(len(text) + 1)
        end = min(len(text), start + rng.choice([0, 0, 0, 1, 4]))
        new = rng.choice(pieces)
        edit_tree(tree, text, start, end, new)
        text = text[:start] + new + text[end:]
        tree = parse("python", text, tree)
        fresh = parse("python", text)
        assert tree is not None and fresh is not None
        assert tree.root_node.end_byte == fresh.root_node.end_byte
        assert tree.root_node.end_point == fresh.root_node.end_point
        if not fresh.root_node.has_error and not tree.root_node.has_error:
            assert str(tree.root_node) == str(fresh.root_node)


def test_parsing_in_threads() -> None:
    failures: list[object] = []

    def work() -> None:
        for _ in range(50):
            tree = parse("python", "def f():\n    return 1\n")
            if tree is None or tree.root_node.has_error:
                failures.append(tree)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
