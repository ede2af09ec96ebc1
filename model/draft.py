"""Where drafts come from: guesses at the next tokens that one forward pass then verifies.

A source sees token ids, and the trunk's states if it asks for them. It may propose anything: verification
decides, so a bad draft costs time and never changes the output.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from quatrain.model.cache import common_prefix


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


class Ngrams:
    """Tokens one after the other, and for each run of `sizes` tokens where the latest one like it ended. A -1 in
    `store` separates texts."""

    def __init__(self, sizes: Sequence[int]) -> None:
        self.sizes = sizes
        self.store: list[int] = []
        self.index: dict[int, int] = {}

    def add(self, tokens: Sequence[int]) -> None:
        for token in tokens:
            end = len(self.store)
            for size in self.sizes if token >= 0 else ():
                if end >= size:
                    self.index[hash(tuple(self.store[end - size : end]))] = end
            self.store.append(token)

    def after(self, run: tuple[int, ...], most: int) -> tuple[int, ...]:
        """Up to `most` tokens that followed the latest `run`."""
        end = self.index.get(hash(run))
        if end is None or tuple(self.store[end - len(run) : end]) != run:
            return ()
        followed = self.store[end : end + most]
        return tuple(followed[: followed.index(-1)] if -1 in followed else followed)


class LookupDraft(TextDraft):
    """Prompt lookup: find the latest place where the last tokens stood, propose what followed there. It looks
    through the prompt and what was written since, and through earlier prompts and answers, of which it remembers
    some `remembered` to twice as many tokens.

    Longer matches are tried first (`longest` down to `shortest` tokens). Code repeats itself, and looking is
    nearly free: the index grows with the tokens.
    """

    def __init__(self, longest: int = 6, shortest: int = 2, remembered: int = 24_576) -> None:
        self.sizes = range(longest, shortest - 1, -1)
        self.remembered = remembered
        self.stream: list[int] = []
        self.young, self.old = Ngrams(self.sizes), Ngrams(self.sizes)

    def propose(self, tokens: Sequence[int], start: int, limit: int) -> Draft:
        self.learn(tokens)
        for size in self.sizes:
            run = tuple(tokens[-size:])
            # the draft may only be as bold as the match is long: two equal tokens say little
            most = min(limit, 2 * size - 2)
            if len(run) == size and (found := self.young.after(run, most) or self.old.after(run, most)):
                return Draft(found, "lookup")
        return Draft()

    def learn(self, tokens: Sequence[int]) -> None:
        """Take in what is new since the last time. Only that is visited while `tokens` grows."""
        known = len(self.stream)
        if self.stream != tokens[:known]:
            known = common_prefix(self.stream, tokens)
        if known < len(self.stream) or len(self.young.store) > self.remembered:
            if len(self.young.store) > self.remembered:
                self.old, self.young = self.young, Ngrams(self.sizes)
            self.young.add((-1, *tokens[max(0, known - self.sizes[0]) : known]))
        self.young.add(tokens[known:])
        self.stream = list(tokens)


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
