"""Answers `initialize` before the protocol library is imported, which takes longer than an editor likes to wait.

The first message is read here in plain JSON and handed on; the server then takes it in without answering again.
Capabilities are decided here and nowhere else. Knows JSON-RPC framing, no documents.
"""

from __future__ import annotations

import io
import json
from typing import Any, BinaryIO, Literal

ENCODINGS: tuple[Literal["utf-8", "utf-16", "utf-32"], ...] = ("utf-8", "utf-16", "utf-32")
ACCEPTED = "quatrain.accepted"


class Replay(io.RawIOBase):
    """A stream that gives `first` before what is left in `rest`."""

    def __init__(self, first: bytes, rest: BinaryIO) -> None:
        self.first, self.rest = io.BytesIO(first), rest

    def readline(self, size: int | None = -1, /) -> bytes:
        return self.first.readline() or self.rest.readline()

    def read(self, size: int = -1, /) -> bytes:
        """`size` bytes of the current message; a message never spans both streams."""
        return self.first.read(size) or self.rest.read(size)


def answer_first(source: BinaryIO, target: BinaryIO) -> tuple[Replay, Any]:
    """Read the first message and answer it if it is a sound `initialize` request.

    Returns the stream to go on with, which gives the message again, and the id that was answered (or None).
    """
    head, length = b"", 0
    while line := source.readline():
        head += line
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length" and value.strip().isdigit():
            length = int(value)
        if length and not line.strip():
            break
    body = source.read(length) if length else b""
    replay = Replay(head + body, source)
    try:
        message = json.loads(body)
        if message["method"] != "initialize" or message["jsonrpc"] != "2.0" or message["id"] is None:
            return replay, None
        result = initialize_result(message["params"]["capabilities"])
        send(target, {"jsonrpc": "2.0", "id": message["id"], "result": result})
    except (ValueError, TypeError, KeyError, AttributeError):
        return replay, None  # the server says what is wrong with it
    return replay, message["id"]


def send(target: BinaryIO, message: dict[str, Any]) -> None:
    """Write one framed message."""
    body = json.dumps(message).encode()
    target.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
    target.flush()


def initialize_result(client: dict[str, Any]) -> dict[str, Any]:
    """What the server can do for a client with these capabilities (LSP 3.18, InitializeResult).

    Clients that have inline completion are not offered the same text a second time in the completion menu.
    """
    capabilities: dict[str, Any] = {
        "positionEncoding": encoding_for(client),
        "textDocumentSync": {"openClose": True, "change": 2},
        "inlineCompletionProvider": {},
        "executeCommandProvider": {"commands": [ACCEPTED]},
        "workspace": {"workspaceFolders": {"supported": True, "changeNotifications": True}},
    }
    if not has_inline(client):
        capabilities["completionProvider"] = {"triggerCharacters": [".", "(", " ", ":"]}
    return {"capabilities": capabilities, "serverInfo": {"name": "quatrain", "version": "0.1.0"}}


def has_inline(client: dict[str, Any]) -> bool:
    """Whether the client declares `textDocument/inlineCompletion`."""
    return (client.get("textDocument") or {}).get("inlineCompletion") is not None


def encoding_for(client: dict[str, Any]) -> Literal["utf-8", "utf-16", "utf-32"]:
    """The first position encoding of the client's list that we know; UTF-16 without a list."""
    wanted = (client.get("general") or {}).get("positionEncodings") or []
    for name in wanted:
        for known in ENCODINGS:
            if name == known:
                return known
    return "utf-16"
