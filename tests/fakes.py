"""A stand-in for the model: an engine that follows a script. Light to import, for servers under test."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator

from quatrain.lsp_server.settings import Settings
from quatrain.model.api import Prompt, Round, Stop


class ScriptedEngine:
    """Says what `script(prefix, suffix)` returns, `size` characters a round, `pause` seconds each."""

    def __init__(self, script: Callable[[str, str], str], size: int = 4, pause: float = 0.0) -> None:
        self.script, self.size, self.pause = script, size, pause
        self.prompts: list[tuple[str, str]] = []

    def encode(self, prefix: str, suffix: str, outline: str = "") -> Prompt:
        self.prompts.append((outline + prefix, suffix))
        return Prompt(tuple(prefix.encode("utf-8", "replace")) or (0,))

    def generate(self, prompt: Prompt, stop: Stop, max_tokens: int, draft: str = "") -> Generator[Round, None, None]:
        text = self.script(*self.prompts[-1])
        for at in range(0, len(text), self.size):
            if reason := stop.reason():
                yield Round((), "", ended=reason)
                return
            time.sleep(self.pause)
            piece = text[at : at + self.size]
            yield Round(tuple(piece.encode("utf-8", "replace")), piece, probs=(0.9,) * len(piece))
        yield Round((), "", ended="end_token")

    def count(self, text: str) -> int:
        return len(text) // 4

    def describe(self) -> dict[str, str | int | float]:
        return {"model": "scripted"}


def open_scripted(settings: Settings, report: Callable[[str, int, int], None]) -> ScriptedEngine:
    """For `serve --engine fakes:open_scripted`. QUATRAIN_SCRIPT is what it says, QUATRAIN_PAUSE its pace; what stands
    after a form feed it says to documents that begin with `short`."""
    report("loading the script", 1, 2)
    time.sleep(float(os.environ.get("QUATRAIN_LOAD", "0")))
    usual, _, short = os.environ.get("QUATRAIN_SCRIPT", "answer = 42\nmore").partition("\f")

    def said(prefix: str, suffix: str) -> str:
        return short if prefix.startswith("short") else usual

    return ScriptedEngine(said, pause=float(os.environ.get("QUATRAIN_PAUSE", "0")))
