"""Starts the server process: logging to standard error, the engine's loader, the exit status."""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Callable
from dataclasses import replace

from quatrain.lsp_server.door import answer_first
from quatrain.lsp_server.settings import Settings
from quatrain.model.api import Engine, QuatrainError


def run(model: str, arithmetic: str, engine: str | None, log_level: str | None) -> int:
    """Serve on standard input and output until `exit` or the end of input. Does not return while work is left:
    a model thread that is busy is abandoned with the process."""
    settings = replace(Settings(), model=model, arithmetic=arithmetic)
    level = (log_level or settings.log_level).upper()
    if level not in ("ERROR", "WARNING", "INFO", "DEBUG"):
        raise QuatrainError(f"no log level {log_level!r}; known are error, warning, info, debug")
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("quatrain").setLevel(level)
    logging.getLogger("pygls").setLevel(logging.CRITICAL)  # it logs every unknown message as a traceback
    opener = named_engine(engine) if engine else open_local
    output = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # a stray print must not break the protocol
    source, answered = answer_first(sys.stdin.buffer, output)
    from quatrain.lsp_server.handlers import make

    server = make(opener, settings)
    server.protocol.answered = answered
    server.start_io(source, output)  # type: ignore[arg-type]
    sys.stderr.flush()
    os._exit(0 if server.protocol.clean_exit else 1)


def open_local(settings: Settings, report: Callable[[str, int, int], None]) -> Engine:
    """The engine for real use. Imports the model only now, on the model thread."""
    from quatrain.model import checkpoint

    options = {"speculate": settings.speculate, "head": settings.head, "adapter": settings.adapter}
    return checkpoint.open_engine(settings.model, settings.arithmetic, report, **options)


def named_engine(name: str) -> Callable[..., Engine]:
    """`module:function`, an opener somebody else wrote (tests do)."""
    module, _, function = name.partition(":")
    try:
        return getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise QuatrainError(f"--engine {name}: {error}") from error
