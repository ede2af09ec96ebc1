"""The causal draft head in torch: one small layer, applied again for each token it proposes.

DeepSeek-V3's module (section 2.2) with EAGLE-3's fused low, middle and high trunk states, and attention onto the
trunk's own keys and values (as Gemma's drafters do): the head has no cache, so nothing has to be computed for a
prompt and a rejected draft leaves no trace. This is what is trained, what runs beside a torch trunk, and the
reference for `native/c/head.c`. Knows ids and states; knows no text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from quatrain.model.heads import HeadConfig, HeadFile, dense, shapes

if TYPE_CHECKING:
    from quatrain.model.transformer import Storage, Transformer


class CausalHead(nn.Module):
    """Weights by the names of `heads.shapes`. All inputs have a batch of B streams and P places in each."""

    def __init__(self, config: HeadConfig, weights: Mapping[str, np.ndarray] | None = None) -> None:
        super().__init__()
        self.config = config
        self.weights = nn.ParameterDict()
        for name, shape in shapes(config).items():
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

    def step(self, state: Tensor, embedded: Tensor, past: list[tuple[Tensor, Tensor]], turn: Turn) -> Tensor:
        """The next state (B, P, width) from the last and the embedding of the token that followed it.

        `past` has, for each block, keys and values (B, kv_heads, T, dim) of the trunk; `turn` says where each place
        stands and what it may look at.
        """
        joined = (
            self.norm(state, self.weight("state_norm")),
            self.norm(embedded, self.weight("token_norm")),
        )
        x = state + functional.linear(torch.cat(joined, dim=-1), self.weight("join"))  # (B, P, width)
        for i, (keys, values) in enumerate(past):
            x = x + self.attention(x, f"block.{i}.", keys, values, turn)
        inner = self.norm(x, self.weight("ffn_norm"))
        gate = functional.silu(functional.linear(inner, self.weight("gate")))
        return x + functional.linear(gate * functional.linear(inner, self.weight("up")), self.weight("down"))

    def attention(self, x: Tensor, name: str, keys: Tensor, values: Tensor, turn: Turn) -> Tensor:
        c = self.config
        inner = self.norm(x, self.weight(name + "norm"))
        q = functional.linear(inner, self.weight(name + "q"), self.weight(name + "q_bias"))
        q = q.unflatten(-1, (c.heads, c.head_dim)).transpose(1, 2)  # (B, heads, P, dim)
        q = turn.rotate(q, c.rope_interleaved)
        out = functional.scaled_dot_product_attention(q, keys, values, attn_mask=turn.mask, enable_gqa=True)
        return functional.linear(out.transpose(1, 2).flatten(-2), self.weight(name + "o"))

    def say(self, state: Tensor) -> Tensor:
        """What the unembedding is applied to (B, P, width)."""
        return self.norm(state, self.weight("final_norm"))


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


class TorchDrafter:
    """Drafts beside a torch trunk: `heads.Drafter`."""

    def __init__(self, file: HeadFile, trunk: Transformer, storage: Storage, floor: float) -> None:
        self.config, self.trunk, self.storage, self.floor = file.config, trunk, storage, floor
        head = CausalHead(file.config, {name: dense(file, name) for name in shapes(file.config)})
        self.head = head.requires_grad_(False).to(trunk.device, torch.float32)
        self.ids = torch.tensor(file.weights["vocabulary"].astype(np.int64), device=trunk.device)
        self.unembedding = trunk.rows("output.weight", self.ids).float()  # (draft vocabulary, width)

    @torch.inference_mode()
    def __call__(self, state: np.ndarray, token: int, length: int, limit: int) -> tuple[list[int], list[float]]:
        pasts = [self.storage.past(layer, length) for layer in self.config.attends]
        past = [(keys[None].float(), values[None].float()) for keys, values in pasts]  # (1, kv_heads, length, dim)
        x = self.head.fuse(torch.tensor(state, device=self.trunk.device)[None, None])  # (1, 1, width)
        ids: list[int] = []
        probs: list[float] = []
        joint = 1.0
        while len(ids) < limit:
            embedded = self.trunk.embed(torch.tensor([token], device=self.trunk.device)).float()[None]
            position = torch.tensor([[length + len(ids)]], device=self.trunk.device)
            x = self.head.step(x, embedded, past, Turn(position, None, self.config))
            logits = functional.linear(self.head.say(x), self.unembedding)[0, 0]  # (draft vocabulary,)
            best = int(logits.argmax())
            prob = float(logits.softmax(-1)[best])
            joint *= prob
            if joint < self.floor:
                break
            token = int(self.ids[best])
            ids.append(token)
            probs.append(prob)
        return ids, probs
