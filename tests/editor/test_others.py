"""The configurations of editors/others.md that can be run here: Helix in a terminal, Emacs in batch mode."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from editor import prepare_nvim

pytestmark = pytest.mark.editor

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "editors/others.md").read_text()
ENVIRONMENT = {"PYTHONPATH": str(ROOT / "tests"), "QUATRAIN_SCRIPT": "answer = 42"}


def editor(name: str) -> Path:
    try:
        return prepare_nvim.prepare(name)
    except prepare_nvim.PreparationError as error:
        pytest.skip(f"no editor: {error}")


def snippet(language: str, folder: Path) -> str:
    """The page's configuration, with a scripted server in place of `quatrain serve`."""
    found = re.search(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert found
    script = folder / "quatrain"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m quatrain.lsp_server "$@" --engine fakes:open_scripted\n')
    script.chmod(0o755)
    return found[1]


def environment(folder: Path, **more: str) -> dict[str, str]:
    return os.environ | ENVIRONMENT | {"PATH": f"{folder}:{os.environ['PATH']}", "HOME": str(folder)} | more


def test_emacs_inserts_the_completion(tmp_path: Path) -> None:
    emacs = editor("emacs")
    file = tmp_path / "a.py"
    file.write_text("x = \n")
    program = tmp_path / "try.el"
    program.write_text(
        ";;; -*- lexical-binding: t -*-\n"
        + snippet("elisp", tmp_path)
        + f"""
(setq eglot-sync-connect 30)
(find-file "{file}")
(python-mode)
(eglot--guess-contact)
(apply #'eglot (eglot--guess-contact))
(let ((tries 0))
  (goto-char (point-max)) (backward-char 1)
  (insert "the")
  (while (and (< tries 50) (not (string-search "answer" (buffer-string))))
    (setq tries (1+ tries))
    (sleep-for 0.2)
    (completion-at-point)))
(message "BUFFER %S" (buffer-string))
"""
    )
    done = subprocess.run(
        [emacs, "--batch", "-Q", "-l", program], env=environment(tmp_path), capture_output=True, text=True, timeout=120
    )
    assert 'BUFFER "x = theanswer = 42\n"' in done.stderr, done.stderr[-2000:]


def test_helix_offers_and_inserts_the_completion(tmp_path: Path) -> None:
    helix = editor("helix")
    if not shutil.which("tmux"):
        pytest.skip("Helix is driven through tmux, which is not installed")
    config = tmp_path / "config/helix"
    config.mkdir(parents=True)
    (config / "languages.toml").write_text(snippet("toml", tmp_path))
    file = tmp_path / "a.py"
    file.write_text("x = 1\n")
    folders = {"XDG_CONFIG_HOME": str(tmp_path / "config"), "XDG_CACHE_HOME": str(tmp_path / "cache")}

    def tmux(*arguments: str | Path) -> str:
        command = ["tmux", "-S", tmp_path / "tmux", *arguments]
        env = environment(tmp_path, TERM="xterm-256color", **folders)
        return subprocess.run(command, env=env, capture_output=True, text=True, check=True, timeout=30).stdout

    def shows(text: str) -> bool:
        end = time.monotonic() + 30
        while text not in tmux("capture-pane", "-p"):
            if time.monotonic() > end:
                return False
            time.sleep(0.2)
        return True

    tmux("new-session", "-d", "-x", "100", "-y", "24", f"{helix} {file}")
    try:
        assert shows("x = 1")
        time.sleep(3)  # the server starts
        tmux("send-keys", "o")
        tmux("send-keys", "-l", "the")
        assert shows("theanswer = 42")
        tmux("send-keys", "Tab", "Enter", "Escape")
        tmux("send-keys", "-l", ":write")
        tmux("send-keys", "Enter")
        end = time.monotonic() + 10
        while "answer" not in file.read_text() and time.monotonic() < end:
            time.sleep(0.2)
        assert file.read_text() == "x = 1\ntheanswer = 42\n"
    finally:
        tmux("kill-server")
