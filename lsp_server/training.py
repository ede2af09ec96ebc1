"""`quatrain train`: the commands, and the prompts of training documents as the product would make them.

Cursors are put into the corpus's files at syntax nodes, at lines and at random points; what the model reads
there comes from the product's own context. Knows files and trees; the training itself is `model/train`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from quatrain.lsp_server import context
from quatrain.lsp_server.documents import Document
from quatrain.lsp_server.evaluate.holes import Span, punch
from quatrain.model.api import Prompt, QuatrainError
from quatrain.model.native.trunk import physical_cores
from quatrain.model.train.examples import Example

if TYPE_CHECKING:
    from quatrain.model.engine import LocalEngine
    from quatrain.model.train.corpus import Text

BUDGETS = (256, 384, 512)
"""Tokens of prompt: what a slow, a usual and a quick machine show."""
MIDDLE_CHARS = 320
NODES, LINES = 0.5, 0.3
"""Shares of cursors at syntax nodes and at the beginnings of lines; the others may stand anywhere."""


def holes(text: Text, count: int, seed: int) -> list[Span]:
    """Up to `count` places in a file, the same for the same seed."""
    random = Random(f"{seed}|{text.package}|{text.path}")
    nodes = [Span(len(c.prefix), len(c.prefix) + len(c.expected)) for c in punched(text, seed)]
    random.shuffle(nodes)
    found: list[Span] = []
    for _ in range(count):
        dice = random.random()
        if dice < NODES and nodes:
            found.append(nodes.pop())
            continue
        at = random.randrange(len(text.text) // 8, len(text.text) - 1)
        if dice < NODES + LINES:
            at = text.text.find("\n", at) + 1 or at
            at += len(text.text[at:]) - len(text.text[at:].lstrip(" \t"))
        found.append(Span(at, min(at + random.randrange(20, MIDDLE_CHARS), len(text.text))))
    return found


def punched(text: Text, seed: int) -> list:
    """Syntax nodes of a file as holes; none where the grammar does not know its way."""
    try:
        return punch(text.text, text.language, text.path, seed)
    except ValueError:
        return []


def cursor(
    text: Text, hole: Span, budget: int, engine: LocalEngine, most: int | None = None
) -> tuple[Prompt, tuple[int, ...], list[int]] | None:
    """What the model reads at a hole; the ids of the prefix in it; and the ids of what stood there, from the last word
    of the prefix on, which is said again, of `most` of its characters. None where the context does not reach it."""
    before, after = text.text[: hole.start], text.text[hole.end :]
    snapshot = Document(text.path, text.language, before + after).snapshot(hole.start)
    context.forget()  # what is shown depends on this hole alone
    shown = context.build(snapshot, budget, engine.count)
    ids, _ = engine.encode_prefix(shown.prefix)
    whole = engine.vocabulary.encode(shown.prefix + text.text[hole.start : hole.end][:most])
    if not ids or whole[: len(ids)] != ids:
        return None
    return engine.encode(shown.prefix, shown.suffix, shown.outline), tuple(ids), whole[len(ids) :]


def example(text: Text, hole: Span, budget: int, own: bool, engine: LocalEngine) -> Example | None:
    """The document of one cursor; None where nothing is left of it."""
    found = cursor(text, hole, budget, engine, MIDDLE_CHARS)
    if found is None or len(found[2]) < 4:
        return None
    prompt, ids, middle = found
    return Example(prompt.tokens, len(prompt.tokens) - len(ids), tuple(middle), text.language, own)


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


def states(options: argparse.Namespace) -> Iterable[str]:
    """`quatrain train states`."""
    from quatrain.lsp_server import show
    from quatrain.model import checkpoint, tokenizer
    from quatrain.model.train import examples as packing
    from quatrain.model.train import states

    folder = Path(options.corpus)
    with show.progress() as report:
        model = checkpoint.converted(options.model, options.arithmetic, report, options.adapter)
        vocabulary = tokenizer.load(model.folder)
        trunk = checkpoint.open_trunk(model, tuple(options.taps))
        for part, tokens in (("held", options.tokens // 20), ("train", options.tokens)):
            packed = packing.load(folder / f"{part}.safetensors", packing.identity(vocabulary))
            longest = int((packed.starts[1:] - packed.starts[:-1]).max())
            watcher = states.Watcher(trunk, vocabulary, options.layers, longest)
            states.collect(watcher, packed, folder / "states" / part, tokens, report)
    yield f"states are in {folder / 'states'}"


def heads(options: argparse.Namespace) -> Iterable[str]:
    """`quatrain train heads`."""
    from quatrain.lsp_server import show
    from quatrain.model import checkpoint, tokenizer
    from quatrain.model.heads import found
    from quatrain.model.train import examples as packing
    from quatrain.model.train import head_plots, head_run, states
    from quatrain.model.train.head_trainer import Recipe

    folder, output = Path(options.corpus), Path(options.output)
    with show.progress() as report:
        model = checkpoint.converted(options.model, options.arithmetic, report, options.adapter)
        words, opened = tokenizer.load(model.folder), checkpoint.open_trunk(model)
        rows = head_run.rows_of(opened, "output"), head_run.rows_of(opened, "embedding")
        trunk = head_run.Trunk(checkpoint.trunk_of(model), opened.config, *rows, words.special)
        start = found(trunk.sha256, options.start) if options.start else None
        vocabulary = packing.load_ids(folder / "vocabulary.safetensors", packing.identity(words))
        if start is not None:
            vocabulary = start.weights["vocabulary"]
        design = head_run.Design(options.design, options.ahead, options.bias)
        config = head_run.config_of(opened.config, options.taps, options.attends, options.ffn, design)
        recipe = Recipe(options.steps, options.ahead, places=options.places, rate=options.rate, seed=options.seed)
        stored = head_run.Stored(folder / "states", *states.stored(folder / "states" / "train"))
        run = head_run.run(trunk, config, recipe, vocabulary, stored, output, options.minutes, report, start)
        history = output.parent / (output.name + ".jsonl")
        with history.open("a", encoding="utf-8") as log:
            for figures in run:
                log.write(json.dumps(figures) + "\n")
                log.flush()
                yield " ".join(f"{name} {value:.4g}" for name, value in figures.items())
    yield head_plots.said(history, output)


def evaluate(options: argparse.Namespace) -> Iterable[str]:
    """`quatrain train evaluate`."""
    from quatrain.lsp_server import show, training_table
    from quatrain.model import checkpoint
    from quatrain.model.train import examples as packing
    from quatrain.model.train import live

    with show.progress() as report:
        parts = {"head": options.head, "adapter": options.adapter}
        engine = checkpoint.open_engine(options.model, options.arithmetic, report, **parts)
        packed = packing.load(Path(options.corpus) / "held.safetensors", packing.identity(engine.vocabulary))
        known = live.sources(engine)
        chosen = options.sources or list(known)
        if unknown := [name for name in chosen if name not in known]:
            raise QuatrainError(f"no draft source {unknown[0]!r} here; there are {', '.join(known)}")
        contenders = {name: live.own(engine, name, known[name]) for name in chosen}
        if options.peer:
            path = checkpoint.locate(options.model, report).path
            for lookup in (False, True):
                one = live.llama(path, physical_cores(), engine.cache.capacity, lookup)
                contenders["llama.cpp" + " n-gram" * lookup] = one
        answers = [a for each in live.run(contenders, packed, options.limit, options.tokens, report) for a in each]
    found = live.tables(answers)
    if options.json:
        yield json.dumps({"date": date.today().isoformat(), "contenders": found}, indent=1)
    else:
        yield training_table.render(found)


TASKS = {"corpus": corpus, "states": states, "heads": heads, "evaluate": evaluate}
"""By the name on the command line."""
