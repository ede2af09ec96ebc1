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
        spoken = [x for chain in network.chains(active) for x in network.spoken(chain, state)]
        each = torch.stack([head_loss(network, x, target) for x, target in zip(spoken, targets, strict=True)])
        return each.sum(), each.detach()
    owned = [[*block.parameters()] for block in network.heads[:active]]
    everything = [parameter for group in owned for parameter in group] + shared_by(network)
    total, each = OneHeadAtATime.apply(state, network, targets, *everything)  # type: ignore[misc]
    return total, each


def head_loss(network: Network, spoken: Tensor, target: Tensor) -> Tensor:
    """Mean cross-entropy of one head in nats, computed in float32, from what the output reads (batch, n, width)."""
    logits = network.output(spoken)  # (batch, n, vocab)
    return functional.cross_entropy(logits.flatten(0, 1).float(), target.flatten())


def shared_by(network: Network) -> list[Tensor]:
    """The weights that all heads use."""
    return [*network.norm.parameters(), *network.output.parameters()]


def backward_to(network: Network, spoken: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A head's loss, and its gradients at what the output reads (batch, n, width) and at the output's weight; the
    logits are gone when it returns."""
    x = spoken.detach().requires_grad_()
    with torch.enable_grad():
        loss = head_loss(network, x, target)
    at_states, at_output = torch.autograd.grad(loss, [x, network.output.weight])
    return loss.detach(), at_states, at_output


class OneHeadAtATime(torch.autograd.Function):
    """Computes the gradients already in its forward pass, head by head; its backward pass hands them out."""

    @staticmethod
    def forward(ctx: Any, state: Tensor, network: Network, targets: list[Tensor], *parameters: Tensor) -> Any:
        """`parameters`: those of every active head in turn, then the shared ones, the output's weight last."""
        z = state.detach().requires_grad_()
        gathered = torch.zeros_like(z)  # the gradient at the trunk: as large as its states, however many heads
        norms = [*network.norm.parameters()]
        common = [torch.zeros_like(parameter) for parameter in norms]
        output: Tensor | None = None
        own: list[Tensor] = []
        each: list[Tensor] = []
        for chain in network.chains(len(targets)):
            mine = [parameter for head in chain for parameter in network.heads[head].parameters()]
            with torch.enable_grad():
                spoken = network.spoken(chain, z)
            pulls = []
            for x, head in zip(spoken, chain, strict=True):
                loss, pull, found = backward_to(network, x, targets[head])
                output = found if output is None else output.add_(found)
                del found  # or it would lie beside the next head's
                pulls.append(pull)
                each.append(loss)
            parts = torch.autograd.grad(spoken, [z, *mine, *norms], pulls)
            gathered += parts[0]
            own += parts[1 : 1 + len(mine)]
            for total, part in zip(common, parts[1 + len(mine) :], strict=True):
                total += part
            del spoken, pulls, parts
        ctx.gradients = (gathered, None, None, *own, *common, output)
        losses = torch.stack(each)
        ctx.mark_non_differentiable(losses)
        return losses.sum(), losses

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> Any:
        """The gradients of the sum, times what stands outside."""
        gradients, ctx.gradients = ctx.gradients, None
        return tuple(None if g is None else g.mul_(outer[0]) for g in gradients)
