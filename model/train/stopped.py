"""A training run on disk, so that it can be stopped and goes on as if it had not been: weights and AdamW's moments.

Knows tensors by name; knows nothing of what they are for.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.optim import Optimizer

MOMENTS = ("exp_avg", "exp_avg_sq")


def save(path: Path, step: int, weights: Mapping[str, Tensor], optimizer: Optimizer) -> None:
    """Weights and the optimizer's state after `step` steps, whole or not at all."""
    out = {"step": torch.tensor(step)}
    for name, weight in weights.items():
        out[f"weight.{name}"] = weight.detach()
        for kind, value in optimizer.state.get(weight, {}).items():
            out[f"{kind}.{name}"] = torch.as_tensor(value)
    partial = path.with_name(path.name + ".partial")
    save_file({name: tensor.contiguous().cpu() for name, tensor in out.items()}, partial)
    partial.replace(path)


def load(path: Path, weights: Mapping[str, Tensor], optimizer: Optimizer) -> int:
    """Put back what `save` wrote; the number of steps that were done."""
    held = load_file(path)
    for name, weight in weights.items():
        weight.data.copy_(held[f"weight.{name}"])
        moments = {kind: held[f"{kind}.{name}"].to(weight.device) for kind in MOMENTS if f"{kind}.{name}" in held}
        if moments:
            optimizer.state[weight] = {"step": held[f"step.{name}"], **moments}
    return int(held["step"])
