"""The tokenizer of a model trained from scratch: bytes, a byte-pair encoding of the corpus, or one that is given.

All of them are a tokenizer.json with the markers of our prompt layout. Knows texts, no windows and no network.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from quatrain.model import fim, tokenizer_json
from quatrain.model.api import QuatrainError
from quatrain.model.tokenizer import SPLITS, Vocabulary, byte_alphabet

END = "<|endoftext|>"
MARKERS = (END, *fim.LAYOUTS[0].markers)


def byte_tokenizer() -> Tokenizer:
    """A token for every byte, numbered by its value, then the markers. Every character is a word of its own."""
    order = sorted(byte_alphabet(), key=byte_alphabet().__getitem__)
    tokenizer = Tokenizer(models.BPE({character: i for i, character in enumerate(order)}, []))
    return finished(tokenizer, [r"[\s\S]"])


def trained(texts: Iterable[str], vocab: int) -> Tokenizer:
    """Byte-pair encoding with `vocab` tokens, markers among them, split into words as Qwen2 does."""
    tokenizer = finished(Tokenizer(models.BPE()), list(SPLITS["qwen2"]), markers=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab - len(MARKERS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens(list(MARKERS))
    return tokenizer


def finished(tokenizer: Tokenizer, patterns: list[str], markers: bool = True) -> Tokenizer:
    """With a way to split text into words, the way back to bytes, and the markers."""
    splits = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in patterns]
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*splits, level])
    tokenizer.decoder = decoders.ByteLevel()
    if markers:
        tokenizer.add_special_tokens(list(MARKERS))
    return tokenizer


def make(kind: str, texts: Iterable[str], target: Path) -> None:
    """Write the tokenizer that `kind` asks for: `bytes`, a number of BPE tokens, or the path of a tokenizer.json.

    Raises QuatrainError for anything else.
    """
    if kind == "bytes":
        tokenizer = byte_tokenizer()
    elif kind.isdigit():
        if int(kind) < 256 + len(MARKERS):
            raise QuatrainError(f"{kind} tokens are too few: bytes and markers alone are {256 + len(MARKERS)}")
        tokenizer = trained(texts, int(kind))
    else:
        if not Path(kind).expanduser().is_file():
            raise QuatrainError(f"--tokens {kind}: neither `bytes`, nor a number of tokens, nor a tokenizer.json")
        try:
            tokenizer = Tokenizer.from_file(str(Path(kind).expanduser()))
        except Exception as error:  # the library raises bare Exception
            raise QuatrainError(f"{kind} is not a tokenizer.json ({error})") from error
        tokenizer.add_special_tokens([marker for marker in MARKERS if tokenizer.token_to_id(marker) is None])
    tokenizer.save(str(target), pretty=False)


def load(file: Path) -> Vocabulary:
    """The vocabulary as the product would open it."""
    size = max(Tokenizer.from_file(str(file)).get_vocab(with_added_tokens=True).values()) + 1
    return Vocabulary(*tokenizer_json.read(file, size))
