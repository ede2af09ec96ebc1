"""One window of the real VS Code, as a user sees it: keys go in, ghost text and the status bar come out.

Knows where VS Code draws things; knows nothing of code-server and of what is tested.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from editor.code_server import Browser, CodeServer

READY = "ready"


class Window:
    """A window on a folder. Files are opened through its quick-open box."""

    def __init__(self, server: CodeServer, browser: Browser, folder: Path) -> None:
        self.server, self.browser, self.folder = server, browser, folder
        self.file = folder

    def load(self, file: Path, state: str | None = READY, root: Path | None = None) -> None:
        """Load the page with `file` shown, and wait for the status bar item to say `state`."""
        self.file = file
        self.browser.ask("goto", url=self.server.url(root or self.folder, file))
        self.wait("document.querySelector('.monaco-editor .view-line')", 60)
        if state is not None:
            self.await_state(state, 60)
        self.focus()

    def open(self, name: str, text: str | bytes, place: str = "") -> None:
        """Write a file and open it with the cursor at `place` ("line:column")."""
        self.file = self.folder / name
        self.file.write_bytes(text if isinstance(text, bytes) else text.encode())
        self.press("Escape", "Control+p")
        self.wait("document.querySelector('.quick-input-widget input')?.offsetParent")
        self.type(str(self.file), 2)
        self.wait(f"document.querySelector('.quick-input-list .monaco-list-row')?.textContent.includes({name!r})")
        self.press("Enter")
        self.wait(f"document.querySelector('.tab.active')?.textContent.includes({name!r})")
        self.wait("document.querySelector('.monaco-editor.focused .view-line')")
        self.press("Control+End")
        if place:
            self.press("Control+g")
            self.wait("document.querySelector('.quick-input-widget input')?.value === ':'")
            self.type(place, 5)
            self.press("Enter")
        self.forget()

    def focus(self) -> None:
        self.browser.ask("click", selector=".monaco-editor .view-lines")

    def press(self, *keys: str) -> None:
        for key in keys:
            self.browser.ask("press", key=key)

    def type(self, text: str, delay: int = 40) -> None:
        """Type `text`, `delay` milliseconds between keys."""
        self.browser.ask("type", text=text, delay=delay)

    def command(self, title: str) -> None:
        """Run a command from the palette."""
        self.press("F1")
        self.wait("document.querySelector('.quick-input-widget input')?.offsetParent")
        self.type(title, 2)
        self.wait(f"document.querySelector('.quick-input-list .monaco-list-row')?.textContent.includes({title!r})")
        self.press("Enter")

    def wait(self, script: str, seconds: float = 20) -> Any:
        """Until an expression holds in the page; its value."""
        return self.browser.ask("wait", script=script, timeout=seconds * 1000)

    def evaluate(self, script: str) -> Any:
        return self.browser.ask("evaluate", script=script)

    def ghost(self) -> str:
        """The suggestion as it is shown now."""
        return self.evaluate("quatrainGhost()")

    def await_ghost(self, text: str, seconds: float = 20) -> None:
        """Until exactly `text` is shown as a suggestion."""
        try:
            self.wait(f"quatrainGhost() === {json.dumps(text)}", seconds)
        except AssertionError:
            raise AssertionError(f"ghost text {text!r} did not appear; shown is {self.ghost()!r}") from None

    def await_any_ghost(self, seconds: float) -> str:
        """Until a suggestion is shown; its text."""
        return self.wait("quatrainGhost()", seconds)

    def stays_without_ghost(self, seconds: float = 1.0) -> bool:
        """Whether no suggestion shows up for a while, nor did since `forget`."""
        time.sleep(seconds)
        return not self.ghost() and not any(seen["text"] for seen in self.log("ghosts"))

    def log(self, kind: str) -> list[dict[str, Any]]:
        """What was seen since `forget`: ghosts, states or keys, each with its time in milliseconds."""
        return self.evaluate(f"quatrainLog.{kind}")

    def forget(self) -> None:
        """Start the lists of what was seen anew, from what is shown now."""
        self.evaluate("for (const kind of ['ghosts', 'keys']) quatrainLog[kind].length = 0")

    def state(self) -> str:
        """The status bar item: its text and its description."""
        return self.evaluate("quatrainState()")

    def await_state(self, part: str, seconds: float = 20) -> str:
        """Until the status bar item's text or description contains `part`."""
        try:
            return self.wait(f"quatrainState().includes({json.dumps(part)}) && quatrainState()", seconds)
        except AssertionError:
            raise AssertionError(f"status {part!r} did not come; it is {self.state()!r}") from None

    def message(self, part: str, seconds: float = 20) -> str:
        """Until a notification or dialog contains `part`; its text."""
        shown = "[...document.querySelectorAll('.notification-list-item, .monaco-dialog-box')].map(e => e.innerText)"
        return self.wait(f"{shown}.find(text => text.includes({json.dumps(part)}))", seconds)

    def click_button(self, label: str) -> None:
        """Click a button of a notification or dialog."""
        self.browser.ask("click", selector=f".monaco-button:has-text({json.dumps(label)})")

    def text(self) -> str:
        """The buffer, saved and read from the file, line ends as they are."""
        self.press("Control+s")
        self.wait("!document.querySelector('.tab.active')?.classList.contains('dirty')")
        return self.file.read_bytes().decode()
