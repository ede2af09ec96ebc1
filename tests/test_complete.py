"""The pipeline: memory of the last answer, drafts after a deviation, stops, reasons."""

from __future__ import annotations

from fakes import ScriptedEngine

from quatrain.lsp_server.complete import Completer, Completion
from quatrain.lsp_server.documents import Document, Snapshot
from quatrain.lsp_server.settings import Settings
from quatrain.model.api import Stop


class Recorder(ScriptedEngine):
    """Remembers the drafts it was given."""

    def generate(self, prompt, stop, max_tokens, draft=""):  # type: ignore[no-untyped-def]
        self.drafts = [*getattr(self, "drafts", []), draft]
        return super().generate(prompt, stop, max_tokens, draft)


class Small(Recorder):
    """Has room for few tokens."""

    def describe(self) -> dict[str, str | int | float]:
        return {"model": "small", "capacity": 256}


def test_a_small_model_is_shown_what_it_has_room_for() -> None:
    engine = Small(lambda prefix, suffix: "1\n")
    complete(Completer(engine), "x = 1\n" * 500 + "y = ⟦⟧\n" + "z = 3\n" * 500)
    prefix, suffix = engine.prompts[0]
    assert prefix.endswith("y = ") and 64 < engine.count(prefix + suffix) <= 256 - 96 - 16


def at(marked: str, language: str = "python") -> Snapshot:
    before, after = marked.split("⟦⟧")
    return Document("a.py", language, before + after).snapshot(len(before))


def complete(completer: Completer, marked: str, stop: Stop | None = None) -> Completion:
    return completer.complete(at(marked), Settings(), stop or Stop())


def completer_saying(text: str) -> tuple[Completer, Recorder]:
    engine = Recorder(lambda prefix, suffix: text)
    return Completer(engine), engine


def test_the_rest_of_the_line() -> None:
    completer, engine = completer_saying("foo(a, b)\nmore\n")
    answer = complete(completer, "x = 1\ny = ⟦⟧\nz = 3\n")
    assert (answer.text, answer.start, answer.end, answer.source) == ("foo(a, b)", 10, 10, "model")
    assert engine.prompts == [("x = 1\ny = ", "\nz = 3\n")]
    assert answer.trace.tokens > 0 and answer.trace.stages_ms.keys() >= {"context", "encode", "cut"}


def test_typing_the_answer_costs_nothing_and_never_changes_it() -> None:
    completer, engine = completer_saying("foo(a, b)\nmore\n")
    complete(completer, "y = ⟦⟧\nz = 3\n")
    for typed in ("f", "fo", "foo(", "foo(a, b"):
        answer = complete(completer, f"y = {typed}⟦⟧\nz = 3\n")
        assert (typed + answer.text, answer.source) == ("foo(a, b)", "memory")
    assert len(engine.prompts) == 1


def test_asking_again_and_going_back() -> None:
    completer, engine = completer_saying("foo(a, b)\nmore\n")
    first = complete(completer, "y = ⟦⟧\n")
    assert complete(completer, "y = ⟦⟧\n") == first
    complete(completer, "y =⟦⟧\n")
    assert len(engine.prompts) == 2


def test_an_auto_closed_bracket_is_replaced() -> None:
    completer, _ = completer_saying("foo(a, b)\nmore\n")
    complete(completer, "y = ⟦⟧\n")
    answer = complete(completer, "y = foo(⟦⟧)\n")
    assert (answer.text, answer.end - answer.start, answer.source) == ("a, b)", 1, "memory")


def test_a_deviation_starts_from_the_old_answer_as_draft() -> None:
    completer, engine = completer_saying("foo(a, b)\nmore\n")
    complete(completer, "y = ⟦⟧\n")
    complete(completer, "y = g⟦⟧\n")
    assert engine.drafts == ["", "oo(a, b)"]


def test_another_edit_forgets() -> None:
    completer, engine = completer_saying("foo(a, b)\nmore\n")
    complete(completer, "x = 1\ny = ⟦⟧\n")
    answer = complete(completer, "x = 2\ny = f⟦⟧\n")
    assert answer.source == "model"
    assert engine.drafts[-1] == ""


def test_a_cancelled_answer_is_not_remembered() -> None:
    completer, engine = completer_saying("foo(a, b)\nmore\n")
    stop = Stop()
    stop.set()
    assert complete(completer, "y = ⟦⟧\n", stop).reason == "cancelled"
    assert complete(completer, "y = ⟦⟧\n").text == "foo(a, b)"
    assert len(engine.prompts) == 2
