"""`quatrain train pretrain`, `pretrain-memory` and `compare`: arguments to settings, results to the terminal.

Training is `model/train/pretrain` and is imported only when one of them runs. Knows no tensors.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from quatrain.model.train.pretrain.run import Result
    from quatrain.model.train.pretrain.settings import Running


def add_tasks(tasks: Any) -> None:
    """Their options."""
    running = argparse.ArgumentParser(add_help=False)
    running.add_argument("--device", default="auto", help="auto, cpu or cuda")
    running.add_argument("--threads", type=int, default=0, help="of torch on the CPU")
    running.add_argument("--pieces", type=int, help="a step's batch in so many pieces, for less memory")
    running.add_argument("--pause", type=float, default=0, metavar="SECONDS", help="save and stop after this time")
    running.add_argument("--compile", action="store_true", help="let torch compile the layers (GPU)")
    text = argparse.ArgumentParser(add_help=False)
    text.add_argument("--corpus", default="corpus", metavar="FOLDER", help="of `train corpus`, or of any source files")

    one = tasks.add_parser("pretrain", parents=[text, running], help="train a model with several heads from scratch")
    one.add_argument(
        "--output", default="pretrained", metavar="FOLDER", help="where it goes, and a stopped run goes on"
    )
    one.add_argument("--size", default="nano", help="pico, nano, tiny, small, medium or large")
    one.add_argument("--heads", type=int, default=4, metavar="N", help="tokens predicted at once; 1: an ordinary model")
    one.add_argument("--design", default="parallel", choices=("parallel", "causal"), help="causal: heads in a chain")
    one.add_argument("--tokens", default="bytes", help="bytes, a number (BPE of the corpus), or a tokenizer.json")
    one.add_argument("--steps", type=int, default=1000)
    one.add_argument("--batch", type=int, default=0, help="sequences a step; 0: the size's own")
    one.add_argument("--context", type=int, default=0, help="tokens of a sequence; 0: the size's own")
    one.add_argument("--rate", type=float, default=0.0, help="greatest learning rate; 0: the size's own")
    one.add_argument("--holes", type=float, default=0.5, metavar="SHARE", help="pieces of text with a hole to fill")
    one.add_argument(
        "--curriculum", type=float, default=0.0, metavar="SHARE", help="of the steps, until all heads learn"
    )
    one.add_argument("--numbers", default="auto", choices=("auto", "f32", "bf16"), help="auto: bf16 on a GPU")
    one.add_argument("--together", action="store_true", help="all heads' logits at once: the plain way, for comparison")
    one.add_argument("--shard", action="store_true", help="under torchrun: every process keeps a part of the network")
    one.add_argument("--seed", type=int, default=0)
    one.set_defaults(run=pretrain)

    one = tasks.add_parser("pretrain-memory", help="measure the peak memory of a step over heads and vocabulary")
    one.add_argument("--size", default="pico")
    one.add_argument("--heads", type=int, nargs="+", default=[1, 2, 4, 8])
    one.add_argument("--vocabularies", type=int, nargs="+", default=[260, 4096, 32_768])
    one.add_argument("--batch", type=int, default=2, help="sequences")
    one.add_argument("--device", default="cpu", help="cpu or cuda")
    one.add_argument("--plot", metavar="FILE", help="write the curves as SVG")
    one.add_argument("--json", action="store_true", help="a JSON list")
    one.set_defaults(run=memory)

    one = tasks.add_parser("compare", parents=[text, running], help="1, 2, 4 .. heads at equal parameters and tokens")
    one.add_argument("--preset", default="cpu", help="cpu (half an hour on two cores), gpu, gpu-bytes, or dry")
    one.add_argument("--output", default="compared", metavar="FOLDER", help="where it goes, and a stopped one goes on")
    one.add_argument("--heads", type=int, nargs="+", help="in place of the preset's")
    one.add_argument("--design", default="parallel", choices=("parallel", "causal"), help="causal: heads in a chain")
    one.add_argument("--steps", type=int, help="in place of the preset's")
    one.set_defaults(run=compare)


@contextmanager
def reporting() -> Iterator[Callable[[str, int, int], None]]:
    """Progress, by the first process alone."""
    if os.environ.get("RANK", "0") != "0":
        yield lambda message, done, total: None
        return
    from quatrain.lsp_server import show

    with show.progress() as report:
        yield report


def console() -> Console:
    """Standard output, as a person or a file wants it."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 180)


def running_of(options: argparse.Namespace, usual: Running) -> Running:
    """How to compute, from the options that were given."""
    given = {"device": options.device, "threads": options.threads, "pause": options.pause}
    pieces = options.pieces or usual.pieces
    return replace(usual, pieces=pieces, compiled=options.compile, **given)


def pretrain(options: argparse.Namespace) -> int:
    from quatrain.model.train.pretrain import run
    from quatrain.model.train.pretrain.settings import Running, Settings

    names = (
        "size",
        "heads",
        "design",
        "tokens",
        "steps",
        "batch",
        "context",
        "rate",
        "holes",
        "curriculum",
        "together",
    )
    chosen = Settings(**{name: getattr(options, name) for name in (*names, "numbers", "seed")})
    output = Path(options.output)
    with reporting() as report:
        running = replace(running_of(options, Running()), shard=options.shard)
        result = run.train(Path(options.corpus), output, chosen, running, report)
    if os.environ.get("RANK", "0") == "0":
        console().print(summary(result, output))
    return 0


def summary(result: Result, output: Path) -> str:
    """What came of a run, and what to do next."""
    if result.folder is None:
        return f"stopped after {result.steps} steps; the same command goes on"
    held = " ".join(f"{loss:.4f}" for loss in result.held)
    return (
        f"{result.folder}: {result.steps} steps, held-back loss of each head {held}\n"
        f"curves in {output}; try it: quatrain complete --model {result.folder} FILE:LINE:COL"
    )


def memory(options: argparse.Namespace) -> int:
    from quatrain.model.train.pretrain import memory

    peaks = []
    with reporting() as report:
        for peak in memory.curve(options.size, options.heads, options.vocabularies, options.batch, options.device):
            peaks.append(peak)
            report(f"{peak.heads} heads, vocabulary {peak.vocab}", len(peaks), 0)
    if options.plot:
        memory.draw(peaks, Path(options.plot))
    console().print(json.dumps([asdict(peak) for peak in peaks]) if options.json else memory.table(peaks))
    return 0


def compare(options: argparse.Namespace) -> int:
    from quatrain.model.train.pretrain import compare

    preset = compare.preset_of(options.preset)
    if options.heads:
        preset = replace(preset, heads=tuple(options.heads))
    preset = replace(preset, settings=replace(preset.settings, design=options.design))
    if options.steps:
        preset = replace(preset, settings=replace(preset.settings, steps=options.steps))
    output = Path(options.output)
    with reporting() as report:
        rows, whole = compare.compare(Path(options.corpus), output, preset, running_of(options, preset.running), report)
    if rows:
        console().print(compare.table(rows))
    console().print(f"in {output / 'compare.json'}" if whole else "stopped in time; the same command goes on")
    return 0
