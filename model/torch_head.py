"""Draft heads in torch, causal and parallel: what is trained, what runs beside a torch trunk, and the reference for
`native/c/head.c`.

Causal: one small layer applied again for each token, DeepSeek-V3's module (section 2.2) with EAGLE-3's fused low,
middle and high trunk states. Parallel: a layer for each token ahead on the same state (Gloeckle et al. 2024), which
may be biased by the token before (a low-rank table, as DSpark's). Both attend to the trunk's own keys and values, as
Gemma's drafters do: a head has no cache, so a prompt costs it nothing and a rejected draft leaves no trace. Knows
ids and states; knows no text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from quatrain.model.heads import HeadConfig, HeadFile, dense, shapes
from quatrain.model.native import NativeTrunk, door


class TorchHead(nn.Module):
    """Weights by the names of `heads.shapes`. All inputs have a batch of B streams and P places in each."""

    def __init__(self, config: HeadConfig, vocabulary: int, weights: Mapping[str, np.ndarray] | None = None) -> None:
        super().__init__()
        self.config = config
        self.weights = nn.ParameterDict()
        for name, shape in shapes(config, vocabulary).items():
            start = torch.zeros(shape) if weights is None else torch.tensor(weights[name])
            self.weights[name.replace(".", "/")] = nn.Parameter(start)

    def weight(self, name: str) -> Tensor:
        return self.weights[name.replace(".", "/")]

    def norm(self, x: Tensor, weight: Tensor) -> Tensor:
        scale = torch.rsqrt(x.square().mean(-1, keepdim=True) + self.config.rms_eps)
        return x * scale * weight

    def fuse(self, taps: Tensor) -> Tensor:
        """The first state (B, P, width) from the trunk's states (B, P, taps, width)."""
        return functional.linear(self.norm(taps, self.weight("tap_norms")).flatten(-2), self.weight("fuse"))

    def step(self, k: int, first: Tensor, last: Tensor, embedded: Tensor, past: Past, turn: Turn) -> Tensor:
        """State k (B, P, width): from the first one in the parallel design; in the causal one from the last and the
        embedding of the token that followed it. `turn` says where each place stands and what it may look at."""
        if self.config.design == "parallel":
            return self.layer(self.config.layers[k], first, past, turn)
        joined = (self.norm(last, self.weight("state_norm")), self.norm(embedded, self.weight("token_norm")))
        x = last + functional.linear(torch.cat(joined, dim=-1), self.weight("join"))  # (B, P, width)
        return self.layer("", x, past, turn)

    def layer(self, prefix: str, x: Tensor, past: Past, turn: Turn) -> Tensor:
        """Attention over each layer of `past`, then the feed-forward."""
        for i, (keys, values) in enumerate(past):
            x = x + self.attention(x, f"{prefix}block.{i}.", keys, values, turn)
        inner = self.norm(x, self.weight(prefix + "ffn_norm"))
        gate = functional.silu(functional.linear(inner, self.weight(prefix + "gate")))
        wide = gate * functional.linear(inner, self.weight(prefix + "up"))
        return x + functional.linear(wide, self.weight(prefix + "down"))

    def attention(self, x: Tensor, name: str, keys: Tensor, values: Tensor, turn: Turn) -> Tensor:
        c = self.config
        inner = self.norm(x, self.weight(name + "norm"))
        q = functional.linear(inner, self.weight(name + "q"), self.weight(name + "q_bias"))
        q = q.unflatten(-1, (c.heads, c.head_dim)).transpose(1, 2)  # (B, heads, P, dim)
        q = turn.rotate(q, c.rope_interleaved)
        out = functional.scaled_dot_product_attention(q, keys, values, attn_mask=turn.mask, enable_gqa=True)
        return functional.linear(out.transpose(1, 2).flatten(-2), self.weight(name + "o"))

    def say(self, k: int, state: Tensor) -> Tensor:
        """What the unembedding is applied to (B, P, width)."""
        prefix = self.config.layers[k if self.config.design == "parallel" else 0]
        return self.norm(state, self.weight(prefix + "final_norm"))

    def bias(self, embedded: Tensor, chosen: Tensor | None = None) -> Tensor | float:
        """What the token before adds to the logits (B, P, vocabulary) of all or the `chosen` draft tokens."""
        if not self.config.bias:
            return 0.0
        up = self.weight("bias.up") if chosen is None else self.weight("bias.up")[chosen]
        return functional.linear(functional.linear(embedded, self.weight("bias.down")), up)


