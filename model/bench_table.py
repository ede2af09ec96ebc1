"""Shows the figures of a benchmark to people. Knows no measuring; prints nothing itself."""

from __future__ import annotations

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from quatrain.model import machine, peer
from quatrain.model.bench import Figures, Results


def render(results: Results) -> RenderableType:
    """Everything: where, prompts, steps, memory and start, loss."""
    parts: list[RenderableType] = [heading(results)]
    if any(each.prompt_ms for each in results.contenders):
        parts.append(prompts(results))
    if any(each.step_ms for each in results.contenders):
        parts += [steps(results), traffic(results)]
    if any(each.start for each in results.contenders):
        parts.append(starts(results))
    if any(each.agreement for each in results.contenders):
        parts.append(agreements(results))
    return Group(*parts)


def heading(results: Results) -> str:
    """Model, machine, versions, date, method."""
    m = results.machine
    load = "" if m.load is None else f", load average {m.load:.1f} before"
    busy = "The machine was busy with other work: these figures say little.\n" if (m.load or 0) > m.cores / 2 else ""
    who = "\n".join(f"  {each.name}: {each.about}" for each in results.contenders)
    method = machine.BANDWIDTH_METHOD.format(mb=256, threads=results.threads)
    return (
        f"{results.model} on {m.processor}, {m.cores} cores, {m.memory_gb:.0f} GB, {m.system}{load}\n"
        f"{', '.join(f'{name} {number}' for name, number in results.versions.items())} · "
        f"{results.threads} threads · {results.date}\n{who}\n"
        f"{busy}Medians of {results.runs} runs, contenders in turns ({results.samples[0]} prompts, "
        f"{results.samples[1]} steps for each figure).\n"
        f"Memory: {results.bandwidth_gb_s:.1f} GB/s, {method}.\n"
    )


def table(title: str, *columns: str) -> Table:
    """An empty table whose first column is a name and the others figures."""
    made = Table(title="\n" + title, title_justify="left", title_style="bold", header_style="dim", box=box.SIMPLE_HEAD)
    for i, column in enumerate(columns):
        made.add_column(column, justify="left" if i == 0 else "right", no_wrap=True, min_width=len(column))
    return made


def ours(results: Results) -> list[Figures]:
    """The contenders that are compared with llama.cpp; none if it did not take part."""
    return [each for each in results.contenders if each.name != peer.NAME] if results.peer else []


def prompts(results: Results) -> Table:
    """Prompt tokens per second; ratios are our rate over llama.cpp's."""
    ratios = [f"{each.name} ÷ {peer.NAME}" for each in ours(results)]
    made = table("Prompt, tokens/s", "tokens", *(each.name for each in results.contenders), *ratios)
    for tokens in results.contenders[0].prompt_ms:
        rates = [f"{each.tokens_per_s(tokens):.0f}" for each in results.contenders]
        other = results.peer
        over = [f"{each.tokens_per_s(tokens) / other.tokens_per_s(tokens):.2f}" for each in ours(results) if other]
        made.add_row(str(tokens), *rates, *over)
    return made


def steps(results: Results) -> Table:
    """Milliseconds of a step, and behind the times how many of one's own 1-row steps that is; ratios are our
    time over llama.cpp's."""
    ratios = [f"{each.name} ÷ {peer.NAME}" for each in ours(results)]
    names = [each.name for each in results.contenders]
    made = table("Step, ms (in own 1-row steps)", "rows at depth", *names, *ratios)
    last = None
    for rows, depth in sorted(results.contenders[0].step_ms, key=lambda key: (key[1], key[0])):
        if last not in (None, depth):
            made.add_section()
        last, other = depth, results.peer
        cells = [f"{each.step_ms[rows, depth]:.1f}{relative(each, rows, depth)}" for each in results.contenders]
        over = [f"{each.step_ms[rows, depth] / other.step_ms[rows, depth]:.2f}" for each in ours(results) if other]
        made.add_row(f"{rows} at {depth}", *cells, *over)
    return made


def relative(figures: Figures, rows: int, depth: int) -> str:
    """` (1.13)`: against the contender's own 1-row step at this depth."""
    one = figures.step_ms.get((1, depth))
    return f" ({figures.step_ms[rows, depth] / one:.2f})" if one else ""


def traffic(results: Results) -> Table:
    """Weights read by a step, and how near to the memory's speed the 1-row step of least depth comes."""
    made = table("Weights of a 1-row step", "", "MB read", "GB/s", "share of the memory's speed")
    for each in results.contenders:
        key = min(each.step_ms, key=lambda key: (key[0], key[1]))
        rate = each.bytes_per_step / each.step_ms[key] / 1e6
        made.add_row(
            each.name, f"{each.bytes_per_step / 1e6:.1f}", f"{rate:.1f}", f"{rate / results.bandwidth_gb_s:.0%}"
        )
    return made


def starts(results: Results) -> Table:
    """Fresh processes, files in the page cache."""
    made = table(
        "A fresh process, warm file cache", "", "ready, s", "first token, s", "resident, MB", "of it mapped files, MB"
    )
    for each in results.contenders:
        if each.start:
            s = each.start
            mapped = "" if s.mapped_mb is None else f"{s.mapped_mb:.0f}"
            made.add_row(each.name, f"{s.ready_s:.2f}", f"{s.token_s:.2f}", f"{s.resident_mb:.0f}", mapped)
    return made


def agreements(results: Results) -> Table:
    """Loss and greedy agreement against the dequantised float32 model."""
    made = table("Against the float32 model", "", "tokens", "loss", "float32 loss", "excess", "same token")
    for each in results.contenders:
        if each.agreement:
            a = each.agreement
            made.add_row(
                each.name, str(a.tokens), f"{a.loss:.4f}", f"{a.exact_loss:.4f}", f"{a.excess:+.2%}", f"{a.same:.2%}"
            )
    return made
