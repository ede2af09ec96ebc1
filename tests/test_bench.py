"""The benchmark: everything is measured and shown, on the smallest of models; no time is judged."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from tiny import TINY, tiny_trunk, tiny_weights
from tiny_gguf import write

from quatrain.lsp_server import cli
from quatrain.model import bench, bench_table, checkpoint, first_token, gguf_file, loss, machine, measure, peer
from quatrain.model.api import QuatrainError
from quatrain.model.bench import Figures, Plan, Results
from quatrain.model.measure import OwnTrunk, Prompt, Steps
from quatrain.model.transformer import Transformer

IDS = [i % TINY.vocab for i in range(300)]
PLAN = Plan(prompts=(16, 32), rows=(1, 2), depths=(0, 24), runs=2, start_up=False)


def silent(message: str, done: int, total: int) -> None:
    """No progress display."""


class Noted:
    """A contender that writes down what it is asked."""

    def __init__(self, name: str, notes: list[tuple[str, str]]) -> None:
        self.name, self.notes = name, notes

    def prepare(self, task: Prompt | Steps) -> None:
        self.notes.append((self.name, "prepare"))

    def run(self, task: Prompt | Steps) -> None:
        self.notes.append((self.name, "run"))


@pytest.fixture(autouse=True)
def small_bandwidth(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading a quarter of a gigabyte nine times says no more here than reading little."""
    monkeypatch.setattr(measure, "bandwidth_gb_s", lambda threads: machine.bandwidth(threads, 4, 1) / 1e9)


def test_contenders_alternate_and_only_runs_are_counted() -> None:
    notes: list[tuple[str, str]] = []
    times = measure.take_turns([Noted("a", notes), Noted("b", notes)], Steps(2, 8), 3)
    assert [len(own) for own in times] == [9, 9]
    runs = [name for name, what in notes if what == "run"]
    assert runs == (["a"] * 4 + ["b"] * 4) * 3
    notes.clear()
    assert [len(own) for own in measure.take_turns([Noted("a", notes)], Prompt(4), 2)] == [2]
    assert notes == [("a", "prepare"), ("a", "prepare"), ("a", "run")] * 2


def test_our_trunk_stands_behind_real_positions() -> None:
    trunk = tiny_trunk()
    contender = OwnTrunk("tiny", trunk, IDS)
    contender.prepare(Steps(3, 270))
    expected = trunk.allocate(300)
    trunk.forward(IDS[:270], 0, expected)
    np.testing.assert_allclose(contender.storage.keys[:, :, :270], expected.keys[:, :, :270], atol=1e-5)
    contender.run(Prompt(20))
    contender.run(Steps(2, 5))
    assert contender.filled == 270
    np.testing.assert_allclose(contender.storage.keys[:, :, :270], expected.keys[:, :, :270], atol=1e-5)


def test_short_costs_are_whole_and_never_fall() -> None:
    costs = measure.measure_costs(OwnTrunk("tiny", tiny_trunk(), IDS), depth=16, budget_s=0.0)
    assert len(costs.step_ms) == 16 and costs.prompt_tokens_per_s > 0
    assert list(costs.step_ms) == sorted(costs.step_ms)


def test_figures_of_a_real_file(home: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "m.gguf")
    plan = replace(PLAN, loss_tokens=90, loss_files=(str(Path(__file__)),))
    results = bench.run(str(path), ["auto", "torch-f32"], plan, silent)
    first, exact = results.contenders
    assert set(first.prompt_ms) == {16, 32} and set(first.step_ms) == {(1, 0), (2, 0), (1, 24), (2, 24)}
    assert exact.bytes_per_step == sum(
        4 * int(np.prod(shape))
        for name, shape in gguf_file.shapes(gguf_file.read(path).config).items()
        if name != "token_embd.weight"
    )
    assert exact.agreement is not None and first.agreement is not None
    assert exact.agreement.tokens == 89 and exact.agreement.same == 1.0
    assert exact.agreement.excess == pytest.approx(0, abs=1e-6)
    assert first.agreement.exact_loss == exact.agreement.exact_loss
    shown = text_of(results)
    assert "16" in shown and "2 at 24" in shown and "float32 loss" in shown and "GB/s" in shown
    held = json.loads(bench.as_json(results))
    assert held["contenders"][0]["step"][0].keys() == {"rows", "depth", "ms", "over_one_row"}
    assert held["machine"]["cores"] >= 1 and held["versions"]["python"] and "numpy.max" in held["bandwidth_method"]


def text_of(results: Results) -> str:
    console = Console(width=160, file=io.StringIO())
    with console.capture() as capture:
        console.print(bench_table.render(results))
    return capture.get()


def made_up() -> Results:
    ours = Figures("native", "our kernels", 400_000_000, {64: 100.0}, {(1, 0): 20.0, (4, 0): 22.0})
    start = first_token.FirstToken(0.5, 0.75, 600.0, 120.0)
    theirs = Figures(peer.NAME, "theirs", 400_000_000, {64: 300.0}, {(1, 0): 25.0, (4, 0): 40.0}, start)
    about = machine.Machine("a processor", 2, 8.0, "a system", 1.5)
    return Results("m", about, {"python": "3"}, "2026-01-01", 2, 5, (5, 15), 40.0, (replace(ours, start=start), theirs))


