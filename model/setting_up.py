"""`quatrain setup`: bring a model onto this machine, make it ready, measure its steps. One line says what it is."""

from __future__ import annotations

from pathlib import Path

from quatrain.model import checkpoint, fallback, fetch, measure, native, step_costs
from quatrain.model.api import QuatrainError
from quatrain.model.checkpoint import Converted
from quatrain.model.config import ModelConfig
from quatrain.model.step_costs import StepCosts


def set_up(name: str, arithmetic: str, source: str | None, report: fetch.Report) -> str:
    """Fetch (or copy `source`), check, convert, measure. Returns the line to show.

    Raises QuatrainError with what to do.
    """
    if source is not None:
        known = fetch.MODELS.get(name or fetch.DEFAULT)
        if known is None:
            raise QuatrainError("--from brings a known model; a GGUF file of your own is used with --model FILE")
        with fetch.exclusive(report):
            fetch.install_from(known, Path(source).expanduser(), report)
    wanted = checkpoint.candidates(arithmetic)
    model = checkpoint.prepare(name, wanted, report)
    chosen, config = checkpoint.read_card(model.folder)
    chosen = model.arithmetic if model.arithmetic in ("cuda", "mps") else chosen
    costs = measured(model, report)
    known = fetch.MODELS.get(name or fetch.DEFAULT)
    where = fetch.home() if known else model.folder
    title = f"{known.title}, {known.size / 1e6:.0f} MB, licence {known.licence}" if known else model.name
    return f"{title}: ready, arithmetic {chosen}, in {where}{pace(costs)}{advice(chosen, config)}"


def measured(model: Converted, report: fetch.Report) -> StepCosts:
    """Measure what steps cost (seconds) and put it on record. Setup asked again measures again: the last time
    the machine may have been busy."""
    engine = checkpoint.open_converted(model, report)
    report("measuring steps", 0, 0)
    vocab, depth = engine.trunk.config.vocab, min(256, engine.cache.capacity // 2)
    ids = [i * 7919 % vocab for i in range(depth + step_costs.MOST_ROWS)]  # any ids cost the same
    costs = measure.measure_costs(measure.OwnTrunk(model.arithmetic, engine.trunk, ids, engine.cache.storage), depth)
    with fetch.disk_errors(model.folder):
        step_costs.save(model.folder, step_costs.key_of(engine.trunk.arithmetic), costs)
    return costs


def pace(costs: StepCosts) -> str:
    """A line of what was measured."""
    one, eight = costs.of(1), costs.of(8)
    return (
        f"\n{costs.prompt_tokens_per_s:.0f} prompt tokens/s, {one:.0f} ms a step, "
        f"{eight:.0f} ms with seven drafted tokens to check"
    )


def advice(chosen: str, config: ModelConfig) -> str:
    """A last line where torch computes in place of our kernels: why, what was chosen how, and what to install."""
    reason = native.drawback() or native.unsupported(config)
    if not reason or chosen in ("native", "cuda", "mps"):
        return ""
    choice = fallback.remembered()
    if choice is None or choice.kind != chosen:
        return f"\nslower than it could be: {reason}"
    took = ", ".join(f"{kind} {ms:.1f}" for kind, ms in choice.keystroke_ms.items())
    return f"\nslower than it could be: {reason}; {chosen} is torch's fastest here (ms for a layer's share: {took})"
