"""Source files to punch holes into: the Python standard library, what was fetched, what the user names.

Knows files; knows no trees and no network.
"""

from __future__ import annotations

import glob
import sysconfig
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from quatrain.lsp_server import languages
from quatrain.lsp_server.evaluate.case import Case
from quatrain.lsp_server.evaluate.holes import punch
from quatrain.model.api import QuatrainError

SKIPPED = {
    "site-packages",
    "test",
    "tests",
    "idlelib",
    "lib2to3",
    "encodings",
    "__pycache__",
    "node_modules",
    "testdata",
    "dist",
}
LEAST_LINES, MOST_BYTES, WIDEST = 15, 200_000, 400
"""Smaller files have no holes worth the name; larger ones and those with wider lines are generated, mostly."""


@dataclass(frozen=True, slots=True)
class File:
    """`name` is the same on every machine."""

    name: str
    path: Path
    language: str


def standard_library() -> Iterator[File]:
    """Python's own."""
    return under(Path(sysconfig.get_paths()["stdlib"]), "python", {"python"})


def under(folder: Path, name: str, wanted: set[str] | None = None) -> Iterator[File]:
    """Files of known languages in a folder, sorted."""
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder)
        if SKIPPED & set(parts.parts[:-1]) or parts.name.endswith((".d.ts", ".min.js")):
            continue
        language = languages.language_for(None, path.name)
        if language and (wanted is None or language in wanted) and path.is_file():
            yield File(f"{name}/{parts.as_posix()}", path, language)


def matching(patterns: Sequence[str]) -> list[File]:
    """Files and folders that the user names. Raises QuatrainError for a pattern that finds nothing."""
    found: dict[str, File] = {}
    for pattern in patterns:
        hits = sorted(map(Path, glob.glob(pattern, recursive=True)))
        if not hits:
            raise QuatrainError(f"no file matches {pattern!r}")
        for hit in hits:
            if hit.is_dir():
                found |= {file.name: file for file in under(hit, hit.name)}
            elif language := languages.language_for(None, hit.name):
                found[hit.as_posix()] = File(hit.as_posix(), hit, language)
    return list(found.values())


def text_of(file: File) -> str | None:
    """The file's text, if it is one that a person wrote, as far as one can tell."""
    try:
        if file.path.stat().st_size > MOST_BYTES:
            return None
        text = file.path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return None
    lines = text.splitlines()
    return text if len(lines) >= LEAST_LINES and max(map(len, lines)) <= WIDEST else None


def shuffled(files: Sequence[File], seed: int) -> dict[str, list[File]]:
    """By language, in an order that the seed decides."""
    groups: dict[str, list[File]] = defaultdict(list)
    for file in sorted(files, key=lambda file: file.name):
        groups[file.language].append(file)
    for name, group in groups.items():
        Random(f"{seed}|{name}").shuffle(group)
    return dict(sorted(groups.items()))


def punched(files: Sequence[File], limit: int, seed: int) -> list[Case]:
    """`limit` cases, as evenly over languages and kinds as the files allow: languages take turns, a hole each."""
    turns = [cases_of(group, seed) for group in shuffled(files, seed).values()]
    cases: list[Case] = []
    while turns and len(cases) < limit:
        for turn in list(turns):
            if (case := next(turn, None)) is None:
                turns.remove(turn)
            elif len(cases) < limit:
                cases.append(case)
    return cases


def cases_of(files: Sequence[File], seed: int) -> Iterator[Case]:
    """Holes in file after file."""
    for file in files:
        if (text := text_of(file)) is not None and languages.LANGUAGES[file.language].bodies:
            cases = punch(text, file.language, file.name, seed)
            Random(f"{seed}|{file.name}").shuffle(cases)
            yield from cases


def sample(cases: Sequence[Case], limit: int, seed: int) -> list[Case]:
    """`limit` of the cases, shuffled; a larger limit begins with the cases of a smaller one."""
    order = sorted(cases, key=lambda case: case.id)
    Random(f"{seed}|sample").shuffle(order)
    return order[:limit]
