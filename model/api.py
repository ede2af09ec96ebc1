"""The door between the language server and the model: plain values, no tensors, no torch.

It knows what is asked of a model and what comes back; it knows neither text rules nor arithmetic.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass, field
from threading import Event
from typing import Literal, Protocol

StopReason = Literal["deadline", "cancelled"]
EndReason = Literal["end_token", "length", "full", "deadline", "cancelled"]


class QuatrainError(Exception):
    """A failure a user can act on. The message says what is wrong and what to do; no traceback is shown."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """Token ids ready for the model.

    `forced` are bytes that the first generated tokens must reproduce before anything else (token healing):
    the prompt was backed up to a token boundary, and what the user typed after it is forced, not guessed.
    The forced bytes are part of no `Round.text`.
    """

    tokens: tuple[int, ...]
    forced: bytes = b""


@dataclass(frozen=True, slots=True)
class Round:
    """What one forward pass settled.

    `tokens` are the accepted ids, at least one unless the stream ends in this round. `text` holds whole
    characters only: bytes of an unfinished character wait for the next round. `probs` are the model's own
    probabilities of `tokens`. `drafted` and `accepted` count proposed and confirmed draft tokens, `source`
    names the draft source. `ended` is set in the last round of a stream and says why it ended. In the first
    round `reused` and `prompted` count the prompt tokens found in the cache and those computed. The first `guessed`
    characters of `text` come from accepted draft tokens.
    """

    tokens: tuple[int, ...]
    text: str
    probs: tuple[float, ...] = ()
    drafted: int = 0
    accepted: int = 0
    source: str = "none"
    ended: EndReason | None = None
    reused: int = 0
    prompted: int = 0
    prefill_ms: float = 0.0
    ms: float = 0.0
    guessed: int = 0


@dataclass(slots=True)
class Stop:
    """Ends one request. Checked before each piece of prefill and before every round.

    `deadline` is a `time.monotonic()` value, or None for no time limit. `set()` may be called from any thread.
    """

    deadline: float | None = None
    _event: Event = field(default_factory=Event)

    def set(self) -> None:
        """Cancel the request; the work ends at the next check."""
        self._event.set()

    def reason(self) -> StopReason | None:
        """Why the work must end now, or None to go on."""
        if self._event.is_set():
            return "cancelled"
        if self.deadline is not None and time.monotonic() >= self.deadline:
            return "deadline"
        return None


class Engine(Protocol):
    """A code model as the server sees it. Not thread-safe: one thread owns an engine."""

    def encode(self, prefix: str, suffix: str, outline: str = "") -> Prompt:
        """Lay out `outline` (what changes least), `suffix` and `prefix` (which ends at the cursor)."""
        ...

    def generate(self, prompt: Prompt, stop: Stop, max_tokens: int, draft: str = "") -> Generator[Round, None, None]:
        """Decode greedily, one `Round` per forward pass. Closing the generator ends the work.

        `draft` is a guess at the text that follows, for instance the previous suggestion; it can make the
        decoding faster and never changes its result.
        """
        ...

    def count(self, text: str) -> int:
        """Number of tokens of `text`."""
        ...

    def describe(self) -> dict[str, str | int | float]:
        """Model name, arithmetic path, sizes: for logs and the status request."""
        ...
