"""How far a network has come: losses on held-back text, how often heads agree with the trunk, and pictures of both.

Knows windows and logits, no steps and no files but the pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from quatrain.model.train import plots
from quatrain.model.train.pretrain import losses
from quatrain.model.train.pretrain.network import Network
from quatrain.model.train.pretrain.sizes import LOOKAHEAD
from quatrain.model.train.pretrain.texts import Windows

ROWS = 8
"""Windows computed at once."""


@torch.no_grad()
def measure(network: Network, windows: Windows, most: int, device: torch.device) -> dict[str, list[float]]:
    """`held`: each head's loss. `agreement`: for each draft length the share of places where all drafted tokens are
    what the next-token head says there, given the true text (so a lower bound of what decoding accepts)."""
    chosen = torch.linspace(0, len(windows) - 1, min(most, len(windows))).long().tolist()
    heads = network.plan.heads
    loss, right, places = torch.zeros(heads), torch.zeros(max(0, heads - 1)), 0
    for at in range(0, len(chosen), ROWS):
        rows = [torch.from_numpy(windows[index]) for index in chosen[at : at + ROWS]]
        window = torch.stack(rows).to(device)
        loss += losses.of_window(network, window, heads, together=True)[1].cpu() * len(rows)
        right += agreed(network, window) * len(rows)
        places += len(rows)
    return {"held": (loss / places).tolist(), "agreement": (right / places).tolist()}


def agreed(network: Network, window: Tensor) -> Tensor:
    """(heads - 1,) shares, for drafts of 1, 2, .. tokens."""
    n, heads = window.shape[1] - LOOKAHEAD, network.plan.heads
    state = network.trunk(window[:, :n])
    said = [logits.argmax(-1) for logits in network.logits(heads, state)]  # (batch, n) each
    usable = n - heads + 1  # places whose drafts can be looked up among the trunk's own words
    sound = torch.ones_like(said[0][:, :usable], dtype=torch.bool)
    shares = []
    for head in range(1, heads):
        sound &= said[head][:, :usable] == said[0][:, head : head + usable]
        shares.append(sound.float().mean())
    return torch.stack(shares).cpu() if shares else torch.zeros(0)


def draw(rows: Sequence[dict[str, Any]], folder: Path) -> None:
    """`loss.svg` and, where there are heads to agree, `agreement.svg`."""
    trained = [row for row in rows if "loss" in row]
    held = [row for row in rows if "held" in row]
    heads = max((len(row.get("loss", row.get("held", ()))) for row in rows), default=0)
    curves = {
        f"head {i + 1}": [(row["step"], row["loss"][i]) for row in trained if i < len(row["loss"])]
        for i in range(heads)
    }
    curves |= {f"head {i + 1}, held back": [(row["step"], row["held"][i]) for row in held] for i in range(heads)}
    plots.curves(folder / "loss.svg", "Loss", {k: v for k, v in curves.items() if v}, "step", "nats a token")
    if held and held[-1]["agreement"]:
        lengths = range(len(held[-1]["agreement"]))
        series = {f"{i + 1} drafted": [(row["step"], row["agreement"][i]) for row in held] for i in lengths}
        plots.curves(folder / "agreement.svg", "Drafts right in full, held-back text", series, "step", "share")