Past = list[tuple[Tensor, Tensor]]
"""For each block keys and values (B, kv_heads, T, dim) of the trunk."""


class Turn:
    """Places at `positions` (B, P); `mask` (B, 1, P, T) says what each may look at, None: everything."""

    def __init__(self, positions: Tensor, mask: Tensor | None, config: HeadConfig) -> None:
        half = torch.arange(0, config.head_dim, 2, dtype=torch.float64, device=positions.device) / config.head_dim
        angles = positions[..., None].double() * config.rope_theta**-half  # (B, P, dim / 2)
        self.cos, self.sin = angles.cos().float()[:, None], angles.sin().float()[:, None]
        self.mask = mask

    def rotate(self, q: Tensor, interleaved: bool) -> Tensor:
        a, b = (q[..., 0::2], q[..., 1::2]) if interleaved else q.chunk(2, dim=-1)
        pair = (a * self.cos - b * self.sin, b * self.cos + a * self.sin)
        return torch.stack(pair, dim=-1).flatten(-2) if interleaved else torch.cat(pair, dim=-1)


def trunk_rows(trunk: Any, name: str, numbers: Tensor) -> Tensor:
    """Rows (n, width) float32 of the "output" or the "embedding" of either kind of trunk, where it computes."""
    if isinstance(trunk, NativeTrunk):
        return torch.from_numpy(door.decode_rows(trunk.matrix(name), numbers.numpy()))
    held = {"output": "output.weight", "embedding": "token_embd.weight"}[name]
    return trunk.rows(held if held in trunk.weights else "output.weight", numbers.to(trunk.device)).float()


class TorchDrafter:
    """Drafts beside a trunk: `heads.Drafter`."""

    def __init__(self, file: HeadFile, trunk: Any, storage: Any, floor: float) -> None:
        self.config, self.trunk, self.storage, self.floor = file.config, trunk, storage, floor
        self.device = getattr(trunk, "device", torch.device("cpu"))
        ids = torch.from_numpy(file.weights["vocabulary"].astype(np.int64))
        weights = {name: dense(file, name) for name in shapes(file.config, len(ids))}
        self.head = TorchHead(file.config, len(ids), weights).requires_grad_(False).to(self.device)
        self.unembedding = trunk_rows(trunk, "output", ids)  # (draft vocabulary, width)
        self.ids = ids.to(self.device)
        self.most = file.config.count if file.config.design == "parallel" else 1 << 30

    @torch.inference_mode()
    def __call__(self, state: np.ndarray, token: int, length: int, limit: int) -> tuple[list[int], list[float]]:
        pasts = [self.storage.past(layer, length) for layer in self.config.attends]
        past = [(self.tensor(keys), self.tensor(values)) for keys, values in pasts]  # (1, kv_heads, length, dim)
        first = last = self.head.fuse(self.tensor(state)[None])  # (1, 1, width)
        ids: list[int] = []
        probs: list[float] = []
        joint = 1.0
        while len(ids) < min(limit, self.most):
            k = len(ids)
            embedded = trunk_rows(self.trunk, "embedding", torch.tensor([token]))[None]  # (1, 1, width)
            turn = Turn(torch.tensor([[length + k]], device=self.device), None, self.config)
            last = self.head.step(k, first, last, embedded, past, turn)
            logits = functional.linear(self.head.say(k, last), self.unembedding) + self.head.bias(embedded)
            best = int(logits[0, 0].argmax())
            prob = float(logits[0, 0].softmax(-1)[best])
            joint *= prob
            if joint < self.floor:
                break
            token = int(self.ids[best])
            ids.append(token)
            probs.append(prob)
        return ids, probs

    def tensor(self, array: Any) -> Tensor:
        """One stream's array as float32, where the head is."""
        held = array if isinstance(array, Tensor) else torch.from_numpy(np.asarray(array, np.float32))
        return held.to(self.device, torch.float32)[None]
