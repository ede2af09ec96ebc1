"""Tokenizers rebuilt from GGUF fields: known ids, bytes, special tokens, what may follow forced bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_gguf import MARKERS, MERGES, write

from quatrain.model import gguf_file, tokenizer
from quatrain.model.api import QuatrainError
from quatrain.model.tokenizer import Vocabulary, byte_alphabet, sentence_piece_bytes


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    folder = tmp_path_factory.mktemp("tokenizer")
    fields = gguf_file.read(write(folder / "tiny.gguf")).fields
    tokenizer.save(folder, *tokenizer.build(fields))
    return tokenizer.load(folder)


def ids(*tokens: str) -> list[int]:
    names = [*sorted(byte_alphabet(), key=byte_alphabet().__getitem__), *(m.replace(" ", "") for m in MERGES), *MARKERS]
    return [names.index(token) for token in tokens]


def test_known_ids(vocabulary: Vocabulary) -> None:
    assert vocabulary.encode("def f(self)") == ids("def", "Ġ", "f", "(self", ")")
    assert vocabulary.encode("    ret") == ids("ĠĠ", "Ġ", "Ġ", "ret")


@given(st.text())
def test_encoding_loses_nothing(vocabulary: Vocabulary, text: str) -> None:
    assert vocabulary.decode(vocabulary.encode(text)) == text


def test_a_spelled_marker_is_text(vocabulary: Vocabulary) -> None:
    assert not vocabulary.special & set(vocabulary.encode("x <|fim_prefix|> y"))
    assert vocabulary.marker("<|fim_prefix|>") in vocabulary.special
    assert vocabulary.marker("def") is None
    assert vocabulary.bytes_of(vocabulary.marker("<|fim_prefix|>") or 0) == b""


def test_last_word(vocabulary: Vocabulary) -> None:
    found, before = vocabulary.encode_words("x = self.de")
    assert b"".join(map(vocabulary.bytes_of, found[before:])) == b".de"


@given(st.sampled_from([b"d", b"de", b"se", b" ", b"  ", b"ret", b"zq", "é".encode()]))
def test_compatible_tokens_are_exactly_those_that_agree(vocabulary: Vocabulary, forced: bytes) -> None:
    expected = {
        token
        for token in range(vocabulary.size)
        if (raw := vocabulary.bytes_of(token)) and (raw.startswith(forced) or forced.startswith(raw))
    }
    assert set(vocabulary.compatible(forced).tolist()) == expected


def test_unknown_families_are_refused() -> None:
    with pytest.raises(QuatrainError, match="tokenizer family 'bert'"):
        tokenizer.build({"tokenizer.ggml.model": "bert", "tokenizer.ggml.tokens": []})
    with pytest.raises(QuatrainError, match="pre-tokenizer 'xyz'"):
        tokenizer.build({"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "xyz", "tokenizer.ggml.tokens": []})


def test_sentence_piece_merges_by_score() -> None:
    tokens = ["<unk>", "▁", "a", "b", "ab", "▁ab", "<0xC3>", "<0xA9>"]
    fields = {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [2, 1, 1, 1, 1, 1, 6, 6],
        "tokenizer.ggml.scores": [0, -3, -3, -3, -1, -2, 0, 0],
    }
    vocabulary = Vocabulary(*tokenizer.build(fields))
    assert vocabulary.encode(" ab") == [5]
    assert vocabulary.encode("aé") == [2, 6, 7]
    assert vocabulary.decode([5, 6, 7]) == " abé"
    assert sentence_piece_bytes(["<0x0A>"], [6]) == [b"\n"]
