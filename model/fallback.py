"""Which of torch's own arithmetics is the fastest here, for machines and models without our kernels.

Measured once with the model's shapes and remembered for the machine. Torch's dynamic int8 with one scale per
tensor is no candidate: it gives up a tenth of the model's choices (LOG.md). Knows products, no model.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

from quatrain.model import fetch, machine
from quatrain.model.config import ModelConfig

if TYPE_CHECKING:
    from torch import Tensor

NAME = "torch"
"""The arithmetic `torch` stands for the fastest of KINDS."""
KINDS = ("torch-bf16", "torch-int8", "torch-f32")
FILE = "fallback.json"
FORMAT = 1
STEPS, STEP_ROWS, PROMPT_ROWS = 16, 2, 64
"""A keystroke that finds most of its prompt in the cache: what the candidates are compared by."""
COPIES = 12
"""Matrices of each kind, together larger than a cache."""
PASSES = 3


@dataclass(frozen=True, slots=True)
class Choice:
    """The fastest kind, and for each kind the milliseconds that the products of one layer's up and down
    projection take for a keystroke. `machine` and `torch` say where that holds."""

    machine: str
    torch: str
    kind: str
    keystroke_ms: dict[str, float]


def remembered() -> Choice | None:
    """The choice made earlier on this machine with this torch, if there is one."""
    try:
        held = json.loads((fetch.home() / FILE).read_text())
        choice = Choice(**held["choice"]) if held["format"] == FORMAT else None
    except (OSError, ValueError, TypeError, KeyError):
        return None
    if choice is None or (choice.machine, choice.torch) != (machine.processor(), version("torch")):
        return None
    return choice if choice.kind in KINDS else None


def choose(config: ModelConfig) -> Choice:
    """Measure (a second or two), remember, return."""
    took = measure(config)
    choice = Choice(machine.processor(), version("torch"), min(took, key=took.__getitem__), took)
    target = fetch.home() / FILE
    partial = target.with_name(target.name + ".partial")
    partial.write_text(json.dumps({"format": FORMAT, "choice": asdict(choice)}, indent=1))
    partial.replace(target)
    return choice


def measure(config: ModelConfig) -> dict[str, float]:
    """Milliseconds per keystroke and layer (see Choice) of each kind."""
    import torch

    took = {}
    with torch.inference_mode():
        dense = [torch.randn(shape) for shape in ((config.ffn, config.width), (config.width, config.ffn))]
        for kind in KINDS:
            weights = [convert(weight, kind).clone() for weight in dense * COPIES]
            took[kind] = STEPS * layer_ms(weights, STEP_ROWS) + layer_ms(weights, PROMPT_ROWS)
    return took


def convert(weight: Tensor, kind: str) -> Tensor:
    """`weight` in the type of `kind`; scales do not matter here."""
    import torch

    if kind == "torch-int8":
        return weight.mul(10).clamp(-127, 127).to(torch.int8)
    return weight.to(torch.bfloat16 if kind == "torch-bf16" else torch.float32)


def layer_ms(weights: Sequence[Tensor], rows: int) -> float:
    """Milliseconds of one copy's products with `rows` rows, best of PASSES over all copies."""
    import torch

    inner = torch.float32 if weights[0].dtype == torch.float32 else torch.bfloat16
    pairs = [(torch.randn(rows, w.shape[1], dtype=inner), w, torch.ones(w.shape[0], dtype=inner)) for w in weights]
    times = []
    for _ in range(PASSES + 1):  # the first pass sets things up
        began = time.perf_counter()
        for x, weight, scale in pairs:
            product(x, weight, scale)
        times.append(time.perf_counter() - began)
    return min(times[1:]) / COPIES * 1000


def product(x: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
    """As `Transformer.linear` computes it."""
    import torch

    if weight.dtype == torch.int8:
        return torch.ops.aten._weight_int8pack_mm(x, weight, scale)
    return torch.nn.functional.linear(x, weight)
