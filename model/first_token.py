"""How long a fresh process takes to its first token and how much memory it holds then.

Run as `python -m quatrain.model.first_token`, it is that process: it opens a model, says `ready`, computes a
prompt, says `token`, goes on a little, says `done` and waits for its input to close. Knows one request.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from quatrain.model.api import QuatrainError, Stop

PROMPT_TOKENS = 512
"""Of the second request, after which memory is counted: what a server holds that has answered once."""
FIRST_PROMPT = "def area_of_circle(radius):\n    return "


@dataclass(frozen=True, slots=True)
class Request:
    """What to open. `imports` are modules that a server has in memory besides. `file` and `threads` are llama.cpp's."""

    model: str
    arithmetic: str
    imports: tuple[str, ...] = ()
    file: str = ""
    threads: int = 1


@dataclass(frozen=True, slots=True)
class FirstToken:
    """Seconds from the start of the process until it was ready, and until the first token of a short prompt;
    and what it holds after a prompt of PROMPT_TOKENS, in MB (1e6): all, and of it pages of mapped files, which the
    system may take back (None where it does not tell)."""

    ready_s: float
    token_s: float
    resident_mb: float
    mapped_mb: float | None


def measure(request: Request) -> FirstToken:
    """Start the process and listen. QuatrainError with its last words if it fails."""
    command = [sys.executable, "-m", "quatrain.model.first_token", json.dumps(asdict(request))]
    began = time.perf_counter()
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:
        assert process.stdout and process.stdin and process.stderr
        seconds = {}
        for line in process.stdout:
            seconds[line.strip()] = time.perf_counter() - began
            if "done" in seconds:
                memory = psutil.Process(process.pid).memory_info()._asdict()
                process.stdin.close()
                mapped = memory["shared"] / 1e6 if "shared" in memory else None
                return FirstToken(seconds["ready"], seconds["token"], memory["rss"] / 1e6, mapped)
        said = process.stderr.read().strip().splitlines()
    raise QuatrainError(f"the process for {request.arithmetic} ended early: {said[-1] if said else 'no words'}")


def say(word: str) -> None:
    sys.stdout.write(word + "\n")
    sys.stdout.flush()


def own(request: Request) -> object:
    """The process itself, for an arithmetic of ours. Returns what must stay in memory until it was counted."""
    from quatrain.model import checkpoint

    engine = checkpoint.open_engine(request.model, request.arithmetic, lambda message, done, total: None)
    for module in request.imports:
        importlib.import_module(module)
    say("ready")
    next(iter(engine.generate(engine.encode(FIRST_PROMPT, ""), Stop(), 1)))
    say("token")
    most = min(PROMPT_TOKENS, engine.cache.capacity // 2)
    ids = engine.vocabulary.encode(Path(json.__file__).read_text())[:most]
    for _ in engine.generate(engine.encode(engine.vocabulary.decode(ids), ""), Stop(), 16):
        pass
    return engine


def peer(request: Request) -> object:
    """The process itself, for llama.cpp. Returns what must stay in memory until it was counted."""
    from quatrain.model.measure import Prompt, Steps
    from quatrain.model.peer import LlamaCpp

    other = LlamaCpp(Path(request.file), [1] * 4096, request.threads)
    say("ready")
    other.run(Prompt(12))
    say("token")
    other.prepare(task := Prompt(PROMPT_TOKENS))
    other.run(task)
    for row in range(16):
        other.run(Steps(1, PROMPT_TOKENS + row))
    return other


def main(arguments: Sequence[str]) -> None:
    request = Request(**json.loads(arguments[0]))
    kept = (peer if request.file else own)(request)
    say("done")
    sys.stdin.read()
    del kept


if __name__ == "__main__":
    main(sys.argv[1:])
