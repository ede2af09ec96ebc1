"""Several processes that `torchrun` starts: whole networks or parts of one, they do what one process does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("matplotlib")
from tiny_pretrain import SMALL, trained, weights, write_corpus
from torch.distributed.tensor import DTensor

from quatrain.model import checkpoint
from quatrain.model.api import QuatrainError
from quatrain.model.train.pretrain import compare, journal, processes
from quatrain.model.train.pretrain.sizes import SIZES


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs of `train_together.py` by two processes on the CPU, each in its folder, and their corpus."""
    folder = tmp_path_factory.mktemp("together")
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    script = Path(__file__).parent / "train_together.py"
    done = subprocess.run(
        [*command, str(script), str(write_corpus(folder / "corpus")), str(folder)],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.fixture(autouse=True)
def sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SIZES, "test", SMALL)


def same(a: Path, b: Path) -> None:
    """The same losses along the way and the same gradients at the end, but for the order of additions."""
    logs = [journal.read(run / "log.jsonl") for run in (a, b)]
    losses = [[(row["step"], *row["loss"]) for row in log if "loss" in row] for log in logs]
    for row, other in zip(*losses, strict=True):
        assert row == pytest.approx(other, rel=1e-3)
    assert logs[0][-1]["held"] == pytest.approx(logs[1][-1]["held"], rel=1e-3)
    one, two = weights(a), weights(b)
    assert one.keys() == two.keys()
    for name in one:
        if name.startswith("exp_avg."):  # the gradients themselves; Adam turns tiny differences into large steps
            torch.testing.assert_close(two[name], one[name], atol=1e-6, rtol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["whole", "sharded", "pieces"])
def test_two_processes_do_what_one_does(runs: Path, tmp_path: Path, how: str) -> None:
    """Gradients of two halves of a batch, gathered over gloo and clipped, are those of the whole batch."""
    trained(runs / "corpus", tmp_path / "one", curriculum=0.5, steps=4)
    same(tmp_path / "one", runs / how)


@pytest.mark.slow
def test_a_sharded_run_goes_on_with_any_number_of_processes(runs: Path) -> None:
    whole, resumed = weights(runs / "sharded"), weights(runs / "resumed")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert trained(runs / "corpus", runs / "stopped", curriculum=0.5, steps=4).steps == 4  # by one process alone
    same(runs / "sharded", runs / "stopped")


@pytest.mark.slow
def test_the_folder_of_a_sharded_run_is_a_whole_model(home: Path, runs: Path) -> None:
    found = torch.load(runs / "sharded" / "model" / "consolidated.pth", weights_only=True)
    for name, tensor in found.items():
        assert torch.equal(tensor, weights(runs / "sharded")[f"model.{name}"].bfloat16()), name
    assert json.loads((runs / "sharded" / "model" / "params.json").read_text())["n_future_tokens"] == 2
    checkpoint.open_engine(str(runs / "sharded" / "model"), "torch-f32", lambda *_: None)


def test_one_process_has_nothing_to_share() -> None:
    with pytest.raises(QuatrainError, match="start them with torchrun"), processes.place("cpu", sharded=True):
        pass
    with processes.place("cpu") as where:
        assert where.agreed(True) and where.mean(torch.ones(2)).tolist() == [1, 1]
    assert not isinstance(processes.part(torch.ones(2), torch.ones(2)), DTensor)


def test_a_comparison_is_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    preset = compare.PRESETS["dry"]
    with pytest.raises(QuatrainError, match="compare runs in one process"):
        compare.compare(tmp_path, tmp_path, preset, preset.running, lambda *_: None)
