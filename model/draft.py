"""Where drafts come from: guesses at the next tokens that one forward pass then verifies.

A source sees token ids, and the trunk's states if it asks for them. It may propose anything: verification
decides, so a bad draft costs time and never changes the output.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True, slots=True)
class Draft:
    """Proposed ids, with the name of the source that proposed them, and how probable it finds each of them given
    those before, where it can tell."""

    tokens: tuple[int, ...] = ()
    source: str = "none"
    probs: tuple[float, ...] = ()


class DraftSource(Protocol):
    """Proposes up to `limit` ids to follow `tokens` (prompt and everything generated since `start`).

    A trunk that was made with `taps` shows its states of every accepted token before the next proposal:
    `states` (n, taps, width) float32 stand at `position`, `position` + 1, ... After a part of the cache was
    forgotten, positions are shown again.
    """

    def propose(self, tokens: Sequence[int], start: int, limit: int) -> Draft: ...

    def observe(self, position: int, states: np.ndarray) -> None: ...


class TextDraft:
    """A source that goes by token ids alone."""

    def observe(self, position: int, states: np.ndarray) -> None:
        """States say nothing to it."""


class NoDraft(TextDraft):
    """Plain decoding: one token per forward pass."""

    def propose(self, tokens: Sequence[int], start: int, limit: int) -> Draft:
        return Draft()


class GivenDraft(TextDraft):
    """A text somebody expects, such as the previous suggestion: proposed as long as it agrees, and again from
    the point where the last two generated tokens recur in it after a deviation."""

    def __init__(self, ids: Sequence[int]) -> None:
        self.ids = tuple(ids)

    def propose(self, tokens: Sequence[int], start: int, limit: int) -> Draft:
        done = tokens[start:]
        at = self.resume(done)
        return Draft(self.ids[at : at + limit], "given") if at < len(self.ids) else Draft()

    def resume(self, done: Sequence[int]) -> int:
        """Position in `ids` that follows `done`; len(ids) when there is none.

        >>> GivenDraft([1, 2, 3, 4, 5]).resume([1, 2])
        2
        >>> GivenDraft([1, 2, 3, 4, 5]).resume([9, 3, 4])
        4
        """
        if tuple(done) == self.ids[: len(done)]:
            return len(done)
        if len(done) < 2:
            return len(self.ids)
        pair = tuple(done[-2:])
        found = (at + 2 for at in range(len(self.ids) - 1) if self.ids[at : at + 2] == pair)
        return next(found, len(self.ids))


class LookupDraft(TextDraft):
    """Prompt lookup: find the latest earlier place where the last tokens stood, propose what followed there.

    Longer matches are tried first (`longest` down to `shortest` tokens). Code repeats itself, and looking is
    nearly free: an index of all n-grams grows with the tokens.
    """

    def __init__(self, longest: int = 6, shortest: int = 2) -> None:
        self.sizes = range(longest, shortest - 1, -1)
        self.seen: list[int] = []
        self.index: dict[tuple[int, ...], int] = {}

    def propose(self, tokens: Sequence[int], start: int, limit: int) -> Draft:
        self.learn(tokens)
        for size in self.sizes:
            at = self.index.get(tuple(tokens[-size:])) if len(tokens) >= size else None
            if at is not None:
                # the draft may only be as bold as the match is long: two equal tokens say little
                return Draft(tuple(tokens[at : at + min(limit, 2 * size - 2)]), "lookup")
        return Draft()

    def learn(self, tokens: Sequence[int]) -> None:
        """Index every n-gram that is followed by something. Only new tokens are visited while `tokens` grows."""
        known = len(self.seen)
        if self.seen != tokens[:known]:
            self.seen, self.index, known = [], {}, 0
        for end in range(max(known, 1), len(tokens)):
            for size in self.sizes:
                if end >= size:
                    self.index[tuple(tokens[end - size : end])] = end
        self.seen = list(tokens)


class FirstOf:
    """The first source that has a draft."""

    def __init__(self, *sources: DraftSource) -> None:
        self.sources = sources

    def propose(self, tokens: Sequence[int], start: int, limit: int) -> Draft:
        drafts = (source.propose(tokens, start, limit) for source in self.sources)
        return next((draft for draft in drafts if draft.tokens), Draft())

    def observe(self, position: int, states: np.ndarray) -> None:
        for source in self.sources:
            source.observe(position, states)
