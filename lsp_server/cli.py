"""The command line: parses arguments and calls one function for each command. Errors are one line, status 2."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from typing import Any

from quatrain.lsp_server import train_options
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
    adapter = argparse.ArgumentParser(add_help=False)
    adapter.add_argument("--adapter", default="auto", help="a file; auto: the one that comes with Quatrain; or none")

    one = commands.add_parser("setup", parents=[model], help="download and convert the model")
    one.add_argument("--from", dest="source", metavar="FILE", help="take the model from this file, no network")
    one.set_defaults(run=setup)

    one = commands.add_parser("complete", parents=[model, adapter], help="complete at positions in files")
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

    one = commands.add_parser("eval", parents=[model, adapter], help="measure how good the completions are")
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
    train_options.add_training(commands, model, adapter, train_task)
    return top


def train_task(options: argparse.Namespace) -> int:
    from quatrain.lsp_server import adapting, training

    for line in (training.TASKS | adapting.TASKS)[options.task](options):
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
        "adapter": options.adapter,
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
