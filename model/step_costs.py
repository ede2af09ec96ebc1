"""What a forward pass costs on this machine, kept beside the converted weights.

`quatrain setup` writes the file; whoever opens the model reads it. It is believed only by the machine,
arithmetic and thread count that measured it. Knows milliseconds, no drafts and no kernels.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from quatrain.model import machine

FILE = "step_costs.json"
FORMAT = 1
"""Version of the file; another one is measured again."""
MOST_ROWS = 16


@dataclass(frozen=True, slots=True)
class StepCosts:
    """`step_ms[i]` is the time of a pass over i+1 rows behind some prompt, in milliseconds, never falling."""

    step_ms: tuple[float, ...]
    prompt_tokens_per_s: float

    def of(self, rows: int) -> float:
        """Milliseconds of a pass over `rows` rows; past the table each row costs what it costs in a prompt."""
        more = max(0, rows - len(self.step_ms))
        return self.step_ms[rows - more - 1] + more * 1000 / self.prompt_tokens_per_s


DEFAULT = StepCosts(tuple(20 * (1 + 0.05 * i) for i in range(MOST_ROWS)), 500.0)
"""Until something was measured: a machine whose steps wait for memory, each further row adding a twentieth."""


@dataclass(frozen=True, slots=True)
class Key:
    """Whose costs these are. `arithmetic` names kernels and threads (`trunk.arithmetic`)."""

    processor: str
    arithmetic: str


def key_of(arithmetic: str) -> Key:
    """The key of this machine for what `trunk.arithmetic` says."""
    return Key(machine.processor(), arithmetic)


def never_falling(step_ms: Sequence[float]) -> tuple[float, ...]:
    """Measured times with the noise of small differences taken out: no pass costs more than a larger one.

    >>> never_falling([10.0, 12.0, 11.0, 15.0])
    (10.0, 11.0, 11.0, 15.0)
    """
    return tuple(min(step_ms[i:]) for i in range(len(step_ms)))


def save(folder: Path, key: Key, costs: StepCosts) -> None:
    """Write the file, whole or not at all."""
    partial = folder / (FILE + f".{os.getpid()}.partial")
    held = {"format": FORMAT, "key": asdict(key), "costs": asdict(costs)}
    partial.write_text(json.dumps(held, indent=1))
    partial.replace(folder / FILE)


def load(folder: Path, key: Key) -> StepCosts | None:
    """The costs measured under `key`, or None: never measured, other machine, other format, damaged."""
    try:
        held = json.loads((folder / FILE).read_text())
        if held["format"] != FORMAT or Key(**held["key"]) != key:
            return None
        step_ms, rate = tuple(map(float, held["costs"]["step_ms"])), float(held["costs"]["prompt_tokens_per_s"])
    except (OSError, ValueError, TypeError, KeyError):
        return None
    sound = len(step_ms) > 0 and rate > 0 and min(step_ms) > 0 and list(step_ms) == sorted(step_ms)
    return StepCosts(step_ms, rate) if sound else None
