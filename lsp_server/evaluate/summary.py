"""Adds results up: one table of measures, applied to any group of rows. Knows rows; draws nothing."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from quatrain.lsp_server import filters
from quatrain.lsp_server.evaluate import losses
from quatrain.lsp_server.evaluate.running import Row

Style = Literal["share", "count", "ms", "number"]


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure of a group of rows; `of` returns None where it does not apply."""

    name: str
    title: str
    style: Style
    of: Callable[[Sequence[Row]], float | None]


def share(field: str) -> Callable[[Sequence[Row]], float | None]:
    """How often a field is true, among the rows that have it."""

    def of(rows: Sequence[Row]) -> float | None:
        values = [row[field] for row in rows if field in row]
        return sum(map(bool, values)) / len(values) if values else None

    return of


def mean(field: str) -> Callable[[Sequence[Row]], float | None]:
    def of(rows: Sequence[Row]) -> float | None:
        values = [row[field] for row in rows if field in row]
        return sum(values) / len(values) if values else None

    return of


def count(field: str) -> Callable[[Sequence[Row]], float | None]:
    return lambda rows: sum(bool(row[field]) for row in rows) if rows and field in rows[0] else None


def quantile(field: str, q: float) -> Callable[[Sequence[Row]], float | None]:
    return lambda rows: percentile([row[field] for row in rows if field in row], q)


def percentile(values: Sequence[float], q: float) -> float | None:
    """The smallest value that at least a share `q` of the values do not exceed."""
    return sorted(values)[max(math.ceil(q * len(values)) - 1, 0)] if values else None


def cut_per_round(q: float) -> Callable[[Sequence[Row]], float | None]:
    return lambda rows: percentile([row["cut_ms"] / row["rounds"] for row in rows if row.get("rounds")], q)


def per_forward(rows: Sequence[Row]) -> float | None:
    forwards = sum(row.get("forwards", 0) for row in rows)
    return sum(row["tokens"] for row in rows) / forwards if forwards else None


COMPLETION: tuple[Measure, ...] = (
    Measure("cases", "cases", "count", len),
    Measure("exact", "exact match", "share", share("exact")),
    Measure("first_line", "first line", "share", share("first_line")),
    Measure("passed", "pass@1", "share", share("passed")),
    Measure("similarity", "edit similarity", "share", mean("similarity")),
    Measure("offered", "offered", "share", share("offered")),
    Measure("valid", "valid syntax", "share", share("valid")),
    Measure("raised", "errors raised", "count", count("raised")),
    Measure("closer_twice", "closer twice", "count", count("closer_twice")),
    Measure("next_line_twice", "next line twice", "count", count("next_line_twice")),
    Measure("rest_twice", "rest of line twice", "count", count("rest_twice")),
    Measure("ms_p50", "p50 ms", "ms", quantile("ms", 0.5)),
    Measure("ms_p90", "p90 ms", "ms", quantile("ms", 0.9)),
    Measure("ms_p95", "p95 ms", "ms", quantile("ms", 0.95)),
    Measure("ms_p99", "p99 ms", "ms", quantile("ms", 0.99)),
    Measure("cut_ms_p50", "cut per round p50 ms", "ms", cut_per_round(0.5)),
    Measure("cut_ms_p95", "cut per round p95 ms", "ms", cut_per_round(0.95)),
    Measure("tokens", "tokens", "number", mean("tokens")),
    Measure("forwards", "steps", "number", mean("forwards")),
    Measure("per_forward", "tokens per step", "number", per_forward),
    Measure("prompt_tokens", "prompt tokens", "number", mean("prompt_tokens")),
    Measure("reused_tokens", "of them reused", "number", mean("reused_tokens")),
)


def per_token(rows: Sequence[Row]) -> float | None:
    return losses.per_token(rows) if rows else None


LOSS: tuple[Measure, ...] = (
    Measure("cases", "cases", "count", len),
    Measure("loss", "loss per token", "number", per_token),
    Measure("tokens", "tokens asked for", "number", mean("tokens")),
    Measure("prompt_tokens", "prompt tokens", "number", mean("prompt_tokens")),
)


