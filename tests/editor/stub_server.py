"""The real server with a script in place of its pipeline: any text, range, safe places and delay.

`python tests/editor/stub_server.py FILE` reads the JSON in FILE at each request: a list of answers, of which the
first is used whose `before` (a regular expression) matches the text before the cursor.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from pathlib import Path
from typing import Any

from quatrain.lsp_server import serving
from quatrain.lsp_server.complete import Completion
from quatrain.lsp_server.documents import Snapshot
from quatrain.lsp_server.server import Server
from quatrain.lsp_server.settings import Settings


async def scripted(self: Server, uri: str, snapshot: Snapshot, settings: Settings) -> Completion | None:
    """What the script says for the snapshot."""
    before = snapshot.text[: snapshot.cursor]
    with Path(sys.argv[1] + ".asked").open("a") as file:
        file.write(json.dumps(snapshot.text[: snapshot.cursor] + "|" + snapshot.text[snapshot.cursor :]) + "\n")
    answers: list[dict[str, Any]] = json.loads(Path(sys.argv[1]).read_text())
    for answer in answers:
        if re.search(answer.get("before", ""), before):
            await asyncio.sleep(answer.get("delay", 0))
            if answer.get("superseded"):
                return None
            start, end = snapshot.cursor, snapshot.cursor + answer.get("replace", 0)
            safe = tuple((at, kind) for at, kind in answer.get("safe", ()))
            return Completion(answer["text"], start, end, "scripted", "model", safe)
    return Completion("", snapshot.cursor, snapshot.cursor, "end_token")


if __name__ == "__main__":
    Server.complete = scripted
    sys.exit(serving.run("", "auto", "fakes:open_scripted", None))
