"""The suites: which cases, which settings, what is done with a case. A row of SUITES each.

Knows everything in this package but the report.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TypeAlias

from quatrain.lsp_server.complete import Completer
from quatrain.lsp_server.documents import Document
from quatrain.lsp_server.evaluate import corpus, humaneval, losses, sandbox, sources, variants
from quatrain.lsp_server.evaluate.case import Answer, Case
from quatrain.lsp_server.evaluate.measures import score
from quatrain.lsp_server.evaluate.running import Job, Row, Work
from quatrain.lsp_server.evaluate.variants import Prepared, Switches
from quatrain.lsp_server.settings import Settings
from quatrain.model.api import Engine, QuatrainError, Stop


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the user asked for."""

    suite: str
    limit: int = 0
    seed: int = 0
    files: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    variants: tuple[str, ...] = ()


Switchboard: TypeAlias = dict[str, Switches]


@dataclass(frozen=True, slots=True)
class Suite:
    """`lines` is how much is asked for. `cases` gives what a variant is tried on; `work` what is done."""

    about: str
    cases: Callable[[Wanted, Switches], list[Case]]
    work: Callable[[Engine, Settings, Switchboard], Work]
    named: Callable[[Sequence[str]], Switchboard] = variants.named
    lines: str = "auto"
    first_variant: str = "product"


def human_cases(wanted: Wanted, switches: Switches) -> list[Case]:
    """All problems, or as many as wanted, in an order that puts no two of one function beside each other: a warm
    cache would flatter the times."""
    cases = humaneval.cases(wanted.suite, switches.raw_hole)
    return sources.sample(cases, wanted.limit or len(cases), wanted.seed)


def hole_cases(wanted: Wanted, switches: Switches) -> list[Case]:
    """Holes in the files the user names, or else in the standard library and what was fetched."""
    return sources.punched(files(wanted), wanted.limit or 2_000, wanted.seed)


def next_line_cases(wanted: Wanted, switches: Switches) -> list[Case]:
    """Lines taken out of long files."""
    return losses.cases(files(wanted), wanted.limit or 200, wanted.seed)


def files(wanted: Wanted) -> list[sources.File]:
    """The files to read. Raises QuatrainError when none is left."""
    found = sources.matching(wanted.files) if wanted.files else [*sources.standard_library(), *fetched()]
    found = [file for file in found if not wanted.languages or file.language in wanted.languages]
    if not found:
        raise QuatrainError("no source files of these languages: name some with --files, or get some with --fetch")
    return found


def fetched() -> list[sources.File]:
    return [file for folder in corpus.fetched() for file in sources.under(folder, folder.name)]


def completing(engine: Engine, settings: Settings, switchboard: Switchboard) -> Work:
    """Complete, judge, and run the program where there is one."""
    ready = {name: variants.prepared(engine, settings, switches) for name, switches in switchboard.items()}

    def first(job: Job) -> Row:
        given = answer(ready[job.variant], job.case)
        verdict = score(job.case, given)
        about = {"variant": job.variant, "case": job.case.id, "language": job.case.language, "kind": job.case.kind}
        return about | asdict(given) | asdict(verdict) | {"raised": verdict.raised, "valid": verdict.valid}

    def after(job: Job, row: Row) -> Row:
        if not job.case.test:
            return row
        program = job.case.completed(row["text"], len(job.case.prefix) + row["replaced"]) + job.case.test
        outcome = sandbox.verdict(program)
        return row | {"outcome": outcome, "passed": outcome == "passed"}

    return Work(first, after)


def answer(ready: Prepared, case: Case) -> Answer:
    """What the product offers for a case, with nothing remembered from the case before."""
    completer: Completer = ready.completer
    completer.forget()
    document = Document(case.path, case.language, case.document)
    begin = time.perf_counter()
    given = completer.complete(document.snapshot(len(case.prefix)), ready.settings, Stop())
    ms = (time.perf_counter() - begin) * 1000
    done, stages = given.trace.summary(), given.trace.stages_ms
    return Answer(
        given.text,
        given.end - len(case.prefix),
        given.reason,
        round(ms, 2),
        round(stages.get("model", 0.0), 2),
        round(stages.get("cut", 0.0), 3),
        len(given.trace.rounds),
        *(done[name] for name in ("tokens", "forwards", "prompt_tokens", "reused_tokens")),
        probs=tuple(round(prob, 3) for prob in given.trace.probs(len(given.text))),
    )


def settings_of(suite: Suite, base: Settings) -> Settings:
    """The user's settings as the suite needs them."""
    return replace(base, lines=suite.lines)


SUITES: dict[str, Suite] = {
    "humaneval": Suite("1,033 single lines of 164 functions, with tests", human_cases, completing, lines="single"),
    "humaneval-spans": Suite("164 random spans of the same functions, with tests", human_cases, completing),
    "holes": Suite("cursors in real files, by syntax node", hole_cases, completing),
    "context": Suite(
        "loss of the true next lines in long files, by context",
        next_line_cases,
        losses.work,
        losses.named,
        first_variant="all",
    ),
}
