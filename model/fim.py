"""Prompt layouts: one row says which markers a model knows and in which order it reads the parts.

A row is used when the vocabulary has all of its markers; the first that fits wins. The order of parts was
measured (LOG.md): with the prefix last, typing appends to the prompt and everything before stays cached.
Knows no text but the markers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from quatrain.model.tokenizer import Vocabulary

Part: TypeAlias = Literal["outline", "suffix", "prefix"]


@dataclass(frozen=True, slots=True)
class Layout:
    """`items` are markers and the names of parts, in reading order. The prefix is always the last item:
    what the model writes continues it."""

    name: str
    items: tuple[str, ...]

    @property
    def markers(self) -> tuple[str, ...]:
        return tuple(item for item in self.items if item not in PARTS)


PARTS: tuple[Part, ...] = ("outline", "suffix", "prefix")

LAYOUTS: tuple[Layout, ...] = (
    Layout("qwen", ("<|fim_prefix|>", "outline", "<|fim_suffix|>", "suffix", "<|fim_middle|>", "prefix")),
    Layout("starcoder", ("<fim_prefix>", "outline", "<fim_suffix>", "suffix", "<fim_middle>", "prefix")),
    Layout("deepseek", ("<｜fim▁begin｜>", "outline", "<｜fim▁hole｜>", "suffix", "<｜fim▁end｜>", "prefix")),
    Layout("codellama", ("▁<PRE>", "outline", "▁<SUF>", "suffix", "▁<MID>", "prefix")),
    Layout("sentencepiece", ("<s>", "outline", "prefix")),  # Llama 1 and 2, Meta's: every text began so
    Layout("plain", ("outline", "prefix")),  # no fill-in-the-middle training: the suffix cannot be shown
)


def layout_for(vocabulary: Vocabulary) -> Layout:
    """The first layout whose markers the vocabulary has."""
    return next(row for row in LAYOUTS if all(vocabulary.marker(m) is not None for m in row.markers))


def lay_out(layout: Layout, vocabulary: Vocabulary, parts: dict[str, list[int]]) -> list[int]:
    """Token ids of the whole prompt from the ids of its parts."""
    ids: list[int] = []
    for item in layout.items:
        if item in PARTS:
            ids += parts[item]
        else:
            marker = vocabulary.marker(item)
            if marker is None:
                raise ValueError(f"the vocabulary has no {item}")
            ids.append(marker)
    return ids
