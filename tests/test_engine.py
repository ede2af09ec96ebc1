"""The engine: prompt layout, token healing, reuse while typing, other people's markers in the text."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import byte_vocabulary, tiny_engine

from quatrain.model import fim
from quatrain.model.api import Stop
from quatrain.model.engine import HEAL_BYTES, LocalEngine, clean

PAIRS = (b"ab", b"ca", b"  ", b"he")
ENGINE = tiny_engine(PAIRS, seed=5)


def said(engine: LocalEngine, prefix: str, suffix: str = "", tokens: int = 10, draft: str = "") -> str:
    return "".join(r.text for r in engine.generate(engine.encode(prefix, suffix), Stop(), tokens, draft))


def test_the_layout_puts_the_prefix_last() -> None:
    v = ENGINE.vocabulary
    prompt = ENGINE.encode("xyz\n", "SUF", "OUT")
    pre, suf, mid = (v.marker(f"<|fim_{name}|>") for name in ("prefix", "suffix", "middle"))
    assert prompt.tokens == (pre, *b"OUT", suf, *b"SUF", mid, *b"xyz\n")
    assert prompt.forced == b""


@pytest.mark.parametrize("layout", fim.LAYOUTS, ids=lambda row: row.name)
def test_layout_rows(layout: fim.Layout) -> None:
    assert layout.items[-1] == "prefix"
    assert set(layout.items) - set(layout.markers) <= set(fim.PARTS)


def test_a_model_without_markers_gets_plain_text() -> None:
    vocabulary = byte_vocabulary()
    vocabulary._tokenizer.markers.clear()  # type: ignore[attr-defined]
    assert fim.layout_for(vocabulary).name == "plain"


def test_the_last_word_is_given_back_and_forced() -> None:
    prompt = ENGINE.encode("x.ca", "")
    assert prompt.forced == b"ca"
    assert ENGINE.vocabulary.decode(prompt.tokens[3:]) == "x."


def test_a_long_word_keeps_its_tokens() -> None:
    engine = tiny_engine(seed=5)
    engine.vocabulary.encode_words = lambda text: (list(text.encode()), 0)  # type: ignore[method-assign]
    prompt = engine.encode("a" * (HEAL_BYTES + 1), "")
    assert prompt.forced == b"a"


@settings(deadline=None, max_examples=10)
@given(st.text(alphabet="abche \n", max_size=30), st.text(alphabet="abche", max_size=8))
def test_a_draft_text_never_changes_what_is_said(prefix: str, draft: str) -> None:
    plain = tiny_engine(PAIRS, seed=5, speculate=False)
    assert said(ENGINE, prefix, "x", draft=draft) == said(plain, prefix, "x")


def test_typing_reuses_the_prompt() -> None:
    engine = tiny_engine(seed=5)
    text, reused, prompted = "def f(x):\n    y = x\n", 0, 0
    for i, character in enumerate("    return [x + 1 for x in range(y)]  # ok"[:40]):
        text += character
        first = next(iter(engine.generate(engine.encode(text, "\n\nprint(f(1))\n"), Stop(), 4)))
        if i:
            reused, prompted = reused + first.reused, prompted + first.prompted
    assert reused / (reused + prompted) >= 0.9


def test_empty_text_and_half_emoji() -> None:
    plain = tiny_engine(seed=5)
    plain.layout = fim.LAYOUTS[-1]
    assert plain.encode("", "").tokens == (10,)
    assert clean("a\ud83db") == "a?b"
    assert ENGINE.encode("x = '\ud83d", "'").tokens


def test_describe_and_count() -> None:
    assert ENGINE.describe()["arithmetic"] == "torch cpu float32"
    assert ENGINE.count("abab") == 2
