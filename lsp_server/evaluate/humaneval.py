"""HumanEval infilling: single lines and random spans, each with the test that tells whether the program works.

Knows the files under data/; runs nothing.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any

from quatrain.lsp_server.evaluate.case import Case

FILES = {
    "humaneval": "HumanEval-SingleLineInfilling.jsonl.gz",
    "humaneval-spans": "HumanEval-RandomSpanInfillingLight.jsonl.gz",
}


def cases(suite: str, raw: bool = False) -> list[Case]:
    """All problems of one file.

    A single-line hole takes its whole line. Published figures are for the hole without its line end: the cursor
    then stands before the next line's text (`raw`). In an editor somebody who wants a line has an empty line
    there, so by default the line end stays.
    """
    return [single_line(row, raw) if suite == "humaneval" else span(row) for row in rows(FILES[suite])]


def rows(name: str) -> Iterator[dict[str, Any]]:
    """Problems as they were published."""
    path = files("quatrain.lsp_server.evaluate").joinpath("data", "human_eval_infilling", name)
    with path.open("rb") as packed, gzip.open(packed, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def single_line(row: Mapping[str, Any], raw: bool) -> Case:
    """A problem whose hole is one line."""
    line = row["canonical_solution"].removesuffix("\n")
    if raw:
        return make(row, "line", line, row["suffix"], "\n")
    return make(row, "line", line, "\n" + row["suffix"])


def span(row: Mapping[str, Any]) -> Case:
    """A problem whose hole begins and ends anywhere."""
    return make(row, "span", row["canonical_solution"], row["suffix"])


def make(row: Mapping[str, Any], kind: str, expected: str, suffix: str, closing: str = "") -> Case:
    """A problem as a case. The file's name says nothing of the solution."""
    name = row["task_id"].partition("/")[2]
    test = f"\n{row['test']}\n\ncheck({row['entry_point']})\n"
    return Case(name, "python", "solution.py", kind, row["prompt"], expected, suffix, closing, test)
