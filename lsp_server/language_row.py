"""What is known of one language, as a frozen row of data.

Holds the shape of a row and no row; `grammars.py` holds the rows.
"""

from __future__ import annotations

from dataclasses import dataclass

COMMENTS = frozenset({"comment", "line_comment", "block_comment", "html_comment", "js_comment"})
TEXTS = COMMENTS | {
    *("string", "string_literal", "raw_string_literal", "template_string", "raw_string", "encapsed_string"),
    *("verbatim_string_literal", "interpolated_string_expression", "heredoc", "heredoc_body", "nowdoc", "string_value"),
}
"""Node kinds, of all grammars, that can run over lines and hold no statements."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """What the rest of the house needs to know of one language.

    `opens` is a pattern for the end of a line after which a body is expected. `leads` are the beginnings of a
    line that continue the expression of the line before. `closers` begin a line that ends an enclosing block.
    `needs` names a node kind that is unfinished until it holds one of some child kinds.
    `decorators` are node kinds that mean nothing without the definition after them, `labels` the arms of a
    switch.
    """

    name: str
    ids: tuple[str, ...]
    extensions: tuple[str, ...]
    grammar: tuple[str, str]
    functions: frozenset[str] = frozenset()
    classes: frozenset[str] = frozenset()
    bodies: frozenset[str] = frozenset()
    imports: frozenset[str] = frozenset()
    arguments: frozenset[str] = frozenset()
    decorators: frozenset[str] = frozenset()
    labels: frozenset[str] = frozenset()
    needs: tuple[tuple[str, tuple[str, ...]], ...] = ()
    continues: tuple[str, ...] = ()
    closers: tuple[str, ...] = ("}", ")", "]")
    opens: str = r"[{(\[]\s*$"
    leads: tuple[str, ...] = ()
    comment: tuple[str, str] = ("//", "")
    quotes: tuple[str, ...] = ('"', "'")
    elided: str = "{ /* ... */ }"
    indented: bool = False
    trailing_comma: bool = True
    heredocs: bool = False


def kinds(words: str) -> frozenset[str]:
    """Node kinds written with blanks between them."""
    return frozenset(words.split())
