"""The Llama/Qwen/StarCoder2 decoder in torch, in reading order: linear, norm, rotary, attention, layers, logits.

The reference for our own kernels, the prompt path on a GPU (steps: cuda.py), and the fallback on machines
without a compiler. Weights are looked up by their GGUF names. Batch is one. It knows no tokens' text and no files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from quatrain.model.config import ModelConfig
from quatrain.model.trunk import Step, step_from_logits


class Window(Protocol):
    """Where rows stand and what they see, see `Growing`; on a GPU `cuda.Everything`, in training `EndToEnd`."""

    cos: Tensor
    sin: Tensor

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor: ...


@dataclass(frozen=True, slots=True)
class Storage:
    """Keys and values of every position so far, each (layers, kv_heads, capacity, head_dim)."""

    keys: Tensor
    values: Tensor

    @property
    def capacity(self) -> int:
        return self.keys.shape[2]

    def past(self, layer: int, length: int) -> tuple[Tensor, Tensor]:
        """A layer's keys (already turned) and values of the first `length` positions: (kv_heads, length, dim)."""
        return self.keys[layer, :, :length], self.values[layer, :, :length]


class Growing:
    """Rows at start..start+n of the cache; attention reads exactly what was written so far.

    `cos` and `sin` (n, head_dim/2) turn queries and keys. `attend` keeps a layer's new keys and values
    (kv_heads, n, head_dim) and returns what its queries (heads, n, head_dim) see in all of them so far.
    """

    def __init__(self, storage: Storage, start: int, n: int, turns: tuple[Tensor, Tensor]) -> None:
        self.storage, self.start, self.end = storage, start, start + n
        self.cos, self.sin = (part[start : self.end] for part in turns)
        self.mask = causal_mask(n, start, storage.keys.device)

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        keys, values = self.storage.keys[layer], self.storage.values[layer]
        keys[:, self.start : self.end] = k
        values[:, self.start : self.end] = v
        keys, values = keys[:, : self.end], values[:, : self.end]  # (kv_heads, past + n, dim)
        grouped = q.shape[0] != keys.shape[0]
        return functional.scaled_dot_product_attention(
            q[None], keys[None], values[None], attn_mask=self.mask, enable_gqa=grouped
        )[0]


