"""Standard input: JSON lines, or one note."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

from clinical_ie.extraction.inputs.acceptance import Acceptance
from clinical_ie.extraction.inputs.columns import Columns
from clinical_ie.extraction.inputs.json_lines import of_lines
from clinical_ie.extraction.inputs.note import BadNote, Note

NAME = "stdin"
"""The id of the note, and what stands for the name of a file."""
_MOST_BYTES = 4
_OPENING = 1 << 16


def read_stream(file: IO[bytes], columns: Columns, acceptance: Acceptance) -> Iterator[Note | BadNote]:
    """Notes of a stream: JSON lines where it begins with a JSON object, else one note."""
    opening = file.readline(_OPENING)
    if opening.lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b'{"', b'{ "')):
        if not opening.endswith(b"\n"):
            opening += file.readline()
        yield from of_lines(file, NAME, columns, acceptance, opening)
        return
    most = acceptance.most_characters * _MOST_BYTES
    data = opening + file.read(most + 1)
    yield BadNote(NAME, acceptance.too_long(f"more than {most:,} bytes")) if len(data) > most else acceptance.of_bytes(NAME, data)
