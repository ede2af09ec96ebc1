"""One hole to fill, and one answer to it as plain values. Knows no suite, no model and no measure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Case:
    """The document is `prefix + suffix`, with the cursor between them, where `expected` was taken out.

    `closing` is what an answer may leave to us to add (the line end of a hole that took its line end along).
    `test` is a program's remainder that passes when the document, completed, stands before it.
    """

    id: str
    language: str
    path: str
    kind: str
    prefix: str
    expected: str
    suffix: str
    closing: str = ""
    test: str = ""

    @property
    def document(self) -> str:
        """What the editor shows."""
        return self.prefix + self.suffix

    @property
    def truth(self) -> str:
        """What stood there."""
        return self.prefix + self.expected + self.closing + self.suffix

    def completed(self, text: str, end: int) -> str:
        """The document with `text` in place of what stands between the cursor and `end`."""
        missing = self.closing if not text.endswith(self.closing) else ""
        return self.prefix + text + missing + self.document[end:]


@dataclass(frozen=True, slots=True)
class Answer:
    """What was offered for a case: `replaced` code points right of the cursor give way to `text`. `probs`: how sure
    the model was of each token of the rounds that said it."""

    text: str
    replaced: int
    reason: str
    ms: float
    model_ms: float
    cut_ms: float
    rounds: int
    tokens: int
    forwards: int
    prompt_tokens: int
    reused_tokens: int
    probs: tuple[float, ...] = ()
