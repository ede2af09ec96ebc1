"""Takes a picture of Neovim with a suggestion of the real model, in a real terminal on a virtual display.

`python tests/editor/screenshot_nvim.py [FILE]`. Needs xterm, Xvfb, ImageMagick and a monospaced font.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from editor import prepare_nvim
from editor.neovim import ROOT

PICTURE = ROOT / "editors/nvim/screenshot.png"
TOOLS = ("xterm", "Xvfb", "import")
TEXT = '''"""A little geometry."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Point:
    x: float
    y: float

    def distance(self, other: "Point") -> float:
        """How far it is to another point."""
        return math.hypot(self.x - other.x, self.y - other.y)


def perimeter(points: list[Point]) -> float:
    """Length of the closed line through all points."""

'''
TYPED = "    return sum("
SETUP = """
vim.opt.runtimepath:prepend([[{plugin}]])
vim.o.termguicolors = true
vim.o.background = 'dark'
vim.o.number = true
vim.o.laststatus = 2
vim.o.showmode = true
vim.o.ruler = false
vim.o.shortmess = vim.o.shortmess .. 'IF'
vim.o.fillchars = 'eob: '
vim.cmd.colorscheme('habamax')
vim.cmd('syntax on')
vim.cmd('hi Normal guibg=#1a1b21 | hi LineNr guifg=#4a4d59 | hi StatusLine guifg=#b8bcc8 guibg=#2a2c36 gui=none')
vim.cmd('hi ComplHint guifg=#7f8796 gui=italic')
vim.o.statusline = " %f %m%=%{{v:lua.require'quatrain'.statusline()}}   %l:%c "
require('quatrain').setup({{ cmd = {{ [[{python}]], '-m', 'quatrain.lsp_server', 'serve' }} }})
"""


def missing() -> str:
    """What this machine lacks for pictures; empty if nothing."""
    return ", ".join(tool for tool in TOOLS if not shutil.which(tool))


def remote(nvim: Path, socket: Path, expression: str) -> str:
    """An expression's value in the editor."""
    command = [str(nvim), "--server", str(socket), "--remote-expr", expression]
    return subprocess.run(command, capture_output=True, text=True, timeout=30).stdout.strip()


def wait_for(nvim: Path, socket: Path, lua: str, seconds: float) -> bool:
    """Whether a Lua expression comes to be true in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if remote(nvim, socket, f'luaeval("{lua}")') in ("true", "v:true"):
            return True
        time.sleep(0.2)
    return False


def take(picture: Path, editor: str = "nvim-0.12", seconds: float = 60.0) -> bool:
    """Write the picture; False if the model had nothing to show in time."""
    nvim = prepare_nvim.prepare(editor)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        socket = home / "socket"
        (home / "geometry.py").write_text(TEXT)
        (home / "init.lua").write_text(SETUP.format(plugin=ROOT / "editors/nvim", python=sys.executable))
        display = f":{90 + os.getpid() % 400}"
        server = subprocess.Popen(
            ["Xvfb", display, "-screen", "0", "1300x760x24"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        terminal = None
        try:
            time.sleep(1)
            terminal = open_terminal(display, home, [str(nvim), "-n", "-u", "init.lua", "--listen", str(socket)])
            if not wait_for(nvim, socket, "require('quatrain').statusline() == 'quatrain'", 300):
                return False
            remote(nvim, socket, f"nvim_input('GS{TYPED}')")
            shown = wait_for(nvim, socket, "require('quatrain').visible()", seconds)
            time.sleep(0.7)
            subprocess.run(["import", "-display", display, "-window", "root", "-trim", str(picture)], check=True)
            return shown
        finally:
            for process in (terminal, server):
                if process:
                    process.terminate()
                    process.wait()


def open_terminal(display: str, home: Path, command: list[str]) -> subprocess.Popen[bytes]:
    """An xterm on the display that runs the command on geometry.py."""
    look = ["-fa", "JetBrains Mono", "-fs", "14", "-bg", "#1a1b21", "-fg", "#d0d0d0", "-b", "12", "-bw", "0", "+sb"]
    environment = os.environ | {"DISPLAY": display, "COLORTERM": "truecolor", "XDG_STATE_HOME": str(home)}
    return subprocess.Popen(
        ["xterm", "-geometry", "88x23+0+0", *look, "-xrm", "xterm*directColor: true", "-e", *command, "geometry.py"],
        env=environment,
        cwd=home,
    )


if __name__ == "__main__":
    sys.exit(0 if take(Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURE) else "no suggestion came")
