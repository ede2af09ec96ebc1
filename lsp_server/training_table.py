"""What `quatrain train evaluate` shows a person. Knows figures, measures nothing."""

from __future__ import annotations

from collections.abc import Mapping
from io import StringIO
from typing import Any

from rich.console import Console
from rich.table import Table


def render(found: Mapping[str, Mapping[str, Any]]) -> str:
    """A line for each contender, then tokens per forward by language."""
    console = Console(file=StringIO(), width=170)
    console.print(speeds(found))
    console.print(languages(found))
    return console.file.getvalue()  # type: ignore[attr-defined]


def speeds(found: Mapping[str, Mapping[str, Any]]) -> Table:
    table = Table(title="Behind the prompt, greedy", title_justify="left")
    for name in (
        "contender",
        "tokens / forward",
        "ms / token",
        "tokens / s",
        "times plain",
        "ms / forward",
        "of it draft",
        "rows",
    ):
        table.add_column(name, justify="left" if name == "contender" else "right")
    table.add_column("accepted, token by token")
    table.add_column("drafted: accepted, by source")
    base = found.get("plain", {}).get("ms_per_token")
    for name, row in found.items():
        ms = row["ms_per_token"]
        times = f"{base / ms:.2f}" if base else ""
        at = " ".join("-" if rate is None else f"{rate:.2f}" for rate in row["accepted_at"])
        by = ", ".join(f"{source} {n['drafted']}: {n['accepted']}" for source, n in row["sources"].items())
        per, *parts = [""] * 4  # a peer's passes are not counted
        if row["own"]:
            per = f"{row['tokens_per_forward']:.2f}"
            parts = [f"{row[key]:.1f}" for key in ("ms_per_pass", "draft_ms_per_pass", "rows_per_pass")]
        table.add_row(name, per, f"{ms:.1f}", f"{1000 / ms:.0f}", times, *parts, at, by)
    return table


def languages(found: Mapping[str, Mapping[str, Any]]) -> Table:
    ours = {name: row for name, row in found.items() if row["own"]}
    table = Table(title="Tokens per forward", title_justify="left")
    table.add_column("")
    names = sorted({language for row in ours.values() for language in row["languages"]})
    for name in names:
        table.add_column(name, justify="right")
    for name, row in ours.items():
        table.add_row(name, *(f"{row['languages'].get(language, 0):.2f}" for language in names))
    return table
