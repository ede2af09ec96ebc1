"""The VS Code extension's package.json against the server: settings, reasons, keys. Needs no editor."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from quatrain.lsp_server.filters import FILTERS

ROOT = Path(__file__).resolve().parent.parent.parent
EXTENSION = ROOT / "editors" / "vscode"
MANIFEST = json.loads((EXTENSION / "package.json").read_text(encoding="utf-8"))


def test_settings_are_the_servers() -> None:
    script = [sys.executable, str(EXTENSION / "scripts" / "settings.py"), "--check"]
    done = subprocess.run(script, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_keys_are_only_taken_where_they_mean_something() -> None:
    for binding in MANIFEST["contributes"]["keybindings"]:
        assert "inlineSuggestionVisible" in binding["when"]
        assert not {"tab", "enter", "escape", "right"} & set(
            re.split(r"\W", binding["key"] + " " + binding.get("mac", ""))
        )


def test_a_workspace_without_trust_chooses_no_program() -> None:
    restricted = MANIFEST["capabilities"]["untrustedWorkspaces"]["restrictedConfigurations"]
    assert {"quatrain.server.path", "quatrain.model"} <= set(restricted)
    assert MANIFEST["contributes"]["configuration"]["properties"]["quatrain.server.package"]["scope"] == "machine"


def test_every_reason_has_a_sentence() -> None:
    known = set(re.findall(r"^  (\w+):", (EXTENSION / "src" / "reasons.ts").read_text(encoding="utf-8"), re.MULTILINE))
    server = (ROOT / "lsp_server" / "server.py").read_text(encoding="utf-8")
    cut = (ROOT / "lsp_server" / "cut.py").read_text(encoding="utf-8")
    named = set(re.findall(r'^            \("(\w+)", ', server, re.MULTILINE))
    named |= set(re.findall(r'_stop\(.*"(\w+)"\)', cut))
    named |= {f"filtered_{name}" for name, _ in FILTERS} | {"filtered_confidence"}
    named |= {"superseded", "cancelled", "deadline", "length", "end_token", "internal_error"}
    assert len(named) > 15
    assert named <= known, sorted(named - known)


def test_every_command_is_contributed() -> None:
    source = (EXTENSION / "src" / "commands.ts").read_text(encoding="utf-8")
    assert set(re.findall(r'^    "(quatrain\.\w+)":', source, re.MULTILINE)) == {
        command["command"] for command in MANIFEST["contributes"]["commands"]
    }
