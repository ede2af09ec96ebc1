"""Fetches small packages of permissive licence to punch holes into, with the ordinary package clients.

Runs only when the user asks. Nothing that is fetched is installed or executed. Knows archives; knows no cases.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from quatrain.model import fetch
from quatrain.model.api import QuatrainError

PATIENCE_S = 180


@dataclass(frozen=True, slots=True)
class Package:
    """A pinned package. `kept` are the files' endings worth reading: a package may ship its build as well."""

    client: str
    name: str
    version: str
    licence: str
    kept: tuple[str, ...]

    @property
    def label(self) -> str:
        return f"{self.client}-{self.name.replace('/', '-').lstrip('@')}-{self.version}".replace(":", "-")


PACKAGES = (
    Package("pip", "rich", "14.0.0", "MIT", (".py",)),
    Package("npm", "express", "5.3.0", "MIT", (".js",)),
    Package("npm", "d3-array", "3.2.5", "ISC", (".js",)),
    Package("npm", "lodash-es", "4.18.1", "MIT", (".js",)),
    Package("npm", "chai", "6.3.0", "MIT", (".js",)),
    Package("npm", "rxjs", "7.8.2", "Apache-2.0", (".ts",)),
    Package("npm", "zod", "4.6.7", "MIT", (".ts",)),
    Package("npm", "@capacitor/android", "8.5.2", "MIT", (".java",)),
    Package("npm", "cordova-android", "15.1.0", "Apache-2.0", (".java",)),
    Package("npm", "hiredis", "0.5.0", "BSD-3-Clause", (".c",)),
    Package("npm", "tree-sitter", "0.25.1", "MIT", (".c",)),
    Package("npm", "lz4", "0.6.5", "BSD-2-Clause", (".c",)),
    Package("npm", "leveldown", "6.1.1", "MIT", (".cc", ".h")),
    Package("apt", "golang-github-spf13-cobra-dev", "1.6.1-1", "Apache-2.0", (".go",)),
    Package("apt", "golang-github-spf13-pflag-dev", "1.0.6~git20210604-d5e0c0615ace-1", "BSD-3-Clause", (".go",)),
    Package("apt", "librust-regex-dev", "1.7.1-1", "MIT or Apache-2.0", (".rs",)),
    Package("apt", "librust-serde-json-dev", "1.0.87-1", "MIT or Apache-2.0", (".rs",)),
)


def folder() -> Path:
    """Where fetched sources lie."""
    return fetch.home() / "corpus"


def fetched() -> list[Path]:
    """The folders of packages that are there whole."""
    return [folder() / package.label for package in PACKAGES if (folder() / package.label).is_dir()]


def fetch_all(report: fetch.Report) -> list[str]:
    """Fetch what is missing. Returns a sentence for each package that could not be had or came in another version.

    Raises QuatrainError when none could be had.
    """
    problems: list[str] = []
    for number, package in enumerate(PACKAGES):
        report(f"fetching {package.name}", number, len(PACKAGES))
        if (folder() / package.label).is_dir():
            continue
        try:
            problems += get(package)
        except (OSError, subprocess.SubprocessError, tarfile.TarError, zipfile.BadZipFile) as error:
            problems.append(f"{package.name} is left out: {reason(error)}")
    if not fetched():
        raise QuatrainError("no package could be fetched: " + "; ".join(problems))
    return problems


def reason(error: Exception) -> str:
    """One line of what a client said."""
    if isinstance(error, FileNotFoundError):
        return f"{error.filename} is not on this machine"
    said = getattr(error, "stderr", None) or str(error)
    return said.strip().splitlines()[-1][:200] if said.strip() else type(error).__name__


def get(package: Package) -> list[str]:
    """Download and unpack one package; another version where the pinned one is gone."""
    download, unpack = CLIENTS[package.client]
    target = folder() / package.label
    work = target.with_name(target.name + ".partial")
    shutil.rmtree(work, ignore_errors=True)
    (work / "archive").mkdir(parents=True)
    try:
        problems = []
        try:
            download(package.name, package.version, work / "archive")
        except subprocess.CalledProcessError:
            download(package.name, "", work / "archive")
            problems.append(f"{package.name} {package.version} is gone; the version that is served was taken")
        archive = next((work / "archive").iterdir())
        unpack(archive, work / "unpacked")
        keep(work / "unpacked", work / "kept", package.kept)
        (work / "kept").rename(target)
        return problems
    finally:
        shutil.rmtree(work, ignore_errors=True)


def keep(source: Path, target: Path, endings: tuple[str, ...]) -> None:
    """Copy the files worth reading, and the licence."""
    target.mkdir()
    for path in source.rglob("*"):
        wanted = path.name.endswith(endings) or path.name.lower().startswith(("license", "licence", "copyright"))
        if wanted and path.is_file() and not path.is_symlink():
            to = target / path.relative_to(source)
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, to)


def pip(name: str, version: str, into: Path) -> None:
    pinned = f"{name}=={version}" if version else name
    call([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", "-d", ".", pinned], into)


def npm(name: str, version: str, into: Path) -> None:
    client = shutil.which("npm") or "npm"
    call([client, "pack", "--silent", "--ignore-scripts", f"{name}@{version}" if version else name], into)


def apt(name: str, version: str, into: Path) -> None:
    call(["apt-get", "download", "-q", f"{name}={version}" if version else name], into)


def call(command: list[str], folder: Path) -> None:
    subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=PATIENCE_S)


def unzip(archive: Path, into: Path) -> None:
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(into)


def untar(archive: Path, into: Path) -> None:
    with tarfile.open(archive) as packed:
        packed.extractall(into, filter="data")


def undebian(archive: Path, into: Path) -> None:
    call(["dpkg-deb", "-x", str(archive), str(into)], archive.parent)


CLIENTS: dict[str, tuple[Callable[[str, str, Path], None], Callable[[Path, Path], None]]] = {
    "pip": (pip, unzip),
    "npm": (npm, untar),
    "apt": (apt, undebian),
}
