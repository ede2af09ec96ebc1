"""A whole training run of a draft head: states in, trained weights out, in slices that can be stopped and resumed.

Knows folders and files; the learning itself is `head_trainer`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from quatrain.model import heads
from quatrain.model.api import QuatrainError
from quatrain.model.fetch import Report
from quatrain.model.heads import HeadConfig, HeadFile
from quatrain.model.torch_head import TorchHead, trunk_rows
from quatrain.model.train import states
from quatrain.model.train.batches import Lesson, Teacher, lessons, reading
from quatrain.model.train.head_trainer import Recipe, Trainer, acceptance

if TYPE_CHECKING:
    from quatrain.model.config import ModelConfig

Rows = Callable[[Sequence[int] | None], np.ndarray]
"""Rows of the trunk's unembedding or embedding as float32 (n, width); None: all of them."""


@dataclass(frozen=True, slots=True)
class Trunk:
    """What a head has to know of the trunk it is trained for."""

    sha256: str
    config: ModelConfig
    output: Rows
    embedding: Rows
    special: frozenset[int]


@dataclass(frozen=True, slots=True)
class Design:
    """Which design, see `HeadConfig`."""

    name: str = "causal"
    count: int = 1
    bias: int = 0


@dataclass(frozen=True, slots=True)
class Stored:
    """Which taps and layers the states on disk hold, and where they are."""

    folder: Path
    taps: tuple[int, ...]
    layers: tuple[int, ...]


def rows_of(trunk: Any, name: str) -> Rows:
    """Rows of "output" or "embedding" of either kind of trunk."""

    def rows(numbers: Sequence[int] | None) -> np.ndarray:
        chosen = torch.arange(trunk.config.vocab) if numbers is None else torch.tensor(numbers)
        return trunk_rows(trunk, name, chosen).cpu().numpy()

    return rows


def fresh(config: HeadConfig, vocabulary: int, rms: float, seed: int) -> TorchHead:
    """A head that begins by repeating the trunk's last state: matrices that add to it begin at nothing, what they
    read is mixed at random."""
    generator = torch.Generator().manual_seed(seed)
    head = TorchHead(config, vocabulary)
    for name, shape in heads.shapes(config, vocabulary).items():
        weight, last = head.weight(name).data, name.rsplit(".", 1)[-1]
        if last.endswith(("norm", "norms")):
            weight.fill_(rms if last == "final_norm" else 1.0)
        elif name == "bias.down" or (last in ("gate", "up", "q") and name != "bias.up"):
            weight.normal_(0, shape[-1] ** -0.5, generator=generator)
        elif name == "fuse":
            weight[:, -config.width :] = torch.eye(config.width)
    return head


def begin_with(head: TorchHead, start: HeadFile) -> None:
    """Put the weights of a trained head in place of fresh ones."""
    if start.config != head.config:
        raise QuatrainError(f"the head to start from has another shape: {start.config}, not {head.config}")
    for name in heads.shapes(head.config, len(start.weights["vocabulary"])):
        head.weight(name).data.copy_(torch.tensor(heads.dense(start, name)))


def config_of(
    trunk: ModelConfig, taps: Sequence[int], attends: Sequence[int], ffn: int, design: Design | None = None
) -> HeadConfig:
    """A head's shape for a trunk."""
    design = design or Design()
    return HeadConfig(
        tuple(taps),
        tuple(attends),
        trunk.width,
        trunk.heads,
        trunk.kv_heads,
        trunk.head_dim,
        ffn,
        trunk.rms_eps,
        trunk.rope_theta,
        trunk.rope_interleaved,
        design.name,
        design.count,
        design.bias,
    )


def teacher_of(trunk: Trunk, vocabulary: np.ndarray, device: torch.device) -> Teacher:
    """The trunk's unembedding, as far as heads may draft."""
    rows = torch.from_numpy(trunk.output(vocabulary.tolist())).to(device)
    return Teacher(rows, torch.from_numpy(vocabulary.astype(np.int64)).to(device), trunk.special)


def read_lessons(paths: Sequence[Path], teacher: Teacher, ahead: int, final: int, report: Report) -> list[Lesson]:
    """All documents of the parts, with what the trunk says along them."""
    found: list[Lesson] = []
    for i, path in enumerate(paths):
        report("reading states", i, len(paths))
        found += lessons(states.documents(path), teacher, ahead, final)
    return found


def run(
    trunk: Trunk,
    config: HeadConfig,
    recipe: Recipe,
    vocabulary: np.ndarray,
    stored: Stored,
    output: Path,
    minutes: float,
    report: Report,
    start: HeadFile | None = None,
) -> Iterator[dict[str, Any]]:
    """Train, going on from `output`'s checkpoint if there is one, for at most `minutes`. Yields figures; the last
    has `finished`. The head is written when the recipe's steps are done, and at the end of every slice. `start`: the
    head whose weights a new run begins with. Raises QuatrainError when it is of another shape."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    teacher = teacher_of(trunk, vocabulary, device)
    read = reading(config, stored.taps, stored.layers, trunk.config.layers)
    train = read_lessons(states.parts(stored.folder / "train"), teacher, recipe.ahead, read.final, report)
    held = read_lessons(states.parts(stored.folder / "held"), teacher, 5, read.final, report)
    sample = train[0].document.states[:, read.final].astype(np.float32)
    head = fresh(config, len(vocabulary), float(np.sqrt((sample**2).mean())), recipe.seed).to(device)
    if start is not None:
        begin_with(head, start)
    embedding = torch.from_numpy(trunk.embedding(None)).to(device)
    trainer = Trainer(head, teacher, embedding, read, recipe)
    output.mkdir(parents=True, exist_ok=True)
    checkpoint = output / "checkpoint.safetensors"
    if checkpoint.exists():
        trainer.load(checkpoint)
    tokens = sum(len(one.document.ids) for one in train)
    until = time.monotonic() + minutes * 60
    for figures in trainer.train(train, until):
        report("training", trainer.step, recipe.steps)
        if trainer.step % 200 == 0:
            figures |= {f"accept_{i + 1}": rate for i, rate in enumerate(acceptance(trainer, held))}
            figures |= trainer.held_losses(held)
            trainer.save(checkpoint)
        yield figures
    trainer.save(checkpoint)
    rates = acceptance(trainer, held)
    about = asdict(recipe) | {"tokens": tokens, "done": trainer.step, "accept": [round(rate, 4) for rate in rates]}
    if start is not None:
        about |= {"start": {key: start.about.get(key) for key in ("tokens", "done", "start")}}
    about |= {"date": datetime.now(UTC).date().isoformat(), "device": device.type, "documents_held": len(held)}
    floats = {name: head.weight(name).detach().cpu().numpy() for name in heads.shapes(config, len(vocabulary))}
    weights = heads.pack(floats) | {"vocabulary": vocabulary.astype(np.int32)}
    heads.save(HeadFile(config, trunk.sha256, about, weights), output / "head.safetensors")
    (output / "about.json").write_text(json.dumps(about, indent=1))
    yield {"step": trainer.step, "finished": float(trainer.step >= recipe.steps)} | {
        f"accept_{i + 1}": rate for i, rate in enumerate(rates)
    }