class Transformer:
    """A decoder over a mapping of weights. `weights[name]` is a float tensor (out, in), or an int8 tensor
    beside a row-wise `name + ".scale"` (weight-only int8, torch's own packed product).

    `taps` are numbers of layers: 0 is the embedding, i the state after i layers, `config.layers` the state
    after the final norm.
    """

    def __init__(self, config: ModelConfig, weights: Mapping[str, Tensor], taps: tuple[int, ...] = ()) -> None:
        self.config = config
        self.weights = weights
        self.taps = taps
        norm = weights["output_norm.weight"]
        self.device = norm.device
        self.dtype = norm.dtype
        products = weights["blk.0.ffn_up.weight"].dtype
        self.arithmetic = f"torch {self.device.type} {str(products).removeprefix('torch.')}"
        self.cos, self.sin = rotary_table(config, self.device)

    @property
    def bytes_per_step(self) -> int:
        """Bytes of weights that one forward pass reads (single embedding rows and the cache not counted)."""
        return sum(t.numel() * t.element_size() for name, t in self.weights.items() if name != "token_embd.weight")

    def allocate(self, capacity: int) -> Storage:
        """Room for `capacity` positions."""
        c = self.config
        shape = (c.layers, c.kv_heads, capacity, c.head_dim)
        return Storage(*(torch.zeros(shape, dtype=self.dtype, device=self.device) for _ in range(2)))

    @torch.inference_mode()
    def forward(self, ids: Sequence[int], start: int, storage: Storage, rows: Sequence[int] | None = None) -> Step:
        """Compute `ids` at positions start.., attending to storage[:start] and, causally, to each other.

        `rows` are indices into `ids` whose logits are wanted; by default the last one.
        """
        if start + len(ids) > storage.capacity:
            raise ValueError(f"{start} + {len(ids)} positions exceed the cache's {storage.capacity}")
        tokens = torch.tensor(ids, device=self.device)
        x, taps = self.hidden(tokens, start, storage)
        wanted = torch.tensor([len(ids) - 1] if rows is None else list(rows), dtype=torch.long, device=self.device)
        logits = self.linear(x[wanted], "output.weight")  # (rows, vocab)
        return step_from_logits(logits.float().cpu().numpy(), None if taps is None else taps.float().cpu().numpy())

    def hidden(self, tokens: Tensor, start: int, storage: Storage) -> tuple[Tensor, Tensor | None]:
        """Normalised final states (n, width), and the tapped states (n, taps, width) if any were asked for."""
        return self.states(tokens, Growing(storage, start, tokens.shape[0], (self.cos, self.sin)))

    def states(self, tokens: Tensor, window: Window) -> tuple[Tensor, Tensor | None]:
        """`hidden`, for rows that stand where `window` says."""
        c = self.config
        x = self.embed(tokens)  # (n, width)
        tapped = [x] if 0 in self.taps else []
        for layer in range(c.layers):
            x = self.block(x, layer, window)
            if layer + 1 in self.taps and layer + 1 < c.layers:
                tapped.append(x)
        x = self.norm(x, "output_norm.weight")
        if c.layers in self.taps:
            tapped.append(x)
        return x, torch.stack(tapped, dim=1) if tapped else None

    def block(self, x: Tensor, layer: int, window: Window, keep: slice = slice(None)) -> Tensor:
        """One layer: x (n, width) plus what it attends to, plus, for the rows to `keep`, what it makes of that."""
        x = (x + self.attention(self.norm(x, f"blk.{layer}.attn_norm.weight"), layer, window))[keep]
        return x + self.feed_forward(self.norm(x, f"blk.{layer}.ffn_norm.weight"), layer)

    def embed(self, tokens: Tensor) -> Tensor:
        return self.rows("output.weight" if "token_embd.weight" not in self.weights else "token_embd.weight", tokens)

    def rows(self, name: str, numbers: Tensor) -> Tensor:
        """Rows (n, in) of a weight, as the floats they mean."""
        weight = self.weights[name]
        rows = weight[numbers].to(self.dtype)
        return rows * self.weights[name + ".scale"][numbers, None] if weight.dtype == torch.int8 else rows

    def linear(self, x: Tensor, name: str) -> Tensor:
        """x (n, in) times the transposed weight (out, in), plus the bias if there is one."""
        weight = self.weights[name]
        if weight.dtype == torch.int8:
            y = torch.ops.aten._weight_int8pack_mm(x, weight, self.weights[name + ".scale"])
        else:
            y = functional.linear(x, weight)
        bias = self.weights.get(name.removesuffix("weight") + "bias")
        return y if bias is None else y + bias

    def norm(self, x: Tensor, name: str) -> Tensor:
        """Root-mean-square or layer norm over the last axis, computed in float32."""
        wide = x.float()
        if self.config.norm == "layer":
            bias = self.weights[name.removesuffix("weight") + "bias"].float()
            weight = self.weights[name].float()
            return functional.layer_norm(wide, weight.shape, weight, bias, self.config.rms_eps).to(x.dtype)
        scale = torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.config.rms_eps)
        return (wide * scale).to(x.dtype) * self.weights[name]

    def attention(self, x: Tensor, layer: int, window: Window) -> Tensor:
        c, n = self.config, x.shape[0]
        name = f"blk.{layer}.attn_"
        q = self.linear(x, name + "q.weight").view(n, c.heads, c.head_dim).transpose(0, 1)  # (heads, n, dim)
        k = self.linear(x, name + "k.weight").view(n, c.kv_heads, c.head_dim).transpose(0, 1)
        v = self.linear(x, name + "v.weight").view(n, c.kv_heads, c.head_dim).transpose(0, 1)
        if c.qk_norm:
            q, k = self.norm(q, name + "q_norm.weight"), self.norm(k, name + "k_norm.weight")
        q, k = (rotate(t, window.cos, window.sin, c.rope_interleaved) for t in (q, k))
        out = window.attend(layer, q, k, v)  # (heads, n, dim)
        return self.linear(out.transpose(0, 1).reshape(n, -1), name + "output.weight")

    def feed_forward(self, x: Tensor, layer: int) -> Tensor:
        name = f"blk.{layer}.ffn_"
        up = self.linear(x, name + "up.weight")  # (n, ffn)
        if self.config.activation == "gelu":
            return self.linear(functional.gelu(up, approximate="tanh"), name + "down.weight")
        return self.linear(functional.silu(self.linear(x, name + "gate.weight")) * up, name + "down.weight")


def rotary_table(config: ModelConfig, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosine and sine of every position's angles, each (max_positions, head_dim/2) float32."""
    half = torch.arange(0, config.head_dim, 2, dtype=torch.float64) / config.head_dim
    angles = torch.arange(config.max_positions, dtype=torch.float64)[:, None] * config.rope_theta**-half
    return angles.cos().float().to(device), angles.sin().float().to(device)


def rotate(x: Tensor, cos: Tensor, sin: Tensor, interleaved: bool) -> Tensor:
    """Rotary position embedding of x (heads, n, dim)."""
    wide = x.float()
    a, b = (wide[..., 0::2], wide[..., 1::2]) if interleaved else wide.chunk(2, dim=-1)
    pair = (a * cos - b * sin, b * cos + a * sin)
    out = torch.stack(pair, dim=-1).flatten(-2) if interleaved else torch.cat(pair, dim=-1)
    return out.to(x.dtype)


def causal_mask(n: int, start: int, device: torch.device) -> Tensor | None:
    """(n, start + n) booleans, True where a row may look; None when one row sees everything."""
    if n == 1:
        return None
    columns = torch.arange(start + n, device=device)
    return columns[None, :] <= torch.arange(start, start + n, device=device)[:, None]
