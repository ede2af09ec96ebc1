"""Models with 1, 2, 4 .. heads trained on the same tokens with equal parameters, side by side.

Each is trained by `run.train` in a folder of its own, so a stopped comparison goes on where it was. Knows runs and
their results, no tensors.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from quatrain.model.api import QuatrainError
from quatrain.model.fetch import Report
from quatrain.model.train import plots
from quatrain.model.train.pretrain import completions, journal, memory, run, texts, tokens
from quatrain.model.train.pretrain.completions import Found
from quatrain.model.train.pretrain.settings import Running, Settings


@dataclass(frozen=True, slots=True)
class Preset:
    """What to train, with which numbers of heads, and how many holes to ask."""

    settings: Settings
    heads: tuple[int, ...]
    holes: int
    running: Running = Running()  # noqa: RUF009 (frozen)


PRESETS = {
    "dry": Preset(
        Settings("pico", tokens="bytes", steps=4, batch=2, context=128),
        (1, 2),
        4,
        Running(log_every=2, measure_every=2, save_every=2, measure_windows=2),
    ),
    "cpu": Preset(Settings("pico", tokens="bytes", steps=600), (1, 2, 4, 8), 100, Running(measure_every=100)),
    "gpu": Preset(Settings("small", tokens="8192", steps=1500), (1, 2, 4), 500, Running(pieces=4)),
    "gpu-bytes": Preset(Settings("small", tokens="bytes", steps=1500), (1, 2, 4, 8), 500, Running(pieces=4)),
}
"""`cpu` is made for half an hour on two cores. The `gpu` ones take slices: `--pause 540` stops and saves in time, and
the same command again goes on."""


@dataclass(frozen=True, slots=True)
class Row:
    """One model of a comparison. `held`: each head's loss on held-back text; `agreement`: see `progress.measure`.
    Peaks are bytes of a step with one piece of a batch, one head at a time and all together."""

    heads: int
    parameters: int
    trunk: int
    tokens: int
    held: tuple[float, ...]
    agreement: tuple[float, ...]
    found: Found
    tokens_per_s: float
    in_turn: int
    together: int


def compare(corpus: Path, output: Path, preset: Preset, running: Running, report: Report) -> tuple[list[Row], bool]:
    """The rows there are, and whether these are all. Writes compare.json and pictures when they are. Raises
    QuatrainError among several processes: its measurements are those of one."""
    if "RANK" in os.environ:
        raise QuatrainError("compare runs in one process; torchrun is for `quatrain train pretrain`")
    rows: list[Row] = []
    began = time.perf_counter()
    for heads in preset.heads:
        folder = output / f"heads-{heads}"
        left = running.pause - (time.perf_counter() - began) if running.pause else 0.0
        if running.pause and left <= 0:
            return rows, False
        chosen = replace(preset.settings, heads=heads)
        result = run.train(corpus, folder, chosen, replace(running, pause=left), named(report, heads))
        if result.folder is None:
            return rows, False
        rows.append(row_of(corpus, folder, chosen, preset.holes, running, report))
    output.mkdir(parents=True, exist_ok=True)
    (output / "compare.json").write_text(
        json.dumps({"settings": asdict(preset.settings), "rows": plain(rows)}, indent=1)
    )
    draw(rows, output)
    return rows, True


def named(report: Report, heads: int) -> Report:
    """Says which model a message is about."""
    return lambda message, done, total: report(f"{heads} heads: {message}", done, total)


def row_of(corpus: Path, folder: Path, chosen: Settings, holes: int, running: Running, report: Report) -> Row:
    """Measure a finished run; what was measured before is read from its folder."""
    file = folder / "row.json"
    if file.exists():
        held = json.loads(file.read_text())
        return Row(**(held | {"found": Found(**held["found"])}))
    network = run.plan_of(chosen, tokens.load(folder / "tokenizer.json").size)
    device = torch.device("cuda" if running.device in ("auto", "cuda") and torch.cuda.is_available() else "cpu")
    report(f"{chosen.heads} heads: finishing {holes} lines", 0, 0)
    engine = completions.open_folder(folder / "model", device)
    characters = engine.cache.capacity - 2 * completions.TOKENS  # no token is shorter than a byte
    asked = completions.holes(texts.read(corpus, "held"), holes, characters, chosen.seed)
    found = completions.measure(engine, asked)
    rows = journal.read(folder / "log.jsonl")
    last = next(row for row in reversed(rows) if "held" in row)
    paces = sorted(row["tokens_per_s"] for row in rows if len(row.get("loss", ())) == chosen.heads)
    batch = max(1, network.size.batch // running.pieces)
    peaks = [memory.peak_of_plan(network, batch, device, together) for together in (False, True)]
    read = chosen.steps * network.size.batch * network.size.context
    row = Row(
        *(chosen.heads, network.parameters, network.trunk, read, tuple(last["held"]), tuple(last["agreement"])),
        *(found, paces[len(paces) // 2], *peaks),
    )
    file.write_text(json.dumps(asdict(row)))
    return row


def plain(rows: Sequence[Row]) -> list[dict[str, Any]]:
    return [asdict(row) for row in rows]


def table(rows: Sequence[Row]) -> Table:
    """For people."""
    shown = Table(title="Equal parameters, equal tokens")
    for name in ("heads", "trunk", "parameters", "tokens", "next-token loss", "lines exact", "tokens/pass"):
        shown.add_column(name, justify="right")
    for name in ("as plain", "training tokens/s", "peak MB", "all at once, MB"):
        shown.add_column(name, justify="right")
    for row in rows:
        shown.add_row(
            *(
                str(row.heads),
                f"{row.trunk} + {row.heads}",
                f"{row.parameters / 1e6:.2f} M",
                f"{row.tokens / 1e6:.2f} M",
            ),
            *(f"{row.held[0]:.4f}", f"{row.found.exact:.3f}", f"{row.found.tokens_per_pass:.2f}"),
            *(f"{row.found.same}/{row.found.compared}", f"{row.tokens_per_s:.0f}"),
            *(f"{row.in_turn / 1e6:.0f}", f"{row.together / 1e6:.0f}"),
        )
    return shown


def draw(rows: Sequence[Row], output: Path) -> None:
    """Losses over steps, and what every number of heads came to."""
    curves = {}
    for row in rows:
        log = journal.read(output / f"heads-{row.heads}" / "log.jsonl")
        curves[f"{row.heads} heads"] = [(r["step"], r["held"][0]) for r in log if "held" in r]
    plots.curves(output / "next-token-loss.svg", "Next-token loss, held back", curves, "step", "nats a token")
    passes = {"tokens a pass": [(float(row.heads), row.found.tokens_per_pass) for row in rows]}
    plots.curves(output / "tokens-per-pass.svg", "Tokens a forward pass", passes, "heads", "tokens")
    peaks = {
        "one head at a time": [(float(row.heads), row.in_turn / 1e6) for row in rows],
        "all at once": [(float(row.heads), row.together / 1e6) for row in rows],
    }
    plots.curves(output / "peak-memory.svg", "Peak memory of a step", peaks, "heads", "MB")


def preset_of(name: str) -> Preset:
    """By name. QuatrainError for an unknown one."""
    if name not in PRESETS:
        raise QuatrainError(f"no preset {name!r}; known are {', '.join(PRESETS)}")
    return PRESETS[name]
