"""`quatrain setup`: bring a model onto this machine and make it ready. One line says what it is."""

from __future__ import annotations

from pathlib import Path

from quatrain.model import checkpoint, fetch, native
from quatrain.model.api import QuatrainError


def set_up(name: str, arithmetic: str, source: str | None, report: fetch.Report) -> str:
    """Fetch (or copy `source`), check, convert. Returns the line to show.

    Raises QuatrainError with what to do.
    """
    if source is not None:
        known = fetch.MODELS.get(name or fetch.DEFAULT)
        if known is None:
            raise QuatrainError("--from brings a known model; a GGUF file of your own is used with --model FILE")
        with fetch.exclusive(report):
            fetch.install_from(known, Path(source).expanduser(), report)
    wanted = checkpoint.candidates(arithmetic)
    folder, title = checkpoint.prepare(name, wanted, report)
    chosen, _ = checkpoint.read_card(folder)
    known = fetch.MODELS.get(name or fetch.DEFAULT)
    if known is None:
        return f"{title}: ready, arithmetic {chosen}, in {folder}" + advice(chosen)
    return (
        f"{known.title}, {known.size / 1e6:.0f} MB, licence {known.licence}: ready, "
        f"arithmetic {chosen}, in {fetch.home()}"
    ) + advice(chosen)


def advice(chosen: str) -> str:
    """A second line where our kernels are missing: why, and what to install."""
    reason = native.available()
    return f"\nslower than it could be: {reason}" if reason and chosen != "native" else ""
