"""Runs one program that a model wrote, inside a process of its own, after shutting what it could do harm with.

Started by `sandbox.py` as a file, with the interpreter's isolated mode: `sandbox_child.py PROGRAM VERDICT
CPU_SECONDS MEMORY_BYTES`. Knows the standard library only. Writes one word into VERDICT.

This is a guard against accidents (endless loops, hunger for memory, forks, stray files), not a prison.
"""

from __future__ import annotations

import os
import sys
from typing import Any

FORBIDDEN = (
    "os.fork", "os.forkpty", "os.exec", "os.posix_spawn", "os.spawn", "os.system", "os.startfile", "subprocess.Popen",
    "os.kill", "os.killpg", "os.putenv", "os.chdir", "os.chmod", "os.chown", "os.symlink", "os.link",
    "os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.truncate", "shutil.", "socket.", "ctypes.", "webbrowser.",
    "signal.pthread_kill", "ftplib.", "http.", "urllib.", "smtplib.", "syslog.", "pty.",
)  # fmt: skip
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
LARGEST_FILE = 1_000_000


def main(program: str, verdict: str, cpu_s: str, memory: str) -> None:
    """Compile, limit, run, and say how it went."""
    with open(program, encoding="utf-8") as file:
        source = file.read()
    report = os.open(verdict, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    cut_network()
    limit(int(cpu_s), int(memory))
    sys.addaudithook(refuse)
    os.write(report, run(source).encode())
    os.close(report)
    os._exit(0)


def run(source: str) -> str:
    """`passed`, `failed` for a failed assertion, or the name of what was raised."""
    try:
        exec(compile(source, "program.py", "exec"), {"__name__": "__main__"})
    except AssertionError:
        return "failed"
    except MemoryError:
        return "memory"
    except BaseException as error:  # SystemExit too: a program that leaves has not passed
        return f"error: {type(error).__name__}"
    return "passed"


def limit(cpu_s: int, memory: int) -> None:
    """Processor time, memory, file size and processes, where the platform can."""
    sys.setrecursionlimit(2_000)
    try:
        import resource
    except ImportError:  # Windows: the parent's clock is the only limit
        return
    limits = {
        "RLIMIT_CPU": (cpu_s, cpu_s + 1),
        "RLIMIT_AS": (memory, memory),
        "RLIMIT_FSIZE": (LARGEST_FILE, LARGEST_FILE),
        "RLIMIT_CORE": (0, 0),
        "RLIMIT_NPROC": (0, 0),
        "RLIMIT_NOFILE": (32, 32),
    }
    for name, pair in limits.items():
        if hasattr(resource, name):
            try:
                resource.setrlimit(getattr(resource, name), pair)
            except (OSError, ValueError):  # macOS refuses some
                continue


def cut_network() -> None:
    """A network namespace of its own, with nothing in it; on Linux, where that is allowed."""
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        libc.unshare(CLONE_NEWUSER | CLONE_NEWNET)


def refuse(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook: no processes, no network, no writing."""
    if event.startswith(FORBIDDEN):
        raise PermissionError(f"{event} is not allowed here")
    flags = arguments[2] if event == "open" and len(arguments) > 2 else 0
    if isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        raise PermissionError("writing files is not allowed here")


if __name__ == "__main__":
    main(*sys.argv[1:])
