"""Snapshot to what the model is shown: text around the cursor within a budget, with edges that stay put.

First version: a window of whole lines on each side. Knows no tokens but their average length, and no syntax.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from quatrain.lsp_server.documents import Snapshot

CHARS_PER_TOKEN = 3.2
SUFFIX_SHARE = 0.25
STEP_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class Context:
    """What the model is shown, with LF line ends. `prefix` ends and `suffix` begins at the cursor; `outline`
    is what changes least of all."""

    path: str
    language: str
    outline: str
    prefix: str
    suffix: str


def estimate(text: str) -> int:
    """Tokens of `text`, roughly."""
    return round(len(text) / CHARS_PER_TOKEN)


def build(snapshot: Snapshot, budget: int, count: Callable[[str], int] = estimate) -> Context:
    """Fit `budget` tokens. The left edge moves in steps of a quarter of the prefix, so that typing keeps it;
    the right edge is measured from the cursor, so that typing keeps it too."""
    room = int(budget * CHARS_PER_TOKEN)
    text, cursor = snapshot.text, snapshot.cursor
    right = cursor + int(room * SUFFIX_SHARE)
    if right < len(text):
        right = text.rfind("\n", cursor, right) + 1 or right
    span = room - int(room * SUFFIX_SHARE)
    step = max(1, int(span * STEP_SHARE))
    left = max(0, -(-(cursor - span) // step) * step)
    if left:
        left = text.find("\n", left, cursor) + 1 or left
    prefix, suffix = (
        part.replace("\r\n", "\n").replace("\r", "\n") for part in (text[left:cursor], text[cursor:right])
    )
    return Context(snapshot.path, snapshot.language, "", prefix, suffix)
