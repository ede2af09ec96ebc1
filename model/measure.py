"""Times forward passes: a prompt from nothing, or a few rows behind a filled cache. Contenders take turns.

Knows what a trunk is asked, not how it computes; what is measured stands in plain values.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from quatrain.model import decode, machine, step_costs
from quatrain.model.step_costs import StepCosts

if TYPE_CHECKING:
    from quatrain.model.decode import Trunk

PAUSE_S = 0.005
"""Between contenders: threads that still spin after one's work must not slow the next."""
STEPS_PER_TURN = 3


@dataclass(frozen=True, slots=True)
class Prompt:
    """Compute `tokens` positions from an empty cache, logits for the last."""

    tokens: int


@dataclass(frozen=True, slots=True)
class Steps:
    """Compute `rows` positions behind `depth` others, logits for every row: what verifying a draft needs."""

    rows: int
    depth: int


class Contender(Protocol):
    """Something that computes the same token ids as the others. `prepare` is not timed, `run` is."""

    name: str

    def prepare(self, task: Prompt | Steps) -> None: ...

    def run(self, task: Prompt | Steps) -> None: ...


class OwnTrunk:
    """A trunk of ours over `ids`, in the pieces in which the decode loop computes prompts."""

    def __init__(self, name: str, trunk: Trunk, ids: Sequence[int], storage: Any = None) -> None:
        self.name, self.trunk, self.ids = name, trunk, ids
        self.storage: Any = trunk.allocate(len(ids)) if storage is None else storage
        self.filled = 0  # positions before it hold these ids, whatever was computed in between

    def prepare(self, task: Prompt | Steps) -> None:
        if isinstance(task, Steps) and self.filled < task.depth:
            self.run(Prompt(task.depth))

    def run(self, task: Prompt | Steps) -> None:
        if isinstance(task, Steps):
            piece = self.ids[task.depth : task.depth + task.rows]
            self.trunk.forward(piece, task.depth, self.storage, range(task.rows))
            return
        for start in range(0, task.tokens, decode.PIECE):
            piece = self.ids[start : min(start + decode.PIECE, task.tokens)]
            last = start + len(piece) == task.tokens
            self.trunk.forward(piece, start, self.storage, (len(piece) - 1,) if last else ())
        self.filled = max(self.filled, task.tokens)


def take_turns(contenders: Sequence[Contender], task: Prompt | Steps, runs: int) -> list[list[float]]:
    """Milliseconds of every run of each contender. They alternate, so that what disturbs the machine for a
    while disturbs all; each turn of steps begins with one that is not counted."""
    again = STEPS_PER_TURN if isinstance(task, Steps) else 1
    times: list[list[float]] = [[] for _ in contenders]
    for _ in range(runs):
        for contender, own in zip(contenders, times, strict=True):
            contender.prepare(task)
            time.sleep(PAUSE_S)
            if isinstance(task, Steps):
                contender.run(task)
            for _ in range(again):
                contender.prepare(task)
                began = time.perf_counter()
                contender.run(task)
                own.append((time.perf_counter() - began) * 1000)
    return times


def measure_costs(contender: Contender, depth: int = 256, budget_s: float = 4.0) -> StepCosts:
    """The short form: passes of 1 to 16 rows behind `depth` positions and one prompt, in about `budget_s` seconds
    but at least once each. Rounds over all row counts, medians over rounds."""
    rows = range(1, step_costs.MOST_ROWS + 1)
    (first,), *_ = take_turns([contender], Prompt(depth), 1)
    times: list[list[float]] = [[] for _ in rows]
    began = time.perf_counter()
    while not times[-1] or (time.perf_counter() - began < budget_s and len(times[-1]) < 9):
        for n, own in zip(rows, times, strict=True):
            contender.prepare(task := Steps(n, depth))
            start = time.perf_counter()
            contender.run(task)
            own.append((time.perf_counter() - start) * 1000)
    (second,), *_ = take_turns([contender], Prompt(depth), 1)
    step_ms = step_costs.never_falling([statistics.median(own) for own in times])
    return StepCosts(step_ms, depth * 1000 / min(first, second))


def bandwidth_gb_s(threads: int) -> float:
    """Gigabytes (1e9) per second of a streaming read by `threads` threads: see machine.BANDWIDTH_METHOD."""
    return machine.bandwidth(threads) / 1e9
