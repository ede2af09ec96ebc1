"""A language-server client for tests: a real process over stdio, raw messages, no library in between."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

INLINE: dict[str, Any] = {
    "general": {"positionEncodings": ["utf-16"]},
    "textDocument": {"inlineCompletion": {}, "synchronization": {}},
    "window": {"workDoneProgress": True},
}


class Client:
    """Starts `quatrain serve` and speaks to it."""

    def __init__(self, *arguments: str, environment: dict[str, str] | None = None) -> None:
        command = [sys.executable, "-m", "quatrain.lsp_server", "serve", *arguments]
        tests = str(Path(__file__).parent)
        env = os.environ | {"PYTHONPATH": tests} | (environment or {})
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env
        )
        self.messages: queue.Queue[dict[str, Any]] = queue.Queue()
        self.notifications: list[dict[str, Any]] = []
        self.answers: dict[Any, dict[str, Any]] = {}
        self.errors: list[bytes] = []
        self.number = 0
        threading.Thread(target=self.read, daemon=True).start()
        threading.Thread(target=self.drain, daemon=True).start()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        self.process.kill()
        self.process.wait(10)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream:
                stream.close()

    def read(self) -> None:
        out = self.process.stdout
        assert out is not None
        try:
            while header := out.readline():
                length = int(header.split(b":")[1]) if header.lower().startswith(b"content-length") else 0
                while header.strip():
                    header = out.readline()
                self.messages.put(json.loads(out.read(length)))
        except ValueError:  # closed while reading
            return

    def drain(self) -> None:
        assert self.process.stderr is not None
        try:
            self.errors.extend(iter(self.process.stderr.readline, b""))
        except ValueError:
            return

    def send_raw(self, body: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self.process.stdin.flush()

    def send(self, **message: Any) -> None:
        self.send_raw(json.dumps({"jsonrpc": "2.0"} | message).encode())

    def notify(self, method: str, params: Any = None) -> None:
        self.send(method=method, params=params)

    def start(self, method: str, params: Any = None) -> int:
        """Send a request and return its id."""
        self.number += 1
        self.send(id=self.number, method=method, params=params)
        return self.number

    def wait(self, number: Any, seconds: float = 30) -> dict[str, Any]:
        """The response with this id; other messages are kept, the server's own requests answered with null."""
        while number not in self.answers:
            self.pump(seconds)
        return self.answers.pop(number)

    def pump(self, seconds: float = 30) -> None:
        message = self.messages.get(timeout=seconds)
        if "method" in message and "id" in message:
            self.send(id=message["id"], result=None)
            self.notifications.append(message)
        elif "method" in message:
            self.notifications.append(message)
        else:
            self.answers[message["id"]] = message

    def request(self, method: str, params: Any = None, seconds: float = 30) -> Any:
        answer = self.wait(self.start(method, params), seconds)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["result"]

    def initialize(self, capabilities: dict[str, Any] | None = None, options: Any = None) -> dict[str, Any]:
        params = {
            "processId": os.getpid(),
            "rootUri": None,
            "capabilities": INLINE if capabilities is None else capabilities,
            "initializationOptions": options,
        }
        result = self.request("initialize", params)
        self.notify("initialized", {})
        return result

    def wait_state(self, state: str, seconds: float = 60) -> dict[str, Any]:
        """Until `didChangeStatus` reports this state."""
        while True:
            for note in self.notifications:
                if note["method"] == "didChangeStatus" and note["params"]["state"] == state:
                    return note["params"]
            self.pump(seconds)

    def open(self, text: str, uri: str = "file:///work/a.py", language: str = "python") -> str:
        item = {"uri": uri, "languageId": language, "version": 1, "text": text}
        self.notify("textDocument/didOpen", {"textDocument": item})
        return uri

    def change(self, uri: str, version: int, start: tuple[int, int], end: tuple[int, int], text: str) -> None:
        edit = {"range": {"start": place(*start), "end": place(*end)}, "text": text}
        self.notify(
            "textDocument/didChange", {"textDocument": {"uri": uri, "version": version}, "contentChanges": [edit]}
        )

    def inline_params(self, uri: str, line: int, column: int, kind: int = 2, selected: Any = None) -> dict[str, Any]:
        context = {"triggerKind": kind} | ({"selectedCompletionInfo": selected} if selected else {})
        return {"textDocument": {"uri": uri}, "position": place(line, column), "context": context}

    def inline(self, uri: str, line: int, column: int, kind: int = 2, selected: Any = None) -> Any:
        return self.request("textDocument/inlineCompletion", self.inline_params(uri, line, column, kind, selected))

    def log(self) -> str:
        return b"".join(self.errors).decode(errors="replace")


def place(line: int, column: int) -> dict[str, int]:
    return {"line": line, "character": column}
