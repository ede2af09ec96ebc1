"""Decides when a completion is finished and what of it is offered. First version: the end of the line.

Knows text; the syntax cut takes this place.
"""

from __future__ import annotations

from dataclasses import dataclass

from quatrain.lsp_server.documents import Snapshot


@dataclass(frozen=True, slots=True)
class Cut:
    """`text` to insert; `replace` code points right of the cursor give way to it; `reason` says why it ends
    there, or, for an empty text, why nothing is offered. `safe` are (offset, kind) places in `text` up to which
    it may be accepted."""

    text: str
    replace: int
    reason: str
    safe: tuple[tuple[int, str], ...] = ()


class Cutter:
    """Reads the accepted text round by round."""

    def __init__(self, snapshot: Snapshot, mode: str = "auto") -> None:
        self.snapshot = snapshot
        self.mode = mode
        self.text = ""

    def feed(self, text: str) -> Cut | None:
        """One more round. None: go on decoding."""
        self.text += text
        line, newline, _ = self.text.partition("\n")
        return Cut(line.rstrip("\r"), 0, "line") if newline and line.strip() else None

    def finish(self, reason: str) -> Cut:
        """The stream ended by itself."""
        return Cut(self.text.partition("\n")[0], 0, reason)
