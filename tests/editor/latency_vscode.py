"""Measures, in the real VS Code with the real model, the time from the last key to visible ghost text.

    python -m editor.latency_vscode [--times 50] [--engine scripted]     (from the tests folder)

Types beginnings of lines at the end of a file, one after the other, and prints median and 95th percentile as the
browser's clock has them, beside the server's own share as `quatrain/status` reports it.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
import tempfile
from pathlib import Path

from editor.code_server import Tools, opened, prepare
from editor.editor_window import Window
from editor.test_vscode_model import BEGUN, server

STARTS = (
    "counts = ",
    "for word in ",
    "if len(",
    "lines = text.",
    "result = [",
    "total = sum(",
    "with open(",
    "def longest(",
    "return sorted(",
    "print(most_",
)
PATIENCE_SECONDS = 8
PAUSE_MS = 120
"""Between two keys, as a person types."""


def measure(window: Window, times: int) -> list[float]:
    """Milliseconds from the last key to the first ghost text after it; lines without an answer are left out."""
    found = []
    for turn in range(times):
        window.press("Control+End", "Enter", "Home")
        window.forget()
        window.type(
            STARTS[turn % len(STARTS)] if turn < len(STARTS) else f"x{turn} = {STARTS[turn % len(STARTS)]}", PAUSE_MS
        )
        last = window.log("keys")[-1]["time"]
        try:
            window.wait(f"quatrainLog.ghosts.some(seen => seen.text && seen.time > {last})", PATIENCE_SECONDS)
            found.append(next(g["time"] for g in window.log("ghosts") if g["text"] and g["time"] > last) - last)
        except AssertionError:
            sys.stderr.write(f"no suggestion for line {turn}\n")
        window.press("Escape", "Shift+Home", "Shift+Home", "Delete")
    return found


def run(tools: Tools, times: int, program: Path, folder: Path) -> None:
    """One window, measured and printed."""
    work = folder / "work"
    work.mkdir()
    (work / "words.py").write_text(BEGUN + "    return Counter(words(text)).most_common(n)\n\n\n")
    with opened(tools, folder / "vscode", {"quatrain.server.path": str(program)}) as (code_server, browser):
        window = Window(code_server, browser, work)
        window.load(work / "words.py", None)
        window.await_state("ready", 300)
        found = measure(window, times)
        window.command("Quatrain: Show Statistics")
        shown = window.message("Quatrain in this session")
    found.sort()
    share = re.search(r"Time to an answer:.*", shown)
    sys.stdout.write(f"{len(found)} of {times} lines got ghost text\n")
    if found:
        late = found[min(len(found) - 1, int(len(found) * 0.95))]
        sys.stdout.write(
            f"last key to ghost text: median {statistics.median(found):.0f} ms, 95th percentile {late:.0f} ms\n"
        )
    sys.stdout.write(f"server: {share and share.group()}\n")


def main() -> None:
    """Measure with the real model, or with the scripted engine to know the editor's own share."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--engine", choices=["model", "scripted"], default="model")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        program = server(folder)
        if options.engine == "scripted":
            text = program.read_text().rstrip() + " --engine fakes:open_scripted\n"
            tests = Path(__file__).resolve().parent.parent
            program.write_text(text.replace("exec ", f"export PYTHONPATH={tests} QUATRAIN_SCRIPT='[1, 2]'\nexec "))
        run(prepare(), options.times, program, folder)


if __name__ == "__main__":
    main()
