"""Works through cases one after the other; programs are tested beside it, one at a time. Resumes, shows, stops.

Knows jobs and where their results are kept; what a job is, the suites say.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeAlias

from quatrain.lsp_server.evaluate.case import Case
from quatrain.lsp_server.evaluate.journal import Journal

Row: TypeAlias = dict[str, Any]
WAITING = 8
"""Programs that may wait for their test while the model goes on."""


@dataclass(frozen=True, slots=True)
class Job:
    """One case under one variant; `key` names its result."""

    key: str
    variant: str
    case: Case


@dataclass(frozen=True, slots=True)
class Work:
    """What to do with a job: `first` here, on the model, then `after` beside it, which completes the row."""

    first: Callable[[Job], Row]
    after: Callable[[Job, Row], Row]


def run(jobs: Sequence[Job], work: Work, journal: Journal, report: Callable[[Row, bool], None]) -> list[Row]:
    """The results of all jobs, those known from an earlier run included. `report` hears of each, and whether it
    is new. An interruption loses only what is being computed."""
    rows: list[Row] = []
    waiting: deque[tuple[Job, Future[Row]]] = deque()
    tests = ThreadPoolExecutor(1, thread_name_prefix="quatrain-tests")

    def collect(most: int) -> None:
        while waiting and (len(waiting) > most or waiting[0][1].done()):
            job, done = waiting.popleft()
            row = done.result()
            journal.add(job.key, row)
            rows.append(row)
            report(row, True)

    try:
        for job in jobs:
            if (known := journal.get(job.key)) is not None:
                rows.append(known)
                report(known, False)
                continue
            waiting.append((job, tests.submit(work.after, job, work.first(job))))
            collect(WAITING)
        collect(0)
    finally:
        tests.shutdown(wait=False, cancel_futures=True)
    return rows
