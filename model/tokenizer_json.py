"""A tokenizer.json as `tokenizers` writes it, made fit for code in the middle of a file, with its byte table.

What puts a space before a text or adds markers around it is taken out: a prompt is laid out elsewhere (fim.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from quatrain.model.api import QuatrainError
from quatrain.model.folder_model import read_json
from quatrain.model.tokenizer import BYTE, NORMAL, byte_level_bytes, byte_table, sentence_piece_bytes


def read(path: Path, vocab: int) -> tuple[Tokenizer, dict[str, np.ndarray]]:
    """The tokenizer of a model with `vocab` rows, and the bytes of every row (none for rows without a token).

    Raises QuatrainError for anything but byte-pair encoding over bytes, GPT-2's way or SentencePiece's.
    """
    fields = read_json(path)
    model = fields.get("model") or {}
    if model.get("type") != "BPE":
        raise QuatrainError(f"{path}: a {model.get('type')!r} tokenizer is not supported, only BPE.")
    kinds = {part.get("type") for key in ("normalizer", "pre_tokenizer", "decoder") for part in parts(fields.get(key))}
    pieces = "ByteLevel" not in kinds
    if pieces and not model.get("byte_fallback"):
        raise QuatrainError(f"{path}: a BPE tokenizer that is not over bytes is not supported.")
    added = {int(token["id"]): str(token["content"]) for token in fields.get("added_tokens", [])}
    special = sorted(
        int(token["id"]) for token in fields.get("added_tokens", []) if token["special"] or marker(token["content"])
    )
    try:
        tokenizer = Tokenizer.from_str(json.dumps(fit(fields, special)))
    except Exception as error:  # the library raises bare Exception
        raise QuatrainError(f"{path} is not a tokenizer ({error}). Get the file again.") from error
    names = {index: token for token, index in tokenizer.get_vocab(with_added_tokens=True).items()}
    if (most := max(names, default=0)) >= vocab:
        raise QuatrainError(
            f"{path} has a token {most}, but the model only has {vocab} rows: they do not belong together."
        )
    tokens = [names.get(index, "") for index in range(vocab)]
    raw = piece_bytes(tokens) if pieces else byte_level_bytes(tokens)
    return tokenizer, byte_table([added[i].encode() if i in added else raw[i] for i in range(vocab)], special)


def piece_bytes(tokens: list[str]) -> list[bytes]:
    """Bytes of SentencePiece tokens, those of single bytes told by their spelling."""
    return sentence_piece_bytes(tokens, [BYTE if is_byte(token) else NORMAL for token in tokens])


def is_byte(token: str) -> bool:
    """
    >>> is_byte("<0x0A>"), is_byte("<unk>")
    (True, False)
    """
    return len(token) == 6 and token.startswith("<0x") and token.endswith(">")


def marker(text: str) -> bool:
    """Whether an added token is no text: some files do not call their own markers special."""
    return len(text) > 2 and text[0] == "<" and text[-1] == ">"


def parts(step: Any) -> Iterator[dict[str, Any]]:
    """A step of the pipeline, or those of a sequence."""
    if step:
        yield step
        for key in ("normalizers", "pretokenizers", "decoders"):
            for inner in step.get(key, []):
                yield from parts(inner)


def fit(fields: dict[str, Any], special: list[int]) -> dict[str, Any]:
    """The same tokenizer for a piece of text: no space put before it, no truncation, markers never found in text."""
    plain = dict(fields) | {"truncation": None, "padding": None, "post_processor": None}
    plain["added_tokens"] = [
        token | {"special": token["id"] in special, "normalized": False} for token in fields.get("added_tokens", [])
    ]
    normalizer = plain.get("normalizer")
    if normalizer and normalizer["type"] == "Prepend":
        plain["normalizer"] = None
    elif normalizer and normalizer["type"] == "Sequence":
        kept = [step for step in normalizer["normalizers"] if step["type"] != "Prepend"]
        plain["normalizer"] = normalizer | {"normalizers": kept}
    for step in parts(plain.get("pre_tokenizer")):
        if step["type"] == "Metaspace":
            step["prepend_scheme"] = "never"
        if step["type"] == "ByteLevel":
            step["add_prefix_space"] = False
    return plain
