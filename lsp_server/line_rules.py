"""What one line of the stream means: does it go on, does it leave the block, does it repeat the document?

Pure functions of the cursor's scene, the verdict on the text so far and a line; they hold no state and
parse nothing.
"""

from __future__ import annotations

import re
from typing import Literal

from .lexical import is_word, width
from .scene import Scene
from .trial import Level, Verdict

# What a further line's first word asks for: go on; the line stands outside (leave); or stop, with its reason.
Step = Literal["go", "leave", "statement", "block", "syntax"]

TRIVIAL = 3  # shorter lines are alike by accident
_DEFINITION = re.compile(
    r"\s*(@|(export |pub |public |private |protected |static |async |default |abstract |local )*"
    r"(def|class|function|func|fn|struct|interface|enum|impl|trait|module)\b)"
)


def undecided(scene: Scene, word: str) -> bool:
    """Whether the first characters of a line may still become a word that continues a statement."""
    row = scene.row
    if row is None:
        return False
    words = (*row.continues, *row.leads, *row.closers)
    return any(w.startswith(word) for w in words if w != word or w.isalpha())


def next_line(scene: Scene, verdict: Verdict, base: int, indent: int, word: str) -> Step:
    """What to do when a further line begins with `word` at column `indent`.

    `verdict` judges the text before it, `base` is the column at which the statement began.
    """
    if scene.body:
        if outside(scene, indent, word):
            return "leave"
        return "block" if scene.body == "members" and verdict.grows and indent <= base else "go"
    row = scene.row
    brace = row is not None and not row.indented and word[0] == "{" and verdict.level is not Level.DONE
    if indent >= base and (brace or verdict.remark):
        return "go"  # a brace on its own line opens the body of the line before
    if verdict.level is Level.DONE:
        if verdict.grows:
            return "go" if indent > base else "block"
        return "go" if scene.leads_on(word) else "statement"
    if indent < base:
        return "leave"
    if indent > base or scene.closes(word):
        return "go"
    continues = row is not None and first_word(word) in row.continues
    if verdict.level is Level.OPEN:
        return "go" if verdict.waits or (continues and verdict.needs) else "syntax"
    return "go" if continues or scene.leads_on(word) else "syntax"


def outside(scene: Scene, indent: int, word: str) -> bool:
    """Whether a line stands outside the empty body in which the cursor stood.

    By its column alone only where columns are syntax: a C++ namespace does not indent what it holds.
    """
    row = scene.row
    if row is None or row.indented:
        return indent <= scene.header
    ends = scene.closes(word) or first_word(word) in row.continues
    return indent < scene.header or (indent == scene.header and ends)


def may_lead_on(scene: Scene, text: str) -> bool:
    """Whether the next line could continue this one, so that its first character must be awaited."""
    row = scene.row
    line = text.rstrip()[text.rstrip().rfind("\n") + 1 :]
    if row is None or not row.leads or line[-1:] in (";", "{", ","):
        return False
    return line[-1:] != "}" or "{" in line


def repeats(scene: Scene, line: str, first: bool, after: str) -> bool:
    """Whether a line says what the document says further down, in the text `after` the cursor."""
    below, line = scene.below, line.rstrip()
    if (len(line.strip()) >= TRIVIAL or first) and line == below:
        return True
    if first and scene.closes(line) and line.strip() == below.strip():
        return True
    return bool(_DEFINITION.match(line)) and _stands_in_scope(line, after)


def _stands_in_scope(line: str, after: str) -> bool:
    """Whether a line stands further down before the scope ends: another class may well have an `__init__`."""
    own = width(line)
    for other in after.split("\n")[1:]:
        other = other.rstrip()
        if other == line:
            return True
        if other and width(other) < own:
            return False
    return False


def among_remarks(scene: Scene, lines: int) -> bool:
    """Whether the cursor stands among lines of comment: then one more line of comment is a whole answer."""
    mark = scene.row.comment[0] if scene.row else "#"
    near = scene.above if not scene.spaced else ""
    return near.lstrip().startswith(mark) or lines >= 3


def without_comma(scene: Scene, text: str) -> str:
    """Text without a comma that the language forbids before a closer."""
    forbidden = scene.row is not None and not scene.row.trailing_comma and not scene.rest.strip()
    if forbidden and text.rstrip().endswith(",") and scene.closes(scene.below):
        return text.rstrip()[:-1]
    return text


def first_word(text: str) -> str:
    """The name or keyword that text begins with, or ""."""
    for index, char in enumerate(text):
        if not is_word(char):
            return text[:index]
    return text
