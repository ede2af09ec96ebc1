"""One training run: text to windows, steps with AdamW, checkpoints, the log, the model folder at the end.

A run that was stopped goes on where its last checkpoint stands and computes what an uninterrupted one would have.
Several processes started by `torchrun` share every step (see `processes`). Knows neither text nor what a head is.
"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.optim import AdamW
from torch.utils.data import DataLoader

from quatrain.model.api import QuatrainError
from quatrain.model.fetch import Report
from quatrain.model.train import plots
from quatrain.model.train.pretrain import processes, progress, saving, settings, texts, tokens
from quatrain.model.train.pretrain.journal import Journal
from quatrain.model.train.pretrain.network import Network
from quatrain.model.train.pretrain.processes import Place
from quatrain.model.train.pretrain.settings import Running, Settings
from quatrain.model.train.pretrain.sizes import LOOKAHEAD, Plan, plan
from quatrain.model.train.pretrain.texts import Order, Windows
from quatrain.model.train.schedule import rate_at

HELD_IDS = 500_000
"""Tokens of held-back text that are kept to measure with."""


@dataclass(frozen=True, slots=True)
class Result:
    """Where the model folder is, if the run is finished; how many steps were taken, and the last measurement."""

    folder: Path | None
    steps: int
    held: tuple[float, ...]
    tokens_per_s: float


def train(corpus: Path, output: Path, chosen: Settings, running: Running, report: Report) -> Result:
    """Train, or go on training, in the folder `output`. Raises QuatrainError with what to do."""
    plots.require()
    if running.threads:
        torch.set_num_threads(running.threads)
    with processes.place(running.device, running.shard) as where:
        if where.first:
            prepare(corpus, output, chosen, report)
        where.wait()
        vocabulary = tokens.load(output / "tokenizer.json")
        network_plan = plan_of(chosen, vocabulary.size)
        torch.manual_seed(chosen.seed)
        network = Network(network_plan).to(where.device)
        return Training(network, output, chosen, running, where, report).run()


def plan_of(chosen: Settings, vocab: int) -> Plan:
    """The network; the settings' own context, batch and rate where they have them."""
    found = plan(chosen.size, vocab, chosen.heads, chosen.design)
    size = replace(
        found.size,
        context=chosen.context or found.size.context,
        batch=chosen.batch or found.size.batch,
        rate=chosen.rate or found.size.rate,
    )
    return replace(found, size=size, positions=size.context)


def prepare(corpus: Path, output: Path, chosen: Settings, report: Report) -> None:
    """Tokenizer and windows, made once."""
    output.mkdir(parents=True, exist_ok=True)
    if settings.check(chosen, output):
        return
    report("reading texts", 0, 0)
    parts = {part: texts.read(corpus, part) for part in ("train", "held")}
    tokens.make(chosen.tokens, (text.text for text in parts["train"]), output / "tokenizer.json")
    vocabulary = tokens.load(output / "tokenizer.json")
    size = plan_of(chosen, vocabulary.size).size
    read = chosen.steps * size.batch * size.context + LOOKAHEAD
    for part, most in (("train", read), ("held", HELD_IDS)):
        report(f"tokens of {part}", 0, 0)
        ids = texts.stream(parts[part], vocabulary, size.context, chosen.holes, chosen.seed)
        texts.write(ids, vocabulary.size, output / f"{part}.ids", most)
    settings.save(chosen, output)


def rate(step: int, chosen: Settings, height: float) -> float:
    """The learning rate, down to `final_rate` of the height."""
    rise = max(1, round(chosen.warm_up * chosen.steps))
    return rate_at(step, chosen.steps, rise, height, height * chosen.final_rate)


def active(step: int, chosen: Settings) -> int:
    """How many heads are trained at a step: one at first, all of them from `curriculum` of the steps on.

    >>> [active(step, Settings(heads=4, steps=8, curriculum=1.0)) for step in range(8)]
    [1, 1, 2, 2, 3, 3, 4, 4]
    """
    over = chosen.curriculum * chosen.steps
    return chosen.heads if step >= over else min(chosen.heads, 1 + int(chosen.heads * step / over))


def optimiser_of(network: Network, chosen: Settings, device: torch.device) -> AdamW:
    """AdamW; norms are not decayed."""
    groups = [[p for p in network.parameters() if (p.ndim > 1) == wide] for wide in (True, False)]
    parts = [{"params": groups[0], "weight_decay": chosen.decay}, {"params": groups[1], "weight_decay": 0.0}]
    return AdamW(parts, betas=(0.9, 0.95), fused=device.type == "cuda")


