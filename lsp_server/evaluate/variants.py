"""The product with something changed: named rows of switches, and how each switch is thrown.

To add a row, name a change of `Switches` in VARIANTS; to add a switch, add a field and throw it in `prepared`.
Knows the pipeline's parts; knows no suite.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from quatrain.lsp_server import context
from quatrain.lsp_server.complete import Completer
from quatrain.lsp_server.cut import Cutter
from quatrain.lsp_server.evaluate.baselines import FirstLine, plain_window
from quatrain.lsp_server.settings import Settings
from quatrain.model.api import Engine, QuatrainError


@dataclass(frozen=True, slots=True)
class Switches:
    """The product as it ships, until a field is changed.

    `lines` overrides the suite's own choice. `raw_hole` takes the hole's line end away, as published figures do
    (`humaneval` only). `all_offers`: those that the model is not sure of too.
    """

    cut: Literal["product", "first-line"] = "product"
    context: Literal["product", "window"] = "product"
    heal: bool = True
    speculate: bool = True
    lines: Literal["", "auto", "single"] = ""
    context_tokens: int = 0
    raw_hole: bool = False
    all_offers: bool = False


PRODUCT = Switches()
VARIANTS: dict[str, Switches] = {
    "product": PRODUCT,
    "no-cut": replace(PRODUCT, cut="first-line"),
    "no-healing": replace(PRODUCT, heal=False),
    "no-trimming": replace(PRODUCT, context="window"),
    "plain": replace(PRODUCT, cut="first-line", heal=False, context="window"),
    "raw-hole": replace(PRODUCT, cut="first-line", raw_hole=True),
    "multi-line": replace(PRODUCT, lines="auto"),
    "unsure": replace(PRODUCT, all_offers=True),
    "no-speculation": replace(PRODUCT, speculate=False),
    "small-context": replace(PRODUCT, context_tokens=256),
    "large-context": replace(PRODUCT, context_tokens=1024),
}


def named(names: Iterable[str]) -> dict[str, Switches]:
    """Rows by name; `all` stands for every row. Raises QuatrainError for others."""
    names = list(names)
    if "all" in names:
        return dict(VARIANTS)
    if unknown := [name for name in names if name not in VARIANTS]:
        raise QuatrainError(f"no variant {unknown[0]!r}; known are all, {', '.join(VARIANTS)}")
    return {name: VARIANTS[name] for name in names}


@dataclass(frozen=True, slots=True)
class Prepared:
    """A pipeline with its switches thrown."""

    completer: Completer
    settings: Settings


def prepared(engine: Engine, settings: Settings, switches: Switches) -> Prepared:
    """The pipeline of one variant. All variants share the model's weights and cache."""
    engine = copy.copy(engine)  # a second door to the same model
    for name in ("heal", "speculate"):
        setattr(engine, name, getattr(switches, name) and getattr(engine, name, True))
    build = context.build if switches.context == "product" else plain_window
    cutter = Cutter if switches.cut == "product" else FirstLine
    changes = {"lines": switches.lines, "context_tokens": switches.context_tokens}
    settings = replace(settings, **{name: value for name, value in changes.items() if value})
    if switches.all_offers:
        settings = replace(settings, confidence=0.0)
    return Prepared(Completer(engine, build, cutter), settings)
