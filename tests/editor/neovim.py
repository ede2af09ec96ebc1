"""A Neovim under test: real keys in, the screen out. Knows the terminal grid, nothing of completion."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pynvim

ROOT = Path(__file__).parents[2]
WIDTH, HEIGHT = 100, 30
SECONDS = 8.0


class Neovim:
    """One editor with a user interface attached, whose screen is kept as text."""

    def __init__(self, binary: Path, home: Path, setup: str, environment: Mapping[str, str]) -> None:
        home.mkdir(parents=True, exist_ok=True)
        init = home / "init.lua"
        # Room for messages: a prompt to press Enter would block every call.
        init.write_text(f"vim.opt.runtimepath:prepend([[{ROOT / 'editors/nvim'}]])\nvim.o.cmdheight = 6\n{setup}\n")
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("XDG_", "NVIM", "VIM"))}
        folders = {f"XDG_{kind}_HOME": str(home / kind.lower()) for kind in ("CONFIG", "DATA", "STATE", "CACHE")}
        self.environment = inherited | folders | dict(environment)
        command = [str(binary), "--embed", "-n", "-u", str(init)]
        before = dict(os.environ)
        os.environ.clear()
        os.environ.update(self.environment)
        try:
            self.api = pynvim.attach("child", argv=command)
        finally:
            os.environ.clear()
            os.environ.update(before)
        self.grid = [[" "] * WIDTH for _ in range(HEIGHT)]
        self.frames: list[list[str]] = []
        self.api.ui_attach(WIDTH, HEIGHT, rgb=True, ext_linegrid=True)

    def close(self) -> None:
        """End the editor."""
        try:
            self.api.command("qall!", async_=True)
        except OSError:
            pass
        self.api.close()

    def lua(self, code: str, *arguments: Any) -> Any:
        """Run Lua in the editor."""
        return self.api.exec_lua(code, *arguments)

    def keys(self, keys: str) -> None:
        """Type keys as a person does; the editor reads them when it is ready."""
        self.api.input(keys)

    def type(self, text: str, pause: float = 0.0) -> None:
        """Type characters one by one."""
        for character in text:
            self.keys({"<": "<lt>", "\n": "<CR>"}.get(character, character))
            time.sleep(pause)
            self.screen()

    def edit(self, path: Path, text: str, cursor: Sequence[int] | None = None) -> None:
        """Open a file with this text; the cursor is (line from 1, byte column from 0)."""
        path.write_bytes(text.encode())
        self.api.command(f"edit {path}")
        if cursor:
            self.api.current.window.cursor = cursor

    @property
    def lines(self) -> list[str]:
        """The buffer."""
        return list(self.api.current.buffer[:])

    @property
    def mode(self) -> str:
        return self.api.request("nvim_get_mode")["mode"]

    def screen(self) -> list[str]:
        """The rows as they are drawn now, without trailing blanks; all frames since are in `frames`."""
        self.api.request("nvim_get_mode")  # answered after everything drawn so far was sent
        session = self.api._session._session if hasattr(self.api._session, "_session") else self.api._session
        while session._pending_messages:
            message = session._pending_messages.popleft()
            if message[1] == "redraw":
                self.draw(message[2])
        return self.rows()

    def rows(self) -> list[str]:
        return ["".join(row).rstrip() for row in self.grid]

    def draw(self, events: Sequence[Sequence[Any]]) -> None:
        """Apply drawing events to the grid; each flush makes a frame."""
        for name, *calls in events:
            for call in calls:
                if name == "grid_line":
                    self.draw_line(*call[1:4])
                elif name == "grid_clear":
                    self.grid = [[" "] * WIDTH for _ in range(HEIGHT)]
                elif name == "grid_scroll":
                    self.scroll(*call[1:6])
                elif name == "flush":
                    self.frames.append(self.rows())

    def draw_line(self, row: int, column: int, cells: Sequence[Sequence[Any]]) -> None:
        for cell in cells:
            count = cell[2] if len(cell) > 2 else 1
            self.grid[row][column : column + count] = [cell[0]] * count
            column += count

    def scroll(self, top: int, bottom: int, left: int, right: int, rows: int) -> None:
        order = range(top, bottom - rows) if rows > 0 else range(bottom - 1, top - rows - 1, -1)
        for row in order:
            self.grid[row][left:right] = self.grid[row + rows][left:right]

    def sees(self, text: str, seconds: float = SECONDS) -> bool:
        """Whether a row shows `text` within some time."""
        return self.until(lambda: any(text in row for row in self.screen()), seconds)

    def lacks(self, text: str, seconds: float = 0.5) -> bool:
        """Whether no row shows `text` during some time."""
        return not self.sees(text, seconds)

    def gone(self, text: str, seconds: float = SECONDS) -> bool:
        """Whether `text` disappears within some time."""
        return self.until(lambda: not any(text in row for row in self.screen()), seconds)

    def until(self, holds: Callable[[], bool], seconds: float = SECONDS) -> bool:
        """Whether it comes to hold within some time."""
        end = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > end:
                return False
            time.sleep(0.01)
        return True
