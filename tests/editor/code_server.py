"""A real VS Code for the tests: code-server with the packaged extension, and a headless browser that looks at it.

`Tools` are what `prepare_vscode.sh` made, `CodeServer` is one running editor server with its own user folder,
`Browser` a browser, `Window` one editor window in it. Knows nothing of what is tested.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
VSIX = ROOT / "editors" / "vscode" / "quatrain.vsix"
SETTINGS: dict[str, Any] = {
    "security.workspace.trust.enabled": False,
    "telemetry.telemetryLevel": "off",
    "update.mode": "none",
    "extensions.autoUpdate": False,
    "extensions.autoCheckUpdates": False,
    "extensions.ignoreRecommendations": True,
    "workbench.startupEditor": "none",
    "workbench.tips.enabled": False,
    "workbench.enableExperiments": False,
    "workbench.secondarySideBar.defaultVisibility": "hidden",
    "workbench.colorTheme": "Default Dark Modern",
    "chat.disableAIFeatures": True,
    "git.enabled": False,
    "editor.minimap.enabled": False,
    "editor.wordBasedSuggestions": "off",
    "editor.quickSuggestions": {"other": "off"},
    "editor.accessibilitySupport": "off",
    "files.autoSave": "off",
}


class NotPreparedError(Exception):
    """The editor is not there and could not be made; the message says why."""


@dataclass(frozen=True)
class Tools:
    """Programs and folders."""

    node: Path
    code_server: Path
    modules: Path
    chromium: str


def prepare() -> Tools:
    """Everything the tests need; raises NotPreparedError with the last line of what went wrong."""
    cache = Path(os.environ.get("QUATRAIN_TEST_CACHE", Path.home() / ".cache" / "quatrain-test"))
    run = subprocess.run(
        [HERE / "prepare_vscode.sh"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=1800
    )
    if run.returncode:
        lines = [line for line in run.stdout.splitlines() if line.strip()]
        raise NotPreparedError(f"prepare_vscode.sh: {' | '.join(lines[-3:])}")
    chromium = shutil.which("chromium")
    if chromium is None:
        raise NotPreparedError("no chromium on PATH")
    modules = cache / "code-server"
    entry = modules / "node_modules" / "code-server" / "out" / "node" / "entry.js"
    return Tools(cache / "bin" / "node", entry, modules, chromium)


class CodeServer:
    """One editor server. `folder` becomes its home: user data, extensions, log."""

    def __init__(self, tools: Tools, folder: Path, settings: dict[str, Any], path: str | None = None) -> None:
        self.tools, self.folder, self.settings = tools, folder, settings
        self.path = path or os.environ["PATH"]
        self.user = folder / "user"
        self.port = free_port()
        self.write_settings(settings)
        self.command("--install-extension", str(VSIX))
        self.log = (folder / "code-server.log").open("wb")
        self.process = subprocess.Popen(self.arguments(), stdout=self.log, stderr=self.log, env=self.environment())
        self.await_health()

    def write_settings(self, settings: dict[str, Any]) -> None:
        """The user's settings: ours for a quiet editor, and `settings`. Those of the machine lie apart."""
        machine = {name: value for name, value in settings.items() if name.startswith("quatrain.server.")}
        for folder, values in (("User", SETTINGS | settings), ("Machine", machine)):
            path = self.user / folder / "settings.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(values, indent=1), encoding="utf-8")

    def environment(self) -> dict[str, str]:
        """Ours, without what would make the server think that it runs inside an editor."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("VSCODE_", "CODE_SERVER"))}
        return kept | {"HOME": str(self.folder), "XDG_CONFIG_HOME": str(self.folder / "config"), "PATH": self.path}

    def arguments(self, *more: str) -> list[str]:
        """The command line, with `more` in place of what starts the server."""
        folders = ["--user-data-dir", str(self.user), "--extensions-dir", str(self.folder / "extensions")]
        config = ["--config", str(self.folder / "config.yaml")]
        address = ["--auth", "none", "--bind-addr", f"127.0.0.1:{self.port}"]
        quiet = ["--disable-telemetry", "--disable-update-check", "--disable-getting-started-override"]
        rest = list(more) or [*address, *quiet]
        return [str(self.tools.node), str(self.tools.code_server), *config, *folders, *rest]

    def command(self, *arguments: str) -> None:
        """Run a command such as --install-extension."""
        done = subprocess.run(
            self.arguments(*arguments), capture_output=True, text=True, timeout=120, env=self.environment()
        )
        if done.returncode:
            raise NotPreparedError(f"code-server {arguments}: {done.stdout}{done.stderr}")

    def await_health(self) -> None:
        """Wait until it answers."""
        for _ in range(300):
            with (
                contextlib.suppress(OSError),
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/healthz") as answer,
            ):
                if answer.status == 200:
                    return
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        raise NotPreparedError(f"code-server does not answer; see {self.log.name}")

    def url(self, folder: Path, file: Path | None = None) -> str:
        """The address of a window on `folder` (or a .code-workspace file) that shows `file`."""
        kind = "workspace" if folder.suffix == ".code-workspace" else "folder"
        query = {kind: str(folder)}
        if file is not None:
            query["payload"] = json.dumps([["openFile", f"vscode-remote://127.0.0.1:{self.port}{file}"]])
        return f"http://127.0.0.1:{self.port}/?{urllib.parse.urlencode(query)}"

    def close(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.log.close()


class Browser:
    """A headless browser behind `browser.mjs`."""

    def __init__(self, tools: Tools, profile: Path, scale: float = 1) -> None:
        self.profile = profile
        arguments = [tools.node, HERE / "browser.mjs", tools.modules, tools.chromium, profile, str(scale)]
        self.process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if not self.read().get("ready"):
            raise NotPreparedError("the browser does not start")

    def read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise NotPreparedError("the browser ended")
        return json.loads(line)

    def ask(self, operation: str, **parameters: Any) -> Any:
        """One operation; an error becomes an AssertionError, for most are waits that ran out."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"operation": operation} | parameters) + "\n")
        self.process.stdin.flush()
        answer = self.read()
        if "error" not in answer:
            return answer["result"]
        if operation != "screenshot":
            with contextlib.suppress(AssertionError):
                self.ask("screenshot", path=str(self.profile.parent / "failure.png"))
        raise AssertionError(f"{operation} {parameters}: {answer['error']} (see {self.profile.parent}/failure.png)")

    def close(self) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def opened(
    tools: Tools, folder: Path, settings: dict[str, Any], path: str | None = None, scale: float = 1
) -> Iterator[tuple[CodeServer, Browser]]:
    """An editor server, with `path` as its PATH if given, and a browser with `scale` pixels a point."""
    server = CodeServer(tools, folder, settings, path)
    try:
        browser = Browser(tools, folder / "profile", scale)
        try:
            yield server, browser
        finally:
            browser.close()
    finally:
        server.close()
