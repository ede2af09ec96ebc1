"""A Neovim under test: real keys in, the screen out. Knows the terminal grid, nothing of completion."""

from __future__ import annotations

import os
import queue
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgpack

ROOT = Path(__file__).parents[2]
WIDTH, HEIGHT = 100, 30
SECONDS = 15.0
REQUEST, RESPONSE, NOTIFICATION = 0, 1, 2


class Rpc:
    """MessagePack-RPC with a child process (`:help api-rpc`)."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self.process = subprocess.Popen(
            command, env=dict(environment), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self.responses: queue.Queue[Any] = queue.Queue()
        self.redraws: queue.Queue[Any] = queue.Queue()
        self.serial = 0
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self) -> None:
        """Sort what comes in until the process ends."""
        assert self.process.stdout
        unpacker = msgpack.Unpacker(raw=False, unicode_errors="surrogateescape", strict_map_key=False)
        while piece := os.read(self.process.stdout.fileno(), 1 << 16):
            unpacker.feed(piece)
            for message in unpacker:
                if message[0] == RESPONSE:
                    self.responses.put(message)
                elif message[0] == NOTIFICATION and message[1] == "redraw":
                    self.redraws.put(message[2])

    def send(self, method: str, arguments: Sequence[Any]) -> int:
        assert self.process.stdin
        self.serial += 1
        self.process.stdin.write(msgpack.packb([REQUEST, self.serial, method, arguments]))
        self.process.stdin.flush()
        return self.serial

    def call(self, method: str, *arguments: Any) -> Any:
        """The result of an API function. A prompt to press Enter, in which most calls wait, is left.

        Raises AssertionError with the editor's words, or when it does not answer.
        """
        mine, asked = self.send(method, arguments), 0
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            try:
                _, serial, error, result = self.responses.get(timeout=0.3)
            except queue.Empty:
                asked = self.send("nvim_get_mode", ())
                continue
            if serial == mine:
                assert error is None, error
                return result
            if serial == asked and result["blocking"]:
                self.send("nvim_input", ["<CR>"])
        raise AssertionError(f"Neovim does not answer {method}{arguments!r}")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.reader.join()
        for stream in (self.process.stdin, self.process.stdout):
            if stream:
                stream.close()


class Neovim:
    """One editor with a user interface attached, whose screen is kept as text."""

    def __init__(self, binary: Path, home: Path, setup: str, environment: Mapping[str, str]) -> None:
        home.mkdir(parents=True, exist_ok=True)
        init = home / "init.lua"
        init.write_text(f"vim.opt.runtimepath:prepend([[{ROOT / 'editors/nvim'}]])\n{setup}\n")
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("XDG_", "NVIM", "VIM"))}
        folders = {f"XDG_{kind}_HOME": str(home / kind.lower()) for kind in ("CONFIG", "DATA", "STATE", "CACHE")}
        self.rpc = Rpc([str(binary), "--embed", "-n", "-u", str(init)], inherited | folders | dict(environment))
        self.grid = [[" "] * WIDTH for _ in range(HEIGHT)]
        self.frames: list[list[str]] = []
        self.rpc.call("nvim_ui_attach", WIDTH, HEIGHT, {"rgb": True, "ext_linegrid": True})

    def close(self) -> None:
        """End the editor; its server notices."""
        self.rpc.close()

    def call(self, method: str, *arguments: Any) -> Any:
        """An API function by its name without `nvim_`."""
        return self.rpc.call("nvim_" + method, *arguments)

    def lua(self, code: str, *arguments: Any) -> Any:
        """Run Lua in the editor."""
        return self.call("exec_lua", code, arguments)

    def command(self, command: str) -> None:
        self.call("command", command)

    def keys(self, keys: str) -> None:
        """Type keys as a person does; the editor reads them when it is ready."""
        self.rpc.call("nvim_input", keys)

    def type(self, text: str, pause: float = 0.0) -> None:
        """Type characters one by one."""
        for character in text:
            self.keys({"<": "<lt>", "\n": "<CR>"}.get(character, character))
            time.sleep(pause)
            self.screen()

    def edit(self, path: Path, text: str, cursor: Sequence[int] | None = None) -> None:
        """Open a file with this text; the cursor is (line from 1, byte column from 0)."""
        path.write_bytes(text.encode())
        self.command(f"edit {path}")
        if cursor:
            self.call("win_set_cursor", 0, cursor)

    @property
    def lines(self) -> list[str]:
        """The buffer."""
        return self.call("buf_get_lines", 0, 0, -1, True)

    def screen(self) -> list[str]:
        """The rows as they are drawn now, without trailing blanks; all frames since are in `frames`."""
        self.call("get_mode")  # answered after everything drawn so far was sent
        while not self.rpc.redraws.empty():
            self.draw(self.rpc.redraws.get())
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
