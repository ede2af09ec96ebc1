"""`quatrain eval`: from arguments to results, a summary and a page. Knows the terminal; measures nothing itself."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from quatrain.lsp_server import languages, serving, show
from quatrain.lsp_server.evaluate import corpus, cutter_time, page, suites, summary
from quatrain.lsp_server.evaluate.case import Case
from quatrain.lsp_server.evaluate.journal import Journal, key_of
from quatrain.lsp_server.evaluate.running import Job, Row, run
from quatrain.lsp_server.evaluate.suites import SUITES, Wanted
from quatrain.lsp_server.evaluate.variants import PRODUCT, Switches
from quatrain.lsp_server.settings import Settings
from quatrain.model.api import Engine, QuatrainError


def evaluate(wanted: Wanted, settings: Settings, output: str, fresh: bool, fetch: bool, engine: str | None) -> int:
    """Run a suite, or what of it an earlier run left, and write the report. Raises QuatrainError."""
    console = Console(stderr=True, highlight=False)
    if unknown := [name for name in wanted.languages if name not in languages.LANGUAGES]:
        raise QuatrainError(f"no language {unknown[0]!r}; known are {', '.join(languages.LANGUAGES)}")
    suite = SUITES[wanted.suite]
    settings = suites.settings_of(suite, settings)
    switchboard = suite.named(wanted.variants or (suite.first_variant,))
    fetch_corpus(fetch, console)
    cases = {name: suite.cases(wanted, switches) for name, switches in switchboard.items()}
    with show.progress() as report:
        model = (serving.named_engine(engine) if engine else serving.open_local)(settings, report)
    folder = Path(output or f"quatrain-eval/{wanted.suite}")
    journal = Journal(folder / "results.jsonl", fresh)
    try:
        jobs = jobs_of(cases, switchboard, settings, model)
        with bar(len(jobs), console) as report:
            rows = run(jobs, suite.work(model, settings, switchboard), journal, report)
    finally:
        journal.close()
    conditions = conditions_of(wanted, settings, model, switchboard)
    write(folder, wanted.suite, conditions, rows, cases)
    Console(highlight=False).print(overview(rows))
    console.print(f"wrote {folder / 'report.html'}, {folder / 'summary.json'} and {folder / 'results.jsonl'}")
    return 0


def jobs_of(cases: dict[str, list[Case]], switchboard: dict[str, Any], settings: Settings, model: Engine) -> list[Job]:
    """Variant after variant, so that no variant profits from the cache of another."""
    jobs = []
    for name, switches in switchboard.items():
        described = {"settings": asdict(settings), "switches": asdict(switches), "model": model.describe()}
        jobs += [Job(key_of(case, described | {"variant": name}), name, case) for case in cases[name]]
    return jobs


@contextmanager
def bar(total: int, console: Console) -> Iterator[Any]:
    """A progress bar with the scores so far, of the variant that is running."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[scores]}"),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("starting", total=total, scores="")
        running: dict[str, summary.Running] = {}

        def report(row: Row, new: bool) -> None:
            scores = running.setdefault(row["variant"], summary.Running()).add(row)
            progress.update(task, advance=1, description=row["variant"], scores=scores)

        yield report


def conditions_of(wanted: Wanted, settings: Settings, model: Engine, switchboard: dict[str, Any]) -> dict[str, Any]:
    """All that a reader needs to make these figures again."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "command": " ".join(["quatrain", *sys.argv[1:]]),
        "machine": machine(),
        **{f"model: {name}" if name != "model" else name: value for name, value in model.describe().items()},
        "context tokens": settings.context_tokens,
        "most tokens": settings.max_tokens,
        "lines": settings.lines,
        "seed": wanted.seed,
        **{f"variant {name}": changes(switches) for name, switches in switchboard.items()},
    }


def changes(switches: Any) -> str:
    """What a row of switches says, but for what it leaves as the product has it."""
    shipped = asdict(PRODUCT) if isinstance(switches, Switches) else {}
    said = [f"{name} {value}" for name, value in asdict(switches).items() if value != shipped.get(name)]
    return ", ".join(said) or "as it ships"


def machine() -> str:
    return f"{processor()}, {platform.system()} {platform.machine()}, Python {platform.python_version()}"


def processor() -> str:
    """The processor's name, where the platform tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown processor"


