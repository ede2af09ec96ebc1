"""Text store: LSP's line rules, positions in every encoding, edits against a plain string."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quatrain.lsp_server.documents import Change, Document, Encoding, line_starts, moved_starts, units

TEXT = st.text(alphabet="ab \n\r\t\f\u2028é🙂\U0001d11e", max_size=40)
ENCODINGS: tuple[Encoding, ...] = ("utf-8", "utf-16", "utf-32")


def test_only_lsp_line_ends_count() -> None:
    assert line_starts("a\nb\r\nc\rd\fe\u2028f\x0bg") == [0, 2, 5, 7]


def test_form_feed_does_not_move_an_edit() -> None:
    document = Document("a.py", "python", "class A:\n\f\n    x = 1\ny = 2\n")
    document.apply([Change("3", (3, 4), (3, 4))], 2, "utf-16")
    assert document.text.endswith("y = 32\n")


@pytest.mark.parametrize(("encoding", "column"), [("utf-8", 6), ("utf-16", 4), ("utf-32", 3)])
def test_columns_after_an_emoji(encoding: Encoding, column: int) -> None:
    document = Document("a.py", "", "a🙂b\n")
    assert document.place(3, encoding) == (0, column)
    assert document.offset((0, column), encoding) == 3


def test_column_inside_a_character_means_before_it() -> None:
    document = Document("a.py", "", "a🙂b")
    assert document.offset((0, 2), "utf-16") == 1
    assert document.offset((0, 3), "utf-8") == 1


def test_positions_are_clamped() -> None:
    document = Document("a.py", "", "ab\r\ncd")
    assert document.offset((0, 99), "utf-16") == 2
    assert document.offset((9, 0), "utf-16") == 6
    assert document.offset((-1, 5), "utf-16") == 0


@given(TEXT, st.sampled_from(ENCODINGS))
def test_place_and_offset_are_inverse(text: str, encoding: Encoding) -> None:
    document = Document("a", "", text)
    for offset in range(len(text) + 1):
        line, column = document.place(offset, encoding)
        back = document.offset((line, column), encoding)
        # a place between CR and LF, or past them, is not addressable: it means the end of the line
        assert back == offset or text[back:offset].strip("\r\n") == ""


@given(TEXT, TEXT, st.data())
def test_moved_starts_equal_fresh_ones(text: str, new: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    after = text[:start] + new + text[end:]
    assert moved_starts(line_starts(text), after, start, end, len(new)) == line_starts(after)


@given(st.lists(st.tuples(TEXT, st.integers(0, 60), st.integers(0, 60)), max_size=8), st.sampled_from(ENCODINGS))
def test_edits_equal_edits_of_a_string(edits: list[tuple[str, int, int]], encoding: Encoding) -> None:
    document = Document("a", "python", "x = '🙂'\r\nif x:\n\tpass\n")
    for new, a, b in edits:
        start, end = sorted((min(a, len(document.text)), min(b, len(document.text))))
        places = document.place(start, encoding), document.place(end, encoding)
        start, end = (document.offset(place, encoding) for place in places)
        expected = document.text[:start] + new + document.text[end:]
        document.apply([Change(new, *places)], 2, encoding)
        assert document.text == expected
        assert document.starts == line_starts(expected)


def test_whole_text_change_and_version() -> None:
    document = Document("a.py", "python", "x")
    document.apply([Change("y = 1\n")], 7, "utf-16")
    assert (document.text, document.version, document.starts) == ("y = 1\n", 7, [0, 6])


def test_snapshot_does_not_follow_the_document() -> None:
    document = Document("a.py", "python", "x = 1\n")
    snapshot = document.snapshot(5)
    document.edit(0, 1, "yy")
    assert snapshot.text == "x = 1\n"
    assert snapshot.tree is not document.tree


def test_snapshot_with_a_selected_item() -> None:
    snapshot = Document("a.py", "python", "os.pa()\n").snapshot_with(3, 5, "path")
    assert (snapshot.text, snapshot.cursor) == ("os.path()\n", 7)


def test_units_of_a_lone_surrogate() -> None:
    assert units("\ud83d", "utf-16") == 1
    assert units("\ud83d", "utf-8") == 3
