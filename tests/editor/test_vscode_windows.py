"""The VS Code extension in windows of its own: how it starts, what it trusts, several folders, how it is installed."""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path

import pytest
from editor.code_server import Tools, opened
from editor.editor_window import READY, Window
from editor.vscode_script import Script

pytestmark = pytest.mark.editor


def workspace(folder: Path, settings: dict[str, object] | None = None) -> Path:
    """A folder with one file, and settings of its own."""
    (folder / ".vscode").mkdir(parents=True)
    (folder / ".vscode" / "settings.json").write_text(json.dumps(settings or {}))
    (folder / "first.py").write_text("alpha = 1\n")
    return folder


def test_states_from_start_to_ready(tools: Tools, tmp_path: Path) -> None:
    script = Script(tmp_path / "bin")
    script.says(load=3)
    folder = workspace(tmp_path / "work")
    with opened(tools, tmp_path / "vscode", script.settings()) as (server, browser):
        window = Window(server, browser, folder)
        window.load(folder / "first.py")
        states = [seen["text"] for seen in window.log("states")]
        assert any("starting" in state or "loading" in state for state in states), states
        assert any("%" in state.partition("|")[0] for state in states), states
        assert READY in states[-1]


@pytest.mark.parametrize("first", ["", "exec <&-; sleep 0.3"], ids=["at-once", "after-it-stopped-listening"])
def test_a_server_that_cannot_start_says_why(tools: Tools, tmp_path: Path, first: str) -> None:
    program = tmp_path / "quatrain"
    program.write_text(f"#!/bin/sh\n{first}\necho 'quatrain: the moon is not full' >&2\nexit 2\n")
    program.chmod(0o755)
    folder = workspace(tmp_path / "work")
    with opened(tools, tmp_path / "vscode", {"quatrain.server.path": str(program)}) as (server, browser):
        window = Window(server, browser, folder)
        window.load(folder / "first.py", "error")
        assert "the moon is not full" in window.state()


def test_an_untrusted_workspace_cannot_choose_the_server(tools: Tools, tmp_path: Path) -> None:
    script = Script(tmp_path / "bin")
    folder = workspace(tmp_path / "work", script.settings())
    trust = {"security.workspace.trust.enabled": True, "security.workspace.trust.startupPrompt": "never"}
    with opened(tools, tmp_path / "vscode", trust, path="/usr/bin:/bin") as (server, browser):
        window = Window(server, browser, folder)
        window.load(folder / "first.py", "not installed")
        window.wait("document.body.innerText.includes('Restricted Mode')")
        assert not script.pid_file.exists()
        server.write_settings({"security.workspace.trust.enabled": False})
        window.load(folder / "first.py")  # the same workspace, now trusted: its setting is used
        assert script.pid_file.exists()


def test_folders_with_settings_of_their_own(tools: Tools, tmp_path: Path) -> None:
    script = Script(tmp_path / "bin")
    on = workspace(tmp_path / "on")
    off = workspace(tmp_path / "off", {"quatrain.enabled": False})
    both = tmp_path / "both.code-workspace"
    both.write_text(json.dumps({"folders": [{"path": str(on)}, {"path": str(off)}]}))
    with opened(tools, tmp_path / "vscode", script.settings()) as (server, browser):
        window = Window(server, browser, off)
        window.load(off / "first.py", "paused", root=both)
        window.open("other.py", "alpha = 1\n")
        window.type("total = ")
        assert window.stays_without_ghost()
        window.folder = on
        window.open("another.py", "alpha = 1\n")
        window.await_state(READY)
        window.type("total = ")
        window.await_ghost("sum(alpha, beta)")


def test_installs_its_server(tools: Tools, tmp_path: Path) -> None:
    script = Script(tmp_path / "bin")
    wheel = stub_wheel(tmp_path, script.program)
    folder = workspace(tmp_path / "work")
    path = f"{Path(sys.base_prefix) / 'bin'}:/usr/bin:/bin"
    settings = {"quatrain.server.package": str(wheel)}
    with opened(tools, tmp_path / "vscode", settings, path=path) as (server, browser):
        window = Window(server, browser, folder)
        window.load(folder / "first.py", "not installed")
        window.message("is not installed")
        window.click_button("Install")
        window.await_state(READY, 120)
        window.press("Control+End")
        window.type("total = ")
        window.await_ghost("sum(alpha, beta)")
        assert list((tmp_path / "vscode").glob("**/globalStorage/**/bin/quatrain"))


def stub_wheel(folder: Path, program: Path) -> Path:
    """A package named quatrain whose program is the scripted server."""
    wheel = folder / "quatrain-0.0.1-py3-none-any.whl"
    info = "quatrain-0.0.1.dist-info"
    code = f"import os, sys\ndef main():\n    os.execv({str(program)!r}, [{str(program)!r}, *sys.argv[1:]])\n"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("quatrain_stub.py", code)
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: quatrain\nVersion: 0.0.1\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/entry_points.txt", "[console_scripts]\nquatrain = quatrain_stub:main\n")
        archive.writestr(f"{info}/RECORD", f"quatrain_stub.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    return wheel
