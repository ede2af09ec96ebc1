"""`quatrain eval` from the command line to the page, with an engine that knows the answers."""

from __future__ import annotations

import json
import re
import subprocess
import tarfile
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from random import Random

import numpy as np
import pytest
from fakes import ScriptedEngine
from tiny import tiny_engine, tiny_trunk

from quatrain.lsp_server import cli
from quatrain.lsp_server.context import Context
from quatrain.lsp_server.documents import Document
from quatrain.lsp_server.evaluate import (
    baselines,
    command,
    corpus,
    cutter_time,
    humaneval,
    journal,
    losses,
    plots,
    sandbox,
    sources,
    summary,
    variants,
)
from quatrain.lsp_server.settings import Settings
from quatrain.model import packages
from quatrain.model.api import QuatrainError, Stop
from quatrain.model.cache import KVCache
from quatrain.model.score import score

CASES = {case.prefix: case for case in humaneval.cases("humaneval")}
ASKED: list[str] = []


def knowing(settings: Settings, report: object) -> ScriptedEngine:
    """Says the missing line for every other case, and nonsense for the rest."""

    def script(prefix: str, suffix: str) -> str:
        ASKED.append(prefix)
        case = CASES[prefix]
        return case.expected + "\nmore" if len(case.expected) % 2 else "    x = '<script>alert(1)</script>'\n"

    return ScriptedEngine(script, size=8)


def crashing(settings: Settings, report: object) -> ScriptedEngine:
    """Like `knowing`, until it was asked five times."""

    def script(prefix: str, suffix: str) -> str:
        ASKED.append(prefix)
        if len(ASKED) > 5:
            raise KeyboardInterrupt
        return CASES[prefix].expected + "\n"

    return ScriptedEngine(script)


@pytest.fixture(autouse=True)
def nothing_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    ASKED.clear()
    monkeypatch.setattr(humaneval, "rows", lambda name, rows=humaneval.rows: list(rows(name))[:40])
    monkeypatch.setattr(sandbox, "verdict", lambda program: "failed")


TRULY = sandbox.verdict


def evaluate(folder: Path, *more: str, engine: str = "knowing", suite: str = "humaneval") -> int:
    return cli.main(["eval", suite, "--engine", f"{__name__}:{engine}", "--output", str(folder), *more])


def test_a_run_leaves_results_summary_and_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "verdict", TRULY)
    assert evaluate(tmp_path, "--limit", "4", "--variants", "product", "no-cut") == 0
    assert "exact match" in capsys.readouterr().out
    rows = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert len(rows) == 8
    assert all(row["exact"] == row["passed"] == (row["outcome"] == "passed") for row in rows)
    totals = json.loads((tmp_path / "summary.json").read_text())
    product = totals["variants"]["product"]
    assert product["cases"] == 4
    assert product["exact"] == product["passed"] == sum(row["exact"] for row in rows[:4]) / 4
    assert product["ms_p50"] <= product["ms_p99"]
    assert totals["conditions"]["model"] == "scripted"


def test_the_page_is_whole_safe_and_alone(tmp_path: Path) -> None:
    evaluate(tmp_path, "--limit", "8")
    page = (tmp_path / "report.html").read_text()
    assert "alert(1)" in page and "<script" not in page
    assert not re.search(r"(src|href)=|@import|url\(", page)
    assert page.count("<svg") >= 3
    open_tags: list[str] = []

    class Checker(HTMLParser):
        def handle_starttag(self, tag: str, attrs: object) -> None:
            if tag not in ("meta", "rect", "line", "polyline"):
                open_tags.append(tag)

        def handle_endtag(self, tag: str) -> None:
            if tag not in ("rect", "line", "polyline"):
                assert open_tags.pop() == tag

    Checker().feed(page)
    assert not open_tags


def test_a_second_run_asks_nothing_and_a_fresh_one_everything(tmp_path: Path) -> None:
    evaluate(tmp_path, "--limit", "5")
    evaluate(tmp_path, "--limit", "5")
    assert len(ASKED) == 5
    evaluate(tmp_path, "--limit", "7")
    assert len(ASKED) == 7, "a larger limit holds the smaller one's cases"
    evaluate(tmp_path, "--limit", "5", "--fresh")
    assert len(ASKED) == 12


def test_an_interrupted_run_goes_on(tmp_path: Path) -> None:
    assert evaluate(tmp_path, "--limit", "8", engine="crashing") == 130
    kept = len((tmp_path / "results.jsonl").read_text().splitlines())
    ASKED.clear()
    assert evaluate(tmp_path, "--limit", "8") == 0
    assert len(ASKED) == 8 - kept


