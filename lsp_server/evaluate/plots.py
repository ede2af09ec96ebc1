"""Bars and curves as SVG text. Knows numbers and names, nothing of what they mean."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

COLOURS = ("#2f6f9f", "#d9822b", "#4f9d5d", "#b5485d", "#7a5ea8", "#8a7f5c", "#3aa6a6", "#6b6b6b")
WIDTH, ROW, LABEL = 720, 18, 170


def bars(title: str, groups: Mapping[str, Mapping[str, float]], most: float | None = None) -> str:
    """Horizontal bars: a group for each name, in it one bar for each series."""
    series = list(dict.fromkeys(name for group in groups.values() for name in group))
    top = most or max((value for group in groups.values() for value in group.values()), default=0) or 1
    parts, y = [], 44
    for name, group in groups.items():
        parts.append(text(LABEL - 8, y + len(group) * ROW / 2 + 4, name, "end"))
        for key, value in group.items():
            width = max(0.0, value / top) * (WIDTH - LABEL - 70)
            colour = COLOURS[series.index(key) % len(COLOURS)]
            parts.append(f'<rect x="{LABEL}" y="{y + 2}" width="{width:.1f}" height="{ROW - 4}" fill="{colour}"/>')
            parts.append(text(LABEL + width + 5, y + ROW - 5, f"{value:.4g}", "start", "value"))
            y += ROW
        y += 8
    return picture(title, "".join(parts) + legend(series), y + 4)


def curves(title: str, series: Mapping[str, Sequence[float]], unit: str) -> str:
    """The share of values up to x, for each series, on a logarithmic x."""
    values = [value for points in series.values() for value in points if value > 0]
    if not values:
        return ""
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values) * 1.0001))
    high = max(high, low + 1)
    left, right, top, bottom = 50, WIDTH - 20, 44, 284

    def x(value: float) -> float:
        return left + (math.log10(max(value, 10**low)) - low) / (high - low) * (right - left)

    parts = []
    for power in range(low, high + 1):
        parts.append(line(x(10**power), top, x(10**power), bottom))
        parts.append(text(x(10**power), bottom + 16, f"{10.0**power:g} {unit}", "middle"))
    for level in (0.0, 0.25, 0.5, 0.75, 0.95, 1.0):
        y = bottom - level * (bottom - top)
        parts.append(line(left, y, right, y) + text(left - 6, y + 4, f"{level:g}", "end"))
    for number, points in enumerate(series.values()):
        ordered = sorted(points)
        path = " ".join(
            f"{x(value):.1f},{bottom - (i + 1) / len(ordered) * (bottom - top):.1f}" for i, value in enumerate(ordered)
        )
        colour = COLOURS[number % len(COLOURS)]
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8"/>')
    return picture(title, "".join(parts) + legend(list(series)), bottom + 26)


def legend(names: Sequence[str]) -> str:
    """Coloured names in one line under the title."""
    parts, x = [], 10.0
    for number, name in enumerate(names):
        parts.append(f'<rect x="{x}" y="26" width="10" height="10" fill="{COLOURS[number % len(COLOURS)]}"/>')
        parts.append(text(x + 14, 35, name, "start"))
        x += 24 + 6.6 * len(name)
    return "".join(parts)


def text(x: float, y: float, said: str, anchor: str, kind: str = "label") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{kind}">{escape(said)}</text>'


def line(x0: float, y0: float, x1: float, y1: float) -> str:
    return f'<line x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}" class="grid"/>'


def picture(title: str, inner: str, height: float) -> str:
    """One SVG with its title."""
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(title)}">'
        f'<text x="10" y="16" class="title">{escape(title)}</text>{inner}</svg>'
    )