def test_ratios_and_shares() -> None:
    shown = text_of(made_up())
    lines = {line.strip().split("  ")[0]: line for line in shown.splitlines()}
    assert "640" in lines["64"] and "213" in lines["64"] and "3.00" in lines["64"]
    assert "22.0 (1.10)" in lines["4 at 0"] and "40.0 (1.60)" in lines["4 at 0"] and "0.55" in lines["4 at 0"]
    assert any("20.0" in line and "50%" in line for line in shown.splitlines())
    assert "0.75" in shown and "600" in shown and "busy with other work" in shown
    native, other = json.loads(bench.as_json(made_up()))["contenders"]
    assert native["prompt"][0]["rate_ratio"] == 3.0 and native["step"][1]["time_ratio"] == 0.55
    assert "rate_ratio" not in other["prompt"][0] and other["start"]["token_s"] == 0.75


def test_plans() -> None:
    plan = bench.plan_of(False, None, True, 0, [])
    assert plan.peer and plan.runs == 5 and plan.rows == (1, 2, 3, 4, 6, 8, 12, 16)
    assert next(t.depth for t in plan.tasks if isinstance(t, Steps)) == 2048
    assert plan.within(600).depths == (0, 512) and plan.within(600).prompts == (64, 256, 512)
    assert bench.plan_of(True, 1, False, 5, ["a.py"]).loss_files == ("a.py",)
    for wrong in ((False, 0, False, 0, []), (False, 1, False, -1, []), (False, 1, False, 0, ["a.py"])):
        with pytest.raises(QuatrainError):
            bench.plan_of(*wrong)


def test_windows_of_text(tmp_path: Path) -> None:
    from tiny import byte_vocabulary

    path = tmp_path / "a.py"
    path.write_text("x = 1\n" * 200)
    held = loss.windows(byte_vocabulary(), [str(path), str(path)], 1500)
    assert [len(window) for window in held] == [512, 512, 176, 300]
    with pytest.raises(QuatrainError, match="hold 1200 tokens, 2000 were asked for"):
        loss.windows(byte_vocabulary(), [str(path)], 2000)
    with pytest.raises(QuatrainError, match="No such file"):
        loss.windows(byte_vocabulary(), [str(tmp_path / "none.py")], 10)


def test_loss_is_that_of_the_logits() -> None:
    exact, other = tiny_trunk(), Transformer(TINY, tiny_weights(TINY, seed=1))
    ids = IDS[:150]
    *_, (found,) = loss.compare({"other": other}, exact, [ids[:100], ids[100:]])
    logits = [other.forward(part, 0, other.allocate(128), range(len(part))).logits for part in (ids[:100], ids[100:])]
    shifted = np.concatenate([logits[0][:-1], logits[1][:-1]]).astype(np.float64)
    wanted = np.array(ids[1:100] + ids[101:])
    expected = np.log(np.exp(shifted).sum(-1)) - shifted[np.arange(len(wanted)), wanted]
    assert found.tokens == 148 and found.loss == pytest.approx(expected.mean(), abs=1e-5)
    assert 0 <= found.same < 1


def test_a_fresh_process(home: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "m.gguf")
    checkpoint.open_engine(str(path), "torch-f32", silent)
    found = first_token.measure(first_token.Request(str(path), "torch-f32"))
    assert 0 < found.ready_s <= found.token_s and found.resident_mb > 0
    with pytest.raises(QuatrainError, match=r"ended early: .*no arithmetic"):
        first_token.measure(first_token.Request(str(path), "fp3"))


def test_llama_cpp_says_what_we_say(home: Path, tmp_path: Path) -> None:
    pytest.importorskip("llama_cpp", reason="the extra `peer` is not installed")
    path = write(tmp_path / "m.gguf")
    engine = checkpoint.open_engine(str(path), "torch-f32", silent)
    ids = bench.text_ids(engine, 40)
    other = peer.LlamaCpp(path, ids, 1)
    for task in (Steps(3, 30), Steps(1, 8), Prompt(12)):
        other.prepare(task)
        other.run(task)
        count = task.tokens if isinstance(task, Prompt) else task.depth + task.rows
        expected = engine.trunk.forward(ids[:count], 0, engine.cache.storage, None).logits[0]
        assert np.abs(other.logits(-1) - expected).max() < 0.1 * np.abs(expected).max()
    other.close()


def test_without_llama_cpp_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(peer.importlib, "import_module", missing)
    with pytest.raises(QuatrainError, match="DGGML_NATIVE=ON"):
        peer.library()


def test_the_command(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "plan_of", lambda *_: PLAN)
    path = str(write(tmp_path / "m.gguf"))
    assert cli.main(["bench", "--model", path, "--arithmetic", "torch-f32", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["contenders"][0]["name"] == "torch-f32"
    assert cli.main(["bench", "--model", path, "--arithmetic", "torch-f32"]) == 0
    assert "Prompt, tokens/s" in capsys.readouterr().out
    assert cli.main(["bench", "--model", path, "--arithmetic", "torch-f32,torch-f32"]) == 2
    assert "names a path twice" in capsys.readouterr().err


def test_bandwidth_and_processor() -> None:
    assert machine.bandwidth(2, megabytes=4, passes=1) > 0
    assert machine.processor() and machine.describe().memory_gb > 0
    assert "nothing-like-this" not in machine.versions(["numpy", "nothing-like-this"])
