"""Whether a program passes its tests: run in a process of its own, with limits, killed with its children.

Knows processes; knows nothing of completions.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

CHILD = Path(__file__).with_name("sandbox_child.py")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one program may use. The wall clock is generous because other work shares the machine."""

    cpu_s: int = 5
    wall_s: float = 20.0
    memory: int = 1 << 30


def verdict(program: str, limits: Limits | None = None) -> str:
    """`passed`, `failed`, `timeout`, `memory`, `killed`, or `error: NAME` of the exception. Never raises for
    anything the program does."""
    limits = limits or Limits()
    with tempfile.TemporaryDirectory(prefix="quatrain-eval-", ignore_cleanup_errors=True) as outer:
        source, said, cwd = Path(outer, "program.py"), Path(outer, "verdict"), Path(outer, "cwd")
        cwd.mkdir()
        source.write_text(program, encoding="utf-8", errors="replace")
        command = [sys.executable, "-I", "-B", str(CHILD), str(source), str(said)]
        child = subprocess.Popen(
            [*command, str(limits.cpu_s), str(limits.memory)],
            cwd=cwd,
            env=surroundings(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # a flood of output goes nowhere
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            status = child.wait(limits.wall_s)
        except subprocess.TimeoutExpired:
            return "timeout"
        finally:
            kill(child)
        if said.is_file() and (word := said.read_text()):
            return word
        return "timeout" if used_up(status) else "killed"


def used_up(status: int) -> bool:
    """Whether the process ended because its processor time was over (SIGXCPU, then SIGKILL a second later)."""
    return status in (-24, -9)


def surroundings() -> dict[str, str]:
    """No paths, no keys, no proxies; one thread for libraries that would start many."""
    kept = {name: os.environ[name] for name in ("SYSTEMROOT", "LANG") if name in os.environ}
    return kept | {"OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}


def kill(child: subprocess.Popen[bytes]) -> None:
    """End the process, its children and its process group."""
    with suppress(psutil.Error):
        for process in psutil.Process(child.pid).children(recursive=True):
            with suppress(psutil.Error):
                process.kill()
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, 9)
    with suppress(ProcessLookupError):
        child.kill()
    child.wait()
