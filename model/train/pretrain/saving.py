"""Checkpoints of a training run, and the folder that `quatrain complete --model` opens. Whole or not at all.

A checkpoint is one safetensors file: the weights, and for each what AdamW remembers of it, all of them whole, so that
a run may go on with another number of processes, sharded or not. Knows files, no training.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.optim import Optimizer

from quatrain.model.api import QuatrainError
from quatrain.model.train.pretrain import processes
from quatrain.model.train.pretrain.network import Network
from quatrain.model.train.pretrain.sizes import Plan

KEPT = 2
"""Checkpoints left in the folder: the last one, and one in case."""
REMEMBERED = ("step", "exp_avg", "exp_avg_sq")


@contextmanager
def whole(target: Path) -> Iterator[Path]:
    """A folder or file to write into beside `target`, which takes its place when all of it is there."""
    partial = target.with_name(target.name + ".partial")
    remove(partial)
    try:
        yield partial
    except BaseException:
        remove(partial)
        raise
    remove(target)
    partial.rename(target)


def remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def save(folder: Path, step: int, network: Network, optimiser: Optimizer, first: bool = True) -> None:
    """Write the state after `step` steps and remove what is older than the last `KEPT`. All processes that have a part
    of the network must call it; only the `first` writes."""
    held: dict[str, Tensor] = {}
    for name, parameter in network.named_parameters():
        kept = {f"{key}.{name}": optimiser.state[parameter][key] for key in REMEMBERED if optimiser.state[parameter]}
        whole_ones = {key: processes.entire(t) for key, t in ({f"model.{name}": parameter} | kept).items()}
        if first:  # the others only lend their parts
            held |= {key: t.cpu().contiguous() for key, t in whole_ones.items()}
    if not first:
        return
    folder.mkdir(parents=True, exist_ok=True)
    with whole(folder / f"step-{step:08}.safetensors") as partial:
        save_file(held, partial, metadata={"step": str(step)})
    for old in checkpoints(folder)[:-KEPT]:
        old.unlink()


def checkpoints(folder: Path) -> list[Path]:
    """Those that are whole, oldest first."""
    return sorted(folder.glob("step-*.safetensors"))


def load(file: Path, network: Network, optimiser: Optimizer) -> int:
    """Put a checkpoint back into the network and its optimiser; returns the number of steps it had taken."""
    try:
        with safe_open(file, "pt") as opened:
            step = int(opened.metadata()["step"])
        held = load_file(file)
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                parameter.copy_(mine(held[f"model.{name}"], parameter))
                kept = {key: held[f"{key}.{name}"] for key in REMEMBERED if f"{key}.{name}" in held}
                if kept:
                    optimiser.state[parameter] = {key: mine(t, parameter) for key, t in kept.items() if t.ndim}
                    # AdamW counts its steps on the CPU unless it is fused
                    counted = parameter.device if optimiser.defaults.get("fused") else "cpu"
                    optimiser.state[parameter]["step"] = kept["step"].to(counted)
    except (SafetensorError, KeyError, RuntimeError, OSError) as error:
        raise QuatrainError(f"{file} is damaged or of another run ({error}): delete it to go on from before") from error
    return step


def mine(entire: Tensor, parameter: Tensor) -> Tensor:
    """A tensor read from a file, as far as this process needs it, where `parameter` is."""
    return processes.part(entire.to(parameter.device), parameter)


def export(network: Network, tokenizer: Path, folder: Path, first: bool = True) -> None:
    """Write the network in the layout of Meta's multi-token checkpoints, in bf16. For processes see `save`."""
    weights: dict[str, Tensor] = {}
    for name, parameter in network.named_parameters():
        entire = processes.entire(parameter)
        if first:
            weights[name] = entire.to("cpu", torch.bfloat16)
    if first:
        write(network.plan, weights, tokenizer, folder)


def write(plan: Plan, weights: dict[str, Tensor], tokenizer: Path, folder: Path) -> None:
    """The folder of these weights."""
    params = {
        "dim": plan.size.width,
        "n_layers": plan.size.layers,
        "n_heads": plan.size.heads,
        "vocab_size": plan.vocab,
        "norm_eps": plan.config.rms_eps,
        "rope_theta": plan.config.rope_theta,
        "max_seq_len": plan.positions,
        "n_future_tokens": plan.heads,
    }
    if plan.chained:
        params["heads_design"] = plan.design  # not Meta's: theirs are all parallel
    with whole(folder) as partial:
        partial.mkdir(parents=True)
        torch.save(weights, partial / "consolidated.pth")
        (partial / "params.json").write_text(json.dumps(params, indent=1))
        shutil.copyfile(tokenizer, partial / "tokenizer.json")
