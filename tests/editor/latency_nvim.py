"""Measures the time from the last keystroke to visible ghost text in a real Neovim with the real model.

`python tests/editor/latency_nvim.py [--editor nvim-0.11] [--display own] [--times 50]`; beside it the server's own
share, as the server reports it. Each measurement types the end of another line of a Python file.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from editor import prepare_nvim
from editor.neovim import Neovim

TEXT = '''"""Numbers and words."""


def mean(values):
    """Arithmetic mean of a list of numbers."""
    return sum(values) / len(values)


def variance(values):
    """Mean squared distance from the mean."""
    middle = mean(values)
    return sum((value - middle) ** 2 for value in values) / len(values)


def longest(words):
    """The longest of some words."""
    best = ""
    for word in words:
        if len(word) > len(best):
            best = word
    return best

'''
TYPED = (
    "smallest = min(",
    "average = mean([1, 2, ",
    "for word in longest(",
    "print(variance(",
    "assert mean([2, 4]) == ",
    "if len(words) > ",
    "names = [word.upper() for ",
)
SHOWN = "return require('quatrain').visible()"
REPORT = "local _, r = next(vim.lsp.buf_request_sync(0, 'quatrain/status', {}, 10000)) return r.result"


def measure(nvim: Neovim, turn: int, seconds: float) -> float | None:
    """Milliseconds until something is visible after the last key of a line; None if nothing comes."""
    nvim.keys("<Esc><Esc>")
    nvim.call("buf_set_lines", 0, 0, -1, True, [*TEXT.splitlines(), f"# {turn}", ""])
    nvim.keys("GA")
    text = TYPED[turn % len(TYPED)]
    nvim.type(text[:-1], 0.03)
    time.sleep(0.2)
    if nvim.lua(SHOWN):
        nvim.keys("<C-]>")
    nvim.keys(text[-1])
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        nvim.screen()
        if nvim.lua(SHOWN):
            nvim.screen()
            return (time.perf_counter() - began) * 1000
        time.sleep(0.001)
    return None


def percentile(times: list[float], share: float) -> float:
    return sorted(times)[min(int(len(times) * share), len(times) - 1)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--editor", default="nvim-0.12", choices=[e for e in prepare_nvim.EDITORS if "nvim" in e])
    parser.add_argument("--display", default="auto", choices=["auto", "builtin", "own"])
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=4.0, help="how long to wait for one suggestion")
    parser.add_argument("--scripted", action="store_true", help="no model: what the editor and the protocol cost")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        engine = ", '--engine', 'fakes:open_scripted'" if options.scripted else ""
        python = f"{{ [[{sys.executable}]], '-m', 'quatrain.lsp_server', 'serve'{engine} }}"
        setup = f"require('quatrain').setup({{ display = '{options.display}', cmd = {python} }})"
        surroundings = {"PYTHONPATH": str(Path(__file__).parents[1])}
        nvim = Neovim(prepare_nvim.prepare(options.editor), Path(folder) / "home", setup, surroundings)
        nvim.edit(Path(folder) / "numbers.py", TEXT)
        if not nvim.until(lambda: nvim.lua("return require('quatrain').statusline()") == "quatrain", 300):
            sys.stdout.write("the model did not get ready: " + "\n".join(nvim.screen()) + "\n")
            return 1
        found = []
        for turn in range(options.times):
            found.append(measure(nvim, turn, options.seconds))
            sys.stderr.write("nothing\n" if found[-1] is None else f"{found[-1]:.0f} ms\n")
        report = nvim.lua(REPORT)
        nvim.close()
    times = [ms for ms in found if ms is not None]
    if not times:
        sys.stdout.write("no suggestion came in time\n")
        return 1
    sys.stdout.write(
        f"{options.editor} ({options.display}), {len(times)} of {options.times} with a suggestion\n"
        f"last key to visible text: median {percentile(times, 0.5):.0f} ms, p95 {percentile(times, 0.95):.0f} ms\n"
        f"the server's own share:   median {report.get('medianMs')} ms, p95 {report.get('p95Ms')} ms\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
