"""From a snapshot to a completion: context, prompt, rounds, cut, filters. The whole pipeline, readable aloud.

Runs on the model thread. Remembers the last answer, so that typing it costs nothing and a deviation from it
starts from a draft. Knows no protocol and no tensors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from quatrain.lsp_server import context, filters
from quatrain.lsp_server.cut import Cut, Cutter
from quatrain.lsp_server.documents import Snapshot
from quatrain.lsp_server.settings import Settings
from quatrain.lsp_server.trace import Trace
from quatrain.model.api import Engine, Stop

COLD_SECONDS, USUAL_RATE = 0.6, 1000
LEAST_CONTEXT, MOST_CONTEXT = 256, 1536
"""Tokens of prompt, where the user names no number."""
USUAL_CAPACITY, MARKERS = 4096, 16
"""Tokens that a model has room for where it does not say, and of them what the markers of a prompt may take."""
CLOSERS = ")]}>\"'`"


@dataclass(frozen=True, slots=True)
class Completion:
    """Replace snapshot.text[start:end] by `text`. `source` is "model" or "memory"; `reason` says why the text
    ends where it ends or, when it is empty, why nothing is offered."""

    text: str
    start: int
    end: int
    reason: str
    source: str = "model"
    safe: tuple[tuple[int, str], ...] = ()
    trace: Trace = field(default_factory=Trace)


class Completer:
    """Completes snapshots with one engine. Not thread-safe: the model thread owns it.

    `build` and `cutter` stand in for context and cut where these are compared with something simpler.
    """

    def __init__(
        self,
        engine: Engine,
        build: Callable[..., context.Context] = context.build,
        cutter: Callable[[Snapshot, str], Cutter] = Cutter,
    ) -> None:
        self.engine = engine
        self.build = build
        self.cutter = cutter
        self.last: tuple[Snapshot, Completion] | None = None

    def complete(self, snapshot: Snapshot, settings: Settings, stop: Stop) -> Completion:
        """The completion at the snapshot's cursor. Empty with a reason when there is nothing to offer."""
        if remembered := self.typed_through(snapshot):
            return remembered
        trace = Trace()
        cut = self.generate(snapshot, settings, stop, trace)
        with trace.stage("filters"):
            cut = filters.apply(cut, snapshot, trace.probs(len(cut.text)), settings.confidence)
        completion = Completion(
            cut.text, snapshot.cursor, snapshot.cursor + cut.replace, cut.reason, "model", cut.safe, trace
        )
        if completion.text and stop.reason() is None:
            self.last = (snapshot, completion)
        return completion

    def generate(self, snapshot: Snapshot, settings: Settings, stop: Stop, trace: Trace) -> Cut:
        """Run the model until the cutter is content."""
        with trace.stage("context"):
            shown = self.build(snapshot, self.budget(settings), self.engine.count)
        with trace.stage("encode"):
            prompt = self.engine.encode(shown.prefix, shown.suffix, shown.outline)
        cutter = self.cutter(snapshot, "line" if settings.lines == "single" else "auto")
        stream = self.engine.generate(prompt, stop, settings.max_tokens, self.expected(snapshot))
        ended = "length"
        try:
            for r in stream:
                trace.rounds.append(r)
                trace.stages_ms["model"] = trace.stages_ms.get("model", 0.0) + r.ms
                with trace.stage("cut"):
                    cut = cutter.feed(r.text) if r.text else None
                if cut is not None:
                    return cut
                ended = r.ended or ended
        finally:
            stream.close()
        with trace.stage("cut"):
            return cutter.finish(ended)

    def budget(self, settings: Settings) -> int:
        """Prompt tokens to show: as many as were asked for or are affordable, and a small model leaves room for."""
        capacity = int(self.engine.describe().get("capacity", USUAL_CAPACITY))
        room = capacity - min(settings.max_tokens, capacity // 2) - MARKERS
        return min(settings.context_tokens or self.affordable(), room)

    def affordable(self) -> int:
        """Prompt tokens that a cold start can read within its time, by what was measured on this machine."""
        rate = float(self.engine.describe().get("prompt_tokens_per_s", USUAL_RATE))
        return int(min(max(rate * COLD_SECONDS // 128 * 128, LEAST_CONTEXT), MOST_CONTEXT))

    def forget(self) -> None:
        """Start afresh after a failure."""
        self.last = None

    def typed_through(self, snapshot: Snapshot) -> Completion | None:
        """The rest of the last answer, if what was typed since is its beginning: no model call.

        A closing bracket or quote that the editor added by itself is replaced by the answer's own.
        """
        typed = self.typed(snapshot)
        if typed is None or self.last is None:
            return None
        old, answer = self.last
        if not typed or not answer.text.startswith(typed) or len(typed) == len(answer.text):
            return answer if not typed and snapshot.text == old.text else None
        rest = answer.text[len(typed) :]
        added = len(snapshot.text) - len(old.text) - len(typed)
        closers = snapshot.text[snapshot.cursor : snapshot.cursor + added]
        if any(closer not in CLOSERS or closer not in rest for closer in closers):
            return None
        end = snapshot.cursor + added + answer.end - answer.start
        safe = tuple((at - len(typed), kind) for at, kind in answer.safe if at > len(typed))
        return Completion(rest, snapshot.cursor, end, answer.reason, "memory", safe)

    def typed(self, snapshot: Snapshot) -> str | None:
        """What was typed at the old cursor since the last answer; None if anything else changed."""
        if self.last is None:
            return None
        old, _ = self.last
        if (snapshot.path, snapshot.language) != (old.path, old.language) or snapshot.cursor < old.cursor:
            return None
        tail = old.text[old.cursor :]
        before = snapshot.text[: old.cursor]
        if before != old.text[: old.cursor] or not snapshot.text[snapshot.cursor :].endswith(tail):
            return None
        return snapshot.text[old.cursor : snapshot.cursor]

    def expected(self, snapshot: Snapshot) -> str:
        """The part of the last answer that may still come: a draft for the engine."""
        typed = self.typed(snapshot)
        if typed is None or self.last is None:
            return ""
        return self.last[1].text[len(typed) :].replace("\r\n", "\n")
