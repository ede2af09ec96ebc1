"""What a person sees on the terminal: the completion in its place, a progress bar. Knows no model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn, TransferSpeedColumn
from rich.text import Text

from quatrain.lsp_server.complete import Completion
from quatrain.lsp_server.documents import Document
from quatrain.model.api import Round

LINES_AROUND = 4


@contextmanager
def progress() -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar on standard error, fed by (message, done, total)."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        tasks: dict[str, int] = {}

        def report(message: str, done: int, total: int) -> None:
            if message not in tasks:
                for task in tasks.values():
                    bar.update(task, visible=False)  # type: ignore[arg-type]
                tasks[message] = bar.add_task(message, total=total or None)
                if not console.is_terminal:
                    console.print(message)
            bar.update(tasks[message], completed=done, total=total or None, visible=True)  # type: ignore[arg-type]

        yield report


def completion(document: Document, answer: Completion, console: Console) -> None:
    """The lines around the cursor with the completion set off, and a line of figures."""
    line, column = document.place(answer.start, "utf-32")
    console.print(Text(f"{document.path}:{line + 1}:{column + 1}", style="bold"))
    first, last = max(0, line - LINES_AROUND), min(len(document.starts), line + LINES_AROUND + 1)
    body = Text()
    for number in range(first, last):
        if number == line:
            rest = document.line(number)[column:]
            gone = answer.end - answer.start
            body.append(document.line(number)[:column])
            body.append(answer.text or "▏", style="bold black on green" if answer.text else "red")
            body.append(rest[:gone], style="red strike")
            body.append(rest[gone:] + "\n")
        else:
            body.append(document.line(number) + "\n", style="dim")
    console.print(numbered(body, first + 1))
    console.print(Text(figures(answer), style="dim"))


def numbered(body: Text, first: int) -> Text:
    """Line numbers in front, where `body` may hold more lines than the document."""
    lines = body.split("\n")
    width = len(str(first + len(lines)))
    out = Text()
    for i, line in enumerate(lines):
        out.append(f"{first + i:>{width}} │ ", style="dim cyan")
        out.append_text(line)
        out.append("\n")
    return out


def figures(answer: Completion) -> str:
    """How it went, for a person."""
    s = answer.trace.summary()
    outcome = f"ends at: {answer.reason}" if answer.text else f"nothing offered: {answer.reason}"
    ms = sum(s["stages_ms"].values())
    return (
        f"{outcome} · {s['tokens']} tokens in {s['forwards']} steps · "
        f"prompt {s['prompt_tokens']} tokens, {s['reused_tokens']} reused · {ms:.0f} ms"
    )


SOURCES = {"head": "magenta", "lookup": "blue", "given": "cyan"}
"""The colour of what a draft source had right."""


def explanation(rounds: Sequence[Round], console: Console) -> None:
    """The text as the model wrote it: what a draft had right in the colour of its source, then the token that the
    model added itself, underlined; a bar between forward passes."""
    body = Text()
    for r in rounds:
        if not r.text:
            continue
        guessed, added = r.text[: r.guessed], r.text[r.guessed :]
        body.append(visible(guessed), style=f"bold white on {SOURCES.get(r.source, 'green')}" if guessed else "")
        body.append(visible(added), style="underline")
        body.append("\u2502", style="dim yellow")
    console.print(body)
    legend = Text("written: ", style="dim")
    for name, counts in by_source(rounds).items():
        drafted, accepted = counts
        legend.append(f" {name} ", style=f"bold white on {SOURCES.get(name, 'green')}")
        legend.append(f" {accepted} of {drafted} drafted tokens right  ", style="dim")
    forwards = [r for r in rounds if r.tokens]
    tokens = sum(len(r.tokens) for r in forwards)
    legend.append(" the model itself ", style="underline")
    legend.append(f" one a pass: {tokens} tokens in {len(forwards)} passes, ", style="dim")
    legend.append(f"{tokens / max(len(forwards), 1):.2f} a pass", style="bold")
    console.print(legend)


def by_source(rounds: Sequence[Round]) -> dict[str, tuple[int, int]]:
    """Drafted and accepted tokens of each source."""
    found: dict[str, tuple[int, int]] = {}
    for r in rounds:
        if r.drafted:
            drafted, accepted = found.get(r.source, (0, 0))
            found[r.source] = drafted + r.drafted, accepted + r.accepted
    return found


def visible(text: str) -> str:
    """Line ends can be seen."""
    return text.replace("\n", "\u21b5\n")
