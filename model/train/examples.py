"""Training documents as token ids: a prompt laid out as the product lays it out, and what stood at the cursor.

Packed into one file: `ids` of all documents end to end, `starts` of each document, `prefix` and `middle`, the
offsets in it where the text before the cursor and the text behind it begin, `language` by number, and `own`:
whether the middle is to be written anew by the trunk itself. Knows ids; knows neither files nor trees.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from quatrain.model.api import QuatrainError
from quatrain.model.tokenizer import Vocabulary


@dataclass(frozen=True, slots=True)
class Example:
    """`prompt` ids end at a cursor, its last part begins at `prefix`; `middle` follows in the file."""

    prompt: tuple[int, ...]
    prefix: int
    middle: tuple[int, ...]
    language: str
    own: bool = False


@dataclass(frozen=True, slots=True)
class Packed:
    """See the module's docstring. Arrays are int32, but `starts` int64 (documents + 1) and `own` bool."""

    ids: np.ndarray
    starts: np.ndarray
    prefix: np.ndarray
    middle: np.ndarray
    language: np.ndarray
    own: np.ndarray
    languages: tuple[str, ...]
    vocabulary: str

    def __len__(self) -> int:
        return len(self.prefix)

    def document(self, i: int) -> np.ndarray:
        """The ids of document `i`."""
        return self.ids[self.starts[i] : self.starts[i + 1]]


def pack(examples: Iterable[Example], vocabulary: str) -> Packed:
    """Documents end to end."""
    rows = list(examples)
    if not rows:
        raise QuatrainError("there are no examples: the corpus is empty, or its files are too short")
    languages = tuple(sorted({row.language for row in rows}))
    lengths = [len(row.prompt) + len(row.middle) for row in rows]
    return Packed(
        np.array([token for row in rows for token in (*row.prompt, *row.middle)], np.int32),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        np.array([row.prefix for row in rows], np.int32),
        np.array([len(row.prompt) for row in rows], np.int32),
        np.array([languages.index(row.language) for row in rows], np.int32),
        np.array([row.own for row in rows], bool),
        languages,
        vocabulary,
    )


def save(packed: Packed, path: Path) -> None:
    """Write the file, whole or not at all."""
    arrays = {name: getattr(packed, name) for name in ("ids", "starts", "prefix", "middle", "language", "own")}
    partial = path.with_name(path.name + ".partial")
    save_file(arrays, partial, {"languages": json.dumps(packed.languages), "vocabulary": packed.vocabulary})
    partial.replace(path)


def load(path: Path, vocabulary: str) -> Packed:
    """Read the file. QuatrainError when it is missing or was made for another vocabulary."""
    if not path.is_file():
        raise QuatrainError(f"{path} is missing; make it with: quatrain train corpus --output {path.parent}")
    with safe_open(path, "np") as held:
        about = held.metadata()
        if about["vocabulary"] != vocabulary:
            raise QuatrainError(f"{path} was made for another model's vocabulary; make it again with this --model")
        arrays = {name: held.get_tensor(name) for name in held.keys()}  # noqa: SIM118 - not a mapping
    return Packed(**arrays, languages=tuple(json.loads(about["languages"])), vocabulary=about["vocabulary"])


def identity(vocabulary: Vocabulary) -> str:
    """A short name for what a vocabulary's ids mean."""
    digest = hashlib.sha256()
    for token in range(0, vocabulary.size, 97):
        digest.update(vocabulary.bytes_of(token) + b"\0")
    return f"{vocabulary.size}-{digest.hexdigest()[:12]}"


def commonest(texts: Iterable[str], vocabulary: Vocabulary, size: int) -> tuple[np.ndarray, list[tuple[int, float]]]:
    """The `size` ids that occur most often, sorted by id, and how much of the texts smaller choices cover:
    pairs of a number of ids and a share of all tokens."""
    counts = np.zeros(vocabulary.size, np.int64)
    for text in texts:
        np.add.at(counts, vocabulary.encode(text), 1)
    order = np.argsort(-counts, kind="stable")
    covered = np.cumsum(counts[order]) / max(counts.sum(), 1)
    shares = [(n, float(covered[min(n, len(covered)) - 1])) for n in (4096, 8192, 12288, 16384, 24576, 32768)]
    return np.sort(order[:size]).astype(np.int32), shares


def save_ids(ids: np.ndarray, path: Path, vocabulary: str) -> None:
    """Keep a draft vocabulary."""
    save_file({"ids": ids}, path, {"vocabulary": vocabulary})


def load_ids(path: Path, vocabulary: str) -> np.ndarray:
    """A draft vocabulary made for this vocabulary."""
    if not path.is_file():
        raise QuatrainError(f"{path} is missing; make it with: quatrain train corpus --output {path.parent}")
    with safe_open(path, "np") as held:
        if held.metadata()["vocabulary"] != vocabulary:
            raise QuatrainError(f"{path} was made for another model's vocabulary; make it again with this --model")
        return held.get_tensor("ids")
