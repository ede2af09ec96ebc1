"""What one answer is worth: exactness, likeness, errors it brings, text it says twice. Pure functions.

Knows cases and trees; knows nothing of how answers are made or added up.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from quatrain.lsp_server import languages, shape
from quatrain.lsp_server.evaluate.case import Answer, Case

CLOSERS = ")]}>\"'`"
SEPARATORS = ",;"
TELLING = 4
"""A line shorter than this, or without a letter, may stand twice by right."""


@dataclass(frozen=True, slots=True)
class Score:
    """The verdict on one answer. Errors are counted in the whole document: with the hole open (`errors_open`),
    with the true text (`errors_true`) and with the answer (`errors`); -1 where the language has no grammar."""

    offered: bool
    exact: bool
    first_line: bool
    similarity: float
    errors_open: int
    errors_true: int
    errors: int
    closer_twice: bool
    next_line_twice: bool
    rest_twice: bool

    @property
    def raised(self) -> bool:
        """The document has more errors with the answer than without it."""
        return self.offered and self.errors > self.errors_open

    @property
    def valid(self) -> bool:
        """No more errors than the true text leaves."""
        return self.errors <= self.errors_true


def score(case: Case, answer: Answer) -> Score:
    """All measures of one answer."""
    end = len(case.prefix) + answer.replaced
    completed = case.completed(answer.text, end)
    texts = {"open": case.document, "true": case.truth, "done": completed}
    counts = {name: count_errors(case.language, text) for name, text in texts.items()}
    return Score(
        offered=bool(answer.text.strip()),
        exact=exact(case, answer),
        first_line=first_line(case, answer),
        similarity=round(similarity(answer.text.strip(), case.expected.strip()), 4),
        errors_open=counts["open"],
        errors_true=counts["true"],
        errors=counts["done"],
        closer_twice=closer_twice(case, answer, counts["done"]),
        next_line_twice=next_line_twice(case, answer),
        rest_twice=rest_twice(case, answer),
    )


def exact(case: Case, answer: Answer) -> bool:
    """The answer is the missing text, blanks at its end aside; or the document becomes what it was, blanks at
    the ends of lines aside (an answer may replace a closing bracket by its own)."""
    if not answer.replaced and answer.text.rstrip() == case.expected.rstrip():
        return True
    return bare(case.completed(answer.text, len(case.prefix) + answer.replaced)) == bare(case.truth)


def first_line(case: Case, answer: Answer) -> bool:
    """The first line of the answer that is not blank is that of the missing text, blanks at its end aside; or
    the cursor's line becomes what it was."""
    said, wanted = leading(answer.text), leading(case.expected)
    if not answer.replaced and said == wanted:
        return True
    at = len(case.prefix)
    done = case.completed(answer.text, at + answer.replaced)[at:]
    return bool(answer.text) and leading(done) == leading(case.truth[at:])


def leading(text: str) -> str:
    """The first line of `text` with something on it, as it stands but for blanks at its end."""
    return next((line.rstrip() for line in text.splitlines() if line.strip()), "")


def bare(text: str) -> list[str]:
    """Lines without blanks at their ends, without empty lines at the end of the text."""
    lines = [line.rstrip() for line in text.splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def similarity(a: str, b: str) -> float:
    """1 - Levenshtein distance / length of the longer."""
    if not a or not b:
        return float(a == b)
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        above, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (x != y))
    return 1 - row[-1] / max(len(a), len(b))


def count_errors(language: str, text: str) -> int:
    """ERROR and MISSING nodes in the tree of `text`, the measure of the syntax cut; -1 without a grammar."""
    tree = languages.parse(language, text)
    return -1 if tree is None else shape.count_errors(tree, sys.maxsize)


def closer_twice(case: Case, answer: Answer, errors: int) -> bool:
    """The answer ends with a closing bracket or quote that the text after it begins with, and the document
    parses better with one of the two; or with a comma or semicolon that is there already."""
    at = len(case.prefix) + answer.replaced
    said, after = answer.text.rstrip(), case.document[at:]
    rest = after.lstrip()
    if not said or not rest or said[-1] not in CLOSERS + SEPARATORS or rest[0] != said[-1]:
        return False
    if rest[0] in SEPARATORS:
        return "\n" not in after[: len(after) - len(rest)]
    gap = len(after) - len(rest)
    done = case.completed(answer.text, at)
    start = len(done) - len(after) + gap
    return count_errors(case.language, done[:start] + done[start + 1 :]) < errors


def next_line_twice(case: Case, answer: Answer) -> bool:
    """A line of the answer says what the next line after the cursor's says, and the missing text did not."""
    at = len(case.prefix) + answer.replaced
    cursor_line, _, below = case.document[at:].partition("\n")
    next_line = leading(below).strip()
    if not telling(next_line):
        return False
    before = case.prefix[case.prefix.rfind("\n") + 1 :]

    def lines(text: str) -> set[str]:
        return {line.strip() for line in (before + text + cursor_line).splitlines()}

    return next_line in lines(answer.text) and next_line not in lines(case.expected)


def rest_twice(case: Case, answer: Answer) -> bool:
    """The answer ends with what stands right of the cursor already."""
    rest = case.document[len(case.prefix) + answer.replaced :].partition("\n")[0].strip()
    return telling(rest) and answer.text.rstrip().endswith(rest) and not case.expected.rstrip().endswith(rest)


def telling(line: str) -> bool:
    return len(line) >= TELLING and any(c.isalnum() for c in line)
