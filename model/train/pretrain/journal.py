"""The log of a training run: a JSON object a line, cut back to where a resumed run goes on. Knows no training."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any


class Journal:
    """Rows of a run. Every row has a `step`."""

    def __init__(self, file: Path, steps: int) -> None:
        """Keeps the rows up to `steps`: what came after a checkpoint is computed again."""
        self.file = file
        self.rows = [row for row in read(file) if row["step"] <= steps]
        file.write_text("".join(json.dumps(row) + "\n" for row in self.rows))

    def add(self, row: dict[str, Any]) -> None:
        self.rows.append(row)
        with self.file.open("a") as out:
            out.write(json.dumps(row) + "\n")


def read(file: Path) -> list[dict[str, Any]]:
    """The rows of a log; a line that was not finished does not count."""
    found = []
    for line in file.read_text().splitlines() if file.exists() else []:
        with suppress(ValueError):
            found.append(json.loads(line))
    return found
