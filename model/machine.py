"""What this machine is, in words, and how fast it reads memory. Knows no model."""

from __future__ import annotations

import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import psutil

BANDWIDTH_METHOD = (
    "best of several passes of numpy.max over int64, one contiguous part of a {mb} MB array for each of {threads} "
    "threads: every byte read once, nothing written"
)


@dataclass(frozen=True, slots=True)
class Machine:
    """A computer as a benchmark names it. `load` is the one-minute load average before measuring, if known."""

    processor: str
    cores: int
    memory_gb: float
    system: str
    load: float | None


def describe() -> Machine:
    """This machine now."""
    load = psutil.getloadavg()[0] if hasattr(psutil, "getloadavg") else None
    cores = psutil.cpu_count(logical=False) or psutil.cpu_count() or 1
    return Machine(processor(), cores, round(psutil.virtual_memory().total / 2**30, 1), platform.platform(), load)


def processor() -> str:
    """The processor's own name, for example `Intel(R) Xeon(R) Processor @ 2.80GHz`; its kind where it has none."""
    if sys.platform == "linux":
        rows = (line.partition(":") for line in Path("/proc/cpuinfo").read_text().splitlines())
        named = (value.strip() for key, _, value in rows if key.strip() in ("model name", "Model"))
        return next(named, platform.machine())
    if sys.platform == "darwin":
        asked = subprocess.run(["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True)
        return asked.stdout.strip() or platform.machine()
    return platform.processor() or platform.machine()


def versions(names: Sequence[str]) -> dict[str, str]:
    """Versions of the installed distributions among `names`, without importing them; and Python's."""
    found = {"python": platform.python_version()}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def bandwidth(threads: int, megabytes: int = 256, passes: int = 8) -> float:
    """Bytes per second of a streaming read by `threads` threads (BANDWIDTH_METHOD). The array should be larger
    than the last cache: weights are read once per step and not found there again."""
    held = np.ones((megabytes << 20) // 8, np.int64)
    parts = np.array_split(held, threads)
    seconds = []
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(passes + 1):  # the first one starts the threads
            began = time.perf_counter()
            list(pool.map(np.max, parts))  # numpy releases the GIL in reductions
            seconds.append(time.perf_counter() - began)
    return held.nbytes / min(seconds[1:])
