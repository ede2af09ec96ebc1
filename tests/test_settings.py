"""Settings from clients: names in both spellings, limits, bad values told and replaced."""

from __future__ import annotations

from dataclasses import fields

import pytest

from quatrain.lsp_server.settings import Settings, camel, from_client, snake


def test_nothing_means_defaults() -> None:
    assert from_client(None) == (Settings(), [])
    assert from_client({}) == (Settings(), [])


def test_both_spellings_and_the_nested_form() -> None:
    expected = Settings(max_tokens=10, lines="single")
    for given in (
        {"maxTokens": 10, "lines": "single"},
        {"max_tokens": 10.0, "lines": "single"},
        {"quatrain": {"maxTokens": 10, "lines": "single"}},
    ):
        assert from_client(given) == (expected, [])


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"maxTokens": "many"}, "expected int"),
        ({"maxTokens": 0}, "between 1 and 512"),
        ({"maxTokens": True}, "expected int"),
        ({"enabled": "yes"}, "expected bool"),
        ({"lines": "few"}, "'auto', 'single'"),
        ({"disabledLanguages": "python"}, "list of strings"),
        ({"colour": 1}, "unknown setting"),
        ([1], "must be an object"),
    ],
)
def test_bad_values_are_told_and_replaced(given: object, word: str) -> None:
    settings, problems = from_client(given)
    assert settings == Settings()
    assert len(problems) == 1 and word in problems[0]


def test_null_means_default_and_base_is_kept() -> None:
    base = Settings(max_tokens=5, model="x.gguf")
    settings, problems = from_client({"maxTokens": None}, base)
    assert not problems
    assert settings == Settings(model="x.gguf")


@pytest.mark.parametrize("name", [f.name for f in fields(Settings)])
def test_every_setting_is_documented_and_its_name_converts(name: str) -> None:
    field = next(f for f in fields(Settings) if f.name == name)
    assert field.metadata["doc"].endswith(".")
    assert snake(camel(name)) == name


def test_a_share_may_come_as_a_whole_number() -> None:
    assert from_client({"confidence": 1}) == (Settings(confidence=1.0), [])
    _, problems = from_client({"confidence": 1.5})
    assert problems == ["setting 'confidence': 1.5 is not between 0 and 1; using 0.6"]
