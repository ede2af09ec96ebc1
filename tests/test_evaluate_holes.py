"""Holes in source files: where they are, that a seed fixes them, that languages take turns."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from quatrain.lsp_server.evaluate import holes, sources
from quatrain.lsp_server.evaluate.holes import PUNCHES, Source
from quatrain.model.api import QuatrainError

PYTHON = '''"""A module. é"""

import os


def walk(root, depth=3, *, hidden=False):
    """Say what lies where."""
    found = {}
    for name in os.listdir(root):
        if hidden or not name.startswith("."):
            found[name] = os.path.join(root, name)
    return sorted(found.values(), key=len)


def many(
    first,
    second,
):
    return walk(first, 1) + walk(second, 2)
'''
CODE = {
    "python": PYTHON,
    "javascript": "function add(first, second) {\n  const total = first + second;\n  return [total, first];\n}\n",
    "typescript": "export function add(first: number, second: number): number {\n  return sum(first, second);\n}\n",
    "java": "class Adder {\n  int add(int first, int second) {\n    return sum(first, second);\n  }\n}\n",
    "c": "int add(int first, int second) {\n  int total = sum(first, second);\n  return total;\n}\n",
    "cpp": "int add(int first, int second) {\n  auto total = sum<int>(first, second);\n  return total;\n}\n",
    "go": "package a\n\nfunc add(first int, second int) int {\n\ttotal := sum(first, second)\n\treturn total\n}\n",
    "rust": "fn add(first: i32, second: i32) -> i32 {\n    let total = sum(first, second);\n    total\n}\n",
}


def spans(kind: str, text: str = PYTHON, language: str = "python") -> list[str]:
    source = Source(text, language)
    return [text[span.start : span.end] for span in PUNCHES[kind](source, Random(0))]


def test_python_holes_are_where_they_should_be() -> None:
    assert "found = {}" in spans("statement")
    assert "return walk(first, 1) + walk(second, 2)" in spans("statement")
    assert not any(hole.startswith("import") for hole in spans("statement"))
    assert {"root", "depth=3", "key=len", "second"} <= set(spans("argument"))
    assert "return walk(first, 1) + walk(second, 2)" in spans("block")
    assert any(hole.startswith("found = {}") and hole.endswith("key=len)") for hole in spans("block"))
    assert "\n    first,\n    second" in spans("opener")
    assert any(hole.startswith("\n            found[name] = ") for hole in spans("opener"))


@pytest.mark.parametrize("language", CODE)
def test_every_kind_in_every_language(language: str) -> None:
    text = CODE[language]
    cases = {case.kind: case for case in holes.punch(text, language, "file", seed=1)}
    assert set(cases) == set(PUNCHES)
    for case in cases.values():
        assert case.prefix + case.expected + case.suffix == text
        assert case.expected.strip() and case.document != text
    assert cases["word"].prefix[-1].isalnum() and cases["word"].expected[0].isalnum()
    middle = cases["middle"]
    assert "\n" not in middle.expected and middle.suffix.partition("\n")[0].strip()
    assert cases["opener"].expected.startswith("\n")


def test_words_end_where_an_editor_would_have_closed() -> None:
    source = Source("value = call(number + other, size)\nif check(number):\n    pass\n", "python")
    for line in source.lines[:2]:
        for leaf in line:
            holes_text = source.text[leaf.start : holes.reach(source, line[line.index(leaf) :])]
            assert holes_text.count("(") == holes_text.count(")")


def test_a_seed_fixes_the_holes() -> None:
    one, again, other = (holes.punch(PYTHON, "python", "f.py", seed) for seed in (3, 3, 4))
    assert one == again
    assert one != other


def test_offsets_are_code_points() -> None:
    text = "# é𝄞\n" + CODE["javascript"].replace("total", "größe")
    for case in holes.punch(text.replace("#", "//"), "javascript", "f", 0):
        assert case.prefix + case.expected + case.suffix == text.replace("#", "//")
    assert "return [größe, first];" in spans("statement", text.replace("#", "//"), "javascript")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for language, ending in (("python", "py"), ("go", "go"), ("rust", "rs")):
        for number in range(4):
            (tmp_path / f"{number}.{ending}").write_text(CODE[language] + "\n" * 20)
    (tmp_path / "wide.py").write_text("x = 1\n" * 30 + "y" * 1000)
    (tmp_path / "data.bin").write_bytes(b"\xff\xfe")
    return tmp_path


def test_languages_and_kinds_take_turns(tree: Path) -> None:
    files = sources.matching([str(tree)])
    cases = sources.punched(files, 30, seed=5)
    assert cases == sources.punched(list(reversed(files)), 30, seed=5)
    assert cases[:12] == sources.punched(files, 12, seed=5)
    counts = {name: sum(case.language == name for case in cases) for name in ("python", "go", "rust")}
    assert set(counts.values()) == {10}
    assert len({case.id for case in cases}) == 30


def test_files_by_pattern(tree: Path) -> None:
    assert {file.language for file in sources.matching([f"{tree}/*.go"])} == {"go"}
    with pytest.raises(QuatrainError, match="no file matches"):
        sources.matching([f"{tree}/*.zig"])
    assert sources.text_of(sources.File("w", tree / "wide.py", "python")) is None
    assert sources.text_of(sources.File("b", tree / "data.bin", "python")) is None
    assert sources.text_of(sources.File("n", tree / "none", "python")) is None
