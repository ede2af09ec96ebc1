"""The laws of decoding: drafts never change the output, forced bytes are forced, stops stop, caches hold."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import tiny_engine

from quatrain.model import decode
from quatrain.model.api import Prompt, Round, Stop
from quatrain.model.choose import Chooser
from quatrain.model.draft import Draft, DraftSource, FirstOf, GivenDraft, LookupDraft, NoDraft, TextDraft
from quatrain.model.engine import LocalEngine
from quatrain.model.transformer import Transformer

PAIRS = (b"ab", b"ca", b"  ", b"\n ", b"he")
ENGINE = tiny_engine(PAIRS, seed=5)


class Adversary(TextDraft):
    """Proposes right tokens, wrong ones, end tokens and nonsense, mixed by a seed."""

    def __init__(self, truth: Sequence[int], seed: int) -> None:
        self.truth, self.random = list(truth), np.random.default_rng(seed)

    def propose(self, tokens: Sequence[int], start: int, limit: int) -> Draft:
        done = len(tokens) - start
        guess = self.truth[done : done + limit]
        wrong = self.random.integers(0, ENGINE.vocabulary.size, len(guess)).tolist()
        flips = self.random.random(len(guess)) < 0.3
        return Draft(tuple(b if flip else a for a, b, flip in zip(guess, wrong, flips, strict=True)), "adversary")


def run(
    engine: LocalEngine, prompt: Prompt, source: DraftSource, tokens: int = 20, max_draft: int = 8
) -> tuple[list[int], list[Round]]:
    got = list(decode.rounds(engine.trunk, engine.cache, engine.vocabulary, prompt, Stop(), tokens, source, max_draft))
    return [token for r in got for token in r.tokens], got


def prompt_of(text: str, forced: bytes = b"") -> Prompt:
    return Prompt(tuple(ENGINE.vocabulary.encode(text)), forced)


TEXTS = st.text(alphabet="abche \n(", min_size=1, max_size=60)


@settings(deadline=None, max_examples=12)
@given(TEXTS, st.sampled_from([b"", b"a", b"ca", b"  ", b"hea"]), st.integers(0, 99), st.integers(1, 16))
def test_drafts_never_change_the_output(text: str, forced: bytes, seed: int, length: int) -> None:
    prompt = prompt_of(text, forced)
    plain, _ = run(ENGINE, prompt, NoDraft())
    sources = (
        LookupDraft(),
        GivenDraft(plain),
        GivenDraft(plain[3:]),
        Adversary(plain, seed),
        FirstOf(GivenDraft(plain[:5]), Adversary(plain, seed), LookupDraft()),
    )
    for source in sources:
        assert run(ENGINE, prompt, source, max_draft=length)[0] == plain, type(source).__name__


def test_a_right_draft_saves_forward_passes() -> None:
    prompt = prompt_of("abc")
    plain, slow = run(ENGINE, prompt, NoDraft(), tokens=24)
    _, fast = run(ENGINE, prompt, GivenDraft(plain), tokens=24)
    assert sum(bool(r.tokens) for r in slow) == 24
    assert sum(bool(r.tokens) for r in fast) <= 4
    assert sum(r.accepted for r in fast) == 24 - sum(bool(r.tokens) for r in fast)


@settings(deadline=None, max_examples=20)
@given(TEXTS, st.binary(min_size=1, max_size=6).filter(lambda b: b.isascii()))
def test_forced_bytes_are_said_first_and_swallowed(text: str, forced: bytes) -> None:
    prompt = prompt_of(text, forced)
    tokens, got = run(ENGINE, prompt, NoDraft(), tokens=12)
    said = b"".join(map(ENGINE.vocabulary.bytes_of, tokens))
    assert said.startswith(forced)
    assert "".join(r.text for r in got) == said[len(forced) :].decode("utf-8", "replace")


def test_half_characters_wait() -> None:
    writer = decode.Writer(ENGINE.vocabulary, b"")
    raw = "é🙂".encode()
    assert [writer.write((byte,), final=False) for byte in raw] == ["", "é", "", "", "", "🙂"]
    assert writer.write((raw[0],), final=True) == "\ufffd"


@settings(deadline=None, max_examples=8)
@given(TEXTS, st.integers(0, 50))
def test_the_cache_after_rejections_equals_a_fresh_prefill(text: str, seed: int) -> None:
    engine = tiny_engine(PAIRS, seed=5)
    prompt = prompt_of(text)
    plain, _ = run(engine, prompt, NoDraft(), tokens=20)
    run(engine, prompt, Adversary(plain, seed), tokens=20)
    length = len(engine.cache)
    assert engine.cache.tokens == [*prompt.tokens, *plain][:length]
    keys = engine.cache.storage.keys[:, :, :length].clone()
    assert isinstance(engine.trunk, Transformer)
    fresh = engine.trunk.allocate(512)
    engine.trunk.forward(engine.cache.tokens, 0, fresh)
    np.testing.assert_allclose(keys.numpy(), fresh.keys[:, :, :length].numpy(), atol=1e-4)


def test_closing_at_any_round_leaves_the_cache_sound() -> None:
    engine = tiny_engine(PAIRS, seed=5)
    prompt = prompt_of("abcabcabc ")
    plain, _ = run(engine, prompt, NoDraft())
    for stop_after in range(1, 6):
        stream = decode.rounds(
            engine.trunk, engine.cache, engine.vocabulary, prompt, Stop(), 40, Adversary(plain, stop_after)
        )
        for _ in range(stop_after):
            next(stream, None)
        stream.close()
        assert run(engine, prompt, NoDraft())[0] == plain


def test_reuse_is_counted() -> None:
    engine = tiny_engine(seed=5)
    _, first = run(engine, prompt_of("x" * 50), NoDraft(), tokens=1)
    _, second = run(engine, prompt_of("x" * 50 + "yz"), NoDraft(), tokens=1)
    assert (first[0].reused, first[0].prompted) == (0, 50)
    assert (second[0].reused, second[0].prompted) == (50, 2)


def test_end_token_length_and_full_cache_end_the_stream() -> None:
    _, got = run(ENGINE, prompt_of("abc"), NoDraft(), tokens=3)
    assert got[-1].ended == "length" and sum(len(r.tokens) for r in got) == 3
    small = tiny_engine(seed=5)
    small.cache.capacity = 20
    _, got = run(small, Prompt(tuple(range(1, 18))), NoDraft(), tokens=40)
    assert got[-1].ended == "full"
    end = max(ENGINE.vocabulary.special)
    step = decode.verify(fake_step([5, end, 7]), (5, end), b"", Chooser(ENGINE.vocabulary))
    assert step == ([5, end], [pytest.approx(1.0), pytest.approx(1.0)], 1)


def fake_step(best: list[int]) -> decode.Step:
    logits = np.full((len(best), ENGINE.vocabulary.size), -50.0, np.float32)
    logits[np.arange(len(best)), best] = 0.0
    return decode.Step(logits, np.array(best, np.int32), np.zeros(len(best), np.float32))


def test_stop_is_seen_before_prefill_and_between_rounds() -> None:
    stop = Stop()
    stop.set()
    stream = decode.rounds(ENGINE.trunk, ENGINE.cache, ENGINE.vocabulary, prompt_of("abc"), stop, 9, NoDraft())
    assert [r.ended for r in stream] == ["cancelled"]
    late = Stop(deadline=time.monotonic() - 1)
    stream = decode.rounds(ENGINE.trunk, ENGINE.cache, ENGINE.vocabulary, prompt_of("abc"), late, 9, NoDraft())
    assert [r.ended for r in stream] == ["deadline"]
    stop = Stop()
    stream = decode.rounds(ENGINE.trunk, ENGINE.cache, ENGINE.vocabulary, prompt_of("abc"), stop, 99, NoDraft())
    next(stream)
    threading.Thread(target=stop.set).start()
    assert list(stream)[-1].ended == "cancelled"


def test_a_prompt_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        run(ENGINE, Prompt(tuple([1] * 600)), NoDraft())
