"""Choosing tokens: greedy, drawn, drawn with drafts. The distribution is the model's, whatever was drafted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import byte_vocabulary, tiny_engine

from quatrain.model import decode
from quatrain.model.api import Prompt, QuatrainError, Stop
from quatrain.model.choose import Chooser, Sampling, draw, nucleus
from quatrain.model.decode import verify
from quatrain.model.draft import Draft, NoDraft, TextDraft
from quatrain.model.trunk import step_from_logits

VOCABULARY = byte_vocabulary()
SMALL = 12


def peaked(seed: int, rows: int = 1) -> np.ndarray:
    """Logits of a few likely bytes, everything else out of reach."""
    logits = np.full((rows, VOCABULARY.size), -1e9, np.float32)
    logits[:, 97 : 97 + SMALL] = np.random.default_rng(seed).normal(0, 1.5, (rows, SMALL))
    return logits


def tempered(logits: np.ndarray, sampling: Sampling) -> np.ndarray:
    """What sampling should follow, computed the slow way."""
    scaled = logits.astype(np.float64) / sampling.temperature
    probs = np.exp(scaled - scaled.max())
    probs /= probs.sum()
    order = np.argsort(-probs, kind="stable")
    before = np.cumsum(probs[order]) - probs[order]
    probs[order[before >= sampling.top_p]] = 0
    return probs / probs.sum()


def chi_square(seen: np.ndarray, expected: np.ndarray) -> float:
    """Pearson's statistic over the cells that can be hit, in standard deviations from its mean."""
    cells = expected > 0
    assert not seen[~cells].any()
    freedom = max(int(cells.sum()) - 1, 1)
    statistic = float(((seen[cells] - expected[cells]) ** 2 / expected[cells]).sum())
    return (statistic - freedom) / np.sqrt(2 * freedom)


@pytest.mark.parametrize("sampling", [Sampling(1.0), Sampling(0.6), Sampling(1.3, 0.8), Sampling(0.9, 0.5)])
@pytest.mark.parametrize("drafted", ["likeliest", "second", "unlikely", "nothing"])
def test_drafts_do_not_change_the_distribution(sampling: Sampling, drafted: str) -> None:
    """First and second token of many drawn pairs, with a draft that is checked against them."""
    logits = peaked(7, rows=2)
    order = 97 + np.argsort(-logits[0, 97 : 97 + SMALL])
    draft = {"likeliest": (int(order[0]),), "second": (int(order[1]),), "unlikely": (int(order[-1]),), "nothing": ()}
    choose, draws = Chooser(VOCABULARY, sampling), 6000
    first, second = np.zeros(VOCABULARY.size), np.zeros(VOCABULARY.size)
    step = step_from_logits(logits)
    for _ in range(draws):
        said, _, accepted = verify(step, draft[drafted], b"", choose)
        first[said[0]] += 1
        assert accepted == len(said) - 1
        if accepted:
            second[said[1]] += 1
    assert chi_square(first, tempered(logits[0], sampling) * draws) < 4
    if second.sum() > 200:
        assert chi_square(second, tempered(logits[1], sampling) * second.sum()) < 4


def test_a_wrong_distribution_is_noticed() -> None:
    """The test above can fail: a rule that accepts too readily is far off."""
    logits, sampling, draws = peaked(7), Sampling(1.0), 6000
    expected, random = tempered(logits[0], sampling), np.random.default_rng(0)
    draft, seen = int(logits[0].argmax()), np.zeros(VOCABULARY.size)
    for _ in range(draws):
        accepted = random.random() < 1.1 * expected[draft]
        seen[draft if accepted else draw(logits[0], sampling, random.random())] += 1
    assert chi_square(seen, expected * draws) > 8


class Guesses(TextDraft):
    """Some ids at random, now and then the right ones."""

    def __init__(self, truth: list[int], seed: int) -> None:
        self.truth, self.random = truth, np.random.default_rng(seed)

    def propose(self, tokens, start: int, limit: int) -> Draft:
        done = len(tokens) - start
        guess = [t if self.random.random() < 0.7 else int(self.random.integers(256)) for t in self.truth[done:]]
        return Draft(tuple(guess[:limit]), "guess")


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.3, 2.0), st.floats(0.3, 1.0))
def test_the_same_seed_says_the_same_whatever_is_drafted(seed: int, temperature: float, top_p: float) -> None:
    engine, prompt = tiny_engine(seed=3), Prompt(tuple(b"for each of them"))
    sampling = Sampling(temperature, top_p, seed)

    def said(source) -> list[int]:
        stream = decode.rounds(
            engine.trunk, engine.cache, engine.vocabulary, prompt, Stop(), 16, source, sampling=sampling
        )
        return [token for r in stream for token in r.tokens]

    plain = said(NoDraft())
    assert said(Guesses(plain, seed)) == plain


def test_cold_sampling_is_greedy() -> None:
    logits = peaked(2)
    assert {draw(logits[0], Sampling(0.01), chance) for chance in np.linspace(0, 0.999, 50)} == {int(logits.argmax())}


@given(st.integers(1, 2000), st.floats(0.05, 1.0), st.integers(0, 1000))
@settings(deadline=None)
def test_a_nucleus_is_as_small_as_can_be(size: int, top_p: float, seed: int) -> None:
    weights = np.random.default_rng(seed).exponential(1, size) ** 4
    kept, held = nucleus(weights, top_p)
    assert len(set(kept.tolist())) == len(kept) == len(held)
    assert held[-1] >= weights.sum() * top_p * (1 - 1e-9) or len(kept) == size
    assert len(kept) == 1 or held[-2] < weights.sum() * top_p
    assert weights[kept].min() >= np.delete(weights, kept).max(initial=0)


def test_forced_bytes_are_kept_when_drawing() -> None:
    vocabulary = byte_vocabulary((b"ab",))
    logits = np.zeros((1, vocabulary.size), np.float32)
    choose = Chooser(vocabulary, Sampling(1.5))
    said = {choose(step_from_logits(logits), 0, b"ab")[0] for _ in range(60)}
    assert {vocabulary.bytes_of(token) for token in said} == {b"a", b"ab"}


@pytest.mark.parametrize("wrong", [(0.0, 1.0), (-1.0, 1.0), (1.0, 0.0), (1.0, 1.5), (11.0, 1.0)])
def test_nonsense_is_refused(wrong: tuple[float, float]) -> None:
    with pytest.raises(QuatrainError, match="temperature"):
        Sampling(*wrong)
