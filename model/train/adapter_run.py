"""A whole training run of an adapter: documents in, `adapter.safetensors` out, in slices that can be stopped and
resumed; held-back losses before and after. Knows folders and files; the learning itself is `adapter_trainer`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from quatrain.model import adapter
from quatrain.model.adapter import AdapterConfig, AdapterFile
from quatrain.model.api import QuatrainError
from quatrain.model.config import ModelConfig
from quatrain.model.fetch import Report
from quatrain.model.train import plots
from quatrain.model.train.adapter_trainer import Adapted, Recipe, Trainer, held_loss
from quatrain.model.train.examples import Packed
from quatrain.model.train.pretrain.journal import Journal

SAVE_EVERY, SHOW_EVERY = 25, 5
"""Steps."""
MEAN_OF = 20
"""Steps whose mean is a point of the curve: single batches differ more than training does."""


@dataclass(frozen=True, slots=True)
class Trunk:
    """What is adapted: its sha256, shape, and float weights on disk."""

    sha256: str
    config: ModelConfig
    weights: Path


def run(
    trunk: Trunk,
    config: AdapterConfig,
    recipe: Recipe,
    parts: tuple[Packed, Packed],
    held_documents: int,
    output: Path,
    minutes: float,
    report: Report,
) -> Iterator[dict[str, Any]]:
    """Train on the first of `parts`, measure on the second, going on from `output`'s checkpoint if there is one, for
    at most `minutes` (0: until it is done). Yields figures; the last has `finished`. The adapter is written when the
    recipe's steps are done. QuatrainError when the folder holds a run with other settings."""
    plots.require()
    train, held = parts
    output.mkdir(parents=True, exist_ok=True)
    same(output / "settings.json", asdict(recipe) | asdict(config) | {"trunk": trunk.sha256, "ids": len(train.ids)})
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    weights = load_file(trunk.weights, device=str(device))
    trainer = Trainer(Adapted(trunk.config, weights, config, recipe.seed), recipe)
    checkpoint, journal = output / "checkpoint.safetensors", output / "log.jsonl"
    if checkpoint.exists():
        trainer.load(checkpoint)
    if trainer.step >= recipe.steps and (output / "adapter.safetensors").exists():  # written again it would be another
        yield {"step": trainer.step, "finished": 1.0}
        return
    log = Journal(journal, trainer.step)
    if not any("held" in row for row in log.rows):
        report("held-back loss before", 0, 0)
        log.add({"step": 0, "held": held_loss(trainer.network, held, held_documents, recipe.batch_tokens)})
        yield log.rows[-1]
    until = time.monotonic() + minutes * 60 if minutes else float("inf")
    for figures in trainer.train(train, until):
        report("training", trainer.step, recipe.steps)
        log.add(figures)
        if trainer.step % SAVE_EVERY == 0:
            trainer.save(checkpoint)
        if trainer.step % SHOW_EVERY == 0 or trainer.step == recipe.steps:
            yield figures
    trainer.save(checkpoint)
    done = trainer.step >= recipe.steps
    if done:
        report("held-back loss after", 0, 0)
        log.add({"step": trainer.step, "held": held_loss(trainer.network, held, held_documents, recipe.batch_tokens)})
        yield log.rows[-1]
        finish(trainer, trunk, log.rows, output / "adapter.safetensors")
    draw(log.rows, output / "loss.svg")
    yield {"step": trainer.step, "finished": float(done)}


def same(path: Path, wanted: dict[str, Any]) -> None:
    """The settings of the run in this folder are those; a new folder remembers them."""
    wanted = json.loads(json.dumps(wanted))
    if not path.exists():
        path.write_text(json.dumps(wanted, indent=1))
        return
    there = json.loads(path.read_text())
    if other := [name for name in wanted if there.get(name) != wanted[name]]:
        raise QuatrainError(
            f"{path.parent} holds a run with another {other[0]} ({there.get(other[0])}, not {wanted[other[0]]}); "
            "give it the same options, or another --output"
        )


def finish(trainer: Trainer, trunk: Trunk, rows: list[dict[str, Any]], path: Path) -> None:
    """Write the adapter, with how it came to be."""
    steps, measured = [row for row in rows if "tokens" in row], [row["held"] for row in rows if "held" in row]
    about = asdict(trainer.recipe) | {"done": trainer.step, "tokens": int(sum(row["tokens"] for row in steps))}
    about |= {"before": measured[0], "after": measured[-1], "seconds": round(sum(row["seconds"] for row in steps))}
    about |= {"date": datetime.now(UTC).date().isoformat(), "device": trainer.network.device.type}
    weights = {name: weight.detach().cpu().numpy() for name, weight in trainer.network.parameters().items()}
    adapter.save(AdapterFile(trainer.network.adapter, trunk.sha256, about, weights), path)


def draw(rows: list[dict[str, Any]], target: Path) -> None:
    """The curves of training and of what is held back."""
    steps = [row for row in rows if "tokens" in row]
    held = [(row["step"], row["held"]["text"]) for row in rows if "held" in row]
    smooth = {
        f"training, {name}": [
            (group[-1]["step"], sum(row[name] for row in group) / len(group))
            for group in (steps[i : i + MEAN_OF] for i in range(0, len(steps), MEAN_OF))
        ]
        for name in ("text", "end")
    }
    plots.curves(target, "An adapter in training", smooth | {"held back, text": held}, "step", "nats a token")
