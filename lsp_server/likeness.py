"""Where else a file says what it says around the cursor: far rows that share rare words and whole lines with it.

What follows a line like the last one before the cursor, and what precedes a line like the first one after it, is
what the model needs to see. Knows lines and words; knows no syntax and no budget.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass

NAME = re.compile(r"[^\W\d]\w{2,}")
LINES_ABOVE, LINES_BELOW = 10, 5  # lines around the cursor that are looked for
MOST_WORDS = 24
MOST_HITS = 100  # a word or a line that stands in more places tells nothing
LEAST_LINE = 8  # shorter lines are alike by accident
REACH = 4  # rows on each side of a place that are read together
MOST_PLACES = 40
WHOLE_LINE = 2.0  # what a whole line in common is worth, in words of its rarity
REMARK = 0.4  # what a word in a comment is worth
TOWARDS = 2  # rows from a line that is alike to the middle of what is wanted of its surroundings


@dataclass(frozen=True, slots=True)
class Place:
    """A row that stands where the cursor stands, as far as its surroundings tell, and how much they tell."""

    row: int
    score: float


def wanted_words(above: str, below: str, remark: str) -> dict[str, float]:
    """Words around the cursor, those on the lines next to it weighing most, those of comments little."""
    words: dict[str, float] = {}
    for lines, most in ((_last(above), LINES_ABOVE), (_first(below), LINES_BELOW)):
        for distance, line in enumerate(lines):
            weight = (1 - 0.6 * distance / most) * (REMARK if line.lstrip().startswith((remark, "*")) else 1)
            for word in NAME.findall(line):
                words[word] = max(words.get(word, 0.0), weight)
    return words


def places(text: str, starts: list[int], above: str, below: str, remark: str = "#") -> tuple[list[Place], float]:
    """Rows of `text`, whose lines begin at `starts`, best first; and the score of one that has everything."""
    rows: defaultdict[int, dict[str, float]] = defaultdict(dict)
    size = math.log(len(starts) + 1)
    most = 0.0
    words = sorted(
        wanted_words(above, below, remark).items(), key=lambda item: (-item[1] * min(len(item[0]), 8), item[0])
    )
    for word, weight in words[:MOST_WORDS]:
        found = _whole_words(text, word)
        value = weight * (size - math.log(len(found) + 1))
        most += value if found else 0.0
        for at in found:
            rows[bisect_right(starts, at) - 1][word] = value
    for lines, farthest, step in ((_last(above), LINES_ABOVE, TOWARDS), (_first(below), LINES_BELOW, -TOWARDS)):
        for distance, line in enumerate(lines):
            bare = line.strip()
            if len(bare) < LEAST_LINE:
                continue
            found = _whole_lines(text, bare)
            value = WHOLE_LINE * (1 - 0.6 * distance / farthest) * (size - math.log(len(found) + 1))
            for at in found:
                row = bisect_right(starts, at) - 1 + step
                rows[min(max(row, 0), len(starts) - 1)][bare] = value
    return _ranked(rows), most


def _ranked(rows: dict[int, dict[str, float]]) -> list[Place]:
    """The best places among rows by what stands on them and near them, each word counted once."""
    alone = sorted(rows, key=lambda row: (-sum(rows[row].values()), row))[: 3 * MOST_PLACES]
    ranked = []
    for row in alone:
        seen: dict[str, float] = {}
        for near in range(row - REACH, row + REACH + 1):
            if near in rows:
                seen |= rows[near]
        ranked.append(Place(row, sum(seen.values())))
    return sorted(ranked, key=lambda place: (-place.score, place.row))[:MOST_PLACES]


def _last(above: str) -> list[str]:
    """The last lines that say something, the last one first."""
    found: list[str] = []
    end = len(above)
    while end > 0 and len(found) < LINES_ABOVE:
        start = above.rfind("\n", 0, end - 1) + 1 if end > 1 else 0
        if (line := above[start:end]).strip():
            found.append(line)
        end = start
    return found


def _first(below: str) -> list[str]:
    """The first lines that say something, without what is left of the cursor's own."""
    found: list[str] = []
    at = below.find("\n") + 1
    while 0 < at < len(below) and len(found) < LINES_BELOW:
        end = below.find("\n", at) + 1 or len(below)
        if (line := below[at:end]).strip():
            found.append(line)
        at = end
    return found


def _whole_words(text: str, word: str) -> list[int]:
    """Where a word stands by itself; nowhere when it is everywhere."""
    found: list[int] = []
    at = text.find(word)
    tries = 0
    while at >= 0:
        end = at + len(word)
        if not (text[at - 1 : at].isalnum() or text[at - 1 : at] == "_" or text[end : end + 1].isalnum()):
            found.append(at)
        tries += 1
        if len(found) > MOST_HITS or tries > 2 * MOST_HITS:
            return []
        at = text.find(word, end)
    return found


def _whole_lines(text: str, bare: str) -> list[int]:
    """Where a line says this and nothing else."""
    found: list[int] = []
    at = text.find(bare)
    while at >= 0:
        start, end = text.rfind("\n", 0, at) + 1, text.find("\n", at)
        if text[start : end if end >= 0 else len(text)].strip() == bare:
            found.append(at)
        if len(found) > MOST_HITS:
            return []
        at = text.find(bare, at + len(bare))
    return found
