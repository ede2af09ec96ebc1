"""How many drafted tokens are verified: the arithmetic of the choice, and what an engine learns."""

from __future__ import annotations

import doctest
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import tiny_engine

from quatrain.model import draft_length, step_costs
from quatrain.model.api import Stop
from quatrain.model.draft import Draft
from quatrain.model.draft_length import DraftLengths, best_length, expected_tokens, surest_length
from quatrain.model.step_costs import DEFAULT, StepCosts

COSTS = st.builds(
    lambda first, steps, rate: StepCosts(tuple(first + sum(steps[:i]) for i in range(len(steps))), rate),
    st.floats(1, 50),
    st.lists(st.floats(0, 20), min_size=1, max_size=16),
    st.floats(50, 5000),
)


def test_examples_in_the_docstrings() -> None:
    assert doctest.testmod(draft_length).failed == 0
    assert doctest.testmod(step_costs).failed == 0


@given(COSTS, st.floats(0, 1), st.integers(0, 15), st.integers(1, 300))
def test_no_other_length_is_better(costs: StepCosts, rate: float, most: int, pending: int) -> None:
    chosen = best_length(costs, rate, most, pending)
    assert 0 <= chosen <= most
    pace = [expected_tokens(rate, k) / costs.of(pending + k) for k in range(most + 1)]
    assert pace[chosen] == max(pace)


@given(COSTS, st.integers(0, 15))
def test_a_source_that_is_never_right_is_not_verified(costs: StepCosts, most: int) -> None:
    assert best_length(costs, 0.0, most) == 0


@given(COSTS, st.lists(st.floats(0.01, 1), max_size=8), st.integers(1, 40))
def test_a_sure_source_is_believed(costs: StepCosts, probs: list[float], pending: int) -> None:
    chosen = surest_length(costs, probs, pending)
    chances = [math.prod(probs[:k]) for k in range(len(probs) + 1)]
    pace = [sum(chances[: k + 1]) / costs.of(pending + k) for k in range(len(probs) + 1)]
    assert pace[chosen] == max(pace)
    lengths = DraftLengths(costs)
    lengths.learn(Draft((1, 2, 3), "head"), 0)  # a bad record does not count against what it says
    draft = lengths.trim(Draft(tuple(range(len(probs))), "head", tuple(probs)), pending)
    assert len(draft.tokens) == len(draft.probs) == (chosen if probs else 0)


def test_free_rows_take_everything_and_dear_ones_nothing() -> None:
    flat, steep = StepCosts((20.0,) * 16, 1e9), StepCosts(tuple(20.0 * n for n in range(1, 17)), 50.0)
    assert best_length(flat, 0.3, 15) == 15
    assert best_length(steep, 0.9, 15) == 0


@given(COSTS, st.floats(0.05, 0.95))
def test_a_better_source_gets_at_least_as_many(costs: StepCosts, rate: float) -> None:
    assert best_length(costs, rate + 0.05, 15) >= best_length(costs, rate, 15)


def test_drafting_has_its_price() -> None:
    flat = StepCosts((20.0,) * 16, 1000.0)
    assert best_length(flat, 0.7, 15, draft_ms=5.0) < best_length(flat, 0.7, 15)


def test_costs_go_on_past_the_table() -> None:
    costs = StepCosts((10.0, 11.0), 500.0)
    assert [costs.of(n) for n in (1, 2, 3, 12)] == [10.0, 11.0, 13.0, 31.0]
    assert DEFAULT.of(1) < DEFAULT.of(16) < DEFAULT.of(17)


def test_a_source_is_judged_by_what_it_achieved() -> None:
    lengths, draft = DraftLengths(DEFAULT), Draft(tuple(range(8)), "bad")
    before = len(lengths.trim(draft, 1).tokens)
    for _ in range(20):
        lengths.learn(lengths.trim(draft, 1), 0)
    assert before >= 6 and len(lengths.trim(draft, 1).tokens) <= 2
    assert len(lengths.trim(Draft(draft.tokens, "other"), 1).tokens) == before
    for _ in range(30):
        tried = lengths.trim(draft, 1)
        lengths.learn(tried, len(tried.tokens))
    assert len(lengths.trim(draft, 1).tokens) == 8


def test_a_source_that_was_given_up_is_tried_again() -> None:
    steep = StepCosts(tuple(20 + 8.0 * n for n in range(16)), 100.0)
    lengths, draft = DraftLengths(steep), Draft(tuple(range(8)), "lookup")
    sizes = []
    for _ in range(200):
        tried = lengths.trim(draft, 1)
        sizes.append(len(tried.tokens))
        lengths.learn(tried, 0)
    assert 0 in sizes and sizes[-50:].count(0) < 50


def test_nothing_drafted_is_nothing_learnt() -> None:
    lengths = DraftLengths(DEFAULT)
    assert lengths.trim(Draft(), 1) == Draft()
    lengths.learn(Draft(), 0)
    assert lengths.record("none").tried == 0


@pytest.mark.parametrize("costs", [StepCosts((20.0,) * 16, 1000.0), StepCosts((1.0, 50.0, 99.0), 10.0)])
def test_costs_never_change_what_an_engine_says(costs: StepCosts) -> None:
    plain, engine = tiny_engine(seed=5, speculate=False), tiny_engine(seed=5, costs=costs)
    for text in ("abcabcabc", "x = f(x)\nx = f(x)\nx ="):
        prompt = engine.encode(text, "\n")
        expected = [t for r in plain.generate(prompt, Stop(), 40) for t in r.tokens]
        guess = engine.vocabulary.decode(expected[:20]) + "zz"
        for _ in range(2):
            assert [t for r in engine.generate(prompt, Stop(), 40, guess) for t in r.tokens] == expected
