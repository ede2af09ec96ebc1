"""The `cutter` suite: how long the cutter takes per round, and how long it and a context take to make.

Needs no model: rounds are fed with the true text in pieces of one to five tokens' size. Times are processor time of
the thread, which other programs on the machine disturb little. Knows files; knows no tables.
"""

from __future__ import annotations

import html.entities
import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from quatrain.lsp_server import context, languages
from quatrain.lsp_server.cut import Cutter
from quatrain.lsp_server.documents import Document
from quatrain.lsp_server.evaluate.sources import File, shuffled, text_of
from quatrain.lsp_server.evaluate.summary import percentile
from quatrain.lsp_server.languages import Tree
from quatrain.model.api import QuatrainError

LINES = 5_000
CURSORS = 60
"""Per language, where the user names no number."""
MOST_FED = 800
"""Characters of the true text: about as much as a long completion."""
PIECE = re.compile(r"[^\S\n]?\w{1,7}|\n[^\S\n]*|[^\w\s]{1,3}|[^\S\n]+")
"""About what a tokenizer makes of code."""
CONTEXT_TOKENS = 1024
COLUMNS = (
    ("a round", "round"),
    ("a deciding round", "deciding"),
    ("a round, wall", "round_wall"),
    ("a cutter", "cutter"),
    ("a context, cold", "context_cold"),
    ("warm", "context_warm"),
)
"""Titles and names of what is measured. A round that ends no line decides nothing and costs next to nothing."""
KINDS = ("line", "middle", "broken above", "broken here")


@dataclass(frozen=True, slots=True)
class Place:
    """A cursor in a document: what stands before it, what a perfect model would say, what stands after it."""

    kind: str
    before: str
    said: str
    after: str


@dataclass(slots=True)
class Times:
    """Milliseconds, one number for each round or cursor. `errors` counts cursors in a document with errors."""

    lines: int
    cursors: int = 0
    errors: int = 0
    round: list[float] = field(default_factory=list)
    deciding: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    cutter: list[float] = field(default_factory=list)
    cold: list[float] = field(default_factory=list)
    warm: list[float] = field(default_factory=list)

    def figures(self) -> dict[str, float | int | None]:
        """Counts, and median and 95th percentile of everything."""
        found: dict[str, float | int | None] = {"lines": self.lines, "cursors": self.cursors, "errors": self.errors}
        found["rounds"] = len(self.round)
        names = {"round": self.round, "deciding": self.deciding, "round_wall": self.wall, "cutter": self.cutter}
        names |= {"context_cold": self.cold, "context_warm": self.warm}
        for name, values in names.items():
            for suffix, q in (("median", 0.5), ("p95", 0.95)):
                value = percentile(values, q)
                found[f"{name}_{suffix}_ms"] = None if value is None else round(value, 3)
        return found


def measure(
    files: Sequence[File],
    cursors: int,
    seed: int,
    wanted: Sequence[str] = (),
    report: Callable[[str, int, int], None] = lambda message, done, total: None,
) -> dict[str, dict[str, Any]]:
    """Figures by language, of the `wanted` ones if any are named. Raises QuatrainError when no file is left."""
    texts = {name: text for name, text in long_texts(files, seed).items() if not wanted or name in wanted}
    if not texts:
        raise QuatrainError("no source file is fit to be measured")
    found = {}
    for number, (language, text) in enumerate(texts.items()):
        report(f"timing {language}", number, len(texts))
        times = Times(text.count("\n"))
        for place in places(text, Random(f"{seed}|{language}"), cursors or CURSORS):
            time_one(language, place, times, Random(f"{seed}|{len(place.before)}"))
        found[language] = times.figures()
    return found


