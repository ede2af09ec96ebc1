"""What a trained model folder says in held-back files: lines finished exactly, tokens a forward pass.

The model is opened as the product opens it, but for the converted copy on disk: the same trunk, heads, prompts and
decoding. Knows nothing of training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch
from torch import Tensor

from quatrain.model import decode, source
from quatrain.model.api import QuatrainError, Stop
from quatrain.model.draft import NoDraft
from quatrain.model.engine import LocalEngine
from quatrain.model.folder_model import FolderModel
from quatrain.model.gguf_file import dense
from quatrain.model.independent_heads import IndependentHeads, tap_of
from quatrain.model.tokenizer import Vocabulary
from quatrain.model.train.corpus import Text
from quatrain.model.transformer import Transformer

LEAST = 8
"""Characters of a line that is asked to be finished."""
TOKENS = 48
"""Longest answer."""
COMPARED = 8
"""Answers that are also decoded without drafts, to see that they are the same."""


@dataclass(frozen=True, slots=True)
class Hole:
    """`expected` is the rest of the line between `prefix` and `suffix`."""

    prefix: str
    suffix: str
    expected: str


@dataclass(frozen=True, slots=True)
class Found:
    """Over so many holes: the share whose line was finished exactly, tokens a pass after the first one (which has no
    draft yet), and how many of `compared` answers were those of plain decoding."""

    holes: int
    exact: float
    tokens_per_pass: float
    compared: int
    same: int


def holes(texts: Sequence[Text], count: int, characters: int, seed: int) -> list[Hole]:
    """Ends of lines of held-back files, the same for the same seed, with `characters` of text around."""
    random = Random(f"{seed}|holes")
    found: list[Hole] = []
    for _ in range(count * 20):
        text = random.choice(texts).text
        start = text.rfind("\n", 0, random.randrange(len(text))) + 1
        end = text.find("\n", start)
        line = text[start:end]
        if end < 0 or len(line.strip()) < LEAST:
            continue
        indent = len(line) - len(line.lstrip())
        at = start + random.randrange(indent, len(line) - 3)
        before = max(0, at - characters * 2 // 3)
        found.append(Hole(text[before:at], text[end : end + characters // 3], text[at:end]))
        if len(found) == count:
            return found
    raise QuatrainError(f"the held-back files have no {count} lines worth finishing")


def open_folder(folder: Path, device: torch.device) -> LocalEngine:
    """An engine over a folder in Meta's layout: float32 on the CPU, bf16 on a GPU."""
    model = source.read(folder)
    assert isinstance(model, FolderModel)
    numbers = torch.bfloat16 if device.type == "cuda" else torch.float32

    def tensors(held: dict) -> dict[str, Tensor]:
        return {name: torch.tensor(dense(tensor)).to(device, numbers) for name, tensor in held.items()}

    weights, config = tensors(dict(model.tensors)), model.config
    tap = tap_of(config, model.chained)
    trunk = Transformer(config, weights, (tap,) if model.head_count else ())
    beside = {name: t for name, t in weights.items() if name.startswith("output")}
    own = tensors(dict(model.heads)) | beside

    def heads(storage: object) -> IndependentHeads:
        return IndependentHeads(config, own, model.head_count, tap, config.max_positions, model.chained)

    head = heads if model.head_count else None
    return LocalEngine(trunk, Vocabulary(*model.tokenizer()), folder.name, config.max_positions, head=head)


def measure(engine: LocalEngine, asked: Sequence[Hole]) -> Found:
    """Finish every hole's line with the model's own heads as drafts."""
    exact = tokens = passes = same = 0
    for number, hole in enumerate(asked):
        text, counts = answer(engine, hole, speculate=True)
        tokens += sum(counts[1:])
        passes += len(counts[1:])
        exact += text.split("\n", 1)[0].rstrip() == hole.expected.rstrip()
        same += number < COMPARED and answer(engine, hole, speculate=False)[0] == text
    compared = min(COMPARED, len(asked))
    return Found(len(asked), exact / len(asked), tokens / max(1, passes), compared, same)


def answer(engine: LocalEngine, hole: Hole, speculate: bool) -> tuple[str, list[int]]:
    """What the model says, and how many tokens each forward pass settled."""
    prompt = engine.encode(hole.prefix, hole.suffix)
    if (over := len(prompt.tokens) + TOKENS - engine.cache.capacity) > 0:
        raise QuatrainError(f"a hole's prompt is {over} tokens too long; ask for fewer characters around it")
    drafts = engine.head if speculate and engine.head is not None else NoDraft()
    rounds = list(decode.rounds(engine.trunk, engine.cache, engine.vocabulary, prompt, Stop(), TOKENS, drafts))
    return "".join(r.text for r in rounds), [len(r.tokens) for r in rounds if r.tokens]
