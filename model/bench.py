"""`quatrain bench`: one model, one or several arithmetics and llama.cpp, measured in turns on this machine.

Collects figures into plain values; `bench_table` shows them. Knows nothing of how anything is computed.
"""

from __future__ import annotations

import json
import statistics
import sysconfig
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from quatrain.model import checkpoint, fetch, first_token, loss, machine, measure, peer, source
from quatrain.model.api import QuatrainError
from quatrain.model.engine import LocalEngine
from quatrain.model.first_token import FirstToken
from quatrain.model.loss import Agreement
from quatrain.model.machine import Machine
from quatrain.model.measure import Contender, OwnTrunk, Prompt, Steps
from quatrain.model.native.trunk import physical_cores

PACKAGES = ("quatrain", "torch", "numpy", "llama-cpp-python")


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure. `loss_tokens` 0: no loss. `imports`: modules a serving process holds besides the model."""

    prompts: tuple[int, ...] = (64, 256, 512, 1024)
    rows: tuple[int, ...] = (1, 2, 3, 4, 6, 8, 12, 16)
    depths: tuple[int, ...] = (0, 512, 2048)
    runs: int = 5
    peer: bool = False
    loss_tokens: int = 0
    loss_files: tuple[str, ...] = ()
    start_up: bool = True
    imports: tuple[str, ...] = ()

    @property
    def tasks(self) -> list[Prompt | Steps]:
        """Deep steps first: llama.cpp's cache is then only ever cut back."""
        steps = [Steps(rows, depth) for depth in sorted(self.depths, reverse=True) for rows in self.rows]
        return [*map(Prompt, self.prompts), *steps]

    def within(self, positions: int) -> Plan:
        """The plan without what does not fit into a cache of so many positions."""
        return replace(
            self,
            prompts=tuple(n for n in self.prompts if n <= positions),
            depths=tuple(n for n in self.depths if n + max(self.rows) <= positions),
        )


SHORT = Plan(prompts=(64, 256), rows=(1, 2, 4, 8), depths=(256,), runs=3)
SERVER_MODULES = ("quatrain.lsp_server.handlers",)
"""What a server holds besides the model; loaded by name in the measured process only."""


def plan_of(short: bool, runs: int | None, with_peer: bool, loss_tokens: int, files: Sequence[str]) -> Plan:
    """The plan for what the command line says. QuatrainError for numbers that make none."""
    base = SHORT if short else Plan()
    runs = base.runs if runs is None else runs
    if runs < 1 or loss_tokens < 0:
        raise QuatrainError("--runs takes a number from 1, --loss one from 0")
    if files and not loss_tokens:
        raise QuatrainError("files are read by --loss N only")
    return replace(
        base, runs=runs, peer=with_peer, loss_tokens=loss_tokens, loss_files=tuple(files), imports=SERVER_MODULES
    )


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one contender. Medians in milliseconds by task; `bytes_per_step` are weights read by any pass."""

    name: str
    about: str
    bytes_per_step: int
    prompt_ms: dict[int, float]
    step_ms: dict[tuple[int, int], float]  # by (rows, depth)
    start: FirstToken | None = None
    agreement: Agreement | None = None

    def tokens_per_s(self, prompt: int) -> float:
        return prompt * 1000 / self.prompt_ms[prompt]


@dataclass(frozen=True, slots=True)
class Results:
    """Everything that was measured, and where. `samples`: counted times behind a prompt's and a step's median."""

    model: str
    machine: Machine
    versions: dict[str, str]
    date: str
    threads: int
    runs: int
    samples: tuple[int, int]
    bandwidth_gb_s: float
    contenders: tuple[Figures, ...]

    @property
    def peer(self) -> Figures | None:
        """llama.cpp's figures, if it took part."""
        return next((figures for figures in self.contenders if figures.name == peer.NAME), None)


def run(model: str, arithmetics: Sequence[str], plan: Plan, report: fetch.Report) -> Results:
    """Measure. Takes minutes, and the whole machine. QuatrainError for what cannot be opened."""
    if len(set(arithmetics)) != len(arithmetics):
        raise QuatrainError("--arithmetic names a path twice")
    about = machine.describe()
    engines = {name: checkpoint.open_engine(model, name, report) for name in arithmetics}
    first = next(iter(engines.values()))
    plan = plan.within(first.cache.capacity)
    ids = text_ids(first, max((*plan.prompts, *(depth + max(plan.rows) for depth in plan.depths))))
    threads = physical_cores()
    contenders: list[Contender] = [
        OwnTrunk(name, engine.trunk, ids, engine.cache.storage) for name, engine in engines.items()
    ]
    path = checkpoint.locate(model, report).path
    if plan.peer:
        contenders.append(peer.LlamaCpp(path, ids, threads))
    report("measuring the memory", 0, 0)
    bandwidth = measure.bandwidth_gb_s(threads)
    times = timed(contenders, plan, report)
    figures = [own_figures(name, engine, times[name]) for name, engine in engines.items()]
    if plan.peer:
        figures.append(Figures(peer.NAME, peer.describe(), file_bytes_per_step(path), *times[peer.NAME]))
    if plan.start_up:
        figures = [replace(each, start=started(each.name, model, path, threads, plan, report)) for each in figures]
    if plan.loss_tokens:
        found = losses(engines, path, plan, report)
        figures = [replace(each, agreement=found.get(each.name)) for each in figures]
    return Results(
        model=first.name,
        machine=about,
        versions=machine.versions(PACKAGES),
        date=datetime.now(UTC).isoformat(timespec="minutes"),
        threads=threads,
        runs=plan.runs,
        samples=(plan.runs, plan.runs * measure.STEPS_PER_TURN),
        bandwidth_gb_s=bandwidth,
        contenders=tuple(figures),
    )


