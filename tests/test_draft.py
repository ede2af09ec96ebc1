"""Draft sources: what they propose, and when they have nothing to say."""

from __future__ import annotations

import doctest

from hypothesis import given
from hypothesis import strategies as st

from quatrain.model import draft
from quatrain.model.draft import Draft, FirstOf, GivenDraft, LookupDraft, NoDraft


def test_examples_in_the_docstrings() -> None:
    assert doctest.testmod(draft).failed == 0


def test_lookup_proposes_what_followed_the_latest_match() -> None:
    tokens = [1, 2, 3, 9, 1, 2, 3, 4, 5, 6, 7, 1, 2, 3]
    assert LookupDraft().propose(tokens, 0, 8) == Draft((4, 5, 6, 7), "lookup")
    assert LookupDraft().propose([1, 2, 3], 0, 8) == Draft()


@given(st.lists(st.integers(0, 4), max_size=60), st.integers(0, 59))
def test_an_index_that_grew_equals_a_fresh_one(tokens: list[int], at: int) -> None:
    grown = LookupDraft()
    for end in range(len(tokens)):
        grown.propose(tokens[:end], 0, 4)
    assert grown.propose(tokens, 0, 4) == LookupDraft().propose(tokens, 0, 4)
    shorter = [*tokens[:at], 7, 8]
    assert grown.propose(shorter, 0, 4) == LookupDraft().propose(shorter, 0, 4)


def test_earlier_texts_are_remembered_and_forgotten_in_time() -> None:
    lookup = LookupDraft(remembered=50)
    lookup.propose([1, 2, 3, 4, 5, 6, 7], 0, 4)
    lookup.propose([40, 41, 42], 0, 4)  # another prompt
    assert lookup.propose([40, 41, 42, 3, 4], 0, 4).tokens == (5, 6)
    assert lookup.propose([40, 41, 42, 6, 7], 0, 4).tokens == ()  # nothing followed: texts are kept apart
    for start in range(100, 1000, 10):
        lookup.propose(list(range(start, start + 10)), 0, 4)
    assert lookup.propose([40, 41, 42, 3, 4], 0, 4).tokens == ()
    assert len(lookup.young.store) + len(lookup.old.store) < 200


@given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=20), max_size=8), st.integers(5, 60))
def test_what_is_proposed_did_follow_somewhere(texts: list[list[int]], remembered: int) -> None:
    lookup = LookupDraft(remembered=remembered)
    for text in texts:
        found = lookup.propose(text, 0, 6).tokens
        joined = [" ".join(map(str, known)) for known in texts]
        assert not found or any(" ".join(map(str, (*text[-2:], *found))) in known for known in joined)


def test_given_text_goes_on_and_comes_back_after_a_deviation() -> None:
    source = GivenDraft([1, 2, 3, 4, 5, 6])
    assert source.propose([9, 9], 2, 4).tokens == (1, 2, 3, 4)
    assert source.propose([9, 9, 1, 2], 2, 4).tokens == (3, 4, 5, 6)
    assert source.propose([9, 9, 1, 7], 2, 4) == Draft()
    assert source.propose([9, 9, 1, 7, 3, 4], 2, 4).tokens == (5, 6)


def test_first_of() -> None:
    assert FirstOf(NoDraft(), GivenDraft([1])).propose([], 0, 4) == Draft((1,), "given")
    assert FirstOf(NoDraft()).propose([], 0, 4) == Draft()
