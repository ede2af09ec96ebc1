"""Pictures of a draft head's training, from its log: losses, and how much of what it proposes is right.

Knows the names of the figures that `head_run` gives, not how they come about.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from quatrain.model.api import QuatrainError
from quatrain.model.train import plots
from quatrain.model.train.pretrain import journal

LOSSES = {
    "loss": "loss",
    "held_loss": "loss, held back",
    "feature": "error of states",
    "held_feature": "error of states, held back",
}


def draw(log: Path, folder: Path) -> list[Path]:
    """Write `loss.svg` and, where acceptance was measured, `acceptance.svg`; returns what was written. Raises
    QuatrainError without matplotlib."""
    plots.require()
    rows = in_order(journal.read(log))
    made = []
    losses = {title: points(rows, name) for name, title in LOSSES.items()}
    if losses["loss"]:
        curves = {title: line for title, line in losses.items() if line}
        plots.curves(folder / "loss.svg", "Loss of the draft head", curves, "step", "nats, or share of variance")
        made.append(folder / "loss.svg")
    lengths = sum(name.startswith("accept_") for row in rows[-1:] for name in row)
    if lengths:
        shares = {f"{i} drafted": points(rows, f"accept_{i}") for i in range(1, lengths + 1)}
        plots.curves(folder / "acceptance.svg", "Drafts right in full, held-back text", shares, "step", "share")
        made.append(folder / "acceptance.svg")
    return made


def said(log: Path, folder: Path) -> str:
    """Draw, and a line about it: the head is trained, so that a missing library is no failure."""
    try:
        return "curves: " + ", ".join(map(str, draw(log, folder)))
    except QuatrainError as error:
        return f"no curves: {error}"


def points(rows: Iterable[dict[str, Any]], name: str) -> list[tuple[float, float]]:
    """(step, value) wherever a figure was taken."""
    return [(row["step"], row[name]) for row in rows if name in row]


def in_order(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row a step. What comes again after a stop, or begins anew, takes the place of what was there.

    >>> in_order([{"step": 20, "loss": 3.0}, {"step": 40, "loss": 2.0}, {"step": 20, "loss": 2.5}])
    [{'step': 20, 'loss': 2.5}]
    """
    kept: list[dict[str, Any]] = []
    for row in rows:
        while kept and kept[-1]["step"] > row["step"]:
            kept.pop()
        if kept and kept[-1]["step"] == row["step"]:
            row = kept.pop() | row
        kept.append(row)
    return kept
