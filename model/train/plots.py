"""Pictures of training runs with matplotlib. Knows rows of numbers and names, nothing of what they mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from quatrain.model.api import QuatrainError


def require() -> None:
    """Raise QuatrainError where matplotlib is missing: better before the training than after it."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise QuatrainError("training draws its curves with matplotlib: pip install 'quatrain[train]'") from None


def curves(
    target: Path,
    title: str,
    series: Mapping[str, Sequence[tuple[float, float]]],
    x: str,
    y: str,
    logarithmic: bool = False,
) -> None:
    """Lines of (x, y) points as an SVG file."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7.2, 4.2), layout="constrained")
    for name, points in series.items():
        mark = "o" if len(points) < 20 else None
        axes.plot([p[0] for p in points], [p[1] for p in points], label=name, linewidth=1.4, marker=mark, markersize=3)
    axes.set(title=title, xlabel=x, ylabel=y)
    if logarithmic:
        axes.set(xscale="log", yscale="log")
    axes.grid(alpha=0.3)
    if series:
        axes.legend(fontsize=8)
    figure.savefig(target)
    pyplot.close(figure)
