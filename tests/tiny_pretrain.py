"""A size to train from scratch within a second, and a corpus for it."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file

from quatrain.model.train.pretrain import run, saving
from quatrain.model.train.pretrain.run import Result
from quatrain.model.train.pretrain.settings import Running, Settings
from quatrain.model.train.pretrain.sizes import Size

SMALL = Size(layers=5, width=64, heads=2, ffn=96, context=64, batch=4, rate=5e-3)
LINE = "def area(width, height):\n    return width * height\n\n"
QUICK = Running(log_every=1, measure_every=4, save_every=4, measure_windows=2)


def silent(message: str, done: int, total: int) -> None:
    """No progress display."""


def write_corpus(folder: Path) -> Path:
    """A folder of source files, nearly all the same."""
    folder.mkdir()
    for number in range(6):
        (folder / f"file{number}.py").write_text(LINE * 8 + f"NUMBER = {number}\n")
    return folder


def trained(corpus: Path, output: Path, running: Running = QUICK, **changes: object) -> Result:
    """A run of the size `test`, which must have been made known."""
    chosen = Settings(**({"size": "test", "heads": 2, "steps": 8} | changes))  # type: ignore[arg-type]
    return run.train(corpus, output, chosen, running, silent)


def weights(output: Path) -> dict[str, torch.Tensor]:
    """What the last checkpoint of a run holds."""
    return load_file(saving.checkpoints(output / "state")[-1])
