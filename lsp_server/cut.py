"""Reads what a model says, as it says it, and decides where the completion ends.

Knows the document around the cursor and its syntax; knows nothing of tokens, tensors or editors. Every
decision is taken at a fixed place of the text (a line's end, a line's first character), whatever the size
of the rounds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .lexical import in_heredoc, is_word, scan, width
from .line_rules import (
    TRIVIAL,
    among_remarks,
    may_lead_on,
    next_line,
    outside,
    repeats,
    undecided,
    without_comma,
)
from .merge import proposals
from .scene import look
from .stops import safe_offsets
from .trial import Level, Trial, Verdict

if TYPE_CHECKING:
    from .documents import Snapshot

_REPEATS = 3  # the same line so many times in a row is a loop


@dataclass(frozen=True, slots=True)
class Cut:
    """A completion, cut.

    `text` goes in at the cursor and takes the place of `replace` characters right of it. `reason` says why it
    ends where it ends or, when `text` is empty, why nothing is offered. `safe` are (offset, kind) pairs at
    which a part of the text may be accepted.
    """

    text: str
    replace: int
    reason: str
    safe: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True, slots=True)
class _Boundary:
    """A line's end in the stream: where it is, the text it would give, and the verdict on that."""

    at: int
    text: str
    replace: int
    verdict: Verdict


