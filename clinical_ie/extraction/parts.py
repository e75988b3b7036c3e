"""Parts of the input: consecutive notes that are annotated, written and noted down together, cut in the same places every time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from clinical_ie.extraction.inputs import BadNote, Note


@dataclass(frozen=True, slots=True)
class PartSize:
    """The most that a part holds; a longer note is a part of its own.

    What is annotated together decides over its batches, so the same sizes give the same output. An interruption loses a part of each
    worker at most.

    Attributes:
        notes: Notes.
        characters: Characters of their texts; some four are a sub-word.
    """

    notes: int = 256
    characters: int = 100_000


@dataclass(frozen=True, slots=True)
class Part:
    """Consecutive notes.

    Attributes:
        number: From 1.
        notes: Those to annotate, and those that cannot be.
    """

    number: int
    notes: tuple[Note | BadNote, ...]

    @property
    def digest(self) -> str:
        """Of ids, texts and reasons: whether the input is still the same."""
        found = hashlib.sha256()
        for note in self.notes:
            for field in (type(note).__name__, note.id, note.text if isinstance(note, Note) else note.reason):
                found.update(field.encode("utf-8", "surrogatepass") + b"\0")
        return found.hexdigest()[:32]


def parts(notes: Iterable[Note | BadNote], size: PartSize) -> Iterator[Part]:
    """The input in parts; no more of it is read than is in one of them.

    Args:
        notes: In an order that is always the same.
        size: The most of a part.
    """
    held: list[Note | BadNote] = []
    number, characters = 1, 0
    for note in notes:
        length = len(note.text) if isinstance(note, Note) else 0
        if held and (len(held) >= size.notes or characters + length > size.characters):
            yield Part(number, tuple(held))
            held, number, characters = [], number + 1, 0
        held.append(note)
        characters += length
    if held:
        yield Part(number, tuple(held))
