"""Where a run computes: one process alone, or several that `torchrun` started and that share every step.

Each of several has the whole network (DistributedDataParallel) or, with `sharded`, a part of every weight, of its
gradient and of what the optimiser remembers (FSDP2). Trunk layers are then put together one at a time; heads, norm and
output, which the step that takes one head at a time reads together, once a step. Knows no losses and no files.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from quatrain.model.api import QuatrainError
from quatrain.model.train.pretrain.network import Network

Model = Callable[..., tuple[Tensor, Tensor]]


@dataclass(frozen=True, slots=True)
class Place:
    """Where this process computes and which of how many it is."""

    device: torch.device
    rank: int = 0
    ranks: int = 1

    @property
    def first(self) -> bool:
        return self.rank == 0

    def wait(self) -> None:
        """Until all processes are here."""
        if self.ranks > 1:
            distributed.barrier()

    def agreed(self, flag: bool) -> bool:
        """What the first process says."""
        if self.ranks == 1:
            return flag
        said = torch.tensor(float(flag), device=self.device)
        distributed.broadcast(said, 0)
        return bool(said.item())

    def mean(self, values: Tensor) -> Tensor:
        """Over all processes, of a tensor of one shape in each."""
        if self.ranks == 1:
            return values
        total = values.clone()
        distributed.all_reduce(total)
        return total / self.ranks


@contextmanager
def place(device: str, sharded: bool = False) -> Iterator[Place]:
    """One process alone, or its part among those that `torchrun` started. Raises QuatrainError for a device that is
    not here, and for one process that is to share its network with others."""
    wanted = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    if wanted.startswith("cuda") and not torch.cuda.is_available():
        raise QuatrainError("torch finds no NVIDIA GPU here; use --device cpu")
    if "RANK" not in os.environ:
        if sharded:
            raise QuatrainError(
                "--shard shares a network out to several processes; start them with "
                "torchrun --nproc-per-node N -m quatrain.lsp_server train pretrain --shard .., or leave it out"
            )
        yield Place(torch.device(wanted))
        return
    rank, ranks = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    where = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if wanted == "cuda" else torch.device(wanted)
    if where.type == "cuda":
        torch.cuda.set_device(where)
    if distributed.is_initialized():  # a run inside another's place: processes meet only once
        yield Place(where, rank, ranks)
        return
    distributed.init_process_group("nccl" if where.type == "cuda" else "gloo")
    try:
        yield Place(where, rank, ranks)
    finally:
        distributed.destroy_process_group()


def shard(network: Network, where: Place) -> None:
    """Leave this process its part of every weight; to be done before the optimiser is made. What is not a trunk layer
    belongs to the network itself: put together where a step begins, and apart again after its gradients."""
    mesh = init_device_mesh(where.device.type, (where.ranks,))
    for layer in list(network.layers)[:-1]:
        fully_shard(layer, mesh=mesh)
    fully_shard(network, mesh=mesh)


def shared(network: Network, where: Place, some_idle: bool) -> Model:
    """What to call for losses whose gradients are means over all processes. `some_idle`: not all heads learn at
    every step."""
    if where.ranks == 1 or isinstance(network, FSDPModule):
        return network
    devices = [where.device] if where.device.type == "cuda" else None
    return DistributedDataParallel(network, devices, find_unused_parameters=some_idle)


def quiet(model: Model, on: bool) -> AbstractContextManager[object]:
    """Whole networks exchange gradients only after the last piece of a step. Sharded ones do after every piece: else
    whole gradients would lie in every process."""
    return model.no_sync() if on and isinstance(model, DistributedDataParallel) else nullcontext()


@contextmanager
def opened(network: Network) -> Iterator[None]:
    """Heads, norm and output put together for use outside a step; layers see to themselves. All processes must come
    here."""
    if not isinstance(network, FSDPModule):
        yield
        return
    network.unshard()
    try:
        yield
    finally:
        network.reshard()


def entire(tensor: Tensor) -> Tensor:
    """A weight, or what is remembered of it, as a whole. All processes must ask for it."""
    bare = tensor.detach()
    return bare.full_tensor() if isinstance(bare, DTensor) else bare


def part(entire: Tensor, like: Tensor) -> Tensor:
    """This process's part of a tensor that all of them have, placed as `like`."""
    if not isinstance(like, DTensor):
        return entire
    return distribute_tensor(entire, like.device_mesh, like.placements, src_data_rank=None)  # nothing is sent
