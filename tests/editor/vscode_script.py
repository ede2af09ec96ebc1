"""The server under test in the VS Code tests: a program that serves with the scripted engine."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parent.parent
SAYS = [
    ["result = comp", "ute(alpha, beta)"],
    ["result = compute(alpha, beta)", ""],
    ["total = ", "sum(alpha, beta)"],
    ["gamma = ", "alpha + beta * alpha"],
    ["print(", "alpha, beta"],
    ["x = alphabet", ".upper()"],
    ["t = ", "len(s)"],
    ["manual = ", "asked(for_it)"],
    ["slow = ", "worth(waiting)"],
]


class Script:
    """The server under test: a program that starts `quatrain serve` with the scripted engine."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.program, self.table, self.pid_file = folder / "quatrain", folder / "table.json", folder / "pid"
        self.program.write_text(
            f"#!/bin/sh\necho $$ >{self.pid_file}\nexport PYTHONPATH={TESTS} QUATRAIN_TABLE={self.table}\n"
            f'exec {sys.executable} -m quatrain.lsp_server "$@" --engine editor.scripted_table:open_engine\n'
        )
        self.program.chmod(self.program.stat().st_mode | stat.S_IXUSR)
        self.says()

    def says(self, pause: float = 0.0, load: float = 0.0) -> None:
        """What the engine says from now on, with its pace."""
        new = self.table.with_suffix(".new")
        new.write_text(json.dumps({"say": SAYS, "pause": pause, "load": load}))
        new.replace(self.table)

    def settings(self) -> dict[str, Any]:
        """The editor's settings that make it use this server."""
        return {"quatrain.server.path": str(self.program)}

    def pid(self) -> int:
        return int(self.pid_file.read_text())
