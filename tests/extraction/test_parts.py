"""The input is cut in the same places whatever reads it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from clinical_ie.extraction.inputs import BadNote, Note
from clinical_ie.extraction.parts import Part, PartSize, parts

NOTES = st.lists(
    st.one_of(
        st.builds(lambda size: Note("n", "x" * size), st.integers(1, 40)),
        st.just(BadNote("b", "empty")),
    ),
    max_size=30,
)


@given(NOTES, st.integers(1, 6), st.integers(1, 60))
def test_nothing_is_lost_and_no_part_is_too_large(notes: list[Note | BadNote], most: int, characters: int) -> None:
    found = list(parts(iter(notes), PartSize(most, characters)))
    assert [note for part in found for note in part.notes] == notes
    assert [part.number for part in found] == list(range(1, len(found) + 1))
    for part in found:
        assert 1 <= len(part.notes) <= most
        assert sum(len(note.text) for note in part.notes if isinstance(note, Note)) <= characters or len(part.notes) == 1


def test_no_note_is_read_before_it_is_wanted() -> None:
    read: list[int] = []

    def notes() -> object:
        for number in range(100):
            read.append(number)
            yield Note(str(number), "x")

    next(parts(notes(), PartSize(4, 1000)))  # type: ignore[arg-type]
    assert len(read) == 5  # the fifth tells that the part is full


def test_the_digest_tells_ids_texts_and_reasons_apart() -> None:
    variants: list[tuple[Note | BadNote, ...]] = [
        (Note("a", "bc"),), (Note("ab", "c"),), (BadNote("a", "bc"),), (BadNote("a", "bd"),), (Note("a", "b"), Note("c", "d")), (),
    ]  # fmt: skip
    assert len({Part(1, notes).digest for notes in variants}) == len(variants)
    assert Part(1, (Note("a", "b", {"encoding": "cp1252"}),)).digest == Part(9, (Note("a", "b"),)).digest