class Cutter:
    """Follows one stream. `feed` it until it returns a `Cut`, or `finish` it when the stream ends by
    itself."""

    def __init__(self, snapshot: Snapshot, mode: str = "auto") -> None:
        self._scene = look(snapshot)
        self._trial = Trial(snapshot, self._scene)
        self._after = snapshot.text[snapshot.cursor :]
        self._single = mode == "line"
        self._raw = ""
        self._read = 0  # how much of the stream has been looked at
        self._line = 0  # where the current line begins
        self._fresh = False  # the current line's first word is still to be looked at
        self._lines: list[str] = []
        self._base: int | None = width(self._scene.head) if self._scene.head.strip() else None
        self._last: _Boundary | None = None
        self._best: _Boundary | None = None
        self._loose: _Boundary | None = None
        self._closing = False
        self._begun = False
        self._result: Cut | None = None

    def feed(self, text: str) -> Cut | None:
        """Take one more round's text. None: go on; a `Cut`: stop, this is the result."""
        self._raw += text.replace("\r", "")
        while self._result is None and self._read < len(self._raw):
            index = self._read
            self._read += 1
            if not self._begun and self._raw[index] not in " \t":
                self._begins(self._raw[index])
            if self._raw[index] == "\n":
                self._line_ends(index)
            elif self._fresh:
                self._line_begins(index)
            elif self._line == 0 and self._scene.rest.strip():
                self._reaches_rest(index)
        return self._result

    def finish(self, reason: str) -> Cut:
        """The stream ended by itself: the best that is safe so far, possibly nothing."""
        if self._result is None and reason == "end_token" and self._raw[self._line :].strip():
            self._line_ends(len(self._raw), ended=True)
        if self._result is None:
            self._stop(self._fallback(), reason)
        assert self._result is not None
        return self._result

    # Events

    def _begins(self, char: str) -> None:
        """The first character: a body that opens on the cursor's line is only meant if a new line follows."""
        self._begun = True
        if char != "\n" and self._scene.body and self._scene.head.strip():
            self._scene = self._trial.scene = replace(self._scene, body="")

    def _reaches_rest(self, index: int) -> None:
        """Stop as soon as the first line says what stands right of the cursor, if that is more than
        closers."""
        rest = self._scene.rest.strip()
        end = index + 1
        if is_word(rest[-1]):  # its last word must be said to its end
            if is_word(self._raw[index]):
                return
            end = index
        if self._scene.rest_is_closers or not self._raw[:end].endswith(rest):
            return
        text = self._raw[: end - len(rest)]
        if self._scene.rest[0].isspace():
            text = text.rstrip()
        if self._scene.before_line:
            if not text.strip():
                return
            self._scene = self._trial.scene = replace(self._scene, before_line=False)
        verdict = self._trial.judge(text, 0)
        if verdict.level is Level.DONE:
            self._stop(_Boundary(index, text, 0, verdict), "suffix")

    def _line_begins(self, index: int) -> None:
        """A further line's first word: does the statement or the block go on?"""
        if self._raw[index] in " \t":
            return
        begin = self._line + len(self._raw[self._line :]) - len(self._raw[self._line :].lstrip(" \t"))
        word = self._raw[begin : index + 1]
        if undecided(self._scene, word):
            return
        self._fresh = False
        self._decide(begin, width(self._raw[self._line : begin + 1]), word)

    def _decide(self, begin: int, indent: int, word: str) -> None:
        """Act on what a further line's first word asks for."""
        scene, last = self._scene, self._last
        if last is None:
            left = bool(scene.head.strip()) and indent < width(scene.head)
            if outside(scene, indent, word) if scene.body else left:
                self._stop(None, "block")
            return
        before = scene.head + self._raw[: self._line]
        if scan(before, scene.row).quote or (scene.row and scene.row.heredocs and in_heredoc(before)):
            return  # the line belongs to a string
        step = next_line(scene, last.verdict, self._base or 0, indent, word)
        if step == "leave":
            if scene.closes(word) and scan(last.text, scene.row).brackets:
                return  # it closes what this text opened
            self._leave(begin, scene.closes(word))
        elif step == "statement" or (step == "block" and last.verdict.level is Level.DONE):
            self._stop(last, step)
        elif step == "block":
            self._stop(self._fallback(), step)
        elif step == "syntax":
            open_end = scan(scene.head + last.text + scene.rest[last.replace :], scene.row)
            if last.verdict.level is Level.OPEN or open_end.balanced:
                self._stop(self._fallback(), step)

    def _leave(self, begin: int, closer: bool) -> None:
        """A line stands outside the block. Its closer is wanted only where the document lacks one."""
        if closer and self._trial.base > 0 and not self._scene.rest.strip():
            self._closing = True
            return
        best = self._fallback()
        if best is not None and closer and self._scene.rest.strip().startswith(self._raw[begin]):
            best = replace(best, text=self._raw[:begin], replace=0)
        self._stop(best, "block")

    def _line_ends(self, index: int, ended: bool = False) -> None:
        """A line is complete: judge the text up to here and decide."""
        scene = self._scene
        if self._fresh and self._raw[self._line : index].strip():
            self._fresh = False
            begin = index - len(self._raw[self._line : index].lstrip(" \t"))
            self._decide(begin, width(self._raw[self._line : index]), self._raw[begin:index])
            if self._result is not None:
                return
        first = self._line == 0
        line = (scene.head if first else "") + self._raw[self._line : index]
        self._line, self._fresh = index + 1, True
        if not self._raw[:index].strip() and self._single:
            return self._stop(None, "line")
        if not line.strip() or (first and not self._raw[:index].strip()):
            return None
        if self._base is None:
            self._base = width(line)
        self._lines.append(line.rstrip())
        if repeats(scene, line, first, self._after):
            return self._stop(self._fallback(), "suffix")
        if len(self._lines) >= _REPEATS and len(set(self._lines[-_REPEATS:])) == 1 and len(line.strip()) >= TRIVIAL:
            return self._stop(self._best_before(_REPEATS - 1), "loop")
        before = self._last
        self._last = self._boundary(index)
        if self._closing:
            better = before is None or self._last.verdict.errors < before.verdict.errors
            good = better and self._last.verdict.level >= Level.OPEN
            return self._stop(self._last if good else self._fallback(), "block")
        return self._weigh(self._last, first, ended)

    def _weigh(self, here: _Boundary, first: bool, ended: bool) -> None:
        """Go on or stop at a line's end."""
        scene, verdict = self._scene, here.verdict
        if verdict.level is Level.DONE:
            self._best = here
            if ended or self._single or verdict.inside:
                self._stop(here, "end_token" if ended else "line")
            elif verdict.remark and not scene.head.strip() and not among_remarks(scene, len(self._lines)):
                return
            elif scene.body == "members" and self._closes_member(here.text):
                self._stop(here, "block")
            elif not scene.body and not verdict.grows and not may_lead_on(scene, here.text):
                self._stop(here, "line" if verdict.remark else "statement")
            return
        if verdict.level is Level.LOOSE:
            self._loose = here
        if self._single or (first and scene.rest.strip() and not scene.rest_is_closers and not scene.before_line):
            one = verdict.level is Level.OPEN and self._single
            self._stop(here if one else self._fallback(), "line" if one else "syntax")
        elif verdict.level is Level.RAISED and self._overclosed(here):
            self._stop(self._fallback(), "block")

    # Judgements

    def _boundary(self, index: int) -> _Boundary:
        """The best way to put the stream's text up to `index` at the cursor."""
        best: _Boundary | None = None
        for text, taken in proposals(self._scene, self._raw[:index]):
            text = without_comma(self._scene, text)
            here = _Boundary(index, text, taken, self._trial.judge(text, taken))
            if best is None or here.verdict.level > best.verdict.level:
                best = here
            if best.verdict.level is Level.DONE:
                break
        return best or _Boundary(index, "", 0, Verdict(Level.RAISED, 0))

    def _overclosed(self, here: _Boundary) -> bool:
        """Whether the text closes what was opened before the cursor's line: nothing after it can mend
        that."""
        text = self._scene.head + self._raw[: here.at]
        lowest = scan(text, self._scene.row).low > scan(self._scene.head, self._scene.row).low
        return lowest or (not self._scene.head.strip() and self._scene.closes(text) and len(self._lines) == 1)

    def _closes_member(self, text: str) -> bool:
        """Whether text ends with the closer of a member over several lines, at the members' own
        indentation."""
        line = text.rstrip()[text.rstrip().rfind("\n") + 1 :]
        return "\n" in text.strip() and self._scene.closes(line) and width(line) == self._base

    def _fallback(self) -> _Boundary | None:
        return self._best or self._loose

    def _best_before(self, lines: int) -> _Boundary | None:
        """The boundary that stands `lines` lines back, if it is finished."""
        text = "\n".join(self._raw[: self._line - 1].split("\n")[:-lines])
        verdict = self._trial.judge(text, 0)
        if verdict.level is Level.DONE and not self._scene.rest.strip():
            return _Boundary(len(text), text, 0, verdict)
        return None

    def _stop(self, at: _Boundary | None, reason: str) -> None:
        """Settle the result."""
        if at is None or not at.text.strip():
            self._result = Cut("", 0, "suffix" if at is not None and reason == "statement" else reason)
            return
        raw = at.text if self._keeps_layout(at) else at.text.rstrip()
        text = self._trial.rendered(raw)
        if self._trial.harms(text, at.replace):
            self._result = Cut("", 0, "syntax")
            return
        tree, start, _ = self._trial.put(text, at.replace)
        self._result = Cut(text, at.replace, reason, safe_offsets(tree, self._scene.row, start, text))

    def _keeps_layout(self, at: _Boundary) -> bool:
        """Blanks at the end stay where something follows on the same line."""
        return bool(self._scene.rest.strip()) and not self._scene.before_line and at.text[-1:] in " \t\n"
