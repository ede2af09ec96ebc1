"""Fetches source packages of permissive licence with the ordinary package clients.

Runs only when the user asks. Nothing that is fetched is installed or executed. Knows archives; knows neither
what is done with the files nor which packages are wanted.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from quatrain.model.api import QuatrainError
from quatrain.model.fetch import Report

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


def fetched(packages: Sequence[Package], folder: Path) -> list[Path]:
    """The folders of packages that are there whole."""
    return [folder / package.label for package in packages if (folder / package.label).is_dir()]


def fetch_all(packages: Sequence[Package], folder: Path, report: Report) -> list[str]:
    """Fetch what is missing. Returns a sentence for each package that could not be had or came in another version.

    Raises QuatrainError when none could be had.
    """
    problems: list[str] = []
    for number, package in enumerate(packages):
        report(f"fetching {package.name}", number, len(packages))
        if (folder / package.label).is_dir():
            continue
        try:
            problems += get(package, folder)
        except (OSError, subprocess.SubprocessError, tarfile.TarError, zipfile.BadZipFile) as error:
            problems.append(f"{package.name} is left out: {reason(error)}")
    if not fetched(packages, folder):
        raise QuatrainError("no package could be fetched: " + "; ".join(problems))
    return problems


def reason(error: Exception) -> str:
    """One line of what a client said."""
    if isinstance(error, FileNotFoundError):
        return f"{error.filename} is not on this machine"
    said = getattr(error, "stderr", None) or str(error)
    return said.strip().splitlines()[-1][:200] if said.strip() else type(error).__name__


def get(package: Package, folder: Path) -> list[str]:
    """Download and unpack one package; another version where the pinned one is gone."""
    download, unpack = CLIENTS[package.client]
    target = folder / package.label
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
