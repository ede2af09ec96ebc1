"""The VS Code extension, packaged, installed and used in a real editor: keys in, ghost text and files out.

The engine is scripted: for a given end of the text before the cursor it says a given text.
"""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Iterator

import pytest
from editor.code_server import Tools, opened
from editor.editor_window import READY, Window
from editor.vscode_script import Script

pytestmark = pytest.mark.editor


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Script:
    return Script(tmp_path_factory.mktemp("server") / "bin")


@pytest.fixture(scope="module")
def shared(tools: Tools, script: Script, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Window]:
    """One window for the tests that only type."""
    folder = tmp_path_factory.mktemp("vscode")
    settings = script.settings() | {"editor.wordBasedSuggestions": "currentDocument"}
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
    window.type("gamma = ")
    said = "alpha + beta * alpha"
    window.await_ghost(said)
    script.says(pause=0.2)  # an answer that is not remembered would come visibly late
    window.forget()
    for character in said[:15]:
        window.type(character)
        time.sleep(0.06)
    time.sleep(0.5)
    shown = [seen["text"] for seen in window.log("ghosts")]
    assert shown[-1] == said[15:]
    assert all(said.endswith(text) and text for text in shown), shown
    lengths = [len(text) for text in shown]
    assert lengths == sorted(lengths, reverse=True), shown
    window.press("Tab")
    assert window.text() == "alpha, beta = 1, 2\ngamma = alpha + beta * alpha"


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
    window.wait(
        "document.querySelector('.suggest-widget.visible .monaco-list-row.focused')?.textContent.includes('alphabet')"
    )
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
    window.open("emoji.py", before.encode() + b"\r\nend = 1\r\n", "2:99")
    window.type("t = ")
    window.await_ghost("len(s)")
    window.press("Tab")
    assert window.text() == before + "t = len(s)\r\nend = 1\r\n"


def test_accept_by_node(window: Window) -> None:
    window.open("node.py", "alpha, beta = 1, 2\n")
    window.type("result = comp")
    window.await_ghost("ute(alpha, beta)")
    for rest in ("(alpha, beta)", ", beta)", ")", ""):
        window.press("Alt+.")
        window.await_ghost(rest)
    assert window.text() == "alpha, beta = 1, 2\nresult = compute(alpha, beta)"
    window.press("Control+z", "Control+z")
    assert window.text() == "alpha, beta = 1, 2\nresult = compute(alpha"


def test_tab_indents_without_a_suggestion(window: Window) -> None:
    window.open("tab.py", "alpha = 1\n")
    window.press("Tab")
    window.type("y")
    assert window.text() == "alpha = 1\n    y"


@pytest.fixture
def manual(window: Window) -> Iterator[Window]:
    """The window while the workspace asks for completions on request only."""
    settings = window.folder / ".vscode" / "settings.json"
    settings.parent.mkdir(exist_ok=True)
    settings.write_text('{"quatrain.trigger": "manual"}')
    time.sleep(2)
    yield window
    settings.write_text("{}")
    time.sleep(2)


def test_manual_trigger(manual: Window) -> None:
    manual.open("manual.py", "alpha = 1\n")
    manual.type("manual = ")
    assert manual.stays_without_ghost(1.5)
    manual.press("Alt+\\")
    manual.await_ghost("asked(for_it)")
    manual.press("Escape")
    manual.command("Quatrain: Why Was There No Suggestion?")
    assert "manual_only" in manual.message("No suggestion:")


def test_turned_off_and_on(window: Window) -> None:
    for title in ("Quatrain: Turn Completions On or Off", "Quatrain: Turn Completions On or Off for This Language"):
        window.open("off.py", "alpha = 1\n")
        window.command(title)
        window.await_state("paused")
        window.type("total = ")
        assert window.stays_without_ghost()
        window.command(title)
        window.await_state(READY)
        window.press("Space", "Backspace")
        window.await_ghost("sum(alpha, beta)")
        window.press("Escape")


def test_turned_off_in_the_workspace(window: Window) -> None:
    window.open("workspace.py", "alpha = 1\n")
    window.command("Quatrain: Turn Completions On or Off in This Workspace")
    window.await_state("paused")
    assert json.loads((window.folder / ".vscode" / "settings.json").read_text()) == {"quatrain.enabled": False}
    window.command("Quatrain: Turn Completions On or Off in This Workspace")
    window.await_state(READY)


def test_status_thinking(window: Window, script: Script) -> None:
    script.says(pause=0.4)
    window.open("thinking.py", "alpha = 1\n")
    window.type("slow = ")
    assert "thinking" in window.await_state("thinking")
    window.await_ghost("worth(waiting)")
    assert READY in window.await_state(READY)


def test_statistics_count_what_was_accepted(window: Window) -> None:
    window.open("counted.py", "alpha, beta = 1, 2\n")
    window.type("result = comp")
    window.await_ghost("ute(alpha, beta)")
    window.press("Tab")
    window.command("Quatrain: Show Statistics")
    shown = window.message("Quatrain in this session")
    window.press("Escape")
    offered, accepted = (int(n) for n in re.findall(r"(?:Offered|, accepted) (\d+)", shown))
    assert offered >= accepted >= 1, shown
    assert "median" in shown and "scripted" in shown


def test_server_killed(window: Window, script: Script) -> None:
    window.open("killed.py", "alpha = 1\n")
    first = script.pid()
    os.kill(first, signal.SIGKILL)
    window.await_state("start")
    window.await_state(READY)
    assert script.pid() != first
    window.type("total = ")
    window.await_ghost("sum(alpha, beta)")
    window.browser.ask("hover", selector="[id='quatrain.quatrain.quatrain.status']")
    window.wait("[...document.querySelectorAll('.monaco-hover')].some(e => e.innerText.includes('ended unexpectedly'))")
    for _ in range(4):
        before = script.pid()
        os.kill(before, signal.SIGKILL)
        window.wait("quatrainState().includes('error') || quatrainState().includes('start')")
        if "error" not in window.state():
            window.await_state(READY)
    assert "ended 5 times" in window.await_state("error")
    window.press("Escape")
    window.command("Quatrain: Restart Server")
    window.await_state(READY)
