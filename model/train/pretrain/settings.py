"""Everything that decides what a training run computes, as one frozen value. A resumed run must have the same."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from quatrain.model.api import QuatrainError


@dataclass(frozen=True, slots=True)
class Settings:
    """`tokens`: `bytes`, a number of BPE tokens, or a tokenizer.json. `batch`, `context` and `rate` of 0 are the
    size's own. `curriculum`: the share of the steps over which the number of trained heads grows from one to all.
    `holes`: the share of pieces with a hole. `design`: see `sizes.Plan`. `numbers`: `auto` is bf16 on a GPU, else
    f32."""

    size: str = "nano"
    heads: int = 4
    design: str = "parallel"
    tokens: str = "bytes"
    steps: int = 1000
    batch: int = 0
    context: int = 0
    rate: float = 0.0
    warm_up: float = 0.05
    final_rate: float = 0.1
    decay: float = 0.1
    clip: float = 1.0
    holes: float = 0.5
    curriculum: float = 0.0
    together: bool = False
    numbers: str = "auto"
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Running:
    """What may differ between a run and its continuation. `pause`: stop after so many seconds and save. `shard`: each
    of several processes keeps a part of the network."""

    device: str = "auto"
    pieces: int = 1
    log_every: int = 10
    measure_every: int = 200
    save_every: int = 200
    measure_windows: int = 64
    threads: int = 0
    pause: float = 0.0
    compiled: bool = False
    shard: bool = False


def save(settings: Settings, folder: Path) -> None:
    (folder / "settings.json").write_text(json.dumps(asdict(settings), indent=1))


def check(settings: Settings, folder: Path) -> bool:
    """Whether the folder holds a run of these settings. QuatrainError when it holds another one."""
    file = folder / "settings.json"
    if not file.exists():
        return False
    try:
        found = Settings(**json.loads(file.read_text()))
    except (ValueError, TypeError) as error:
        raise QuatrainError(f"{file} is damaged ({error}); give another --output") from error
    for field in fields(Settings):
        there, here = getattr(found, field.name), getattr(settings, field.name)
        if there != here:
            raise QuatrainError(
                f"{folder} holds a run with {field.name} {there!r}, not {here!r}: it cannot go on as another. "
                "Give the same settings, or another --output."
            )
    return True
