"""A SentencePiece `tokenizer.model` in the terms of a GGUF file's tokenizer. Needs the `sentencepiece` package.

Knows pieces, scores and kinds; how text is split by them is tokenizer.py's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from quatrain.model import tokenizer
from quatrain.model.api import QuatrainError


def read(path: Path, vocab: int) -> tuple[Tokenizer, dict[str, np.ndarray]]:
    """The tokenizer of a model with `vocab` rows. Raises QuatrainError for anything but a byte-pair model."""
    try:
        from sentencepiece import SentencePieceProcessor
    except ImportError:
        raise QuatrainError(
            "reading a SentencePiece tokenizer.model needs one more package: pip install 'quatrain[sentencepiece]'"
        ) from None
    if not path.is_file():
        raise QuatrainError(f"{path.parent} has no {path.name}: bring the model's tokenizer.")
    try:
        pieces: Any = SentencePieceProcessor(model_file=str(path))
    except (RuntimeError, OSError) as error:
        raise QuatrainError(f"{path} is not a SentencePiece model or damaged ({error}). Get the file again.") from error
    size = int(pieces.vocab_size())
    if size > vocab:
        raise QuatrainError(f"{path} has {size} tokens, but the model only {vocab} rows: they do not belong together.")
    ids = range(size)
    kinds = [kind_of(pieces, i) for i in ids]
    scores = [float(pieces.get_score(i)) for i in ids]
    if any(kind == tokenizer.NORMAL and score != int(score) for kind, score in zip(kinds, scores, strict=True)):
        raise QuatrainError(f"{path} is a unigram model; only byte-pair SentencePiece models are supported.")
    return tokenizer.build(
        {
            "tokenizer.ggml.model": "llama",
            "tokenizer.ggml.tokens": [pieces.id_to_piece(i) for i in ids],
            "tokenizer.ggml.scores": scores,
            "tokenizer.ggml.token_type": kinds,
        }
    )


def kind_of(pieces: Any, index: int) -> int:
    """Whether a piece is text, a byte, or neither (markers and the unknown piece)."""
    if pieces.is_byte(index):
        return tokenizer.BYTE
    return tokenizer.CONTROL if pieces.is_control(index) or pieces.is_unknown(index) else tokenizer.NORMAL
