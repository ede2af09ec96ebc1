"""Results on disk, one JSON line each, so that a run that was stopped goes on where it was.

A line counts only for the same case, the same settings and the same program: all three are in its key.
Knows no measure.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import astuple
from functools import cache
from pathlib import Path
from typing import Any

from quatrain.lsp_server.evaluate.case import Case

PACKAGES = Path(__file__).resolve().parents[1], Path(__file__).resolve().parents[1].with_name("model")
"""lsp_server and model: as folders beside each other, in a checkout and when installed."""
CODE = {".py", ".c", ".h", ".safetensors"}
ASIDE = {"server.py", "handlers.py", "protocol.py", "door.py", "status.py", "show.py", "cli.py"} | {
    "journal.py", "summary.py", "losses.py", "page.py", "plots.py", "command.py", "running.py", "corpus.py"
}  # fmt: skip
"""What changes no answer and no judgement: talking to editors, adding up, drawing."""


def key_of(case: Case, settings: Mapping[str, Any]) -> str:
    """Names a result: changes when the case, the settings or the program change."""
    content = json.dumps([content_of(case), dict(settings), program()], sort_keys=True, default=str)
    return digest(content)[:20]


@cache
def content_of(case: Case) -> str:
    """A hash of all that a case says: its document may be long, and many variants ask."""
    return digest("\0".join(astuple(case)))


def digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


@cache
def program() -> str:
    """A hash of what answers and what judges."""
    found = hashlib.sha256()
    for path in (path for folder in PACKAGES for path in sorted(folder.rglob("*"))):
        if path.suffix in CODE and path.name not in ASIDE and "train" not in path.parts:
            found.update(path.name.encode())
            found.update(path.read_bytes())
    return found.hexdigest()


class Journal:
    """The file of results. A line cut short by a crash is passed over, and computed again."""

    def __init__(self, path: Path, fresh: bool = False) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        if fresh:
            path.unlink(missing_ok=True)
        self.known = dict(read(path)) if path.is_file() else {}
        self.file = path.open("a", encoding="utf-8")
        if path.stat().st_size and not path.read_bytes().endswith(b"\n"):
            self.file.write("\n")

    def get(self, key: str) -> dict[str, Any] | None:
        """The result of an earlier run."""
        return self.known.get(key)

    def add(self, key: str, result: dict[str, Any]) -> None:
        """Keep a result; it is on disk when this returns."""
        self.known[key] = result
        self.file.write(json.dumps({"key": key} | result) + "\n")
        self.file.flush()

    def close(self) -> None:
        self.file.close()


def read(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """All whole lines."""
    found = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            row = json.loads(line)
            found.append((row.pop("key"), row))
        except (ValueError, KeyError, AttributeError):
            continue
    return found
