"""The decode loop: prefill what is not cached, then rounds of draft, verify, accept, truncate.

Lossless: the tokens are those of plain decoding, whatever the drafts (blockwise parallel decoding,
Stern et al. 2018; self-speculation, Gloeckle et al. 2024 section 3.2). Knows ids and bytes, no syntax.
"""

from __future__ import annotations

import codecs
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from quatrain.model.api import EndReason, Prompt, Round, Stop
from quatrain.model.cache import KVCache
from quatrain.model.choose import Chooser, Sampling
from quatrain.model.draft import Draft, DraftSource
from quatrain.model.draft_length import DraftLengths
from quatrain.model.tokenizer import Vocabulary
from quatrain.model.trunk import Step

if TYPE_CHECKING:
    from quatrain.model.native import NativeTrunk
    from quatrain.model.transformer import Transformer

    Trunk: TypeAlias = Transformer | NativeTrunk

PIECE = 256
"""Prompt tokens per forward pass: the longest time a cancelled request still computes."""


@dataclass(slots=True)
class Writer:
    """Turns accepted ids into text: swallows the forced bytes, keeps unfinished characters back.

    Worked example: forced b"ca", ids of `.cache` cut to [b"cache", b"("] give the text "che(".
    """

    vocabulary: Vocabulary
    forced: bytes
    decoder: codecs.IncrementalDecoder = field(
        default_factory=lambda: codecs.getincrementaldecoder("utf-8")(errors="replace")
    )

    def write(self, ids: tuple[int, ...], final: bool) -> str:
        """Text that `ids` complete."""
        raw = b"".join(map(self.vocabulary.bytes_of, ids))
        swallowed = min(len(raw), len(self.forced))
        self.forced = self.forced[swallowed:]
        return self.decoder.decode(raw[swallowed:], final)


def verify(step: Step, draft: tuple[int, ...], forced: bytes, choose: Chooser) -> tuple[list[int], list[float], int]:
    """What the model says at each row for as long as it agrees with the draft, plus the token after.

    Row i of `step` stands before draft[i]. Returns the ids said, their probabilities, and how many of the
    drafted were accepted. Example: draft (a, b, c), model says a, x: returns [a, x], 1 accepted.
    """
    said: list[int] = []
    probs: list[float] = []
    for row in range(len(draft) + 1):
        token, prob = choose(step, row, forced)
        said.append(token)
        probs.append(prob)
        if token in choose.vocabulary.special or row == len(draft) or token != draft[row]:
            break
        forced = forced[len(choose.vocabulary.bytes_of(token)) :]
    return said, probs, len(said) - 1


def rounds(
    trunk: Trunk,
    cache: KVCache,
    vocabulary: Vocabulary,
    prompt: Prompt,
    stop: Stop,
    max_tokens: int,
    source: DraftSource,
    max_draft: int = 8,
    lengths: DraftLengths | None = None,
    sampling: Sampling | None = None,
) -> Generator[Round, None, None]:
    """Decode after `prompt`, a `Round` per forward pass, until an end token, `max_tokens`, a full cache or `stop`.

    The cache always holds exactly what was accepted, so closing the iterator at any round is safe. `lengths`
    chooses how much of a draft is verified, up to `max_draft`; without it all of it is. `sampling` draws from the
    model's distribution in place of always taking its best token.
    Raises ValueError when the prompt does not fit into the cache.
    """
    if not prompt.tokens or len(prompt.tokens) >= cache.capacity:
        raise ValueError(f"a prompt of {len(prompt.tokens)} tokens does not fit a cache of {cache.capacity}")
    began = time.perf_counter()
    reused = cache.reuse(prompt.tokens[:-1])
    feed = list(prefill(trunk, cache, prompt.tokens, stop, source))
    tokens, start = list(prompt.tokens), len(prompt.tokens)
    writer, choose = Writer(vocabulary, prompt.forced), Chooser(vocabulary, sampling)
    first = True
    while (reason := end_reason(stop, cache, feed, len(tokens) - start, max_tokens)) is None:
        begin = began if first else time.perf_counter()
        room = min(max_draft, max_tokens - (len(tokens) - start) - 1, cache.capacity - len(cache) - len(feed))
        draft = source.propose(tokens, start, room) if room > 0 else Draft()
        draft = lengths.trim(draft, len(feed)) if lengths else draft
        rows = range(len(feed) - 1, len(feed) + len(draft.tokens))
        step = trunk.forward([*feed, *draft.tokens], len(cache), cache.storage, rows)
        said, probs, accepted = verify(step, draft.tokens, writer.forced, choose)
        if step.taps is not None:
            source.observe(len(cache), step.taps[: len(feed) + accepted])
        cache.extend([*feed, *draft.tokens[:accepted]])
        if lengths:
            lengths.learn(draft, accepted)
        ended: EndReason | None = "end_token" if said[-1] in vocabulary.special else None
        kept = tuple(said[:-1] if ended else said)
        tokens += kept
        feed = said[-1:]
        ms = (time.perf_counter() - begin) * 1000
        counts = (reused, start - reused, ms) if first else (0, 0, 0.0)
        guessed, settled = writer.write(kept[:accepted], final=False), tuple(probs[: len(kept)])
        text = guessed + writer.write(kept[accepted:], final=ended is not None)
        numbers = (len(draft.tokens), accepted, draft.source, ended)
        yield Round(kept, text, settled, *numbers, *counts, ms=ms, guessed=len(guessed))
        if ended:
            return
        first = False
    yield Round((), writer.write((), final=True), ended=reason)


def end_reason(stop: Stop, cache: KVCache, feed: list[int], produced: int, max_tokens: int) -> EndReason | None:
    """Why there can be no further forward pass, or None."""
    if reason := stop.reason():
        return reason
    if produced >= max_tokens:
        return "length"
    return "full" if len(cache) + len(feed) > cache.capacity else None


def prefill(trunk: Trunk, cache: KVCache, prompt: tuple[int, ...], stop: Stop, source: DraftSource) -> tuple[int, ...]:
    """Compute the prompt but for its last piece, which is returned: the first round computes it with a draft.

    Ends early when `stop` says so.
    """
    while len(prompt) - len(cache) > PIECE and stop.reason() is None:
        piece = prompt[len(cache) : len(cache) + PIECE]
        step = trunk.forward(piece, len(cache), cache.storage, ())
        if step.taps is not None:
            source.observe(len(cache), step.taps)
        cache.extend(piece)
    return prompt[len(cache) :]
