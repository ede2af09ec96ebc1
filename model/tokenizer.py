"""Text to token ids and ids to bytes, rebuilt from what a GGUF file says about its tokenizer.

Encoding is the `tokenizers` library's; the bytes of every token lie in one table beside it, because decoding
must never guess at half characters. Knows no prompts and no model.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from quatrain.model.api import QuatrainError

WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
MARKS = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
# How a text is split before byte-pair merging, by the file's `tokenizer.ggml.pre`: each pattern in turn.
SPLITS: Mapping[str, tuple[str, ...]] = {
    "qwen2": (WORDS + r"\p{N}" + MARKS,),
    "llama-bpe": (WORDS + r"\p{N}{1,3}" + MARKS,),
    "smollm": (r"\p{N}", GPT2),
    "starcoder": (r"\p{N}", GPT2),
    "gpt-2": (GPT2,),
    "default": (GPT2,),
}
NORMAL, CONTROL, USER_DEFINED, BYTE = 1, 3, 4, 6  # values of tokenizer.ggml.token_type


class Vocabulary:
    """Encodes text and knows the bytes of every token.

    `special` are ids that never stand for text (markers, end tokens): a text that happens to spell a marker
    is encoded as ordinary characters.
    """

    def __init__(self, tokenizer: Tokenizer, table: Mapping[str, np.ndarray]) -> None:
        self._tokenizer = tokenizer
        self._tokenizer.encode_special_tokens = True
        self._bytes = table["bytes"]
        self._offsets = table["offsets"]
        self._order = table["order"]
        self.special = frozenset(table["special"].tolist())
        self.size = len(self._offsets) - 1
        self.compatible = lru_cache(maxsize=256)(self._compatible)

    def encode(self, text: str) -> list[int]:
        """Ids of `text`, no marker added."""
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def encode_words(self, text: str) -> tuple[list[int], int]:
        """Ids of `text`, and how many of them come before the last unsplittable piece (its last word)."""
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        words = encoding.word_ids
        return encoding.ids, next((i for i, word in enumerate(words) if word == words[-1]), 0)

    def marker(self, text: str) -> int | None:
        """The id of a marker such as `<|fim_prefix|>`, or None."""
        index = self._tokenizer.token_to_id(text)
        return index if index in self.special else None

    def bytes_of(self, token: int) -> bytes:
        """The bytes `token` adds to a text; empty for special tokens."""
        if token in self.special or not 0 <= token < self.size:
            return b""
        return self._bytes[self._offsets[token] : self._offsets[token + 1]].tobytes()

    def decode(self, ids: list[int] | tuple[int, ...]) -> str:
        """Text of `ids`; invalid bytes become U+FFFD."""
        return b"".join(map(self.bytes_of, ids)).decode("utf-8", errors="replace")

    def _compatible(self, forced: bytes) -> np.ndarray:
        """Ids that may come next where `forced` must be reproduced: tokens that begin with it, and tokens that
        are a beginning of it. Sorted by nothing in particular; never empty for a byte-complete vocabulary."""
        low = self._bisect(forced)
        high = self._bisect(forced + b"\xff" * 64)
        longer = self._order[low:high]
        shorter = [self._exact(forced[:length]) for length in range(1, len(forced))]
        found = [np.asarray(run, dtype=np.int64) for run in (longer, *shorter)]
        return np.concatenate(found)

    def _bisect(self, key: bytes) -> int:
        low, high = 0, len(self._order)
        while low < high:
            middle = (low + high) // 2
            if self.bytes_of(int(self._order[middle])) < key:
                low = middle + 1
            else:
                high = middle
        return low

    def _exact(self, key: bytes) -> np.ndarray:
        low = high = self._bisect(key)
        while high < len(self._order) and self.bytes_of(int(self._order[high])) == key:
            high += 1
        return self._order[low:high]


def build(fields: Mapping[str, Any]) -> tuple[Tokenizer, dict[str, np.ndarray]]:
    """The tokenizer and the byte table of a GGUF file's `tokenizer.ggml.*` fields.

    Raises QuatrainError for a tokenizer family we do not know.
    """
    tokens: list[str] = fields["tokenizer.ggml.tokens"]
    types: list[int] = fields.get("tokenizer.ggml.token_type") or [NORMAL] * len(tokens)
    family = fields.get("tokenizer.ggml.model")
    if family == "gpt2":
        tokenizer, raw = byte_level(fields, tokens), byte_level_bytes(tokens)
    elif family == "llama":
        tokenizer, raw = sentence_piece(fields, tokens, types), sentence_piece_bytes(tokens, types)
    else:
        raise QuatrainError(f"tokenizer family {family!r} is not supported; known are gpt2 (byte-level BPE) and llama")
    special = [i for i, kind in enumerate(types) if kind in (CONTROL, USER_DEFINED)]
    tokenizer.add_special_tokens([AddedToken(tokens[i], special=True, normalized=False) for i in special])
    return tokenizer, byte_table(raw, special)


def byte_level(fields: Mapping[str, Any], tokens: list[str]) -> Tokenizer:
    """GPT-2 style BPE with the split patterns of the file's pre-tokenizer."""
    name = fields.get("tokenizer.ggml.pre", "default")
    if name not in SPLITS:
        raise QuatrainError(f"pre-tokenizer {name!r} is not supported; known are {', '.join(sorted(SPLITS))}")
    merges = [tuple(merge.split(" ", 1)) for merge in fields["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, merges))
    splits = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in SPLITS[name]]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [*splits, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def sentence_piece(fields: Mapping[str, Any], tokens: list[str], types: list[int]) -> Tokenizer:
    """Llama 1/2 style BPE. The file holds scores, not merges: every way to split a token in two is a merge,
    ranked by the score of the whole."""
    ids = {token: i for i, token in enumerate(tokens)}
    scores = fields["tokenizer.ggml.scores"]
    ranked = sorted((i for i, kind in enumerate(types) if kind == NORMAL), key=lambda i: -scores[i])
    merges = [
        (tokens[i][:cut], tokens[i][cut:])
        for i in ranked
        for cut in range(1, len(tokens[i]))
        if tokens[i][:cut] in ids and tokens[i][cut:] in ids
    ]
    tokenizer = Tokenizer(models.BPE(ids, merges, unk_token=tokens[0], fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return tokenizer


def byte_level_bytes(tokens: list[str]) -> list[bytes]:
    """Bytes of tokens written in GPT-2's alphabet, which gives every byte a printable character."""
    alphabet = byte_alphabet()
    return [
        bytes(alphabet[c] for c in token) if all(c in alphabet for c in token) else token.encode() for token in tokens
    ]


def byte_alphabet() -> dict[str, int]:
    """GPT-2's printable character of every byte: itself where printable, else the next free one from 256 on."""
    printable = [
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    ]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(b): b for b in printable} | {chr(256 + i): b for i, b in enumerate(others)}


def sentence_piece_bytes(tokens: list[str], types: list[int]) -> list[bytes]:
    """Bytes of SentencePiece tokens: `▁` is a space, `<0x0A>` a byte."""
    return [
        bytes([int(token[3:5], 16)]) if kind == BYTE else token.replace("▁", " ").encode()
        for token, kind in zip(tokens, types, strict=True)
    ]


def byte_table(raw: list[bytes], special: list[int]) -> dict[str, np.ndarray]:
    """All tokens' bytes end to end with their offsets, the ordinary ids in byte order, the special ids."""
    hidden = set(special)
    ordinary = [i for i in range(len(raw)) if i not in hidden and raw[i]]
    return {
        "bytes": np.frombuffer(b"".join(raw), dtype=np.uint8).copy(),
        "offsets": np.cumsum([0, *map(len, raw)], dtype=np.uint32),
        "order": np.array(sorted(ordinary, key=raw.__getitem__), dtype=np.uint32),
        "special": np.array(special, dtype=np.uint32),
    }


def save(folder: Path, tokenizer: Tokenizer, table: dict[str, np.ndarray]) -> None:
    """Write `tokenizer.json` and `vocabulary.safetensors` into `folder`."""
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    save_file(table, folder / "vocabulary.safetensors")


def load(folder: Path) -> Vocabulary:
    """Read what `save` wrote. Raises OSError or ValueError when it is not there or not whole."""
    try:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as error:  # the library raises bare Exception
        raise ValueError(f"{folder / 'tokenizer.json'}: {error}") from error
    return Vocabulary(tokenizer, load_file(folder / "vocabulary.safetensors"))
