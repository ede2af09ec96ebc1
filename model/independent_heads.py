"""Draft heads of the paper: transformer layers on one trunk state, the trunk's own norm and unembedding.

Head j reads what the trunk had after `tap` layers at a position and says the token j places further on than the
trunk does. In a chain it reads what head j - 1 says from, and the first what the trunk says from. Every head attends
over its own keys and values. Layers are those of `Transformer`. Knows token ids and states, neither text nor
verification.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from quatrain.model.config import ModelConfig
from quatrain.model.draft import Draft
from quatrain.model.engine import CAPACITY
from quatrain.model.transformer import Growing, Transformer

if TYPE_CHECKING:
    from quatrain.model.decode import Trunk


class IndependentHeads:
    """A draft source of `count` heads over a trunk of shape `config` that was made with `taps`.

    `weights`: `blk.{j}.*` is head j + 1, beside the trunk's `output_norm.weight` and `output.weight`. A state tapped
    after the trunk's final norm is not normalised again.
    """

    def __init__(
        self,
        config: ModelConfig,
        weights: Mapping[str, Tensor],
        count: int,
        tap: int,
        capacity: int,
        chained: bool = False,
    ) -> None:
        self.count, self.taps, self.chained = count, (tap,), chained
        self.normalised = tap == config.layers or chained
        self.layers = Transformer(replace(config, layers=count), weights)
        self.storage = self.layers.allocate(capacity)
        self.end = 0
        self.last: Tensor | None = None  # (count, width): the heads' states at position end - 1

    @torch.inference_mode()
    def observe(self, position: int, states: np.ndarray) -> None:
        """Take in the trunk's states (n, 1, width) at `position`.. Later positions count as forgotten."""
        layers = self.layers
        x = torch.from_numpy(states[:, 0]).to(layers.device, layers.dtype)  # (n, width)
        window = Growing(self.storage, position, len(x), (layers.cos, layers.sin))
        last = []
        for head in range(self.count):
            made = layers.block(x, head, window, keep=slice(0 if self.chained else -1, None))
            if self.chained:
                x = made = layers.norm(made, "output_norm.weight")  # (n, width)
            last.append(made[-1:])
        self.last = torch.cat(last)  # (count, width)
        self.end = position + len(x)

    @torch.inference_mode()
    def propose(self, tokens: Sequence[int], start: int, limit: int) -> Draft:
        """What each head says, if the states of all tokens but the last (the trunk has not read it) were observed."""
        if self.last is None or self.end != len(tokens) - 1 or limit < 1:
            return Draft()
        state = self.last[:limit]
        if not self.normalised:
            state = self.layers.norm(state, "output_norm.weight")
        logits = self.layers.linear(state, "output.weight").float()  # (heads, vocab)
        best, ids = logits.max(-1)
        probs = (best - logits.logsumexp(-1)).exp()
        return Draft(tuple(ids.tolist()), "heads", tuple(probs.tolist()))


def tap_of(config: ModelConfig, chained: bool) -> int:
    """The layers after which a model's own heads read: all for a chain, all but the next-token head otherwise."""
    return config.layers if chained else config.layers - 1


def load(file: Path, trunk: Trunk, count: int, chained: bool) -> Callable[[Any], IndependentHeads]:
    """What makes the draft source of a converted model's own heads. They compute where the trunk does and share its
    norm and output if it is torch's; our kernels' are written beside the heads."""
    shared: Mapping[str, Tensor] = getattr(trunk, "weights", {})
    weights = load_file(file, device=str(shared["output_norm.weight"].device) if shared else "cpu")
    weights = {name: t.clone() if t.dtype == torch.int8 else t for name, t in weights.items()}  # see open_torch
    weights |= {name: t for name, t in shared.items() if name.startswith("output")}
    config = trunk.config
    capacity = min(CAPACITY, config.max_positions)
    tap = tap_of(config, chained)
    return lambda storage: IndependentHeads(config, weights, count, tap, capacity, chained)
