"""From a corpus or any folder of source files to windows of tokens on disk, holes already made.

Files are cut into pieces of about a window; some pieces get a hole and are laid out as the product asks for it: the
text after the hole first, then the text before, then what belongs into it. The same seed gives the same windows.
Knows files, characters and tokens, no network.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np

from quatrain.model import fim
from quatrain.model.api import QuatrainError
from quatrain.model.tokenizer import Vocabulary
from quatrain.model.train import corpus
from quatrain.model.train.corpus import LANGUAGES, Text
from quatrain.model.train.pretrain.sizes import LOOKAHEAD
from quatrain.model.train.pretrain.tokens import END

HELD_SHARE = 20
"""One file in so many is held back where the folder does not say which."""
MOST_BYTES = 1_000_000
"""Larger files were not written by a person."""


@dataclass(frozen=True, slots=True)
class Piece:
    """text[start:end] is what the model is to say; the whole text is, if there is no hole in it."""

    text: str
    start: int
    end: int

    @property
    def holed(self) -> bool:
        return self.end < len(self.text)


def read(folder: Path, part: str) -> list[Text]:
    """The texts of `part`, "train" or "held": of a corpus, or of any folder of source files, some held back.

    Raises QuatrainError for a folder without any.
    """
    if any(folder.glob("*.jsonl.gz")):
        return list(corpus.load(folder, part))
    texts = list(sources(folder))
    held = {t.path for t in texts if int(hashlib.sha256(t.path.encode()).hexdigest(), 16) % HELD_SHARE == 0}
    held = held or {t.path for t in texts[-1:]}
    chosen = [t for t in texts if (t.path in held) == (part == "held")]
    if not chosen:
        raise QuatrainError(f"{folder} holds too few source files: one to learn from and one to measure with")
    return chosen


def sources(folder: Path) -> Iterator[Text]:
    """Source files of known languages under a folder."""
    for path in sorted(folder.rglob("*")):
        if path.suffix not in LANGUAGES or not path.is_file() or path.stat().st_size > MOST_BYTES:
            continue
        if (text := corpus.text_of(path)) and text.strip():
            language = corpus.language_of(path, text) or LANGUAGES[path.suffix]
            yield Text(folder.name, "", language, path.relative_to(folder).as_posix(), text)


def pieces(text: str, characters: int, holes: float, random: Random) -> Iterator[Piece]:
    """A file in pieces of about `characters`, cut at ends of lines, a share of them with a hole anywhere."""
    start = 0
    while start < len(text):
        end = text.find("\n", start + random.randint(characters // 2, characters)) + 1 or len(text)
        piece = text[start:end]
        if random.random() < holes and len(piece) > 16:
            first = random.randrange(1, len(piece) - 1)
            yield Piece(piece, first, min(len(piece) - 1, first + random.randint(4, max(8, len(piece) // 3))))
        else:
            yield Piece(piece, 0, len(piece))
        start = end


def ids_of(piece: Piece, vocabulary: Vocabulary) -> list[int]:
    """The piece as the product lays out a prompt, followed by the answer and the end marker."""
    parts = {
        "outline": [],
        "suffix": vocabulary.encode(piece.text[piece.end :]) if piece.holed else [],
        "prefix": vocabulary.encode(piece.text[: piece.end]),  # before the hole and in it: one text
    }
    end = vocabulary.marker(END)
    return fim.lay_out(fim.layout_for(vocabulary), vocabulary, parts) + ([] if end is None else [end])


def stream(texts: Sequence[Text], vocabulary: Vocabulary, context: int, holes: float, seed: int) -> Iterator[list[int]]:
    """Ids of all texts, in an order of no meaning."""
    random = Random(f"{seed}|pieces")
    order = list(texts)
    random.shuffle(order)
    sample = "".join(t.text[:2000] for t in order[:50])
    width = max(1.0, len(sample) / max(1, len(vocabulary.encode(sample))))  # characters a token
    for text in order:
        for piece in pieces(text.text, max(64, int(context * width)), holes, random):
            yield ids_of(piece, vocabulary)


def write(ids: Iterable[list[int]], vocab: int, target: Path, most: int) -> int:
    """Write a stream of ids, whole or not at all, but not much more than `most`; returns how many."""
    kind = np.uint16 if vocab <= 1 << 16 else np.uint32
    partial, count = target.with_name(target.name + ".partial"), 0
    with partial.open("wb") as out:
        for some in ids:
            np.asarray(some, kind).tofile(out)
            count += len(some)
            if count >= most:
                break
    partial.replace(target)
    return count


class Windows:
    """Windows of `context` + LOOKAHEAD ids over a file of them; a torch dataset. Each id is read as input once."""

    def __init__(self, file: Path, vocab: int, context: int) -> None:
        kind = np.dtype(np.uint16 if vocab <= 1 << 16 else np.uint32)
        self.context = context
        if (count := file.stat().st_size // kind.itemsize) < context + LOOKAHEAD:
            raise QuatrainError(f"{count} tokens of text are too few for a context of {context}")
        self.ids = np.memmap(file, kind, mode="r")

    def __len__(self) -> int:
        return (len(self.ids) - LOOKAHEAD) // self.context

    def __getitem__(self, index: int) -> np.ndarray:
        start = index * self.context
        return self.ids[start : start + self.context + LOOKAHEAD].astype(np.int64)


class Order:
    """Which windows the steps from `first` on read, for one of `ranks` processes: a torch batch sampler.

    Every epoch is shuffled anew, by its number alone, so that a resumed run reads what an uninterrupted one would.
    """

    def __init__(
        self, windows: int, batch: int, first: int, last: int, seed: int, rank: int = 0, ranks: int = 1
    ) -> None:
        self.windows, self.batch, self.steps = windows, batch, range(first, last)
        self.seed, self.rank, self.ranks = seed, rank, ranks

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[list[int]]:
        shuffled: dict[int, np.ndarray] = {}
        for step in self.steps:
            places = range(step * self.batch + self.rank, (step + 1) * self.batch, self.ranks)
            for epoch in {place // self.windows for place in places} - shuffled.keys():
                shuffled = {k: v for k, v in shuffled.items() if k >= places[0] // self.windows}
                shuffled[epoch] = np.random.default_rng((self.seed, epoch)).permutation(self.windows)
            yield [int(shuffled[place // self.windows][place % self.windows]) for place in places]
