"""Readers of notes: `read` gives a `Note` or a `BadNote` at a time, whatever the source; a bad note never stops the others."""

from clinical_ie.extraction.inputs.note import BadNote, Note
from clinical_ie.extraction.inputs.reading import read

__all__ = ["BadNote", "Note", "read"]
