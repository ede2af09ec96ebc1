"""From a GGUF file to an engine: conversion once and whole, clear words for every bad file."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFWriter
from tiny_gguf import write

from quatrain.model import checkpoint, fallback, fetch, gguf_file, native, setting_up
from quatrain.model.api import QuatrainError, Stop
from quatrain.model.engine import LocalEngine
from quatrain.model.transformer import Transformer


def silent(message: str, done: int, total: int) -> None:
    """No progress display."""


def open_tiny(path: Path, arithmetic: str = "torch-f32") -> LocalEngine:
    return checkpoint.open_engine(str(path), arithmetic, silent)  # type: ignore[arg-type]


def text_of(engine: LocalEngine, prefix: str = "def f(self", suffix: str = "\n") -> str:
    return "".join(r.text for r in engine.generate(engine.encode(prefix, suffix), Stop(), 12))


@pytest.mark.parametrize("architecture", ["qwen2", "llama"])
@pytest.mark.parametrize("arithmetic", ["auto", "native", "torch-f32", "torch-bf16", "torch-int8"])
def test_a_file_becomes_an_engine(home: Path, tmp_path: Path, architecture: str, arithmetic: str) -> None:
    engine = open_tiny(write(tmp_path / "m.gguf", architecture), arithmetic)
    assert engine.layout.name == "qwen"
    assert text_of(engine)


def test_native_and_torch_agree(home: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "m.gguf", "llama")
    ours, theirs = open_tiny(path, "native"), open_tiny(path, "torch-f32")
    ids = ours.vocabulary.encode("def f(self):\n    return self")
    a, b = (e.trunk.forward(ids, 0, e.cache.storage, range(len(ids))).logits for e in (ours, theirs))  # type: ignore[arg-type]
    assert np.abs(a - b).max() < 0.1 * np.abs(b).max()


def test_a_shape_our_kernels_lack_falls_back(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "unsupported", lambda config: "odd shape")
    monkeypatch.setattr(fallback, "measure", lambda config: {"torch-bf16": 1.0, "torch-f32": 2.0})
    path = write(tmp_path / "m.gguf")
    assert str(open_tiny(path, "auto").describe()["arithmetic"]).startswith("torch cpu")
    with pytest.raises(QuatrainError, match="odd shape"):
        open_tiny(path, "native")


def test_kernels_that_came_later_are_used(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "m.gguf")
    with monkeypatch.context() as without:
        without.setattr(native, "drawback", lambda: "no kernels; install a C compiler")
        assert str(open_tiny(path, "auto").describe()["arithmetic"]).startswith("torch")
    assert str(open_tiny(path, "auto").describe()["arithmetic"]).startswith("native")


def test_without_a_compiler_one_line_says_so(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "drawback", lambda: "no kernels; install a C compiler")
    monkeypatch.setattr(native, "available", lambda: "no kernels; install a C compiler")
    path = write(tmp_path / "m.gguf")
    assert "slower than it could be: no kernels" in setting_up.set_up(str(path), "auto", None, silent)
    with pytest.raises(QuatrainError, match="install a C compiler"):
        open_tiny(path, "native")


def test_second_start_converts_nothing(home: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "m.gguf")
    first = text_of(open_tiny(path))
    messages: list[str] = []
    engine = checkpoint.open_engine(str(path), "torch-f32", lambda message, *_: messages.append(message))
    assert messages == ["loading m"]
    assert text_of(engine) == first


def test_an_untied_output_is_used(home: Path, tmp_path: Path) -> None:
    model = gguf_file.read(write(tmp_path / "m.gguf", "llama", tied=False))
    engine = open_tiny(tmp_path / "m.gguf")
    output = gguf_file.dense(model.tensors["output.weight"])
    assert isinstance(engine.trunk, Transformer)
    np.testing.assert_allclose(engine.trunk.weights["output.weight"].numpy(), output, atol=1e-6)
    assert "token_embd.weight" in engine.trunk.weights


def test_a_changed_file_is_converted_again(home: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "m.gguf", seed=0)
    first = checkpoint.locate(str(path), silent).key
    write(path, seed=1)
    assert checkpoint.locate(str(path), silent).key != first


def damaged(path: Path, kind: str) -> Path:
    raw = bytearray(write(path).read_bytes())
    if kind == "truncated":
        raw = raw[: len(raw) * 2 // 3]
    elif kind == "header only":
        raw = raw[:40]
    elif kind == "foreign":
        raw[:4] = b"GGML"
    elif kind == "empty":
        raw = bytearray()
    elif kind == "garbled":
        raw[8:60] = b"\xff" * 52
    path.write_bytes(raw)
    return path


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("truncated", "damaged or cut short"),
        ("header only", "damaged or cut short"),
        ("garbled", "damaged or cut short"),
        ("foreign", "not a GGUF file"),
        ("empty", "not a GGUF file"),
    ],
)
def test_damaged_files(home: Path, tmp_path: Path, kind: str, words: str) -> None:
    with pytest.raises(QuatrainError, match=words):
        open_tiny(damaged(tmp_path / "m.gguf", kind))
    left = home / "converted"
    assert not left.exists() or not list(left.iterdir())


def test_other_architectures_and_tokenizers(home: Path, tmp_path: Path) -> None:
    writer = GGUFWriter(tmp_path / "bert.gguf", "bert")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(QuatrainError, match="'bert' model; supported are qwen2, llama"):
        open_tiny(tmp_path / "bert.gguf")
    with pytest.raises(QuatrainError, match="pre-tokenizer 'viking'"):
        open_tiny(write(tmp_path / "m.gguf", pre="viking"))


def test_unknown_names(home: Path) -> None:
    with pytest.raises(QuatrainError, match="no model named 'gpt-9' and no such file"):
        open_tiny(Path("gpt-9"))
    with pytest.raises(QuatrainError, match="no arithmetic 'fp3'"):
        open_tiny(Path("x"), "fp3")


def test_a_full_disk_leaves_nothing_half_done(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "m.gguf")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setitem(checkpoint.CONVERTERS, "torch-f32", full)
    with pytest.raises(QuatrainError, match="no space left in"):
        open_tiny(path)
    assert not list((home / "converted").iterdir())
    monkeypatch.undo()
    monkeypatch.setenv("QUATRAIN_HOME", str(home))
    assert text_of(open_tiny(path))


def test_set_up_says_what_it_is(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "m.gguf")
    known = fetch.KnownModel("tiny", "Tiny", "tiny.gguf", path.stat().st_size, fetch.sha256(path, silent), "MIT", ())
    monkeypatch.setitem(fetch.MODELS, "tiny", known)
    line = setting_up.set_up("tiny", "torch-f32", str(path), silent)
    assert line.startswith("Tiny, 0 MB, licence MIT: ready, arithmetic torch-f32")
    shutil.rmtree(home / "converted")
    assert setting_up.set_up("tiny", "torch-f32", None, silent).partition("\n")[0] == line.partition("\n")[0]
    other = write(tmp_path / "other.gguf", seed=9)
    with pytest.raises(QuatrainError, match=r"is not tiny\.gguf \(size or sha256 differ"):
        setting_up.set_up("tiny", "torch-f32", str(other), silent)