def test_a_torn_line_is_computed_again(tmp_path: Path) -> None:
    evaluate(tmp_path, "--limit", "3")
    path = tmp_path / "results.jsonl"
    path.write_text(path.read_text()[:-30])
    evaluate(tmp_path, "--limit", "3")
    assert len(ASKED) == 4
    assert len(journal.read(path)) == 3


def test_keys_tell_cases_settings_and_variants_apart() -> None:
    one, other = humaneval.cases("humaneval")[:2]
    settings = {"context_tokens": 512}
    keys = {journal.key_of(one, settings), journal.key_of(other, settings), journal.key_of(one, {"context_tokens": 1})}
    assert len(keys) == 3
    assert journal.key_of(one, settings) == journal.key_of(replace(one), dict(settings))


def test_what_cannot_be_done_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(tmp_path, "--variants", "nonsense") == 2
    assert evaluate(tmp_path, "--language", "klingon") == 2
    assert evaluate(tmp_path, "--files", "/nowhere/*", suite="holes") == 2
    long = tmp_path / "long.py"
    long.write_text("x = 1\n" * 600)
    assert evaluate(tmp_path, "--files", str(long), suite="context", engine="knowing") == 2
    said = capsys.readouterr().err
    assert "no variant 'nonsense'" in said and "no language 'klingon'" in said and "no file matches" in said
    assert "tells no probabilities" in said
    assert "Traceback" not in said


def test_both_files_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    lines, spans = humaneval.cases("humaneval"), humaneval.cases("humaneval-spans")
    assert (len(lines), len(spans)) == (1033, 164)
    raw = humaneval.cases("humaneval", raw=True)
    assert all(case.truth == other.truth for case, other in zip(lines, raw, strict=True))
    assert all("\n" not in case.expected for case in lines)


def test_variants_change_what_they_say() -> None:
    engine = ScriptedEngine(lambda prefix, suffix: "said\n")
    document = Document("f.py", "python", "x = 1\n" * 400)
    for name, switches in variants.VARIANTS.items():
        ready = variants.prepared(engine, Settings(), switches)
        assert ready.completer.complete(document.snapshot(0), ready.settings, Stop()).text.startswith("said"), name
        assert vars(ready.completer.engine)["heal"] == switches.heal
    assert "heal" not in vars(engine), "the engine that was given stays as it was"
    assert variants.prepared(engine, Settings(), variants.VARIANTS["small-context"]).settings.context_tokens == 256


def test_plain_windows_fill_their_budget() -> None:
    text = "".join(f"line number {i} with words\n" for i in range(400))
    snapshot = Document("f", "", text).snapshot(text.index("line number 200"))

    def count(some: str) -> int:
        return len(some.split())

    for share in (0.0, 0.25, 0.5):
        shown = baselines.plain_window(snapshot, 100, count, share)
        assert 90 <= count(shown.prefix + shown.suffix) <= 100
        assert text.endswith(shown.prefix + shown.suffix + text.split(shown.prefix + shown.suffix)[1])
    near_start = Document("f", "", text).snapshot(text.index("line number 3 "))
    shown = baselines.plain_window(near_start, 100, count)
    assert shown.prefix == near_start.text[: near_start.cursor] and count(shown.suffix) >= 80


def test_scores_are_the_models_own_probabilities() -> None:
    trunk = tiny_trunk()
    prompt, continuation = list(range(40)), [5, 9, 200, 7] * 20
    found = score(trunk, prompt, continuation)
    ids = [*prompt, *continuation]
    cache = KVCache(trunk.allocate(len(ids)), len(ids))
    logits = trunk.forward(ids, 0, cache.storage, range(len(ids))).logits.astype(np.float64)
    expected = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    assert found == pytest.approx([expected[i - 1, ids[i]] for i in range(40, len(ids))], abs=1e-4)
    assert score(trunk, [3], [4]) == pytest.approx([score(trunk, [3], [4, 5])[0]], abs=1e-5)
    with pytest.raises(ValueError, match="something to continue"):
        score(trunk, [], [1])


def open_tiny(settings: Settings, report: object):
    return tiny_engine()


def test_the_context_suite_compares_contexts(tmp_path: Path) -> None:
    source = tmp_path / "long.py"
    source.write_text("".join(f"def function_{i}(first):\n    return first + {i}\n\n" for i in range(200)))
    out = tmp_path / "out"
    arguments = ["--limit", "2", "--files", str(source), "--variants", "tree-256", "window-256"]
    assert evaluate(out, *arguments, suite="context", engine="open_tiny") == 0
    totals = json.loads((out / "summary.json").read_text())
    assert totals["variants"]["tree-256"]["loss"] > 0
    assert totals["advantage"][0]["against"] == "window" and totals["advantage"][0]["cases"] == 2
    assert "loss per token" in (out / "report.html").read_text()
    with pytest.raises(QuatrainError, match="no file has"):
        losses.cases([sources.File("f", Path(__file__).with_name("fakes.py"), "python")], 3, 0)