class Training:
    """The loop over steps and what it needs."""

    def __init__(
        self, network: Network, output: Path, chosen: Settings, running: Running, where: Place, report: Report
    ) -> None:
        self.network, self.output, self.chosen, self.running = network, output, chosen, running
        self.where, self.report = where, report
        if running.compiled:
            for block in [*network.layers, *network.extra_heads]:
                block.compile()
        if running.shard:
            processes.shard(network, where)
        self.optimiser = optimiser_of(network, chosen, where.device)
        found = saving.checkpoints(output / "state")
        self.step = saving.load(found[-1], network, self.optimiser) if found else 0
        self.model = processes.shared(network, where, some_idle=chosen.curriculum > 0)
        size = network.plan.size
        rows = where.ranks * running.pieces
        if size.batch % rows:
            raise QuatrainError(f"a batch of {size.batch} cannot be shared evenly by {rows} (processes times pieces)")
        self.train, self.held = (
            Windows(output / f"{p}.ids", network.plan.vocab, size.context) for p in ("train", "held")
        )
        self.journal = Journal(output / "log.jsonl", self.step) if where.first else None
        self.tokens_per_s = 0.0

    def run(self) -> Result:
        """All steps that are left, or as many as `pause` allows."""
        chosen, running = self.chosen, self.running
        size, where = self.network.plan.size, self.where
        order = Order(len(self.train), size.batch, self.step, chosen.steps, chosen.seed, where.rank, where.ranks)
        began = mark = time.perf_counter()
        marked = self.step
        for window in DataLoader(self.train, batch_sampler=order):  # type: ignore[arg-type]
            each = self.one(window.to(where.device))
            self.step += 1
            last = self.step == chosen.steps or self.paused(time.perf_counter() - began)
            if self.step % running.log_every == 0 or last:
                losses = where.mean(each).tolist()  # waits for the device
                took = time.perf_counter() - mark
                self.tokens_per_s = (self.step - marked) * size.batch * size.context / took
                self.log(losses)
            if self.step % running.measure_every == 0 or last:
                self.measure()
            if self.step % running.save_every == 0 or last:
                self.save()
            if self.step % running.log_every == 0 or last:
                mark, marked = time.perf_counter(), self.step
            if last:
                break
        return self.finish()

    def one(self, window: Tensor) -> Tensor:
        """A step on this process's share (rows, context + LOOKAHEAD); returns the losses of the active heads."""
        chosen = self.chosen
        heads = active(self.step, chosen)
        for group in self.optimiser.param_groups:
            group["lr"] = rate(self.step, chosen, self.network.plan.size.rate)
        self.optimiser.zero_grad(set_to_none=True)
        each = torch.zeros(heads, device=window.device)
        pieces = window.chunk(self.running.pieces)
        for number, piece in enumerate(pieces, 1):
            with processes.quiet(self.model, number < len(pieces)), self.numbers():
                total, losses = self.model(piece, heads, chosen.together)
            with processes.quiet(self.model, number < len(pieces)):
                (total / len(pieces)).backward()
            each += losses / len(pieces)
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), chosen.clip)
        self.optimiser.step()
        return each

    def numbers(self) -> AbstractContextManager[object]:
        """bf16 products where that was asked for or is the device's way."""
        kind = self.where.device.type
        wanted = self.chosen.numbers == "bf16" or (self.chosen.numbers == "auto" and kind == "cuda")
        return torch.autocast(kind, torch.bfloat16) if wanted else nullcontext()

    def paused(self, seconds: float) -> bool:
        """Whether time is up. All processes must agree."""
        return self.running.pause > 0 and self.where.agreed(self.running.pause <= seconds)

    def log(self, losses: list[float]) -> None:
        if self.journal is None:
            return
        row = {"step": self.step, "loss": losses, "tokens_per_s": round(self.tokens_per_s)}
        row |= {"rate": rate(self.step - 1, self.chosen, self.network.plan.size.rate)}
        if self.where.device.type == "cuda":
            row |= {"peak_mb": torch.cuda.max_memory_allocated() // 1_000_000}
        self.journal.add(row)
        shown = " ".join(f"{loss:.3f}" for loss in losses)
        self.report(f"step {self.step} of {self.chosen.steps}, loss {shown}, {self.tokens_per_s:.0f} tokens/s", 0, 0)

    def measure(self) -> None:
        """Losses and agreement on held-back text. Of a sharded network no process has enough to do it alone."""
        if self.journal is None and not self.running.shard:
            return
        with processes.opened(self.network), self.numbers():
            found = progress.measure(self.network, self.held, self.running.measure_windows, self.where.device)
        if self.journal is not None:
            self.journal.add({"step": self.step} | found)

    def save(self) -> None:
        if self.where.first or self.running.shard:
            saving.save(self.output / "state", self.step, self.network, self.optimiser, self.where.first)

    def finish(self) -> Result:
        """Plots always; the model folder when all steps were taken."""
        self.where.wait()
        folder = self.output / "model"
        held: tuple[float, ...] = ()
        if self.journal is not None:
            progress.draw(self.journal.rows, self.output)
            held = tuple(next((row["held"] for row in reversed(self.journal.rows) if "held" in row), ()))
        done = self.step >= self.chosen.steps
        if done and (self.where.first or self.running.shard):
            saving.export(self.network, self.output / "tokenizer.json", folder, self.where.first)
        self.where.wait()
        return Result(folder if done else None, self.step, held, self.tokens_per_s)
