"""The `context` suite: how well the model predicts the true next lines, by what of the file it is shown.

Equal budgets of tokens, counted by the model's own tokenizer; the lower loss is the better context. The tokens
of the answer are given, so nothing is generated and no cut has a say.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any, cast

from quatrain.lsp_server import context
from quatrain.lsp_server.context import Context
from quatrain.lsp_server.documents import Document
from quatrain.lsp_server.evaluate.baselines import plain_window
from quatrain.lsp_server.evaluate.case import Case
from quatrain.lsp_server.evaluate.running import Job, Row, Work
from quatrain.lsp_server.evaluate.sources import File, shuffled, text_of
from quatrain.lsp_server.settings import Settings
from quatrain.model.api import Engine, QuatrainError

if TYPE_CHECKING:
    from quatrain.model.engine import LocalEngine

LEAST_LINES = 500
LINES = 3
"""Lines taken out and asked for."""
BUDGETS = (256, 512, 1024)
CONTEXTS: dict[str, Callable[..., Context]] = {
    "tree": context.build,
    "window": plain_window,
    "window-half": partial(plain_window, share=0.5),
    "window-above": partial(plain_window, share=0.0),
}
"""Called with a snapshot, a budget and `count`. The plain windows differ in how much they show below the cursor."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One way to fill one budget."""

    context: str
    budget: int


VARIANTS = {f"{name}-{budget}": Shown(name, budget) for name in CONTEXTS for budget in BUDGETS}


def named(names: Sequence[str]) -> dict[str, Any]:
    """Ways and budgets by name; `all` stands for every one, a way's name for all its budgets."""
    known = {"all": list(VARIANTS)} | {c: [v for v in VARIANTS if VARIANTS[v].context == c] for c in CONTEXTS}
    wanted = [variant for name in names for variant in known.get(name, [name])]
    if unknown := [name for name in wanted if name not in VARIANTS]:
        raise QuatrainError(f"no context {unknown[0]!r}; known are {', '.join(known)}, {', '.join(VARIANTS)}")
    return {name: VARIANTS[name] for name in wanted}


def cases(files: Sequence[File], limit: int, seed: int) -> list[Case]:
    """One hole in each long file, languages taking turns, then again from the first file."""
    groups = [
        [(file, text) for file in group if (text := long_text(file)) is not None]
        for group in shuffled(files, seed).values()
    ]
    found: dict[str, Case] = {}
    for turn in range(limit):
        for group in groups:
            if group and len(found) < limit:
                file, text = group[turn % len(group)]
                case = lines_out(text, file, Random(f"{seed}|{file.name}|{turn}"))
                found[case.id] = case
    if not found:
        raise QuatrainError(f"no file has {LEAST_LINES} lines or more")
    return list(found.values())


def long_text(file: File) -> str | None:
    text = text_of(file)
    return text if text is not None and text.count("\n") >= LEAST_LINES else None


def lines_out(text: str, file: File, random: Random) -> Case:
    """A few lines, the first of them not blank, taken out of the file, their last line end left."""
    lines = text.splitlines(keepends=True)
    places = [i for i in range(LEAST_LINES // 4, len(lines) - LINES) if any(map(str.isalnum, lines[i]))]
    at = random.choice(places)
    prefix, hole, suffix = ("".join(part) for part in (lines[:at], lines[at : at + LINES], lines[at + LINES :]))
    bare = hole.rstrip("\r\n")
    return Case(f"{file.name}:{at + 1}", file.language, file.name, "lines", prefix, bare, hole[len(bare) :] + suffix)


def work(engine: Engine, settings: Settings, variants: dict[str, Any]) -> Work:
    """Score the missing lines after each context."""
    from quatrain.model.score import score

    if not hasattr(engine, "trunk"):
        raise QuatrainError("the context suite needs a model on this machine: this engine tells no probabilities")
    local = cast("LocalEngine", engine)

    def first(job: Job) -> Row:
        case, shown = job.case, variants[job.variant]
        snapshot = Document(case.path, case.language, case.document).snapshot(len(case.prefix))
        seen: Context = CONTEXTS[shown.context](snapshot, shown.budget, count=local.count)
        prompt = local.encode(seen.prefix, seen.suffix, seen.outline)
        wanted = local.vocabulary.encode(case.expected.replace("\r\n", "\n"))
        loss = -sum(score(local.trunk, prompt.tokens, wanted))
        about = {"variant": job.variant, "case": case.id, "language": case.language, "kind": case.kind}
        sizes = {"tokens": len(wanted), "prompt_tokens": len(prompt.tokens), "bytes": len(case.expected.encode())}
        return about | {"context": shown.context, "budget": shown.budget, "loss": round(loss, 4)} | sizes

    return Work(first, lambda job, row: row)


def per_token(rows: Sequence[Row]) -> float:
    """Loss per token, all tokens alike."""
    return sum(row["loss"] for row in rows) / max(sum(row["tokens"] for row in rows), 1)


def advantage(rows: Sequence[Row], others: Sequence[Row]) -> tuple[float, float, int]:
    """Mean difference in loss per token over the cases both have (below zero: `rows` are better), its standard
    error, and how many cases those are."""
    theirs = {row["case"]: row for row in others}
    gaps = [
        row["loss"] / row["tokens"] - theirs[row["case"]]["loss"] / theirs[row["case"]]["tokens"]
        for row in rows
        if row["case"] in theirs
    ]
    if not gaps:
        return 0.0, 0.0, 0
    mean = sum(gaps) / len(gaps)
    spread = math.sqrt(sum((gap - mean) ** 2 for gap in gaps) / max(len(gaps) - 1, 1))
    return mean, spread / math.sqrt(len(gaps)), len(gaps)
