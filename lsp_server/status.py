"""What the server is doing and has done, for status bars, the status request and the log. Knows no protocol."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import PurePath
from typing import Any, Literal, TypeAlias

State: TypeAlias = Literal["starting", "loading", "ready", "error"]
KINDS = {"starting": "Inactive", "loading": "Inactive", "ready": "Normal", "error": "Error"}
PROGRESS_SECONDS = 0.1


@dataclass(slots=True)
class Status:
    """Kept by the event loop. `reasons` counts the empty answers, `recent` holds the last ones."""

    state: State = "starting"
    message: str = ""
    percentage: int | None = None
    busy: bool = False
    engine: dict[str, Any] = field(default_factory=dict)
    offered: int = 0
    accepted: int = 0
    partly_accepted: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    recent: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=20))
    times_ms: deque[float] = field(default_factory=lambda: deque(maxlen=200))
    told: set[str] = field(default_factory=set)
    _last_progress: float = 0.0

    def update(self, state: State, message: str) -> None:
        """Enter a new state."""
        self.state, self.message, self.percentage = state, message, None

    def progress(self, message: str, percentage: int | None) -> bool:
        """Note a step of loading; False when it is too soon to show another."""
        now = time.monotonic()
        if message == self.message and now - self._last_progress < PROGRESS_SECONDS:
            return False
        self._last_progress, self.message, self.percentage = now, message, percentage
        return True

    def note(self, reason: str, path: str) -> None:
        """An answer was empty, and why. What newer typing made pointless is counted, but explains nothing."""
        self.reasons[reason] += 1
        if reason in ("superseded", "cancelled"):
            return
        self.recent.append({"reason": reason, "path": path, "time": time.strftime("%H:%M:%S")})

    def offer(self, ms: float) -> None:
        """A completion was offered after `ms`."""
        self.offered += 1
        self.times_ms.append(ms)

    def notification(self) -> dict[str, Any]:
        """The de-facto `didChangeStatus` parameters, with our own fields beside."""
        return {
            "kind": KINDS[self.state],
            "busy": self.busy or self.state == "loading",
            "message": self.message,
            "state": self.state,
            "percentage": self.percentage,
        }

    def report(self) -> dict[str, Any]:
        """Everything, for the `quatrain/status` request."""
        times = sorted(self.times_ms)
        return self.notification() | {
            "engine": self.engine,
            "offered": self.offered,
            "accepted": self.accepted,
            "partlyAccepted": self.partly_accepted,
            "reasons": dict(self.reasons),
            "recent": list(self.recent),
            "medianMs": round(times[len(times) // 2], 1) if times else None,
            "p95Ms": round(times[int(len(times) * 0.95)], 1) if times else None,
        }


def excluded(path: str, patterns: Iterable[str]) -> bool:
    """Whether a glob pattern names the file; `**/` also matches nothing before the name."""
    whole = PurePath(path).as_posix()
    return any(fnmatchcase(whole, p) or fnmatchcase(whole, p.removeprefix("**/")) for p in patterns)
