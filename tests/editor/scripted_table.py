"""An engine for the editor tests that says what a table lists for the text before the cursor.

For `serve --engine editor.scripted_table:open_engine`. QUATRAIN_TABLE names a JSON file `{"pause": seconds a round,
"load": seconds, "say": [[end of the text before the cursor, what follows], ...]}`, read anew for each request.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fakes import ScriptedEngine

from quatrain.lsp_server.settings import Settings


def table() -> dict[str, Any]:
    """The table as it is now."""
    return json.loads(Path(os.environ["QUATRAIN_TABLE"]).read_text(encoding="utf-8"))


class TableEngine(ScriptedEngine):
    """Says what the first row that fits says, and nothing if none fits."""

    def __init__(self) -> None:
        super().__init__(self.look_up)

    def look_up(self, prefix: str, suffix: str) -> str:
        now = table()
        self.pause = now.get("pause", 0.0)
        return next((said for before, said in now["say"] if prefix.endswith(before)), "")


def open_engine(settings: Settings, report: Callable[[str, int, int], None]) -> TableEngine:
    """Takes as long as the table says, with progress."""
    wait = table().get("load", 0.0)
    for step in range(1, 5):
        report("loading the table", step, 5)
        time.sleep(wait / 4)
    return TableEngine()
