"""`quatrain train adapter --measure`: held-back holes filled without and with an adapter by the real engine.

The loss of what stood there, and whether the greedy answer is exactly that; nothing is cut. Knows holes and engines.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from quatrain.lsp_server.adapting import SHARES, Hole, holes, texts_of
from quatrain.model.api import Stop

if TYPE_CHECKING:
    from quatrain.model.engine import LocalEngine
    from quatrain.model.fetch import Report

ROOM = 16
"""Tokens that an answer may have more than what stood there."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a hole: nats of the text and of the end behind it, tokens of the text, and whether the first
    line (less what the rest of the line repeats) and all of the answer, its end included, are exact."""

    kind: str
    text: float
    end: float
    tokens: int
    first: bool
    whole: bool


def answer(found: Hole, engine: LocalEngine) -> Answer:
    """Fill a hole, and ask how probable what stood there is."""
    from quatrain.model.score import score

    *text, end = score(engine.trunk, found.example.prompt, found.example.middle)
    said, ended = written(found, engine)
    first, wanted = said.split("\n", 1)[0], found.expected.split("\n", 1)[0]
    if found.rest.strip() and "\n" not in found.expected:
        first = first.removesuffix(found.rest)
    whole = ended and said == found.expected
    return Answer(found.kind, -sum(text), -end, len(text), first.rstrip() == wanted.rstrip(), whole)


def written(found: Hole, engine: LocalEngine) -> tuple[str, bool]:
    """The greedy answer and whether it ended by itself; no further than it can still be told right from wrong."""
    said = ""
    for made in engine.generate(found.prompt, Stop(), len(found.example.middle) + ROOM):
        said += made.text
        if made.ended == "end_token":
            return said, True
        if "\n" in said and not found.expected.startswith(said):
            break
    return said, False


def compare(options: argparse.Namespace) -> Iterator[str]:
    """Without and with `options.measure` on the same holes. Yields lines to show, the last of them the verdict."""
    from quatrain.lsp_server import show

    with show.progress() as report:
        plain, found = measured(options, "none", report), measured(options, options.measure, report)
    yield table(plain, found)
    better = sum(b.first > a.first for a, b in zip(plain, found, strict=True))
    worse = sum(b.first < a.first for a, b in zip(plain, found, strict=True))
    yield f"first line exact only with the adapter: {better}, only without: {worse}, of {len(found)}"
    rises, falls = better > worse, loss(found) < loss(plain)
    yield verdict(rises, falls)
    rows = {"without": [asdict(a) for a in plain], "with": [asdict(a) for a in found]}
    target = Path(options.measure).with_suffix(".measured.json")
    target.write_text(json.dumps({"limit": options.limit, "seed": options.seed, "rises": rises, "falls": falls} | rows))
    yield f"wrote {target}"


def measured(options: argparse.Namespace, adapter: str, report: Report) -> list[Answer]:
    """All answers of one engine."""
    from quatrain.model import checkpoint

    engine = checkpoint.open_engine(options.model, options.arithmetic, report, adapter=adapter, head="none")
    answers: list[Answer] = []
    for found in holes(texts_of(Path(options.corpus), "held", options.languages), options.limit, options.seed, engine):
        report("without" if adapter == "none" else "with the adapter", len(answers), options.limit)
        answers.append(answer(found, engine))
    return answers


def verdict(rises: bool, falls: bool) -> str:
    """Whether it may be shipped."""
    said = (
        f"exact match {'rises' if rises else 'does not rise'}, held-back loss {'falls' if falls else 'does not fall'}"
    )
    return f"{said}: {'both conditions hold' if rises and falls else 'not to be shipped'}"


def loss(answers: Sequence[Answer]) -> float:
    """Nats a token of the text, the end left out: that the end is learned is no merit."""
    return sum(a.text for a in answers) / max(1, sum(a.tokens for a in answers))


def table(plain: Sequence[Answer], found: Sequence[Answer]) -> str:
    """Both, by kind of hole, without -> with."""
    shown = Table(title="Held-back holes, greedy, without -> with the adapter", title_justify="left")
    for name in ("holes", "", "loss a token", "with the end", "first line exact", "all exact"):
        shown.add_column(name, justify="right")
    for kind in (*SHARES, "all"):
        pairs = [(a, b) for a, b in zip(plain, found, strict=True) if kind in (a.kind, "all")]
        if pairs:
            shown.add_row(kind, str(len(pairs)), *cells(*zip(*pairs, strict=True)))
    drawn = StringIO()
    Console(file=drawn, width=110).print(shown)
    return drawn.getvalue()


def cells(plain: Sequence[Answer], found: Sequence[Answer]) -> Iterable[str]:
    """One row's figures."""
    yield f"{loss(plain):.4f} -> {loss(found):.4f}"
    with_end = [sum(a.text + a.end for a in side) / sum(a.tokens + 1 for a in side) for side in (plain, found)]
    yield f"{with_end[0]:.4f} -> {with_end[1]:.4f}"
    for name in ("first", "whole"):
        shares = [sum(getattr(a, name) for a in side) / len(side) for side in (plain, found)]
        yield f"{shares[0]:.3f} -> {shares[1]:.3f}"
