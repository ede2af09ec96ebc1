"""`quatrain complete` and friends: what is printed, and one clear line with status 2 for bad input."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes import ScriptedEngine
from tiny_gguf import write

from quatrain.lsp_server import cli, serving


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> list[ScriptedEngine]:
    opened: list[ScriptedEngine] = []

    def open_engine(settings: object, report: Callable[..., None]) -> ScriptedEngine:
        opened.append(ScriptedEngine(lambda prefix, suffix: "value + 1\nrest\n"))
        return opened[-1]

    monkeypatch.setattr(serving, "open_local", open_engine)
    return opened


def source(tmp_path: Path, text: str | bytes = "x = 1\ny = \nz = 3\n", name: str = "a.py") -> Path:
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_the_completion_stands_in_its_lines(
    tmp_path: Path, scripted: list[ScriptedEngine], capsys: pytest.CaptureFixture[str]
) -> None:
    path = source(tmp_path)
    assert cli.main(["complete", f"{path}:2:5"]) == 0
    out = capsys.readouterr().out
    assert f"{path}:2:5" in out
    assert "1 │ x = 1\n2 │ y = value + 1\n3 │ z = 3\n" in out
    assert "ends at: " in out and "tokens in" in out


def test_json_and_several_positions(
    tmp_path: Path, scripted: list[ScriptedEngine], capsys: pytest.CaptureFixture[str]
) -> None:
    path = source(tmp_path, "é = 1\r\ny = \r\n")
    assert cli.main(["complete", "--json", f"{path}:2:5", f"{path}:1:5"]) == 0
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert len(scripted) == 1
    assert first["text"] == "value + 1" and first["language"] == "python"
    assert first["range"] == {"start": {"line": 2, "column": 5}, "end": {"line": 2, "column": 5}}
    assert second["position"] == {"line": 1, "column": 5}
    assert {"reason", "stages_ms", "rounds", "prompt_tokens", "reused_tokens", "forwards"} <= first.keys()
    assert sum(r["tokens"] for r in first["rounds"]) == first["tokens"]


def test_standard_input(
    scripted: list[ScriptedEngine], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"let y = ;\n")))
    assert cli.main(["complete", "--json", "--language", "javascript", "-:1:9"]) == 0
    assert json.loads(capsys.readouterr().out)["language"] == "javascript"


BIG = b"x = 1\n" * 9_000_000
BAD = [
    (["complete", "nothing.py:1:1"], "nothing.py: no such file"),
    (["complete", "{a}:9:1"], "has 4 lines; there is no line 9"),
    (["complete", "{a}:0:1"], "there is no line 0"),
    (["complete", "{a}:1:7"], "columns go from 1 to 6, not 7"),
    (["complete", "{a}"], "is not FILE:LINE:COL"),
    (["complete", "{a}:one:2"], "is not FILE:LINE:COL"),
    (["complete", "{a}:²:2"], "is not FILE:LINE:COL"),
    (["complete", "{latin}:1:1"], "is not UTF-8 text (byte 3)"),
    (["complete", "{empty}:1:1"], "is empty"),
    (["complete", "{big}:1:1"], "54 MB; the limit is 8 MB"),
    (["complete", "{folder}:1:1"], "Is a directory"),
    (["complete", "--language", "klingon", "{a}:1:1"], "no language 'klingon'"),
    (["complete", "--max-tokens", "0", "{a}:1:1"], "not between 1 and 512"),
    (["complete", "--model", "nothing.gguf", "{a}:1:1"], "no model named 'nothing.gguf' and no such file"),
    (["complete", "--arithmetic", "fp3", "{a}:1:1"], "no arithmetic 'fp3'"),
    (["setup", "--from", "nothing.gguf"], "nothing.gguf: no such file"),
    (["setup", "--from", "{a}"], "size or sha256 differ"),
    (["serve", "--engine", "nowhere:x"], "--engine nowhere:x: No module named"),
    (["serve", "--log-level", "loud"], "no log level 'loud'"),
]


@pytest.mark.parametrize(("arguments", "words"), BAD, ids=lambda v: " ".join(v) if isinstance(v, list) else None)
def test_bad_input(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    files = {
        "a": source(tmp_path),
        "latin": source(tmp_path, b"# \xe9", "latin.py") if "{latin}" in arguments[-1] else "",
        "empty": source(tmp_path, "\n \n", "empty.py"),
        "big": source(tmp_path, BIG, "big.py") if "{big}:1:1" in arguments else "",
        "folder": tmp_path,
    }
    assert cli.main([argument.format(**files) for argument in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("quatrain: ") and "Traceback" not in captured.err
    assert words.replace("byte 3", "byte 2") in captured.err
    assert not captured.out


def test_a_real_engine_from_a_file(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = write(tmp_path / "tiny.gguf")
    path = source(tmp_path)
    assert cli.main(["complete", "--model", str(model), "--arithmetic", "torch-f32", f"{path}:2:5"]) == 0
    assert "tokens in" in capsys.readouterr().out
    assert cli.main(["setup", "--model", str(model), "--arithmetic", "torch-f32"]) == 0
    assert "tiny: ready, arithmetic torch-f32" in capsys.readouterr().out


def test_explain_shows_who_wrote_what(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    from quatrain.lsp_server import show
    from quatrain.model.api import Round

    rounds = [
        Round((1,), "def", drafted=0, accepted=0),
        Round((2, 3, 4), " total(", drafted=4, accepted=2, source="head", guessed=5),
        Round((5, 6), "a):\n", drafted=1, accepted=1, source="lookup", guessed=2),
        Round((), "", ended="length"),
    ]
    console = Console(file=io.StringIO(), force_terminal=True, color_system="standard", width=100)
    show.explanation(rounds, console)
    out = console.file.getvalue()  # type: ignore[attr-defined]
    assert "\x1b[1;37;45m tota\x1b[0m\x1b[4ml(\x1b[0m" in out  # the head's part, then the model's own token
    assert "\x1b[1;37;44ma)\x1b[0m\x1b[4m:↵" in out
    plain = Console(file=io.StringIO(), width=200)
    show.explanation(rounds, plain)
    text = plain.file.getvalue()  # type: ignore[attr-defined]
    assert text.startswith("def│ total(│a):↵")
    assert "2 of 4 drafted tokens right" in text and "6 tokens in 3 passes, 2.00 a pass" in text


def test_temperature_and_head_reach_the_engine(
    tmp_path: Path, scripted: list[ScriptedEngine], capsys: pytest.CaptureFixture[str]
) -> None:
    path = source(tmp_path)
    assert cli.main(["complete", f"{path}:2:5", "--temperature", "0.7", "--top-p", "0.9", "--seed", "4"]) == 0
    sampling = scripted[0].sampling  # type: ignore[attr-defined]
    assert (sampling.temperature, sampling.top_p, sampling.seed) == (0.7, 0.9, 4)
    assert cli.main(["complete", f"{path}:2:5", "--temperature", "-1"]) == 2
    assert "temperature must be above 0" in capsys.readouterr().err
