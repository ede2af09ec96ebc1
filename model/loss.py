"""Next-token loss and greedy agreement of an arithmetic, against the dequantised float32 model.

Runs the same tokens through a trunk and through the reference, window by window. Knows logits, no files' meaning.
"""

from __future__ import annotations

import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from quatrain.model.api import QuatrainError

if TYPE_CHECKING:
    from quatrain.model.decode import Trunk
    from quatrain.model.source import Source
    from quatrain.model.tokenizer import Vocabulary
    from quatrain.model.transformer import Transformer

WINDOW = 512
"""Tokens computed from an empty cache; the first one is not predicted."""
ROWS = 64
"""Rows of logits held at once: 152 thousand numbers each."""
DEFAULT_FILES = ("argparse.py", "asyncio/base_events.py", "difflib.py", "tarfile.py", "statistics.py")


@dataclass(frozen=True, slots=True)
class Agreement:
    """Over `tokens` predicted tokens: mean loss in nats of an arithmetic and of the exact model, and the share of
    places where both would say the same token."""

    name: str
    tokens: int
    loss: float
    exact_loss: float
    same: float

    @property
    def excess(self) -> float:
        """How much larger the loss is, as a share."""
        return self.loss / self.exact_loss - 1


def windows(vocabulary: Vocabulary, files: Sequence[str], count: int) -> list[list[int]]:
    """`count` tokens of `files` (by default: of Python's own library) in windows; each file starts a new one.

    QuatrainError for a file that cannot be read or when there are too few tokens.
    """
    library = Path(sysconfig.get_paths()["stdlib"])
    paths = [Path(name) for name in files] or [library / name for name in DEFAULT_FILES]
    held: list[list[int]] = []
    left = count
    for path in paths:
        try:
            ids = vocabulary.encode(path.read_text(encoding="utf-8"))[:left]
        except (OSError, UnicodeDecodeError) as error:
            raise QuatrainError(f"{path}: {error}") from error
        held += [ids[at : at + WINDOW] for at in range(0, len(ids), WINDOW)]
        left -= len(ids)
    if left > 0:
        raise QuatrainError(f"the files hold {count - left} tokens, {count} were asked for")
    return [window for window in held if len(window) > 1]


def reference(source: Source) -> Transformer:
    """The dequantised float32 model of a file or folder: four bytes a weight, in memory."""
    import torch

    from quatrain.model import gguf_file
    from quatrain.model.transformer import Transformer

    names = [name for name in gguf_file.shapes(source.config) if not skipped(source, name)]
    held = {name: name if name in source.tensors else "token_embd.weight" for name in names}
    return Transformer(
        source.config, {name: torch.tensor(gguf_file.dense(source.tensors[held[name]])) for name in names}
    )


def skipped(source: Source, name: str) -> bool:
    """Whether `name` is the input embedding of a model that uses its output matrix for both."""
    return name == "token_embd.weight" and source.tied


def compare(trunks: dict[str, Trunk], exact: Trunk, chunks: Sequence[Sequence[int]]) -> Iterator[list[Agreement]]:
    """What is known of each trunk after each of `chunks`; the last item is the result."""
    everyone = [exact, *trunks.values()]
    storages = [trunk.allocate(WINDOW) for trunk in everyone]
    losses, same, tokens = np.zeros(len(everyone)), np.zeros(len(everyone)), 0
    for ids in chunks:
        for start in range(0, len(ids) - 1, ROWS):
            piece, wanted = ids[start : start + ROWS], np.array(ids[start + 1 : start + ROWS + 1])
            rows = [
                predicted(trunk, piece, start, storage, wanted)
                for trunk, storage in zip(everyone, storages, strict=True)
            ]
            losses += [loss.sum() for loss, _ in rows]
            same += [(best == rows[0][1]).sum() for _, best in rows]
            tokens += len(wanted)
        means, shares = losses / tokens, same / tokens
        yield [
            Agreement(name, tokens, float(means[i]), float(means[0]), float(shares[i]))
            for i, name in enumerate(trunks, 1)
        ]


def predicted(
    trunk: Trunk, piece: Sequence[int], start: int, storage: Any, wanted: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Loss of each wanted token, and the token each row would say. The last row of a window predicts nothing."""
    step = trunk.forward(piece, start, storage, range(len(piece)))
    logits, best = step.logits[: len(wanted)], step.best[: len(wanted)]
    top = logits.max(-1)
    logsum = top + np.log(np.exp(logits - top[:, None], dtype=np.float32).sum(-1, dtype=np.float64))
    return logsum - logits[np.arange(len(wanted)), wanted], best
