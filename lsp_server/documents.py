"""A stand-in for the document store: the snapshot that the syntax half reads, nothing else."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One document at one moment. `cursor` counts code points into `text`; `tree` belongs to the reader."""

    path: str
    language: str
    text: str
    cursor: int
    tree: object | None
    version: int | None = None
