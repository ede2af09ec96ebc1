"""One HTML page that needs nothing but itself: figures, plots, tables, and samples with the text in its place.

Knows summaries and cases; computes no measure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from quatrain.lsp_server.evaluate import plots, summary
from quatrain.lsp_server.evaluate.case import Case
from quatrain.lsp_server.evaluate.running import Row

SAMPLES = 40
LINES_AROUND = 5
STYLE = """
:root{color-scheme:light dark}
body{font:14px/1.5 system-ui,sans-serif;max-width:1100px;margin:2em auto;padding:0 1em}
table{border-collapse:collapse;margin:.6em 0 1.6em;font-variant-numeric:tabular-nums;display:block;overflow-x:auto}
th,td{padding:.2em .5em;text-align:right;border-bottom:1px solid #8884;white-space:nowrap}
th:first-child,td:first-child,.plain td{text-align:left}
th{font-weight:600;vertical-align:bottom;white-space:normal}
svg{width:100%;max-width:760px;display:block;margin:1em 0}
svg text{font:11px system-ui,sans-serif;fill:currentColor}
svg .title{font-size:13px;font-weight:600}
svg .grid{stroke:#8884}
pre{background:#8881;padding:.7em;overflow-x:auto;margin:.3em 0 1em;line-height:1.35}
ins{background:#3a93;text-decoration:none;outline:1px solid #3a96}
del{background:#c444}
.missing{background:#27c3;outline:1px solid #27c6}
.dim{opacity:.65}
"""


def render(suite: str, conditions: Mapping[str, Any], rows: Sequence[Row], cases: Mapping[str, Case]) -> str:
    """The page."""
    totals = summary.summary(rows)
    body = [
        f"<h1>quatrain eval {escape(suite)}</h1>",
        '<div class="plain">' + table(["condition", ""], [[n, str(v)] for n, v in conditions.items()]) + "</div>",
        *headline(rows, totals),
        *pictures(rows, totals),
        *sections(rows, totals),
        *samples(rows, cases),
    ]
    head = f'<meta charset="utf-8"><title>quatrain eval {escape(suite)}</title><style>{STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(body)}</body></html>\n'


def headline(rows: Sequence[Row], totals: Mapping[str, Any]) -> list[str]:
    """The variants beside each other."""
    out = ["<h2>Variants</h2>", figures_table("variant", totals["variants"], summary.measures_for(rows)), bounds(rows)]
    if "advantage" in totals:
        heads = ["budget", "against", "difference", "standard_error", "cases"]
        said = "Loss per token, paired by case; below zero, the tree is better."
        out += [f"<h2>Tree against plain windows</h2><p>{said}</p>"]
        out += [table(heads, [[str(row[head]) for head in heads] for row in totals["advantage"]])]
    return out


def sections(rows: Sequence[Row], totals: Mapping[str, Any]) -> list[str]:
    """For each variant a table by each thing the cases differ in."""
    measures, out = summary.measures_for(rows), []
    for field in ("language", "kind", "reason", "outcome", "confidence"):
        for variant, groups in totals.get(f"by_{field}", {}).items():
            if len(groups) > 1 or field in ("reason", "outcome"):
                out += [f"<h2>By {field}: {escape(variant)}</h2>", figures_table(field, groups, measures)]
    return out


def figures_table(head: str, groups: Mapping[str, Mapping[str, float]], measures: Sequence[summary.Measure]) -> str:
    """A row of figures for each group."""
    lines = [
        [name, *(summary.written(figures.get(measure.name), measure.style) for measure in measures)]
        for name, figures in groups.items()
    ]
    return table([head, *(measure.title for measure in measures)], lines)


def bounds(rows: Sequence[Row]) -> str:
    """How sure the shares are."""
    said = []
    for variant, group in summary.grouped(rows, "variant").items():
        for field, title in (("exact", "exact match"), ("passed", "pass@1")):
            if group and field in group[0]:
                low, high = summary.interval(sum(bool(row[field]) for row in group), len(group))
                said.append(f"{variant}: {title} {low:.3f} to {high:.3f}")
    return f'<p class="dim">95 % intervals (Wilson). {escape("; ".join(said))}.</p>' if said else ""


def table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{escape(head)}</th>" for head in heads)
    rest = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in line) + "</tr>" for line in lines)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{rest}</tbody></table>"


def pictures(rows: Sequence[Row], totals: Mapping[str, Any]) -> list[str]:
    """Plots: what is right, how long it takes, why it ends."""
    if rows and "loss" in rows[0]:
        groups = {
            f"{budget} tokens": {
                way: summary.per_token(some) or 0 for way, some in summary.grouped(group, "context").items()
            }
            for budget, group in summary.grouped(rows, "budget").items()
        }
        return ["<h2>Plots</h2>", plots.bars("loss per token of the true next lines", groups)]
    shares = ("exact", "first_line", "passed", "valid", "offered")
    right = {
        name: {share: figures[share] for share in shares if share in figures}
        for name, figures in totals["variants"].items()
    }
    times = {name: [row["ms"] for row in group] for name, group in summary.grouped(rows, "variant").items()}
    ends = {
        name: {reason: figures["cases"] for reason, figures in reasons.items()}
        for name, reasons in totals.get("by_reason", {}).items()
    }
    out = ["<h2>Plots</h2>", plots.bars("share of cases", right, 1.0), plots.curves("time to the answer", times, "ms")]
    for field in ("language", "kind"):
        for name, groups in totals[f"by_{field}"].items():
            if len(groups) > 1:
                kept = {g: {s: f[s] for s in ("exact", "first_line", "similarity")} for g, f in groups.items()}
                out.append(plots.bars(f"by {field}: {name}", kept, 1.0))
    return [*out, plots.bars("why the text ends", ends)]


def samples(rows: Sequence[Row], cases: Mapping[str, Case]) -> list[str]:
    """Failures, the worst kinds first."""
    failed = [
        row for row in rows if "exact" in row and not row["exact"] and not row.get("passed") and row["case"] in cases
    ]
    failed.sort(key=lambda row: -badness(row))
    out = ["<h2>Failures, a sample</h2>"] if failed else []
    for row in failed[:SAMPLES]:
        faults = [name for name in FAULTS if row.get(name)] or ["other text"]
        about = f"{row['case']} · {row['variant']} · {', '.join(faults)} · ends at: {row['reason']}"
        about += f" · {row['outcome']}" if "outcome" in row else ""
        out.append(f"<h3>{escape(about)}</h3>{in_place(cases[row['case']], row)}")
    return out


FAULTS = ("raised", "closer_twice", "next_line_twice", "rest_twice")


def badness(row: Row) -> int:
    return sum(8 >> i for i, name in enumerate(FAULTS) if row.get(name))


def in_place(case: Case, row: Row) -> str:
    """The lines around the cursor with the answer marked, and what stood there."""
    before = "".join(case.prefix.splitlines(keepends=True)[-LINES_AROUND:])
    replaced, rest = case.suffix[: row["replaced"]], case.suffix[row["replaced"] :]
    after = "".join(rest.splitlines(keepends=True)[:LINES_AROUND])
    said = f"<ins>{escape(row['text']) or '▏'}</ins>" + (f"<del>{escape(replaced)}</del>" if replaced else "")
    return (
        f"<pre>{escape(before)}{said}{escape(after)}</pre>"
        f'<p class="dim">expected</p><pre><span class="missing">{escape(case.expected)}</span></pre>'
    )
