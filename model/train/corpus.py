"""From fetched packages to texts worth learning from: filtered, without duplicates, split by package.

What is written: `train-LANGUAGE.jsonl.gz` and `held-LANGUAGE.jsonl.gz`, a line for each file with `package`,
`licence`, `language`, `path` and `text`. Knows files and lines; knows no tokens and no trees.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

from quatrain.model import packages
from quatrain.model.api import QuatrainError
from quatrain.model.packages import Package

LANGUAGES = {
    ".py": "python",
    ".js": "javascript",
    ".ts": "typescript",
    ".java": "java",
    ".c": "c",
    ".h": "c",
    ".cc": "cpp",
    ".cpp": "cpp",
    ".cxx": "cpp",
    ".hpp": "cpp",
    ".hxx": "cpp",
    ".go": "go",
    ".rs": "rust",
}
CPP_HEADER = re.compile(r"^\s*(?:namespace|class|template)\b|\bstd::", re.MULTILINE)
FOREIGN = {"vendor", "third_party", "thirdparty", "node_modules", "dist", "build", "min", "generated", "_vendor"}
GENERATED = re.compile(r"generated (?:by|from|code|file)|do not (?:edit|modify)|@generated", re.IGNORECASE)
LEAST_LINES, MOST_BYTES, WIDEST, MEAN_WIDTH = 20, 120_000, 300, 70
"""A text with wider or fuller lines, or larger, was mostly not written by a person."""
SEEN_SHARE = 0.4
"""A file more of whose lines were seen already is a copy of another."""
PACKAGE_BYTES = 500_000
"""No package gives more than this to a language."""


@dataclass(frozen=True, slots=True)
class Text:
    """A source file worth learning from."""

    package: str
    licence: str
    language: str
    path: str
    text: str


def language_of(path: Path, text: str) -> str | None:
    """By the ending; a header is C++ when it looks like it."""
    if path.name.endswith((".d.ts", ".min.js")):
        return None
    language = LANGUAGES.get(path.suffix)
    return "cpp" if path.suffix == ".h" and CPP_HEADER.search(text) else language


def worth(text: str) -> bool:
    """Whether a person wrote it, as far as one can tell."""
    lines = text.splitlines()
    if len(lines) < LEAST_LINES or len(text) > MOST_BYTES or GENERATED.search("\n".join(lines[:12])):
        return False
    return max(map(len, lines)) <= WIDEST and len(text) / len(lines) <= MEAN_WIDTH


def text_of(path: Path) -> str | None:
    """A file's text with `\\n` line ends; None for what is no UTF-8 text."""
    try:
        return path.read_bytes().decode("utf-8").replace("\r\n", "\n")
    except (OSError, UnicodeDecodeError):
        return None


def read(package: Package, folder: Path) -> Iterator[Text]:
    """The texts of a fetched package."""
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder)
        if path.suffix not in LANGUAGES or FOREIGN & {part.lower() for part in parts.parts[:-1]} or not path.is_file():
            continue
        text = text_of(path)
        language = language_of(path, text) if text else None
        if text and language and worth(text):
            yield Text(package.label, package.licence, language, parts.as_posix(), text)


class Unseen:
    """Tells copies: remembers the lines of what it let through."""

    def __init__(self) -> None:
        self.lines: set[int] = set()

    def take(self, text: str) -> bool:
        """Whether most of the text's telling lines are new; if so they are remembered."""
        telling = {hash(line.strip()) for line in text.splitlines() if len(line.strip()) >= 20}
        if not telling or len(telling & self.lines) > SEEN_SHARE * len(telling):
            return False
        self.lines |= telling
        return True


def gather(wanted: Sequence[Package], folder: Path) -> Iterator[Text]:
    """Texts of all packages, each package a limited amount of each language, no copies."""
    unseen = Unseen()
    for package in wanted:
        taken: dict[str, int] = {}
        texts = list(read(package, folder / package.label))
        Random(package.label).shuffle(texts)
        for text in texts:
            size = taken.get(text.language, 0)
            if size + len(text.text) <= PACKAGE_BYTES and unseen.take(text.text):
                taken[text.language] = size + len(text.text)
                yield text


def write(texts: Iterable[Text], folder: Path, held: frozenset[str]) -> dict[str, tuple[int, int]]:
    """Write the texts; those of packages named in `held` apart. Returns files and characters by file name.

    Whole or not at all, file by file. Raises QuatrainError when there is nothing to write.
    """
    groups: dict[str, list[Text]] = {}
    for text in texts:
        part = "held" if text.package in held else "train"
        groups.setdefault(f"{part}-{text.language}.jsonl.gz", []).append(text)
    if not groups:
        raise QuatrainError("no text is left to learn from")
    folder.mkdir(parents=True, exist_ok=True)
    for name, group in groups.items():
        partial = folder / (name + ".partial")
        with gzip.open(partial, "wt", encoding="utf-8", compresslevel=4) as out:
            for text in group:
                out.write(json.dumps(asdict(text), ensure_ascii=False) + "\n")
        partial.replace(folder / name)
    return {name: (len(group), sum(len(t.text) for t in group)) for name, group in sorted(groups.items())}


def load(folder: Path, part: str) -> Iterator[Text]:
    """The texts of `part` ("train" or "held"), languages one after the other. Raises QuatrainError for none."""
    files = sorted(folder.glob(f"{part}-*.jsonl.gz"))
    if not files:
        raise QuatrainError(f"{folder} holds no corpus; make one with: quatrain train corpus --output {folder}")
    for file in files:
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            for line in lines:
                yield Text(**json.loads(line))


def fetched(wanted: Sequence[Package], folder: Path) -> list[Package]:
    """Those of the packages that are there."""
    there = set(packages.fetched(wanted, folder))
    return [package for package in wanted if folder / package.label in there]
