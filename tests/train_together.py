"""What each of several processes does in test_processes.py; started by torchrun with a corpus and a folder."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import torch
from tiny_pretrain import QUICK, SMALL, trained
from torch.distributed.tensor import DTensor

from quatrain.model.train.pretrain import processes, run
from quatrain.model.train.pretrain.sizes import SIZES

SHARDED = replace(QUICK, shard=True)
RUNS = {
    "whole": QUICK,
    "sharded": SHARDED,
    "pieces": replace(SHARDED, pieces=2),
    "stopped": replace(SHARDED, pause=1e-9),  # after one step
    "resumed": replace(SHARDED, pause=1e-9),
}


def half_of_everything(training: run.Training) -> None:
    """Of weights and of what the optimiser remembers, this process has no more."""
    parameters = [*training.network.parameters()]
    assert all(isinstance(p, DTensor) for p in parameters)
    moments = [state["exp_avg"] for state in training.optimiser.state.values() if state]
    for tensors in (parameters, moments):
        here = sum(t.to_local().numel() for t in tensors if isinstance(t, DTensor))
        assert here <= 0.51 * sum(t.numel() for t in tensors)


def main(corpus: Path, output: Path) -> None:
    SIZES["test"] = SMALL
    torch.set_num_threads(1)
    finish = run.Training.finish

    def looked_at(self: run.Training) -> run.Result:
        if self.running.shard:
            half_of_everything(self)
        return finish(self)

    run.Training.finish = looked_at
    with processes.place("cpu"):
        for name, running in RUNS.items():
            trained(corpus, output / name, running, curriculum=0.5, steps=4)
        trained(corpus, output / "resumed", SHARDED, curriculum=0.5, steps=4)


main(Path(sys.argv[1]), Path(sys.argv[2]))
