"""Step costs on disk, torch's fastest arithmetic, and setup, which measures both once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tiny import TINY
from tiny_gguf import write

from quatrain.model import checkpoint, fallback, gpu, measure, native, setting_up, step_costs
from quatrain.model.api import QuatrainError
from quatrain.model.step_costs import DEFAULT, Key, StepCosts

COSTS = StepCosts(tuple(10.0 + i for i in range(16)), 800.0)
KEY = Key("a processor", "native avx2, 2 threads")


def silent(message: str, done: int, total: int) -> None:
    """No progress display."""


def test_what_was_saved_is_loaded_for_its_machine_only(tmp_path: Path) -> None:
    assert step_costs.load(tmp_path, KEY) is None
    step_costs.save(tmp_path, KEY, COSTS)
    assert step_costs.load(tmp_path, KEY) == COSTS
    assert [path.name for path in tmp_path.iterdir()] == [step_costs.FILE]
    assert step_costs.load(tmp_path, Key("another", KEY.arithmetic)) is None
    assert step_costs.load(tmp_path, Key(KEY.processor, "native avx2, 1 threads")) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"format": 0}',
        '{"format": 1, "key": 3}',
        '{"format": 1, "key": KEY, "costs": {"step_ms": [2, 1], "prompt_tokens_per_s": 5}}',
        '{"format": 1, "key": KEY, "costs": {"step_ms": [], "prompt_tokens_per_s": 5}}',
        '{"format": 1, "key": KEY, "costs": {"step_ms": [1], "prompt_tokens_per_s": 0}}',
        '{"format": 1, "key": KEY, "costs": {"step_ms": ["x"], "prompt_tokens_per_s": 1}}',
    ],
)
def test_a_damaged_file_is_no_file(tmp_path: Path, text: str) -> None:
    key = json.dumps({"processor": KEY.processor, "arithmetic": KEY.arithmetic})
    (tmp_path / step_costs.FILE).write_text(text.replace("KEY", key))
    assert step_costs.load(tmp_path, KEY) is None


def test_setup_measures_and_engines_know(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(write(tmp_path / "m.gguf"))
    assert checkpoint.open_engine(path, "torch-f32", silent).lengths.costs == DEFAULT
    calls: list[int] = []

    def measured(contender: measure.OwnTrunk, depth: int) -> StepCosts:
        contender.run(measure.Steps(16, depth))
        calls.append(depth)
        return COSTS

    monkeypatch.setattr(measure, "measure_costs", measured)
    for _ in range(2):
        assert "800 prompt tokens/s, 10 ms a step, 17 ms with seven" in setting_up.set_up(
            path, "torch-f32", None, silent
        )
    assert calls == [256, 256]
    assert checkpoint.open_engine(path, "torch-f32", silent).lengths.costs == COSTS
    assert checkpoint.open_engine(path, "torch-f32", silent, costs=DEFAULT).lengths.costs == DEFAULT


def test_the_fastest_of_torch_is_chosen_once(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "drawback", lambda: "no kernels; install a C compiler")
    monkeypatch.setattr(fallback, "measure", lambda config: {"torch-bf16": 3.0, "torch-int8": 2.0, "torch-f32": 9.0})
    line = setting_up.set_up(str(write(tmp_path / "m.gguf")), "auto", None, silent)
    assert "arithmetic torch-int8" in line
    assert "no kernels; install a C compiler; torch-int8 is torch's fastest here" in line
    monkeypatch.setattr(fallback, "measure", lambda config: pytest.fail("measured again"))
    for arithmetic in ("auto", "torch"):
        engine = checkpoint.open_engine(str(tmp_path / "m.gguf"), arithmetic, silent)
        assert engine.describe()["arithmetic"] == "torch cpu int8"
    another = str(write(tmp_path / "other.gguf", seed=3))
    assert checkpoint.open_engine(another, "auto", silent).describe()["arithmetic"] == "torch cpu int8"


def test_a_choice_holds_for_its_machine_and_torch(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home.mkdir()
    assert fallback.remembered() is None
    monkeypatch.setattr(fallback, "measure", lambda config: {"torch-bf16": 1.0, "torch-int8": 2.0, "torch-f32": 9.0})
    assert fallback.choose(TINY) == fallback.remembered()
    monkeypatch.setattr(fallback, "version", lambda name: "99")
    assert fallback.remembered() is None
    (home / fallback.FILE).write_text("{")
    assert fallback.remembered() is None


def test_all_kinds_are_measured() -> None:
    took = fallback.measure(TINY)
    assert tuple(took) == fallback.KINDS and min(took.values()) > 0


def test_a_gpu_comes_first_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "cuda_available", lambda: True)
    assert checkpoint.candidates("auto")[0] == "cuda"
    assert checkpoint.kind_of("cuda") == "torch-bf16"
    monkeypatch.setattr(gpu, "cuda_available", lambda: False)
    assert "cuda" not in checkpoint.candidates("auto")


def test_plain_loops_are_no_first_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "cuda_available", lambda: False)
    monkeypatch.setattr(native.door, "isa_paths", lambda: ("portable",))
    assert checkpoint.candidates("auto") == (fallback.NAME,)
    assert checkpoint.candidates("native") == ("native",)  # asked for by name they are taken
    assert "AVX2" in setting_up.advice("torch-bf16", TINY)


def test_asking_for_a_gpu_that_is_not_there(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    path = str(write(tmp_path / "m.gguf"))
    with pytest.raises(QuatrainError, match="finds no NVIDIA GPU"):
        checkpoint.open_engine(path, "cuda", silent)
    with pytest.raises(QuatrainError, match="finds no Apple GPU"):
        checkpoint.open_engine(path, "mps", silent)


@pytest.mark.skipif(native.available() is not None, reason=f"{native.available()}")
def test_our_kernels_start_without_torch(home: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "m.gguf")
    code = (
        "import sys; from quatrain.model import checkpoint, gpu; gpu.driver_present = lambda: False; "
        f"checkpoint.open_engine({str(path)!r}, 'auto', lambda *_: None); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
