"""What draft heads learn from: the trunk's states, keys and values along training documents, kept on disk.

The trunk is run once over each document; where a document's end is to be written anew, it writes it itself
(self-distillation, FastMTP section 3). Parts of some ten thousand tokens are written whole or not at all, so a run
that was stopped goes on where it was. Knows documents as ids; knows no heads.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from quatrain.model import decode
from quatrain.model.api import Prompt, QuatrainError, Stop
from quatrain.model.cache import KVCache
from quatrain.model.draft import Draft, LookupDraft
from quatrain.model.fetch import Report
from quatrain.model.train.examples import Packed

if TYPE_CHECKING:
    from quatrain.model.decode import Trunk
    from quatrain.model.tokenizer import Vocabulary

PART_TOKENS = 25_000
OWN_TOKENS = 64
MOST = 65_504.0
"""The greatest half: single states of a trunk can be larger, and clipping them changes no direction."""


@dataclass(frozen=True, slots=True)
class Document:
    """`ids` (n,), `prefix` and `middle` as in `examples`; states (n, taps, width), keys and values of the chosen
    layers (layers, kv_heads, n, dim), all float16."""

    ids: np.ndarray
    prefix: int
    middle: int
    language: int
    own: bool
    states: np.ndarray
    keys: np.ndarray
    values: np.ndarray


class Recorder:
    """A draft source that writes down what the trunk shows it, and leaves proposing to a lookup."""

    def __init__(self, states: np.ndarray) -> None:
        self.states = states
        self.lookup = LookupDraft()

    def propose(self, tokens: Sequence[int], start: int, limit: int) -> Draft:
        return self.lookup.propose(tokens, start, limit)

    def observe(self, position: int, states: np.ndarray) -> None:
        self.states[position : position + len(states)] = states


class Watcher:
    """Runs a trunk with taps over documents."""

    def __init__(self, trunk: Trunk, vocabulary: Vocabulary, layers: Sequence[int], longest: int) -> None:
        self.trunk, self.vocabulary, self.layers = trunk, vocabulary, tuple(layers)
        capacity = longest + OWN_TOKENS + 16
        self.cache = KVCache(trunk.allocate(capacity), capacity)
        self.states = np.zeros((capacity, len(trunk.taps), trunk.config.width), np.float32)

    def watch(self, packed: Packed, number: int) -> Document:
        """Document `number` with what the trunk makes of it."""
        ids, middle, own = packed.document(number), int(packed.middle[number]), bool(packed.own[number])
        ids = ids[: self.trunk.config.max_positions]
        self.cache.truncate(0)
        if own:
            ids = self.written_anew(ids[:middle])
        else:
            self.read(ids)
        n = len(ids)
        pasts = [self.cache.storage.past(layer, n) for layer in self.layers]
        keys, values = (np.stack([np.asarray(past[i], np.float16) for past in pasts]) for i in (0, 1))
        states = np.clip(self.states[:n], -MOST, MOST).astype(np.float16)
        place = int(packed.prefix[number]), middle, int(packed.language[number])
        return Document(np.asarray(ids, np.int32), *place, own, states, keys, values)

    def read(self, ids: np.ndarray) -> None:
        for first in range(0, len(ids), decode.PIECE):
            piece = ids[first : first + decode.PIECE].tolist()
            step = self.trunk.forward(piece, first, self.cache.storage, ())
            assert step.taps is not None
            self.states[first : first + len(piece)] = step.taps

    def written_anew(self, prompt: np.ndarray) -> np.ndarray:
        """The prompt's ids with the trunk's own continuation, as far as its states are known."""
        given = Prompt(tuple(prompt.tolist()))
        recorder = Recorder(self.states)
        rounds = decode.rounds(
            self.trunk, self.cache, self.vocabulary, given, Stop(), OWN_TOKENS, recorder, lengths=None, max_draft=4
        )
        said = [token for r in rounds for token in r.tokens]
        return np.array([*given.tokens, *said][: len(self.cache)], np.int32)


def collect(watcher: Watcher, packed: Packed, folder: Path, tokens: int, report: Report) -> None:
    """Watch documents until `tokens` ids are on disk or there are no more."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "about.json").write_text(json.dumps({"taps": watcher.trunk.taps, "layers": watcher.layers}))
    number, total = 0, min(tokens, len(packed.ids))
    while number < len(packed) and packed.starts[number] < tokens:
        last = number + 1
        while last < len(packed) and packed.starts[last + 1] - packed.starts[number] <= PART_TOKENS:
            last += 1
        path = folder / f"{number:06}-{last:06}.safetensors"
        if not path.exists():
            documents = []
            for i in range(number, last):
                report("reading documents", int(packed.starts[i]), total)
                documents.append(watcher.watch(packed, i))
            save_part(documents, path)
        number = last


def save_part(documents: Sequence[Document], path: Path) -> None:
    """Write a part, whole or not at all."""
    tables = {
        "starts": np.cumsum([0, *(len(d.ids) for d in documents)]).astype(np.int64),
        "about": np.array([(d.prefix, d.middle, d.language, d.own) for d in documents], np.int32),
        "ids": np.concatenate([d.ids for d in documents]),
        "states": np.concatenate([d.states for d in documents]),
        "keys": np.concatenate([d.keys for d in documents], axis=2),
        "values": np.concatenate([d.values for d in documents], axis=2),
    }
    partial = path.with_name(path.name + ".partial")
    save_file({name: np.ascontiguousarray(table) for name, table in tables.items()}, partial)
    partial.replace(path)


def parts(folder: Path) -> list[Path]:
    """The parts that are there, in order. Raises QuatrainError when there are none."""
    found = sorted(folder.glob("*.safetensors"))
    if not found:
        raise QuatrainError(f"{folder} holds no states; make them with: quatrain train states")
    return found


def stored(folder: Path) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The taps and the layers that a folder of parts holds. Raises QuatrainError when there is none."""
    path = folder / "about.json"
    if not path.is_file():
        raise QuatrainError(f"{folder} holds no states; make them with: quatrain train states")
    about = json.loads(path.read_text())
    return tuple(about["taps"]), tuple(about["layers"])


def documents(path: Path) -> Iterator[Document]:
    """The documents of a part."""
    with safe_open(path, "np") as held:
        tables = {name: held.get_tensor(name) for name in held.keys()}  # noqa: SIM118 - not a mapping
    for i, (prefix, middle, language, own) in enumerate(tables["about"].tolist()):
        span = slice(tables["starts"][i], tables["starts"][i + 1])
        past = (tables[name][:, :, span] for name in ("keys", "values"))
        yield Document(tables["ids"][span], prefix, middle, language, bool(own), tables["states"][span], *past)
