"""How much memory a training step takes at its worst: plain and one head at a time, over heads and vocabulary.

On a GPU the allocator's own count; elsewhere every tensor that comes into being is counted until it is freed, which
leaves out what kernels take for themselves. Knows steps, not why they are taken.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.table import Table
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from quatrain.model.train import plots
from quatrain.model.train.pretrain.network import Network
from quatrain.model.train.pretrain.sizes import LOOKAHEAD, Plan, plan


@dataclass(frozen=True, slots=True)
class Peak:
    """Of one step: bytes at the worst moment beyond weights and their gradients, for both ways."""

    heads: int
    vocab: int
    tokens: int
    together: int
    in_turn: int

    @property
    def logits(self) -> int:
        """Bytes of one head's logits in float32."""
        return 4 * self.tokens * self.vocab


class Alive(TorchDispatchMode):
    """Counts the bytes of tensors made while it is active, and the most there were at once."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self.known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        tree_map_only(Tensor, self.see, out)
        return out

    def see(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key not in self.known:
            self.known.add(key)
            self.now += size
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self.forget, key, size)
        return tensor

    def forget(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.now -= size


def peak_of(step: Callable[[], object], device: torch.device) -> int:
    """Bytes that `step` held at its worst moment, beyond what was there before."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        step()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    with Alive() as alive:
        step()
    return alive.peak


def measure(network: Network, window: Tensor, together: bool) -> int:
    """The peak of one forward and backward pass, its weights' gradients not counted."""

    def step() -> None:
        total, _ = network(window, network.plan.heads, together)
        total.backward()

    for parameter in network.parameters():  # the second step finds its gradients where the first put them
        parameter.grad = torch.zeros_like(parameter)
    return peak_of(step, window.device)


def peak_of_plan(network: Plan, batch: int, device: torch.device, together: bool) -> int:
    """The peak of a step on `batch` windows, weights of no meaning."""
    window = torch.randint(0, network.vocab, (batch, network.size.context + LOOKAHEAD), device=device)
    return measure(Network(network).to(device), window, together)


def curve(size: str, heads: Sequence[int], vocabularies: Sequence[int], batch: int, device: str) -> Iterator[Peak]:
    """Peaks for every number of heads and every vocabulary."""
    where = torch.device(device)
    for vocab in vocabularies:
        for n in heads:
            network = plan(size, vocab, n)
            both = [peak_of_plan(network, batch, where, together) for together in (True, False)]
            yield Peak(n, vocab, batch * network.size.context, *both)


def table(peaks: Sequence[Peak]) -> Table:
    """For people: megabytes."""
    shown = Table(title="Peak memory of a training step, MB")
    for name in ("vocabulary", "heads", "one head's logits", "all at once", "one head at a time"):
        shown.add_column(name, justify="right")
    for peak in peaks:
        sizes = (f"{size / 1e6:.1f}" for size in (peak.logits, peak.together, peak.in_turn))
        shown.add_row(str(peak.vocab), str(peak.heads), *sizes)
    return shown


def draw(peaks: Sequence[Peak], target: Path) -> None:
    """Peaks over the number of heads, a pair of lines for each vocabulary."""
    series = {}
    for vocab in dict.fromkeys(peak.vocab for peak in peaks):
        mine = [peak for peak in peaks if peak.vocab == vocab]
        series[f"{vocab}, all at once"] = [(float(p.heads), p.together / 1e6) for p in mine]
        series[f"{vocab}, one at a time"] = [(float(p.heads), p.in_turn / 1e6) for p in mine]
    plots.curves(target, "Peak memory of a training step", series, "heads", "MB")
