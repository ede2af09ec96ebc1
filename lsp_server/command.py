"""`quatrain complete`: positions on the command line to completions on standard output."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from rich.console import Console

from quatrain.lsp_server import languages, show
from quatrain.lsp_server.complete import Completer, Completion
from quatrain.lsp_server.documents import Document
from quatrain.lsp_server.settings import from_client
from quatrain.model.api import QuatrainError, Stop
from quatrain.model.choose import Sampling

if TYPE_CHECKING:
    from quatrain.model.engine import LocalEngine

FILE_LIMIT = 8_000_000
"""Bytes. Nobody types in larger files, and reading them whole would be slow."""

STDIN = "<standard input>"
"""How `-` arrives here: an argument that begins with a dash would be taken for an option."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What to print, and how to choose tokens: greedily, unless `sampling` says how to draw them."""

    as_json: bool = False
    explain: bool = False
    sampling: Sampling | None = None


@dataclass(frozen=True, slots=True)
class Position:
    """A file (or "-") with a line and a column, both from 1, in characters."""

    file: str
    line: int
    column: int


def run(given: Sequence[str], changes: Mapping[str, Any], language: str | None, shown: Shown) -> int:
    """Complete at every position, loading the model once. Raises QuatrainError before loading it if one is bad."""
    settings, problems = from_client({key: value for key, value in changes.items() if value is not None})
    if problems:
        raise QuatrainError("; ".join(problems))
    texts: dict[str, str] = {}
    places = []
    for position in map(parse, given):
        document = open_document(position.file, language, texts)
        places.append((document, offset_of(document, position)))
    from quatrain.lsp_server.serving import open_local

    with show.progress() as report:
        engine = open_local(settings, report)
        if shown.sampling:
            cast("LocalEngine", engine).sampling = shown.sampling
        completer = Completer(engine)
    console = Console(highlight=False, soft_wrap=True)
    for document, offset in places:
        answer = completer.complete(document.snapshot(offset), settings, Stop())  # a person waits
        if shown.as_json:
            sys.stdout.write(json.dumps(as_plain(document, answer), ensure_ascii=False) + "\n")
            continue
        show.completion(document, answer, console)
        if shown.explain:
            show.explanation(answer.trace.rounds, console)
    return 0


def parse(text: str) -> Position:
    """`FILE:LINE:COL`; a Windows drive's colon is part of the file."""
    parts = text.rsplit(":", 2)
    if len(parts) != 3 or not parts[0] or not all(part.isascii() and part.isdigit() for part in parts[1:]):
        raise QuatrainError(f"{text!r} is not FILE:LINE:COL, for example src/main.py:12:5 (both from 1)")
    return Position("-" if parts[0] == STDIN else parts[0], int(parts[1]), int(parts[2]))


def open_document(file: str, language: str | None, texts: dict[str, str]) -> Document:
    """The document of a file or of standard input, each read once."""
    name = languages.language_for(language, "" if language or file == "-" else file)
    if language and not name:
        raise QuatrainError(f"no language {language!r}; known are {', '.join(languages.LANGUAGES)}")
    if file not in texts:
        texts[file] = read(file)
    return Document(file, name, texts[file])


def read(file: str) -> str:
    """The text of `file`. Raises QuatrainError for what cannot be completed in."""
    try:
        if file == "-":
            raw = sys.stdin.buffer.read(FILE_LIMIT + 1)
        else:
            if (size := Path(file).stat().st_size) > FILE_LIMIT:
                raise QuatrainError(f"{file} has {size / 1e6:.0f} MB; the limit is {FILE_LIMIT / 1e6:.0f} MB.")
            raw = Path(file).read_bytes()
    except FileNotFoundError:
        raise QuatrainError(f"{file}: no such file") from None
    except OSError as error:
        raise QuatrainError(f"{file}: {error.strerror or error}") from error
    if len(raw) > FILE_LIMIT:
        raise QuatrainError(f"{file} has more than {FILE_LIMIT / 1e6:.0f} MB, which is the limit.")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise QuatrainError(f"{file} is not UTF-8 text (byte {error.start}). Convert it first.") from error
    if not text.strip():
        raise QuatrainError(f"{file} is empty: there is nothing to go by.")
    return text


def offset_of(document: Document, position: Position) -> int:
    """Offset of a position. Raises QuatrainError when it is outside the file."""
    lines = len(document.starts)
    if not 1 <= position.line <= lines:
        raise QuatrainError(f"{position.file} has {lines} lines; there is no line {position.line}.")
    length = len(document.line(position.line - 1))
    if not 1 <= position.column <= length + 1:
        raise QuatrainError(
            f"{position.file}:{position.line} has {length} characters: columns go from 1 to {length + 1}, "
            f"not {position.column}."
        )
    return document.starts[position.line - 1] + position.column - 1


def as_plain(document: Document, answer: Completion) -> dict[str, Any]:
    """What `--json` prints for one position."""
    (l0, c0), (l1, c1) = (document.place(at, "utf-32") for at in (answer.start, answer.end))
    return {
        "file": document.path,
        "language": document.language,
        "position": {"line": l0 + 1, "column": c0 + 1},
        "text": answer.text,
        "range": {"start": {"line": l0 + 1, "column": c0 + 1}, "end": {"line": l1 + 1, "column": c1 + 1}},
        "reason": answer.reason,
        "source": answer.source,
        "safe": [list(pair) for pair in answer.safe],
    } | answer.trace.summary()
