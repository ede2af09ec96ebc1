"""A Llama-like network with several heads for training, its weights named as in Meta's multi-token checkpoints.

`layers` are the trunk and, last, the next-token head; `extra_heads` read what that last layer reads. Norm and output
are shared. Batched, with gradients; serving computes the same in model/transformer.py. Knows no text and no optimiser.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from quatrain.model.train.pretrain.sizes import EPSILON, Plan, Size
from quatrain.model.transformer import rotary_table, rotate


class Attention(nn.Module):
    """Causal self-attention; every query head has its own keys and values."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.heads = size.heads
        self.wq, self.wk, self.wv, self.wo = (nn.Linear(size.width, size.width, bias=False) for _ in range(4))

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        batch, n, width = x.shape
        q, k, v = (w(x).view(batch, n, self.heads, -1).transpose(1, 2) for w in (self.wq, self.wk, self.wv))
        q, k = (rotate(t, cos, sin, interleaved=True) for t in (q, k))  # (batch, heads, n, dim)
        out = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.wo(out.transpose(1, 2).reshape(batch, n, width))


class FeedForward(nn.Module):
    """A gated product: w2(silu(w1 x) * w3 x)."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.w1, self.w3 = (nn.Linear(size.width, size.ffn, bias=False) for _ in range(2))
        self.w2 = nn.Linear(size.ffn, size.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.w2(functional.silu(self.w1(x)) * self.w3(x))


class Block(nn.Module):
    """One transformer layer."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.attention, self.feed_forward = Attention(size), FeedForward(size)
        self.attention_norm, self.ffn_norm = (nn.RMSNorm(size.width, EPSILON) for _ in range(2))

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self.attention(self.attention_norm(x), cos, sin)
        return x + self.feed_forward(self.ffn_norm(x))


class Network(nn.Module):
    """Trunk, heads, shared output. Called with windows of tokens it returns losses (see `losses.py`)."""

    cos: Tensor
    sin: Tensor

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan = plan
        self.tok_embeddings = nn.Embedding(plan.vocab, plan.size.width)
        self.layers = nn.ModuleList(Block(plan.size) for _ in range(plan.trunk + 1))
        self.extra_heads = nn.ModuleList(Block(plan.size) for _ in range(plan.heads - 1))
        self.norm = nn.RMSNorm(plan.size.width, EPSILON)
        self.output = nn.Linear(plan.size.width, plan.vocab, bias=False)
        cos, sin = rotary_table(plan.config, torch.device("cpu"))  # (positions, dim / 2)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        self.apply(self.initialise)

    def initialise(self, module: nn.Module) -> None:
        """Small normal weights; what is added to the stream is smaller, the more layers add to it."""
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, Block):
            for added in (module.attention.wo, module.feed_forward.w2):
                nn.init.normal_(added.weight, std=0.02 / math.sqrt(2 * self.plan.size.layers))

    @property
    def heads(self) -> list[Block]:
        """All heads, the next-token head first."""
        return [self.layers[-1], *self.extra_heads]  # type: ignore[list-item]

    def trunk(self, tokens: Tensor) -> Tensor:
        """(batch, n) ids to (batch, n, width) states, which every head reads."""
        n = tokens.shape[1]
        x = self.tok_embeddings(tokens)
        for layer in list(self.layers)[:-1]:
            x = layer(x, self.cos[:n], self.sin[:n])
        return x

    def chains(self, active: int) -> list[range]:
        """Heads that have to be computed together: each alone, or in the causal design all in turn."""
        return [range(active)] if self.plan.chained else [range(head, head + 1) for head in range(active)]

    def spoken(self, chain: range, state: Tensor) -> list[Tensor]:
        """What the output reads of each head of a chain, (batch, n, width), from the trunk's state. It is that which
        the next head of a causal chain reads too: served, it is what a trunk shows of its last layer."""
        n = state.shape[1]
        found = []
        for head in chain:
            state = self.norm(self.heads[head](state, self.cos[:n], self.sin[:n]))
            found.append(state)
        return found

    def logits(self, active: int, state: Tensor) -> list[Tensor]:
        """What the first heads make of the trunk's states (batch, n, width): (batch, n, vocab) each."""
        return [self.output(x) for chain in self.chains(active) for x in self.spoken(chain, state)]

    def forward(self, window: Tensor, active: int, together: bool = False) -> tuple[Tensor, Tensor]:
        """Losses of the first `active` heads over a window (batch, n + LOOKAHEAD); see `losses.of_window`."""
        from quatrain.model.train.pretrain import losses

        return losses.of_window(self, window, active, together)