Times = tuple[dict[int, float], dict[tuple[int, int], float]]
"""Medians in milliseconds: of prompts by tokens, of steps by (rows, depth)."""


def timed(contenders: Sequence[Contender], plan: Plan, report: fetch.Report) -> dict[str, Times]:
    """The medians of each contender, by its name."""
    found: dict[str, Times] = {contender.name: ({}, {}) for contender in contenders}
    for task in plan.tasks:
        report(f"measuring {words(task)}", 0, 0)
        for contender, times in zip(contenders, measure.take_turns(contenders, task, plan.runs), strict=True):
            prompts, steps = found[contender.name]
            if isinstance(task, Prompt):
                prompts[task.tokens] = statistics.median(times)
            else:
                steps[task.rows, task.depth] = statistics.median(times)
    return found


def words(task: Prompt | Steps) -> str:
    """A task for the progress line."""
    if isinstance(task, Prompt):
        return f"a prompt of {task.tokens} tokens"
    return f"a step of {task.rows} rows behind {task.depth} tokens"


def own_figures(name: str, engine: LocalEngine, times: Times) -> Figures:
    return Figures(name, engine.trunk.arithmetic, engine.trunk.bytes_per_step, *times)


def text_ids(engine: LocalEngine, count: int) -> list[int]:
    """`count` tokens of Python's own library."""
    text = (Path(sysconfig.get_paths()["stdlib"]) / "argparse.py").read_text(encoding="utf-8")
    ids = engine.vocabulary.encode(text[: count * 8])
    return (ids * (count // len(ids) + 1))[:count]


def file_bytes_per_step(path: Path) -> int:
    """Bytes of the file's tensors that a pass reads: all but the input embedding where the output has its own."""
    tensors = source.read(path).tensors
    unread = {"token_embd.weight"} if "output.weight" in tensors else set()
    return sum(int(tensor.n_bytes) for name, tensor in tensors.items() if name not in unread)


def started(name: str, model: str, path: Path, threads: int, plan: Plan, report: fetch.Report) -> FirstToken:
    """The best of three fresh processes by time: the first may find the files not yet in memory."""
    report(f"starting {name}", 0, 0)
    file = str(path) if name == peer.NAME else ""
    request = first_token.Request(model, name, plan.imports, file, threads)
    return min((first_token.measure(request) for _ in range(3)), key=lambda found: found.token_s)


def losses(engines: dict[str, LocalEngine], path: Path, plan: Plan, report: fetch.Report) -> dict[str, Agreement]:
    """Loss and agreement of each of our arithmetics."""
    vocabulary = next(iter(engines.values())).vocabulary
    chunks = loss.windows(vocabulary, plan.loss_files, plan.loss_tokens)
    report("reading the exact model", 0, 0)
    exact = loss.reference(source.read(path))
    result: list[Agreement] = []
    for done, found in enumerate(loss.compare({n: e.trunk for n, e in engines.items()}, exact, chunks), 1):
        report(f"next-token loss, window {done} of {len(chunks)}", 0, 0)
        result = found
    return {each.name: each for each in result}


def as_json(results: Results) -> str:
    """All of it for machines. Steps become rows of a list: JSON has no pairs as names."""
    held: dict[str, Any] = asdict(replace(results, contenders=()))
    held["bandwidth_method"] = machine.BANDWIDTH_METHOD.format(mb=256, threads=results.threads)
    held["contenders"] = [plain(each, results) for each in results.contenders]
    return json.dumps(held, indent=1)


def plain(figures: Figures, results: Results) -> dict[str, Any]:
    """One contender for `as_json`, with its ratios to llama.cpp (times of ours over theirs) where there are any."""
    other = results.peer if figures.name != peer.NAME else None
    prompts = [
        {"tokens": tokens, "ms": ms, "tokens_per_s": figures.tokens_per_s(tokens)}
        | ({"rate_ratio": other.prompt_ms[tokens] / ms} if other else {})
        for tokens, ms in figures.prompt_ms.items()
    ]
    steps = [
        {"rows": rows, "depth": depth, "ms": ms, "over_one_row": ms / figures.step_ms.get((1, depth), ms)}
        | ({"time_ratio": ms / other.step_ms[rows, depth]} if other else {})
        for (rows, depth), ms in figures.step_ms.items()
    ]
    return {
        "name": figures.name,
        "about": figures.about,
        "bytes_per_step": figures.bytes_per_step,
        "prompt": prompts,
        "step": steps,
        "start": asdict(figures.start) if figures.start else None,
        "agreement": asdict(figures.agreement) | {"excess": figures.agreement.excess} if figures.agreement else None,
    }
