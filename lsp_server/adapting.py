"""`quatrain train adapter`: holes whose middles are whole, as the product shows them to the model; the commands.

Knows files and trees; the training is `model/train/adapter_run`, the comparison `adapter_measure`.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from quatrain.lsp_server.evaluate.holes import Span, fits
from quatrain.lsp_server.training import cursor, punched
from quatrain.model.api import Prompt, QuatrainError
from quatrain.model.train.examples import Example

if TYPE_CHECKING:
    from quatrain.model.engine import LocalEngine
    from quatrain.model.fetch import Report
    from quatrain.model.train.corpus import Text
    from quatrain.model.train.examples import Packed

BUDGETS = (96, 160, 256)
"""Tokens of prompt: what a slow and a usual machine show; longer ones cost too much to train on."""
MOST_MIDDLE = 96
TRIES = 4
END = "<|endoftext|>"
"""What ends a middle: a marker that the decoder takes for an end, and that fill-in-the-middle training used."""
WORD = re.compile(r"\w+|[^\w\s]")
SHARES = {"line": 0.4, "rest": 0.25, "node": 0.2, "lines": 0.15}


@dataclass(frozen=True, slots=True)
class Hole:
    """A cursor: what the model reads there (the beginning of its answer is forced, as in use), what it should write,
    what follows on the line, and the same as an example to learn from, the end included."""

    kind: str
    prompt: Prompt
    expected: str
    rest: str
    example: Example


def line(text: str, random: Random, seed: Text) -> Span | None:
    """A whole line, from its indentation or its beginning; its end stays."""
    first, start, end = line_at(text, random)
    return Span(first if random.random() < 0.5 else start, end) if end > start else None


def rest(text: str, random: Random, seed: Text) -> Span | None:
    """From a token inside a line, or from inside that token, to the end of the line."""
    _, start, end = line_at(text, random)
    tokens = list(WORD.finditer(text, start, end))[1:]
    if not tokens:
        return None
    token = random.choice(tokens)
    inside = random.random() < 0.33 and len(token[0]) > 2
    return Span(token.start() + (random.randrange(1, len(token[0])) if inside else 0), end)


def lines(text: str, random: Random, seed: Text) -> Span | None:
    """Two to six whole lines, none of the outer ones blank."""
    _, start, end = line_at(text, random)
    for _ in range(random.randrange(1, 6)):
        end = text.find("\n", end + 1)
        if end < 0:
            return None
    last = text[text.rfind("\n", 0, end) + 1 : end]
    return Span(start, end) if last.strip() and text[start] != "\n" else None


def node(text: str, random: Random, seed: Text) -> Span | None:
    """A node of the syntax tree."""
    cases = punched(seed, random.randrange(1 << 30))
    chosen = random.choice(cases) if cases else None
    return Span(len(chosen.prefix), len(chosen.prefix) + len(chosen.expected)) if chosen else None


KINDS: dict[str, Callable[[str, Random, Text], Span | None]] = {
    "line": line,
    "rest": rest,
    "node": node,
    "lines": lines,
}


def line_at(text: str, random: Random) -> tuple[int, int, int]:
    """A line anywhere: where it begins, where its text does, and where that ends."""
    first = text.rfind("\n", 0, random.randrange(len(text))) + 1
    end = text.find("\n", first)
    body = text[first : end if end >= 0 else len(text)]
    return first, first + len(body) - len(body.lstrip()), first + len(body.rstrip())


def hole(text: Text, kind: str, span: Span, budget: int, engine: LocalEngine) -> Hole | None:
    """The document of one cursor; None where the middle is too long, or the context does not reach it."""
    found = cursor(text, span, budget, engine)
    if found is None:
        return None
    prompt, ids, middle = found
    left = len(prompt.forced)
    given: list[int] = []
    while middle and len(engine.vocabulary.bytes_of(middle[0])) <= left:
        given.append(middle.pop(0))  # all of it is forced: there is nothing to learn in it
        left -= len(engine.vocabulary.bytes_of(given[-1]))
    end = engine.vocabulary.marker(END)
    if end is None or not 0 < len(middle) <= MOST_MIDDLE:
        return None
    learned = Example((*prompt.tokens, *given), len(prompt.tokens) - len(ids), (*middle, end), text.language)
    rest = text.text[span.end :].split("\n", 1)[0]
    return Hole(kind, prompt, text.text[span.start : span.end], rest, learned)


def holes(texts: Sequence[Text], count: int, seed: int, engine: LocalEngine) -> Iterator[Hole]:
    """So many holes: languages take turns, a file each, then the files again. The same seed gives the same."""
    groups: dict[str, list[Text]] = {}
    for text in texts:
        groups.setdefault(text.language, []).append(text)
    for group in groups.values():
        Random(f"{seed}|order").shuffle(group)
    made = idle = turn = 0
    while made < count and groups:
        idle += 1
        for group in groups.values():
            text = group[turn % len(group)]
            found = one(text, Random(f"{seed}|{turn // len(group)}|{text.package}|{text.path}"), engine)
            if found is not None and made < count:
                made, idle = made + 1, 0
                yield found
        turn += 1
        if idle > max(map(len, groups.values())):
            return


def one(text: Text, random: Random, engine: LocalEngine) -> Hole | None:
    """A hole in a file, of a kind by chance."""
    kind = random.choices(list(SHARES), list(SHARES.values()))[0]
    for _ in range(TRIES):
        span = KINDS[kind](text.text, random, text)
        if span is not None and fits(text.text[span.start : span.end]):
            found = hole(text, kind, span, random.choice(BUDGETS), engine)
            if found is not None:
                return found
    return None


def texts_of(folder: Path, part: str, languages: Sequence[str]) -> list[Text]:
    """The corpus, or what of it is in these languages."""
    from quatrain.model.train import corpus

    found = [text for text in corpus.load(folder, part) if not languages or text.language in languages]
    if not found:
        raise QuatrainError(f"{folder} has no texts in {', '.join(languages)}")
    return found


def documents(options: argparse.Namespace, engine: LocalEngine, report: Report) -> tuple[Packed, Packed]:
    """Training and held-back documents, made once for the same options."""
    from quatrain.model.train import examples as packing

    folder, vocabulary = Path(options.corpus), packing.identity(engine.vocabulary)
    wanted = {"documents": options.documents, "held": options.held, "languages": options.languages}
    wanted |= {"seed": options.seed, "vocabulary": vocabulary, "budgets": list(BUDGETS), "shares": SHARES}
    about, paths = folder / "adapter.json", [folder / f"adapter-{part}.safetensors" for part in ("train", "held")]
    if not about.exists() or json.loads(about.read_text()) != wanted or not all(path.exists() for path in paths):
        about.unlink(missing_ok=True)  # a run that is stopped here leaves nothing that looks whole
        for path, count in zip(paths, (options.documents, options.held), strict=True):
            part = path.stem.removeprefix("adapter-")
            rows = []
            for found in holes(texts_of(folder, part, options.languages), count, options.seed, engine):
                report(f"making documents, {part}", len(rows), count)
                rows.append(found.example)
            packing.save(packing.pack(rows, vocabulary), path)
        about.write_text(json.dumps(wanted))
    train, held = (packing.load(path, vocabulary) for path in paths)
    return train, held


def adapt(options: argparse.Namespace) -> Iterable[str]:
    """`quatrain train adapter`. Yields lines to show."""
    if options.measure:
        from quatrain.lsp_server import adapter_measure

        yield from adapter_measure.compare(options)
        return
    from quatrain.lsp_server import show
    from quatrain.model import adapter, checkpoint
    from quatrain.model.train import adapter_run
    from quatrain.model.train.adapter_trainer import Recipe

    kind = "torch-bf16" if options.arithmetic == "auto" else options.arithmetic
    if kind not in ("torch-bf16", "torch-f32"):
        raise QuatrainError(f"an adapter is trained in torch-bf16 or torch-f32, not {kind}")
    with show.progress() as report:
        engine = checkpoint.open_engine(options.model, kind, report, adapter="none", head="none", capacity=16)
        parts = documents(options, engine, report)
        model = checkpoint.converted(options.model, kind, report, adapter="none")
        config = engine.trunk.config
        del engine
        trunk = adapter_run.Trunk(checkpoint.trunk_of(model), config, model.folder / "weights.safetensors")
        names = adapter.names_of(config, options.targets)
        shape = adapter.AdapterConfig(options.rank, options.alpha / options.rank, names)
        recipe = Recipe(options.steps, options.batch_tokens, options.rate, seed=options.seed)
        output = Path(options.output)
        lines = adapter_run.run(trunk, shape, recipe, parts, options.held, output, options.minutes, report)
        for figures in lines:
            yield shown(figures)
    if (output / "adapter.safetensors").exists():
        yield f"measure it: quatrain train adapter --corpus {options.corpus} --measure {output / 'adapter.safetensors'}"


def shown(figures: dict) -> str:
    """A row of the log for a person."""
    if "held" in figures:
        held = " ".join(f"{name} {value:.4f}" for name, value in figures["held"].items())
        return f"step {figures['step']}: held-back loss a token, {held}"
    return " ".join(f"{name} {value:.4g}" for name, value in figures.items())


TASKS = {"adapter": adapt}
"""By the name on the command line."""