def write(
    folder: Path, suite: str, conditions: dict[str, Any], rows: Sequence[Row], cases: dict[str, list[Case]]
) -> None:
    """summary.json and report.html, each whole or not at all."""
    totals = {"suite": suite, "conditions": conditions} | summary.summary(rows)
    by_id = {case.id: case for group in cases.values() for case in group}
    contents = {
        "summary.json": json.dumps(totals, indent=1, ensure_ascii=False) + "\n",
        "report.html": page.render(suite, conditions, rows, by_id),
    }
    for name, text in contents.items():
        partial = folder / (name + ".partial")
        partial.write_text(text, encoding="utf-8", errors="replace")
        partial.replace(folder / name)


def overview(rows: Sequence[Row]) -> Table:
    """The variants beside each other, for the terminal."""
    variants = summary.summary(rows)["variants"]
    table = Table("", *variants)
    for column in table.columns[1:]:
        column.justify = "right"
    for measure in summary.measures_for(rows):
        figures = (variant.get(measure.name) for variant in variants.values())
        table.add_row(measure.title, *(summary.written(figure, measure.style) for figure in figures))
    return table


def run_options(options: Any) -> int:
    """Parsed arguments to one run."""
    chosen = {name: getattr(options, name) for name in ("model", "arithmetic", "adapter")}
    settings = replace(Settings(), **chosen)
    wanted = Wanted(
        options.suite,
        options.limit,
        options.seed,
        tuple(options.files),
        tuple(options.language),
        tuple(options.variants),
    )
    if wanted.suite == "cutter":
        return time_cutter(wanted, options.output, options.fetch)
    return evaluate(wanted, settings, options.output, options.fresh, options.fetch, options.engine)


def time_cutter(wanted: Wanted, output: str, fetch: bool) -> int:
    """The one suite that needs no model: how long cutting takes. Raises QuatrainError."""
    fetch_corpus(fetch, Console(stderr=True, highlight=False))
    with show.progress() as report:
        figures = cutter_time.measure(suites.files(wanted), wanted.limit, wanted.seed, wanted.languages, report)
    conditions = {"command": " ".join(["quatrain", *sys.argv[1:]]), "machine": machine(), "load": os.getloadavg()[0]}
    folder = Path(output or "quatrain-eval/cutter")
    folder.mkdir(parents=True, exist_ok=True)
    totals = {"suite": "cutter", "conditions": conditions, "languages": figures}
    (folder / "summary.json").write_text(json.dumps(totals, indent=1) + "\n", encoding="utf-8")
    table = Table("", "cursors", "broken", *(title for title, _ in cutter_time.COLUMNS))
    for column in table.columns[1:]:
        column.justify = "right"
    for language, row in figures.items():
        counts = (str(row[name]) for name in ("cursors", "errors"))
        pairs = (f"{row[name + '_median_ms']:.2f}/{row[name + '_p95_ms']:.2f}" for _, name in cutter_time.COLUMNS)
        table.add_row(language, *counts, *pairs)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)
    console.print(table)
    console.print("median / 95th percentile, milliseconds of processor time; `wall` by the clock")
    console.print(f"wrote {folder / 'summary.json'}; load average {conditions['load']:.1f}")
    return 0


def fetch_corpus(fetch: bool, console: Console) -> None:
    """Get what is missing of the corpus, if that was asked for, and say what could not be had."""
    if fetch:
        with show.progress() as report:
            problems = corpus.fetch_all(report)
        console.print("\n".join(problems))
