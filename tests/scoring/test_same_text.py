"""Offsets of one copy of a text on another copy with other line ends."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinical_ie.document import Document, Entity, Span
from clinical_ie.errors import InputError
from clinical_ie.formats.brat_literal import LiteralNote
from clinical_ie.formats.findings import Findings
from clinical_ie.scoring.same_text import LineEndMap, on_texts

ENDS = ("\n", "\r\n", "\r")
UNITS = st.lists(st.sampled_from(["a", "b", " ", "ß", "\U0001f600", *ENDS]), max_size=14)


def with_ends(units: list[str], ends: list[str]) -> list[str]:
    """The units with other line ends; LF behind CR, which would be read as one, becomes CRLF."""
    found: list[str] = []
    for unit, end in zip(units, ends, strict=True):
        unit = end if unit in ENDS else unit
        found.append("\r\n" if unit == "\n" and found and found[-1] == "\r" else unit)
    return found


@given(UNITS, st.data())
def test_every_offset_outside_of_a_line_end_goes_to_the_same_character(units: list[str], data: st.DataObject) -> None:
    ends = st.lists(st.sampled_from(ENDS), min_size=len(units), max_size=len(units))
    one, other = (with_ends(units, data.draw(ends)) for _ in range(2))
    moved = LineEndMap("".join(one), "".join(other))
    places, other_places = (list(itertools.accumulate(map(len, each), initial=0)) for each in (one, other))
    assert [moved.start(place) for place in places] == other_places
    assert [moved.end(place) for place in places] == other_places


def test_offsets_inside_a_line_end_and_outside_of_the_text() -> None:
    #                   0123 4 56
    moved = LineEndMap("abc\r\nde", "abc\nde")
    assert (moved.start(4), moved.end(4)) == (3, 4)  # a span that starts or ends there holds the line end
    assert [moved.end(offset) for offset in (7, 9)] == [6, 8]
    assert moved.start(-2) == -2
    back = LineEndMap("abc\nde", "abc\r\nde")
    assert (back.start(3), back.end(4), back.start(4)) == (3, 5, 5)


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("gold_end", ENDS)
def test_documents_and_literal_notes_move_to_golds_line_ends(end: str, gold_end: str) -> None:
    gold = f"one{gold_end}two{gold_end}{gold_end}three"
    text = f"one{end}two{end}{end}three"
    first, second = text.index("two"), text.index("three")
    document = Document("a", text, (Entity("T1", "X", Span(((0, 3), (first, first + 3)))), Entity("T2", "X", Span.of(second, second + 5))))
    findings = Findings()
    (moved,) = on_texts([document], {"a": gold}, "system", findings)
    assert moved.text == gold
    assert [moved.covered(entity.span) for entity in moved.entities] == ["one two", "three"]
    assert findings.counts() == ({} if end == gold_end else {"other-line-ends": 1})
    mentions = tuple(("X", entity.start, entity.end) for entity in document.entities)
    note = LiteralNote("a", text, mentions, (("R", *mentions),))
    (literal,) = on_texts([note], {"a": gold}, "system", Findings())
    expected = tuple(("X", entity.start, entity.end) for entity in moved.entities)
    assert (literal.mentions, literal.links) == (expected, (("R", *expected),))


def test_fragments_that_share_a_line_end_of_two_characters() -> None:
    document = Document("a", "a\r\nb", (Entity("T1", "X", Span(((0, 2), (2, 4)))), Entity("T2", "X", Span.of(2, 3))))
    (moved,) = on_texts([document], {"a": "a\nb"}, "system", Findings())
    assert [entity.span.fragments for entity in moved.entities] == [((0, 2), (2, 3)), ((1, 2),)]


@pytest.mark.parametrize(
    ("text", "gold", "offset"),
    [
        ("Takes aspirin.", "Takes Aspirin.", 6),
        ("\ufeffTakes", "Takes", 0),
        ("Takes", "Takes\n", 5),
        ("a\r\nb\r\nc", "a\nb\nd", 6),  # the system's own offset, not gold's
        ("a\n\nb", "a\nb", 2),
    ],
)
def test_other_texts_are_refused_without_showing_them(text: str, gold: str, offset: int) -> None:
    with pytest.raises(InputError) as caught:
        on_texts([Document("ward/a", text)], {"ward/a": gold}, "system", Findings())
    message = str(caught.value)
    assert f"document ward/a: its text differs from gold's, first at offset {offset} " in message
    assert "spirin" not in message


def test_notes_that_gold_does_not_know_and_notes_without_text_stay() -> None:
    notes = [Document("a", "x"), Document("b", "y")]
    assert on_texts(notes, {"b": "y"}, "system", Findings()) == notes
    bare = [LiteralNote("b", None, (("X", 0, 9),))]
    assert on_texts(bare, {"b": "y"}, "system", Findings()) == bare
