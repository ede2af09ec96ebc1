"""Draft sources in the live decode loop, on prompts that nothing was trained on: what each settles per forward pass,
and what that is worth in time, beside plain decoding and, if wanted, llama.cpp with the same file and prompts.

Contenders take turns on every prompt. Times leave the prompt out: from the end of the first pass to the end of the
last. Knows ids and rounds; knows no text.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from quatrain.model import decode
from quatrain.model.api import Prompt, QuatrainError, Round, Stop
from quatrain.model.draft import Draft, DraftSource, LookupDraft, NoDraft
from quatrain.model.draft_length import DraftLengths
from quatrain.model.engine import LocalEngine
from quatrain.model.fetch import Report
from quatrain.model.train.examples import Packed

POSITIONS = 5


@dataclass(frozen=True, slots=True)
class Answer:
    """What a contender, one of our `own` sources or a peer, made of one prompt: `ids`; passes behind the first, tokens
    they settled and their time, of which `draft_ms` went into drafts; `rows` that were verified; how many tokens of
    drafts were verified and accepted, by source; `tried[i]` counts rounds in which token i of a draft was verified and
    all before it were right, `right[i]` those in which it was right too."""

    contender: str
    own: bool
    language: str
    ids: tuple[int, ...]
    passes: int
    tokens: int
    ms: float
    draft_ms: float
    rows: int
    sources: dict[str, tuple[int, int]]
    tried: tuple[int, ...] = ()
    right: tuple[int, ...] = ()


Contender: TypeAlias = Callable[[tuple[int, ...], int, str], Answer]
"""(prompt ids, number of tokens, language) -> answer"""


def sources(engine: LocalEngine) -> dict[str, Callable[[], DraftSource]]:
    """What can propose, by name; a fresh one for each prompt."""
    known: dict[str, Callable[[], DraftSource]] = {"plain": NoDraft, "lookup": LookupDraft}
    if (head := engine.head) is not None:
        known |= {"head": lambda: head, "hybrid": lambda: engine.sources(LookupDraft())}
    return known


def own(engine: LocalEngine, name: str, source: Callable[[], DraftSource]) -> Contender:
    """Our decode loop with one draft source. Lengths are learned as the engine would."""
    lengths = DraftLengths(engine.lengths.costs)

    def answer(prompt: tuple[int, ...], tokens: int, language: str) -> Answer:
        engine.cache.truncate(0)
        timed = Timed(source())
        stream = decode.rounds(
            engine.trunk,
            engine.cache,
            engine.vocabulary,
            Prompt(prompt),
            Stop(),
            tokens,
            timed,
            engine.max_draft,
            lengths,
        )
        return summary(name, language, [r for r in stream if r.tokens], timed.ms)

    return answer


class Timed:
    """A source whose proposals are timed, the first one apart: it may wait for a prompt."""

    def __init__(self, source: DraftSource) -> None:
        self.source, self.ms, self.asked = source, 0.0, 0

    def propose(self, tokens: Sequence[int], start: int, limit: int) -> Draft:
        began = time.perf_counter()
        draft = self.source.propose(tokens, start, limit)
        self.ms += (time.perf_counter() - began) * 1000 if self.asked else 0.0
        self.asked += 1
        return draft

    def observe(self, position: int, states: np.ndarray) -> None:
        self.source.observe(position, states)


def summary(name: str, language: str, rounds: Sequence[Round], draft_ms: float) -> Answer:
    """Figures of the rounds behind the first, which computed the prompt's end."""
    later = rounds[1:]
    tried, right = np.zeros(POSITIONS, int), np.zeros(POSITIONS, int)
    by_source: dict[str, tuple[int, int]] = {}
    for r in later:
        drafted, accepted = by_source.get(r.source, (0, 0))
        by_source[r.source] = drafted + r.drafted, accepted + r.accepted
        tried[: min(r.accepted + 1, r.drafted)] += 1
        right[: r.accepted] += 1
    ids = tuple(token for r in rounds for token in r.tokens)
    settled = sum(len(r.tokens) for r in later)
    counts = tuple(tried.tolist()), tuple(right.tolist())
    rows = sum(1 + r.drafted for r in later)
    times = sum(r.ms for r in later), draft_ms
    return Answer(name, True, language, ids, len(later), settled, *times, rows, by_source, *counts)


