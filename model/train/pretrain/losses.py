"""The loss of every head, and the step that keeps the logits of one head alive at a time (Gloeckle et al. 2024).

The trunk is computed once. Then each head in turn is computed forward and at once backward; its logits are gone before
the next head begins, and only the gradient at the trunk's states is gathered. Peak memory goes from O(n V + d) to
O(V + d). All of it is one node of the autograd graph, so that a single `backward()` outside, with whatever listens to
it (DistributedDataParallel), sees an ordinary loss.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from quatrain.model.train.pretrain.sizes import LOOKAHEAD

if TYPE_CHECKING:
    from quatrain.model.train.pretrain.network import Network


def of_window(network: Network, window: Tensor, active: int, together: bool) -> tuple[Tensor, Tensor]:
    """The sum of the losses to call `backward` on, and each head's loss (active,) to look at.

    Head i at position t is measured on the token at t + 1 + i. `together`: the plain way, all logits at once.
    """
    n = window.shape[1] - LOOKAHEAD
    state = network.trunk(window[:, :n])  # (batch, n, width)
    targets = [window[:, 1 + head : 1 + head + n] for head in range(active)]  # (batch, n) each
    if together or not torch.is_grad_enabled():
        each = torch.stack([head_loss(network, head, state, targets[head]) for head in range(active)])
        return each.sum(), each.detach()
    owned = [[*block.parameters()] for block in network.heads[:active]]
    shared = [*network.norm.parameters(), *network.output.parameters()]
    everything = [parameter for group in owned for parameter in group] + shared
    total, each = OneHeadAtATime.apply(state, network, targets, *everything)  # type: ignore[misc]
    return total, each


def head_loss(network: Network, head: int, state: Tensor, target: Tensor) -> Tensor:
    """Mean cross-entropy of one head in nats, computed in float32."""
    logits = network.logits(head, state)
    return functional.cross_entropy(logits.flatten(0, 1).float(), target.flatten())


class OneHeadAtATime(torch.autograd.Function):
    """Computes the gradients already in its forward pass, head by head; its backward pass hands them out."""

    @staticmethod
    def forward(ctx: Any, state: Tensor, network: Network, targets: list[Tensor], *parameters: Tensor) -> Any:
        """`parameters`: those of every active head in turn, then the shared ones."""
        z = state.detach().requires_grad_()
        gathered = torch.zeros_like(z)  # the gradient at the trunk: as large as its states, however many heads
        shared = [*network.norm.parameters(), *network.output.parameters()]
        common: list[Tensor] = []
        own: list[Tensor] = []
        each: list[Tensor] = []
        for head, target in enumerate(targets):
            mine = [*network.heads[head].parameters()]
            with torch.enable_grad():
                loss = head_loss(network, head, z, target)
            found = torch.autograd.grad(loss, [z, *mine, *shared])
            gathered += found[0]
            own += found[1 : 1 + len(mine)]
            rest = found[1 + len(mine) :]
            common = [a.add_(b) for a, b in zip(common, rest, strict=True)] if common else list(rest)
            each.append(loss.detach())
            del loss, found, rest  # the logits go with them
        ctx.gradients = (gathered, None, None, *own, *common)
        losses = torch.stack(each)
        ctx.mark_non_differentiable(losses)
        return losses.sum(), losses

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> Any:
        """The gradients of the sum, times what stands outside."""
        gradients, ctx.gradients = ctx.gradients, None
        return tuple(None if g is None else g.mul_(outer[0]) for g in gradients)