def long_texts(files: Sequence[File], seed: int) -> dict[str, str]:
    """For each language whole files without errors, joined, and said again if they are few, until they make LINES
    lines. Only what has many lines counts."""
    found: dict[str, str] = {}
    for language, group in shuffled(files, seed).items():
        texts = (text for file in group if (text := text_of(file)) is not None and sound(language, text))
        joined = ""
        for text in texts:
            joined += text + "\n"
            if joined.count("\n") >= LINES:
                break
        if lines := joined.count("\n"):
            found[language] = joined * -(-LINES // lines)
    found.setdefault("json", entities())
    return {language: text for language, text in found.items() if text.count("\n") >= LINES}


def sound(language: str, text: str) -> bool:
    tree = languages.parse(language, text)
    return tree is not None and not tree.root_node.has_error


def entities() -> str:
    """The web's table of named characters, which Python's library holds, in its published form."""
    table = {
        f"&{name}": {"codepoints": [ord(c) for c in said], "characters": said}
        for name, said in sorted(html.entities.html5.items())
    }
    per_entry = json.dumps(dict([next(iter(table.items()))]), indent=2).count("\n") - 1
    return json.dumps(dict(list(table.items())[: LINES // per_entry + 1]), indent=2) + "\n"


def places(text: str, random: Random, count: int) -> Iterator[Place]:
    """Cursors spread over a text, where a line or the rest of one was taken out; half of the documents are broken
    on purpose: a closing bracket some lines above is gone, or the cursor's line keeps an opening one."""
    starts = [match.start(1) for match in re.finditer(r"^[ \t]*([^\s{}()\[\]][^\n]{6,})$", text, re.MULTILINE)]
    for number in range(count):
        start = starts[(number * len(starts) + random.randrange(len(starts))) // count]
        end = text.find("\n", start)
        kind = KINDS[number % len(KINDS)]
        at = start if kind == "line" else random.randrange(start + 1, end)
        before, said, after = text[:at], text[at : at + MOST_FED], text[end:]
        if kind == "broken above":
            closers = [m.start() for m in re.finditer(r"[)}\]]", before[-4_000:])]
            gone = max(len(before) - 4_000, 0) + random.choice(closers or [0])
            before = before[:gone] + before[gone + 1 :]
        elif kind == "broken here":
            after = "({" + after
        yield Place(kind, before, said, after)


def time_one(language: str, place: Place, times: Times, random: Random) -> None:
    """One cursor: contexts, the cutter, its rounds."""
    document = Document(f"file.{language}", language, place.before + place.after)
    snapshot = document.snapshot(len(place.before))
    times.cursors += 1
    times.errors += isinstance(snapshot.tree, Tree) and snapshot.tree.root_node.has_error
    context.forget()
    times.cold.append(spent(lambda: context.build(snapshot, CONTEXT_TOKENS))[0])
    document.edit(len(place.before), len(place.before), "x")
    typed = document.snapshot(len(place.before) + 1)
    times.warm.append(spent(lambda: context.build(typed, CONTEXT_TOKENS))[0])
    ms, cutter = spent(lambda: Cutter(snapshot))
    times.cutter.append(ms)
    feed(cutter, place.said, times, random)


def feed(cutter: Cutter, said: str, times: Times, random: Random) -> None:
    """Rounds until the cutter is content or the text ends, its end a round of its own."""
    pieces = PIECE.findall(said)
    cut = None
    while pieces and cut is None:
        size = random.randrange(1, 6)
        text, pieces = "".join(pieces[:size]), pieces[size:]
        began = time.perf_counter()
        ms, cut = spent(lambda text=text: cutter.feed(text))
        times.round.append(ms)
        if cut is not None or "\n" in text:
            times.deciding.append(ms)
        times.wall.append((time.perf_counter() - began) * 1000)
    if cut is None:
        times.round.append(spent(lambda: cutter.finish("length"))[0])


def spent(work: Callable[[], Any]) -> tuple[float, Any]:
    """Milliseconds of this thread's processor time, and the result."""
    began = time.thread_time_ns()
    result = work()
    return (time.thread_time_ns() - began) / 1e6, result