def test_lines_taken_out_leave_the_rest() -> None:
    text = "".join(f"x{i} = {i}\r\n" for i in range(600))
    case = losses.lines_out(text, sources.File("f", Path("f"), "python"), Random(0))
    assert case.truth == text and case.expected.count("\n") == losses.LINES - 1
    assert isinstance(losses.CONTEXTS["window"](Document("f", "", text).snapshot(0), 64, count=len), Context)


def test_percentiles_and_intervals() -> None:
    assert summary.percentile([3, 1, 2], 0.5) == 2
    assert summary.percentile(range(1, 101), 0.95) == 95
    assert summary.percentile([], 0.5) is None
    low, high = summary.interval(50, 100)
    assert 0.40 < low < 0.5 < high < 0.60
    assert summary.interval(0, 0) == (0.0, 1.0)


def test_plots_hold_for_odd_data() -> None:
    assert "<svg" in plots.bars("none", {}) and "<svg" in plots.bars("zero", {"a": {"b": 0.0}})
    assert plots.curves("none", {"a": []}, "ms") == ""
    assert "polyline" in plots.curves("one", {"a": [1.0]}, "ms")


def test_fetching_keeps_sources_and_goes_on_without_a_client(home: Path, tmp_path: Path, monkeypatch) -> None:
    package = tmp_path / "package"
    package.mkdir()
    for name in ("a.ts", "a.js.map", "LICENSE"):
        (package / name).write_text(name)

    def download(name: str, version: str, into: Path) -> None:
        if version == "gone":
            raise subprocess.CalledProcessError(1, name)
        with tarfile.open(into / "p.tgz", "w:gz") as packed:
            packed.add(package, "package")

    def absent(name: str, version: str, into: Path) -> None:
        raise FileNotFoundError(2, "no such file", "apt-get")

    rows = (
        packages.Package("npm", "@a/b", "1", "MIT", (".ts",)),
        packages.Package("npm", "c", "gone", "MIT", (".ts",)),
        packages.Package("apt", "d", "1", "MIT", (".ts",)),
    )
    monkeypatch.setattr(corpus, "PACKAGES", rows)
    monkeypatch.setattr(packages, "CLIENTS", {"npm": (download, packages.untar), "apt": (absent, packages.undebian)})
    problems = corpus.fetch_all(lambda *said: None)
    assert [folder.name for folder in corpus.fetched()] == ["npm-a-b-1", "npm-c-gone"]
    assert {path.name for path in corpus.fetched()[0].rglob("*") if path.is_file()} == {"a.ts", "LICENSE"}
    assert "gone" in problems[0] and "apt-get is not on this machine" in problems[1]
    assert not list(corpus.folder().glob("*.partial"))


def test_conditions_say_what_was_changed() -> None:
    assert command.changes(variants.PRODUCT) == "as it ships"
    assert command.changes(variants.VARIANTS["no-healing"]) == "heal False"
    assert command.changes(losses.VARIANTS["tree-256"]) == "context tree, budget 256"


def test_cutter_times_need_no_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cutter_time, "LINES", 300)
    source = tmp_path / "a.js"
    source.write_text("function f(first, second) {\n  const value = [first, second];\n  return value;\n}\n" * 5)
    where = ["--files", str(source), "--output", str(tmp_path / "out")]
    assert cli.main(["eval", "cutter", "--limit", "8", *where]) == 0
    shown = json.loads((tmp_path / "out/summary.json").read_text())["languages"]
    assert set(shown) == {"javascript", "json"}
    row = shown["javascript"]
    assert row["lines"] >= 300 and row["cursors"] == 8 and 0 < row["errors"] < 8 and row["rounds"] > 8
    for title, name in cutter_time.COLUMNS:
        assert 0 <= row[f"{name}_median_ms"] <= row[f"{name}_p95_ms"], title
    assert "javascript" in capsys.readouterr().out


def test_cutter_places_put_the_file_back_together() -> None:
    text = cutter_time.entities()
    assert text.count("\n") >= cutter_time.LINES
    for place in cutter_time.places(text, Random(1), 12):
        if place.kind in ("line", "middle"):
            line = place.said.partition("\n")[0]
            assert place.before + line + place.after == text
