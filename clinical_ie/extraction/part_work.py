"""A part of the input, annotated and written: what every worker does with the parts that it is given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from clinical_ie.document import Document
from clinical_ie.errors import InputError, RunError
from clinical_ie.extraction.extractor import Extractor
from clinical_ie.extraction.inputs import BadNote, Note
from clinical_ie.extraction.outputs import WRITERS
from clinical_ie.extraction.parts import Part

Review = Callable[[Document], tuple[Document, Document | None]]
"""What is sure enough of a document, and what somebody should look at; None where there is nothing."""


@dataclass(frozen=True, slots=True)
class PartResult:
    """What became of a part.

    Attributes:
        number: The part's.
        digest: Of its notes.
        documents: How many were annotated.
        mentions: Found in them.
        links: Likewise, relations and arguments of events.
        failed: Id and reason of each note that could not be annotated.
        outcomes: What became of the models' outputs.
        counts: What was found out about the input, such as encodings.
    """

    number: int
    digest: str
    documents: int
    mentions: int
    links: int
    failed: tuple[tuple[str, str], ...] = ()
    outcomes: dict[str, int] = field(default_factory=dict)


def write_part(extractor: Extractor, part: Part, formats: Sequence[str], staging: Path) -> PartResult:
    """Annotate a part and write it below a folder of its own.

    Args:
        extractor: The model.
        part: The notes.
        formats: What to write, of `WRITERS`.
        staging: The folder, which exists.

    Raises:
        RunError: The model fails on whatever it is given.
    """
    before = extractor.outcomes
    found, failed = _annotated(extractor, [note for note in part.notes if isinstance(note, Note)])
    reasons = {note.id: note.reason for note in part.notes if isinstance(note, BadNote)} | failed
    writers = [WRITERS[name](staging, part.number) for name in formats]
    mentions = links = 0
    meta = {note.id: note.meta for note in part.notes if isinstance(note, Note)}
    try:
        for document in found:
            for writer in writers:
                writer.write(document, meta[document.id])
            mentions += len(document.entities)
            links += sum(1 for _ in document.links())
    finally:
        for writer in writers:
            writer.close()
    return PartResult(
        part.number, part.digest, len(found), mentions, links, tuple(reasons.items()), dict(extractor.outcomes - before)
    )


def _annotated(extractor: Extractor, notes: Sequence[Note]) -> tuple[list[Document], dict[str, str]]:
    """Documents, and the reasons why there are none of some notes: where all together fail, each is tried alone."""
    try:
        return list(extractor.stream(notes)), {}
    except Exception as error:
        if len(notes) == 1:
            return [], {notes[0].id: _reason(error)}
        together = error
    found: list[Document] = []
    failed: dict[str, str] = {}
    for note in notes:
        documents, reasons = _annotated(extractor, [note])
        found += documents
        failed |= reasons
    if not found:
        raise RunError(f"the model fails on each of {len(notes)} notes ({_reason(together)})") from together
    return found, failed


def _reason(error: Exception) -> str:
    """What is wrong, without what another library says of it, which may hold words of the note."""
    return str(error) if isinstance(error, InputError) else f"{type(error).__name__} while it was annotated"
