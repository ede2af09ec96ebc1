"""Golden cases: what the model streams at a cursor and what should be shown, in `tests/cases`."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from quatrain.lsp_server.cut import Cut, Cutter
from quatrain.lsp_server.documents import Snapshot
from quatrain.lsp_server.languages import parse

CASES = Path(__file__).parent / "cases"
MARK = "⟦⟧"
ROUNDS = (1, 3, 10_000)


def cases() -> Iterator[object]:
    for path in sorted(CASES.glob("*/*.toml")):
        case = tomllib.loads(path.read_text("utf-8"))
        case["language"] = "" if path.parent.name == "plain" else path.parent.name
        bad = case.get("known_bad")
        marks = [pytest.mark.xfail(reason=bad, strict=True)] if bad else []
        yield pytest.param(case, id=f"{path.parent.name}/{path.stem}", marks=marks)


def run(case: dict[str, str], size: int) -> Cut:
    cursor = case["text"].index(MARK)
    text = case["text"].replace(MARK, "")
    language = case["language"]
    cutter = Cutter(
        Snapshot(f"file.{language}", language, text, cursor, parse(language, text)), case.get("mode", "auto")
    )
    for start in range(0, len(case["model"]), size):
        cut = cutter.feed(case["model"][start : start + size])
        if cut is not None:
            return cut
    return cutter.finish(case.get("end", "length"))


@pytest.mark.parametrize("case", list(cases()))
def test_case(case: dict[str, str]) -> None:
    cuts = [run(case, size) for size in ROUNDS]
    assert cuts[0] == cuts[1] == cuts[2]
    cut = cuts[0]
    assert cut.text == case["expect"]
    assert cut.replace == case.get("replace", 0)
    if "reason" in case:
        assert cut.reason == case["reason"]
    assert all(0 < offset <= len(cut.text) for offset, _ in cut.safe)
    if cut.text.strip():
        assert cut.safe


def test_there_are_enough_cases() -> None:
    assert len(list(cases())) >= 100
