"""`quatrain train`: the commands, and the prompts of training documents as the product would make them.

Cursors are put into the corpus's files at syntax nodes, at lines and at random points; what the model reads
there comes from the product's own context. Knows files and trees; the training itself is `model/train`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from quatrain.lsp_server import context
from quatrain.lsp_server.documents import Document
from quatrain.lsp_server.evaluate.holes import punch
from quatrain.model.train.examples import Example

if TYPE_CHECKING:
    from quatrain.model.engine import LocalEngine
    from quatrain.model.train.corpus import Text

BUDGETS = (256, 384, 512)
"""Tokens of prompt: what a slow, a usual and a quick machine show."""
MIDDLE_CHARS = 320
NODES, LINES, POINTS = 0.5, 0.3, 0.2
"""Shares of cursors at syntax nodes, at the beginnings of lines, anywhere."""


@dataclass(frozen=True, slots=True)
class Hole:
    """text[start:end] is taken out; the cursor stands at `start`."""

    start: int
    end: int


def holes(text: Text, count: int, seed: int) -> list[Hole]:
    """Up to `count` places in a file, the same for the same seed."""
    random = Random(f"{seed}|{text.package}|{text.path}")
    nodes = [Hole(len(c.prefix), len(c.prefix) + len(c.expected)) for c in punched(text, seed)]
    random.shuffle(nodes)
    found: list[Hole] = []
    for _ in range(count):
        dice = random.random()
        if dice < NODES and nodes:
            found.append(nodes.pop())
            continue
        at = random.randrange(len(text.text) // 8, len(text.text) - 1)
        if dice < NODES + LINES:
            at = text.text.find("\n", at) + 1 or at
            at += len(text.text[at:]) - len(text.text[at:].lstrip(" \t"))
        found.append(Hole(at, min(at + random.randrange(20, MIDDLE_CHARS), len(text.text))))
    return found


def punched(text: Text, seed: int) -> list:
    """Syntax nodes of a file as holes; none where the grammar does not know its way."""
    try:
        return punch(text.text, text.language, text.path, seed)
    except ValueError:
        return []


def example(text: Text, hole: Hole, budget: int, own: bool, engine: LocalEngine) -> Example | None:
    """The document of one cursor; None where nothing is left of it."""
    before, after = text.text[: hole.start], text.text[hole.end :]
    snapshot = Document(text.path, text.language, before + after).snapshot(hole.start)
    shown = context.build(snapshot, budget, engine.count)
    prompt = engine.encode(shown.prefix, shown.suffix, shown.outline).tokens
    ids, _ = engine.encode_prefix(shown.prefix)  # up to the last word: that is said again
    whole = engine.vocabulary.encode(shown.prefix + text.text[hole.start : min(hole.start + MIDDLE_CHARS, hole.end)])
    if not ids or whole[: len(ids)] != ids or len(whole) < len(ids) + 4:
        return None
    return Example(prompt, len(prompt) - len(ids), tuple(whole[len(ids) :]), text.language, own)


def examples(texts: Sequence[Text], tokens: int, own: float, seed: int, engine: LocalEngine) -> Iterator[Example]:
    """Examples until they have `tokens` ids: languages take turns, a file each, then the files again."""
    random = Random(f"{seed}|examples")
    groups: dict[str, list[Text]] = {}
    for text in texts:
        groups.setdefault(text.language, []).append(text)
    for group in groups.values():
        random.shuffle(group)
    made = turn = 0
    while made < tokens:
        before = made
        for group in groups.values():
            text = group[turn % len(group)]
            for hole in holes(text, 2, seed + turn // len(group)):
                row = example(text, hole, random.choice(BUDGETS), random.random() < own, engine)
                if row is not None:
                    made += len(row.prompt) + len(row.middle)
                    yield row
        turn += 1
        if made == before and turn > max(map(len, groups.values())):
            return


def corpus(options: argparse.Namespace) -> Iterable[str]:
    """`quatrain train corpus`. Yields lines to show."""
    from quatrain.lsp_server import show
    from quatrain.model import checkpoint, fetch, packages
    from quatrain.model.train import corpus, sources
    from quatrain.model.train import examples as packing

    folder, fetched = Path(options.output), fetch.home() / "training" / "packages"
    with show.progress() as report:
        if options.fetch:
            yield from packages.fetch_all(sources.PACKAGES, fetched, report)
        if options.fetch or not any(folder.glob("train-*.jsonl.gz")):
            there = corpus.fetched(sources.PACKAGES, fetched)
            for name, (files, size) in corpus.write(corpus.gather(there, fetched), folder, sources.HELD).items():
                yield f"{name}: {files} files, {size / 1e6:.1f} million characters"
        engine = checkpoint.open_engine(options.model, options.arithmetic, report)
    vocabulary = packing.identity(engine.vocabulary)
    for part, tokens in (("train", options.tokens), ("held", options.tokens // 10)):
        own = options.own if part == "train" else 1.0  # measured is what the trunk itself would say
        texts = list(corpus.load(folder, part))
        packed = packing.pack(examples(texts, tokens, own, options.seed, engine), vocabulary)
        packing.save(packed, folder / f"{part}.safetensors")
        yield f"{part}: {len(packed)} documents, {len(packed.ids)} tokens, {packed.own.sum()} to be written anew"
    texts = (text.text for text in corpus.load(folder, "train"))
    ids, shares = packing.commonest(texts, engine.vocabulary, options.draft_vocabulary)
    packing.save_ids(ids, folder / "vocabulary.safetensors", vocabulary)
    yield "draft vocabulary: " + ", ".join(f"{n} cover {share:.1%}" for n, share in shares)


TASKS = {"corpus": corpus}
"""By the name on the command line."""
