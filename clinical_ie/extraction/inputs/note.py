"""What a reader of notes gives: a note, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Note:
    """A text to annotate.

    Attributes:
        id: Its document id, which can be the name of a file inside a folder (see `clinical_ie.files.unfit`).
        text: The characters as file or field has them; offsets count these.
        meta: What else is known of it, such as ``subject`` (a FHIR reference) or ``encoding`` where it is not UTF-8.
    """

    id: str
    text: str
    meta: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BadNote:
    """A note that cannot be annotated.

    Attributes:
        id: Its document id, or where it stands (``notes.csv:17``) where it has none or an id that cannot be trusted.
        reason: What is wrong and what helps; never text of the note.
    """

    id: str
    reason: str
