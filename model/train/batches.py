"""Batches for draft heads: places in documents, what the head reads there, what the trunk says next.

The trunk's distribution at each place is kept as its few most probable draft tokens. Places where the text is what
the trunk itself would have said count in full, others little: a head is only ever asked behind the trunk's own
choice. Knows arrays; knows no head.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from quatrain.model.heads import HeadConfig
from quatrain.model.train.states import Document

TOP = 8
"""Most probable tokens kept of a distribution."""
STRAY = 0.15
"""What a place counts where the text is not what the trunk would have said."""
OWN = 3.0
"""How much more often a place is taken where the trunk wrote the text itself."""


@dataclass(frozen=True, slots=True)
class Teacher:
    """The unembedding rows of the draft vocabulary (V, width), its ids (V,) sorted, and which ids are special."""

    rows: Tensor
    ids: Tensor
    special: frozenset[int]

    @torch.inference_mode()
    def top(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Indices into the draft vocabulary (n, TOP) and probabilities of the trunk's likeliest tokens, from its
        states after the final norm (n, width)."""
        probs = (states @ self.rows.T).softmax(-1)  # (n, V)
        best = probs.topk(TOP, dim=-1)
        return best.indices.to(torch.int32), best.values


@dataclass(frozen=True, slots=True)
class Lesson:
    """A document with what the trunk says at each place: `said` (n, TOP) indices of draft tokens, `probs` of them,
    `agrees` (n,) whether the next id is the likeliest, `fit` places a head may start from for `steps` tokens, and
    `chance` of each of them to be taken."""

    document: Document
    said: np.ndarray
    probs: np.ndarray
    agrees: np.ndarray
    fit: np.ndarray
    chance: np.ndarray


def lesson(document: Document, teacher: Teacher, steps: int, final: int) -> Lesson:
    """`final` is the number of the tap after the final norm."""
    said, probs = teacher.top(torch.from_numpy(document.states[:, final].astype(np.float32)))
    ids = document.ids
    likeliest = teacher.ids[said[:, 0].long()].numpy()
    agrees = np.append(likeliest[:-1] == ids[1:], False)
    usable = ~np.isin(ids, list(teacher.special))
    places = np.arange(1, len(ids) - steps - 1)
    fit = places[[usable[t : t + steps + 2].all() for t in places]]
    like_live = np.where(agrees[fit], 1.0, STRAY) * np.where(document.own & (fit >= document.middle), OWN, 1.0)
    chance = like_live / like_live.sum()
    return Lesson(document, said.numpy(), probs.numpy().astype(np.float16), agrees, fit, chance)


def lessons(documents: Iterable[Document], teacher: Teacher, steps: int, final: int) -> list[Lesson]:
    """Lessons of all documents that have places to start from."""
    made = (lesson(document, teacher, steps, final) for document in documents)
    return [one for one in made if len(one.fit) > steps]


@dataclass(frozen=True, slots=True)
class Batch:
    """B documents, P places in each, K tokens ahead. `taps` (B, P, taps, width); `tokens` (B, P, K) the ids that the
    head is given; `positions` (B, P) of the places; `past`: keys and values (B, kv_heads, T, dim) for each block;
    `mask` (B, 1, P, T); `said` and `probs` (B, P, K, TOP), `weight` (B, P, K), `features` (B, P, K, width) the
    trunk's states after the final norm that the head's should come to resemble."""

    taps: Tensor
    tokens: Tensor
    positions: Tensor
    past: list[tuple[Tensor, Tensor]]
    mask: Tensor
    said: Tensor
    probs: Tensor
    weight: Tensor
    features: Tensor


@dataclass(frozen=True, slots=True)
class Reading:
    """Which of the stored states and layers a head reads: positions of its taps among the stored ones, of its
    blocks' layers among the stored ones, and of the tap after the final norm."""

    taps: tuple[int, ...]
    layers: tuple[int, ...]
    final: int


def reading(config: HeadConfig, taps: Sequence[int], layers: Sequence[int], depth: int) -> Reading:
    """ValueError when what the head wants was not stored."""
    return Reading(
        tuple(taps.index(tap) for tap in config.taps),
        tuple(layers.index(layer) for layer in config.attends),
        list(taps).index(depth),
    )


def batch(chosen: Sequence[tuple[Lesson, np.ndarray]], read: Reading, steps: int, decay: float) -> Batch:
    """Documents with the places (P,) to start from, as many in each."""
    longest = max(len(lesson.document.ids) for lesson, _ in chosen)
    ahead = np.arange(1, steps + 1)  # the place whose distribution the k-th drafted token is checked against
    columns = np.arange(longest)
    rows: dict[str, list[np.ndarray]] = {name: [] for name in Batch.__slots__ if name != "past"}
    for lesson, places in chosen:
        document, targets = lesson.document, places[:, None] + ahead  # (P, K)
        rows["taps"].append(document.states[places][:, read.taps].astype(np.float32))
        rows["tokens"].append(document.ids[targets].astype(np.int64))
        rows["positions"].append(places)
        rows["mask"].append((columns <= places[:, None])[None])
        rows["said"].append(lesson.said[targets].astype(np.int64))
        rows["probs"].append(lesson.probs[targets].astype(np.float32))
        own = np.cumprod(lesson.agrees[places[:, None] + ahead - 1], axis=1)  # were all given tokens the trunk's?
        rows["weight"].append(np.where(own, 1.0, STRAY).astype(np.float32) * decay ** (ahead - 1))
        rows["features"].append(document.states[targets][:, :, read.final].astype(np.float32))
    tensors = {name: torch.from_numpy(np.stack(parts)) for name, parts in rows.items()}
    tensors["weight"] = tensors["weight"].float()
    pasts = [padded([lesson.document for lesson, _ in chosen], layer, longest) for layer in read.layers]
    return Batch(past=pasts, **tensors)


def padded(documents: Sequence[Document], layer: int, longest: int) -> tuple[Tensor, Tensor]:
    """Keys and values of one stored layer (B, kv_heads, longest, dim)."""
    found = []
    for tables in ([d.keys for d in documents], [d.values for d in documents]):
        out = np.zeros((len(documents), tables[0].shape[1], longest, tables[0].shape[3]), np.float32)
        for i, table in enumerate(tables):
            out[i, :, : table.shape[2]] = table[layer]
        found.append(torch.from_numpy(out))
    return found[0], found[1]