def measures_for(rows: Sequence[Row]) -> tuple[Measure, ...]:
    """The table that fits the rows, without measures that none of them has."""
    table = LOSS if rows and "loss" in rows[0] else COMPLETION
    return tuple(measure for measure in table if measure.of(rows) is not None)


def figures(rows: Sequence[Row]) -> dict[str, float]:
    """All measures of a group."""
    found = {measure.name: measure.of(rows) for measure in measures_for(rows)}
    return {name: round(value, 4) for name, value in found.items() if value is not None}


def grouped(rows: Sequence[Row], field: str) -> dict[str, list[Row]]:
    """Rows by the value of a field, in the order of first appearance."""
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[str(row[field])].append(row)
    return dict(groups)


def summary(rows: Sequence[Row]) -> dict[str, Any]:
    """Everything the report shows, as plain values."""
    variants = grouped(rows, "variant")
    out: dict[str, Any] = {"variants": {name: figures(group) for name, group in variants.items()}}
    for field in ("language", "kind"):
        out[f"by_{field}"] = {
            name: {value: figures(some) for value, some in sorted(grouped(group, field).items())}
            for name, group in variants.items()
        }
    for field in ("reason", "outcome"):
        if rows and field in rows[0]:
            out[f"by_{field}"] = {
                name: {value: figures(some) for value, some in grouped(group, field).items()}
                for name, group in variants.items()
            }
    if rows and "probs" in rows[0]:
        out["by_confidence"] = {
            name: {band: figures(some) for band, some in bands(group).items()} for name, group in variants.items()
        }
    if rows and "loss" in rows[0]:
        out["advantage"] = advantages(rows)
    return out


def bands(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """What was offered, by tenths of the model's confidence: what a threshold would take away."""
    found: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        if row["offered"]:
            found[min(int(filters.confidence(row["probs"]) * 10), 9)].append(row)
    return {f"{tenth / 10:.1f} to {(tenth + 1) / 10:.1f}": found[tenth] for tenth in sorted(found)}


def advantages(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The tree's context against every other at equal budgets, paired by case; below zero is better."""
    found = []
    for budget, group in grouped(rows, "budget").items():
        ways = grouped(group, "context")
        for way, others in ways.items():
            if way != "tree" and "tree" in ways:
                mean_gap, error, pairs = losses.advantage(ways["tree"], others)
                figures = {"difference": round(mean_gap, 4), "standard_error": round(error, 4), "cases": pairs}
                found.append({"budget": int(budget), "against": way} | figures)
    return found


def interval(hits: float, n: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's 95 % interval of a share."""
    if not n:
        return 0.0, 1.0
    p = hits / n
    centre, width = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (centre - width) / (1 + z * z / n), (centre + width) / (1 + z * z / n)


class Running:
    """Sums kept while a run goes on, for the line beside the progress bar."""

    SHOWN = (("exact", "exact"), ("passed", "pass"), ("offered", "offered"), ("raised", "raised"))

    def __init__(self) -> None:
        self.sums: Counter[str] = Counter()
        self.seen: Counter[str] = Counter()

    def add(self, row: Row) -> str:
        """The scores with one more row."""
        for field, _ in self.SHOWN:
            if field in row:
                self.sums[field] += bool(row[field])
                self.seen[field] += 1
        if "loss" in row:
            self.sums["loss"] += row["loss"]
            self.seen["loss"] += row["tokens"]
            return f"loss {self.sums['loss'] / max(self.seen['loss'], 1):.3f}"
        return " ".join(f"{t} {self.sums[f] / self.seen[f]:.3f}" for f, t in self.SHOWN if self.seen[f])


def written(value: float | None, style: Style) -> str:
    """A figure for people."""
    if value is None:
        return "–"
    ms = f"{value:.0f}" if value >= 100 else f"{value:.3g}"
    return {"share": f"{value:.3f}", "count": f"{value:.0f}", "ms": ms, "number": f"{value:.2f}"}[style]