def llama(path: Path, threads: int, capacity: int, lookup: bool) -> Contender:
    """llama.cpp, greedy; with its own n-gram speculation if `lookup`. QuatrainError when it is not installed."""
    from quatrain.model import peer

    peer.library()
    from llama_cpp import Llama  # type: ignore[import-not-found]
    from llama_cpp.llama_speculative import LlamaPromptLookupDecoding  # type: ignore[import-not-found]

    draft = LlamaPromptLookupDecoding(num_pred_tokens=4) if lookup else None
    model = Llama(
        str(path),
        n_ctx=capacity,
        n_threads=threads,
        n_threads_batch=threads,
        logits_all=lookup,
        draft_model=draft,
        verbose=False,
    )
    name = peer.NAME + (" n-gram" if lookup else "")
    end = model.token_eos()

    def answer(prompt: tuple[int, ...], tokens: int, language: str) -> Answer:
        model.reset()
        ids: list[int] = []
        began = 0.0
        for token in model.generate(list(prompt), temp=0.0, top_k=1, repeat_penalty=1.0):
            if not ids:
                began = time.perf_counter()
            if token == end:
                break
            ids.append(token)
            if len(ids) == tokens:
                break
        ms = (time.perf_counter() - began) * 1000
        count = max(len(ids) - 1, 0)
        return Answer(name, False, language, tuple(ids), count, count, ms, 0.0, count, {})

    return answer


def run(
    contenders: dict[str, Contender], packed: Packed, limit: int, tokens: int, report: Report
) -> Iterator[list[Answer]]:
    """Every contender on every prompt, in turns, languages evenly. Yields the answers to a prompt.

    Raises QuatrainError when two of our own sources say different things: that would be a bug.
    """
    for turn, number in enumerate(evenly(packed, limit)):
        report("evaluating", turn, limit)
        prompt = tuple(packed.document(number)[: packed.middle[number]].tolist())
        language = packed.languages[packed.language[number]]
        names = list(contenders)
        order = names[turn % len(names) :] + names[: turn % len(names)]
        answers = {name: contenders[name](prompt, tokens, language) for name in order}
        ours = {answer.ids for answer in answers.values() if answer.own}
        if len(ours) > 1:
            raise QuatrainError(f"document {number}: draft sources led to different texts; this must not happen")
        yield [answers[name] for name in names]


def evenly(packed: Packed, limit: int) -> list[int]:
    """Documents, a language after the other."""
    groups = [np.flatnonzero(packed.language == i).tolist() for i in range(len(packed.languages))]
    turns = [group[turn] for turn in range(max(map(len, groups))) for group in groups if turn < len(group)]
    return turns[:limit]


def table(answers: Sequence[Answer]) -> dict[str, Any]:
    """Figures of one contender: tokens per forward, milliseconds per token, drafted and accepted by source, chance
    of token i of a draft given that those before it were right."""
    passes, tokens = sum(a.passes for a in answers), sum(a.tokens for a in answers)
    sources_: dict[str, list[int]] = {}
    for answer in answers:
        for name, (drafted, accepted) in answer.sources.items():
            held = sources_.setdefault(name, [0, 0])
            held[0] += drafted
            held[1] += accepted
    nothing = (0,) * POSITIONS
    tried = np.sum([a.tried or nothing for a in answers], axis=0)
    right = np.sum([a.right or nothing for a in answers], axis=0)
    return {
        "prompts": len(answers),
        "tokens": tokens,
        "tokens_per_forward": round(tokens / max(passes, 1), 3),
        "ms_per_token": round(sum(a.ms for a in answers) / max(tokens, 1), 2),
        "ms_per_pass": round(sum(a.ms for a in answers) / max(passes, 1), 2),
        "draft_ms_per_pass": round(sum(a.draft_ms for a in answers) / max(passes, 1), 2),
        "rows_per_pass": round(sum(a.rows for a in answers) / max(passes, 1), 2),
        "sources": {name: {"drafted": d, "accepted": a} for name, (d, a) in sources_.items() if d},
        "accepted_at": [round(float(r / t), 3) if t else None for r, t in zip(right, tried, strict=True)],
    }


def tables(answers: Sequence[Answer]) -> dict[str, dict[str, Any]]:
    """By contender: over all prompts, and tokens per forward by language."""
    out: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys(a.contender for a in answers):
        mine = [a for a in answers if a.contender == name]
        languages = sorted({a.language for a in mine})
        each = {lang: table([a for a in mine if a.language == lang])["tokens_per_forward"] for lang in languages}
        out[name] = table(mine) | {"own": mine[0].own, "languages": each}
    return out
