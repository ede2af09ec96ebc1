"""What one request did and how long each stage took: for the log line, `--json` and the status request."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from quatrain.model.api import Round


@dataclass(slots=True)
class Trace:
    """Filled along the way, read once at the end. Times in milliseconds."""

    stages_ms: dict[str, float] = field(default_factory=dict)
    rounds: list[Round] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the enclosed work under `name`, adding to what is there."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            spent = (time.perf_counter() - begin) * 1000
            self.stages_ms[name] = self.stages_ms.get(name, 0.0) + spent

    @property
    def reused(self) -> int:
        """Prompt tokens found in the cache."""
        return sum(r.reused for r in self.rounds)

    @property
    def prompted(self) -> int:
        """Prompt tokens computed."""
        return sum(r.prompted for r in self.rounds)

    @property
    def tokens(self) -> int:
        """Tokens generated."""
        return sum(len(r.tokens) for r in self.rounds)

    def probs(self, length: int) -> list[float]:
        """How sure the model was of each token, as far as the rounds that said the first `length` characters."""
        found: list[float] = []
        said = 0
        for r in self.rounds:
            if said >= length and said:
                break
            found += r.probs
            said += len(r.text)
        return found

    def summary(self) -> dict[str, Any]:
        """Plain values, as `complete --json` prints them."""
        return {
            "prompt_tokens": self.reused + self.prompted,
            "reused_tokens": self.reused,
            "tokens": self.tokens,
            "forwards": sum(bool(r.tokens) or r.ended == "end_token" for r in self.rounds),
            "drafted": sum(r.drafted for r in self.rounds),
            "accepted": sum(r.accepted for r in self.rounds),
            "stages_ms": {name: round(ms, 2) for name, ms in self.stages_ms.items()},
            "rounds": [
                {key: value for key, value in asdict(r).items() if key in ("text", "drafted", "accepted", "source")}
                | {"tokens": len(r.tokens), "ms": round(r.ms, 2)}
                for r in self.rounds
                if r.tokens
            ],
        }
