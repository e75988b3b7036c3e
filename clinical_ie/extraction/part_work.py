"""A part of the input, annotated and written: what every worker does with the parts that it is given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from clinical_ie.document import Document
from clinical_ie.errors import InputError, RunError, printable
from clinical_ie.extraction.extractor import Extractor
from clinical_ie.extraction.inputs import BadNote, Note
from clinical_ie.extraction.outputs import OUTPUTS, Origin
from clinical_ie.extraction.parts import Part
from clinical_ie.extraction.thresholds import Thresholds, keep

REVIEW = "review"
"""What is not sure enough: a folder of parts, in the end one file."""


@dataclass(frozen=True, slots=True)
class PartResult:
    """What became of a part.

    Attributes:
        number: The part's.
        digest: Of its notes.
        documents: How many were annotated.
        mentions: Found in them.
        links: Likewise, relations and arguments of events.
        failed: Id and reason of each note that could not be annotated; what of an id is no character of UTF-8 is escaped.
        outcomes: What became of the models' outputs for the documents, and what an output cannot hold, counted.
    """

    number: int
    digest: str
    documents: int = 0
    mentions: int = 0
    links: int = 0
    failed: tuple[tuple[str, str], ...] = ()
    outcomes: dict[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain data; `from_dict` reads it back."""
        return {**asdict(self), "failed": [list(pair) for pair in self.failed]}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> PartResult:
        """What `to_dict` wrote down."""
        return cls(**{**data, "failed": tuple((str(name), str(reason)) for name, reason in data["failed"])})


def write_part(
    extractor: Extractor, part: Part, formats: Sequence[str], staging: Path, origin: Origin, thresholds: Thresholds | None = None
) -> PartResult:
    """Annotate a part and write it below a folder of its own, a folder for each format.

    Args:
        extractor: The model.
        part: The notes.
        formats: What to write, of `OUTPUTS`.
        staging: The folder, which exists.
        origin: What outputs say of where annotations come from.
        thresholds: What is not sure enough goes into a folder ``review`` as JSON lines.

    Raises:
        RunError: The model fails on whatever it is given, or the disk is full.
    """
    bad = [(note.id, note.reason) for note in part.notes if isinstance(note, BadNote)]
    documents, failed, outcomes = _annotated(extractor, [note for note in part.notes if isinstance(note, Note)])
    lost: Counter[str] = Counter()
    mentions = links = 0
    writers = [OUTPUTS[name](staging / name, origin, lost) for name in formats]
    reviewed = None if thresholds is None else OUTPUTS["jsonl"](staging / REVIEW, origin, lost)
    for writer in writers if reviewed is None else [*writers, reviewed]:
        writer.begin_part(part.number)
    for note, document in documents:
        if thresholds is not None and reviewed is not None:
            whole = document
            document, review = keep(whole, thresholds)
            if review.entities:
                reviewed.write(review, note.meta)
            lost["mentions to review"] += len(whole.entities) - len(document.entities)
            lost["links to review"] += sum(1 for _ in whole.links()) - sum(1 for _ in document.links())
        for writer in writers:
            writer.write(document, note.meta)
        mentions += len(document.entities)
        links += sum(1 for _ in document.links())
    for writer in writers if reviewed is None else [*writers, reviewed]:
        writer.commit()
    reasons = tuple((printable(name), reason) for name, reason in (*bad, *failed))
    counted = dict(sorted((outcomes + lost).items()))  # in an order that does not depend on what the model has met before
    return PartResult(part.number, part.digest, len(documents), mentions, links, reasons, counted)


def _annotated(extractor: Extractor, notes: Sequence[Note]) -> tuple[list[tuple[Note, Document]], list[tuple[str, str]], Counter[str]]:
    """Notes with their documents, ids and reasons of those that have none, and outcomes of those that have one.

    Where all together fail, each is tried alone, and what was counted until then does not count.
    """
    before = extractor.outcomes
    try:
        documents = list(extractor.stream(notes))
    except Exception as error:
        together = error
    else:
        return list(zip(notes, documents, strict=True)), [], extractor.outcomes - before
    found: list[tuple[Note, Document]] = []
    failed: list[tuple[str, str]] = []
    outcomes: Counter[str] = Counter()
    for note in notes:
        before = extractor.outcomes
        try:
            (document,) = extractor.stream([note])
        except Exception as error:
            failed.append((note.id, _reason(error)))
        else:
            found.append((note, document))
            outcomes += extractor.outcomes - before
    if not found and len(notes) > 1:
        raise RunError(f"the model fails on each of {len(notes)} notes: {_reason(together)}") from together
    return found, failed, outcomes


def _reason(error: Exception) -> str:
    """What is wrong, without what another library says of it, which may hold words of the note."""
    return str(error) if isinstance(error, InputError) else f"{type(error).__name__} while it was annotated"
