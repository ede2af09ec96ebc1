"""VS Code with the real model: ghost text that is code, accepted as shown. Takes the README's screenshot.

QUATRAIN_SCREENSHOT names the file to write; without it the picture goes to the test's own folder.
"""

from __future__ import annotations

import ast
import os
import sys
from pathlib import Path

import pytest
from editor.code_server import Tools, opened
from editor.editor_window import Window

pytestmark = [pytest.mark.editor, pytest.mark.model]

LOOKS = {
    "quatrain.timeLimitMs": 60_000,
    "editor.fontSize": 20,
    "editor.lineHeight": 30,
    "editor.fontFamily": "DejaVu Sans Mono",
    "editor.padding.top": 12,
    "editor.guides.indentation": False,
    "editor.occurrencesHighlight": "off",
    "breadcrumbs.enabled": False,
    "window.commandCenter": False,
    "workbench.layoutControl.enabled": False,
    "workbench.activityBar.location": "hidden",
    "workbench.editor.editorActionsLocation": "hidden",
    "window.menuBarVisibility": "hidden",
}
BEGUN = '''"""Words and how often they occur."""

from collections import Counter


def words(text: str) -> list[str]:
    """The words of a text, in lower case and without punctuation."""
    return [word.strip(".,;:!?").lower() for word in text.split()]


def most_common(text: str, n: int = 10) -> list[tuple[str, int]]:
    """The most frequent words of a text, with their counts."""
'''


def server(folder: Path) -> Path:
    """A program that serves with the real model."""
    program = folder / "quatrain"
    home = os.environ.get("QUATRAIN_HOME")
    line = f"export QUATRAIN_HOME={home}\n" if home else ""
    program.write_text(
        f'#!/bin/sh\nexport HOME={Path.home()}\n{line}exec {sys.executable} -m quatrain.lsp_server "$@"\n'
    )
    program.chmod(0o755)
    return program


def test_real_model_and_screenshot(tools: Tools, tmp_path: Path) -> None:
    picture = Path(os.environ.get("QUATRAIN_SCREENSHOT", tmp_path / "screenshot.png")).absolute()
    folder = tmp_path / "poems"
    folder.mkdir()
    settings = LOOKS | {"quatrain.server.path": str(server(tmp_path))}
    (folder / "words.py").write_text(BEGUN)
    with opened(tools, tmp_path / "vscode", settings, scale=1.5) as (code_server, browser):
        window = Window(code_server, browser, folder)
        window.load(folder / "words.py", None)
        window.await_state("ready", 300)
        window.press("Control+b", "Control+End")
        window.type("    ", 80)
        ghost = window.await_any_ghost(90)
        window.evaluate("document.querySelector('.notifications-toasts')?.remove()")
        browser.ask("screenshot", path=str(picture), size=[1120, 560])
        window.press("Tab")
        text = window.text()
    added = text.removeprefix(BEGUN).strip()
    assert added and ghost.split()[0] in added
    assert picture.stat().st_size > 10_000
    ast.parse(text)
