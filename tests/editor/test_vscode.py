"""The VS Code extension, packaged, installed and used in a real editor: keys in, ghost text and files out.

The engine is scripted: for a given end of the text before the cursor it says a given text.
"""

from __future__ import annotations

import json
import os
import signal
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from code_server import CannotPrepare, Tools, opened, prepare
from editor_window import Window

pytestmark = pytest.mark.editor

HERE = Path(__file__).resolve().parent
SAYS = [
    ["result = comp", "ute(alpha, beta)"],
    ["result = compute(alpha, beta)", ""],
    ["total = ", "sum(alpha, beta)"],
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
        path = os.pathsep.join([str(HERE), str(HERE.parent)])
        self.program.write_text(
            f"#!/bin/sh\necho $$ >{self.pid_file}\nexport PYTHONPATH={path} QUATRAIN_TABLE={self.table}\n"
            f'exec {sys.executable} -m quatrain.lsp_server "$@" --engine scripted_table:open_engine\n'
        )
        self.program.chmod(self.program.stat().st_mode | stat.S_IXUSR)
        self.says()

    def says(self, pause: float = 0.0, load: float = 0.0) -> None:
        """What the engine says from now on, with its pace."""
        new = self.table.with_suffix(".new")
        new.write_text(json.dumps({"say": SAYS, "pause": pause, "load": load}))
        new.replace(self.table)

    def pid(self) -> int:
        return int(self.pid_file.read_text())


@pytest.fixture(scope="session")
def tools() -> Tools:
    try:
        return prepare()
    except CannotPrepare as problem:
        pytest.skip(str(problem))


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Script:
    return Script(tmp_path_factory.mktemp("server") / "bin")


@pytest.fixture(scope="module")
def shared(tools: Tools, script: Script, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Window]:
    """One window for the tests that only type."""
    folder = tmp_path_factory.mktemp("vscode")
    settings = {"quatrain.server.path": str(script.program), "editor.wordBasedSuggestions": "currentDocument"}
    with opened(tools, folder, settings) as (server, browser):
        workspace = folder / "workspace"
        workspace.mkdir()
        first = workspace / "first.py"
        first.write_text("alpha, beta = 1, 2\n")
        window = Window(server, browser, workspace)
        window.load(first)
        yield window


@pytest.fixture
def window(shared: Window, script: Script) -> Window:
    """The shared window with a patient, fast engine, and nothing open in front."""
    script.says()
    shared.press("Escape", "Escape")
    return shared


def test_accept_whole(window: Window) -> None:
    window.open("whole.py", "alpha, beta = 1, 2\n")
    window.type("result = comp")
    window.await_ghost("ute(alpha, beta)")
    window.press("Tab")
    assert window.text() == "alpha, beta = 1, 2\nresult = compute(alpha, beta)"


def test_accept_by_word(window: Window) -> None:
    window.open("word.py", "alpha, beta = 1, 2\n")
    window.type("result = comp")
    window.await_ghost("ute(alpha, beta)")
    window.press("Control+ArrowRight")
    window.await_ghost("(alpha, beta)")
    assert window.text() == "alpha, beta = 1, 2\nresult = compute"
    for _ in range(8):
        window.press("Control+ArrowRight")
        if not window.ghost():
            break
    assert window.text() == "alpha, beta = 1, 2\nresult = compute(alpha, beta)"


def test_typing_through_does_not_flicker(window: Window, script: Script) -> None:
    window.open("through.py", "alpha, beta = 1, 2\n")
    window.type("result = comp")
    said = "ute(alpha, beta)"
    window.await_ghost(said)
    script.says(pause=0.2)
    window.forget()
    window.evaluate("quatrainLog.ghosts.push({time: 0, text: quatrainGhost()})")
    for character in said[:12]:
        window.type(character)
        time.sleep(0.06)
    time.sleep(0.5)
    shown = [seen["text"] for seen in window.log("ghosts")]
    assert shown[-1] == said[12:]
    assert all(said.endswith(text) and text for text in shown), shown
    lengths = [len(text) for text in shown]
    assert lengths == sorted(lengths, reverse=True), shown
    window.press("Tab")
    assert window.text() == "alpha, beta = 1, 2\nresult = compute(alpha, beta)"


def test_bracket_that_the_editor_closed(window: Window) -> None:
    window.open("closed.py", "alpha, beta = 1, 2\n")
    window.type("print(")
    window.await_ghost("alpha, beta")
    window.press("Tab")
    assert window.text() == "alpha, beta = 1, 2\nprint(alpha, beta)"


def test_typing_through_a_bracket_that_the_editor_closes(window: Window) -> None:
    window.open("through_bracket.py", "alpha, beta = 1, 2\n")
    window.type("total = ")
    window.await_ghost("sum(alpha, beta)")
    window.type("sum(al")
    time.sleep(0.5)
    assert window.ghost().startswith("pha, beta")
    window.press("Tab")
    assert window.text() == "alpha, beta = 1, 2\ntotal = sum(alpha, beta)"


def test_with_the_popup_open(window: Window) -> None:
    window.open("popup.py", "alphabet, alpine = 'ab', 'cd'\n")
    window.type("x = alp")
    window.press("Control+Space")
    window.wait("document.querySelector('.suggest-widget.visible .monaco-list-row.focused')?.textContent.includes('alphabet')")
    window.await_ghost("habet.upper()")
    window.press("Tab")
    window.await_ghost(".upper()")
    window.press("Tab")
    assert window.text() == "alphabet, alpine = 'ab', 'cd'\nx = alphabet.upper()"


def test_undo_restores_exactly(window: Window) -> None:
    before = "\ttabbed = 1\n# é 😀\nresult = comp"
    window.open("undo.py", before)
    window.type("x")
    window.press("Backspace")
    window.await_ghost("ute(alpha, beta)")
    window.press("Tab")
    assert window.text() == before + "ute(alpha, beta)"
    window.press("Control+z")
    assert window.text() == before


def test_emoji_and_crlf_before_the_cursor(window: Window) -> None:
    before = 'e = "👩‍🚀"\r\ns = "😀👍🏽é"; '
    window.open("emoji.py", before.encode() + b"\r\nend = 1\r\n", ":2:99")
    window.type("t = ")
    window.await_ghost("len(s)")
    window.press("Tab")
    assert window.text() == before + "t = len(s)\r\nend = 1\r\n"


def test_accept_by_node(window: Window) -> None:
    window.open("node.py", "alpha, beta = 1, 2\n")
    window.type("result = comp")
    said = "ute(alpha, beta)"
    window.await_ghost(said)
    steps = []
    for _ in range(10):
        window.press("Alt+.")
        time.sleep(0.4)
        steps.append(window.ghost())
        if not steps[-1]:
            break
    assert all(said.endswith(step) for step in steps), steps
    assert steps[0] != said and steps[-1] == "", steps
    assert window.text() == "alpha, beta = 1, 2\nresult = compute(alpha, beta)"


def test_tab_indents_without_a_suggestion(window: Window) -> None:
    window.open("tab.py", "alpha = 1\n")
    window.press("Tab")
    window.type("y")
    assert window.text() == "alpha = 1\n    y"
