"""JSON lines: a note a line, or a FHIR resource a line (NDJSON, as bulk exports have it)."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from clinical_ie.extraction.inputs.acceptance import Acceptance
from clinical_ie.extraction.inputs.columns import Columns
from clinical_ie.extraction.inputs.fhir_documents import notes_of
from clinical_ie.extraction.inputs.note import BadNote, Note
from clinical_ie.extraction.inputs.raw_files import lines, opened
from clinical_ie.fields import MalformedDataError
from clinical_ie.formats.json_text import BOM, parse

ENDINGS = (".jsonl", ".ndjson")
_BYTES = 12
"""Of a character at most, where JSON escapes both halves of a surrogate pair."""
_REST = 1 << 20
"""Bytes of a line beside the text."""


def read_json_lines(path: Path, columns: Columns, acceptance: Acceptance) -> Iterator[Note | BadNote]:
    """Notes of a file.

    Raises:
        SettingError: The file cannot be opened, or the keys of its first object don't tell which holds texts or ids.
    """
    with opened(path) as file:
        yield from of_lines(file, path.name, columns, acceptance)


def of_lines(file: IO[bytes], name: str, columns: Columns, acceptance: Acceptance, first: bytes = b"") -> Iterator[Note | BadNote]:
    """Notes of an open file; `first` is what was read of its first line."""
    keys: tuple[str, str] | None = None
    number = 0
    try:
        for number, line in lines(file, acceptance.most_characters * _BYTES + _REST, first):
            place = f"{name}:{number}"
            if line is None:
                yield BadNote(place, acceptance.too_long("a line of more bytes than any note needs"))
                continue
            if number == 1:
                line = line.removeprefix(BOM)
            if not line.strip():
                continue
            value = _object(line)
            if isinstance(value, str):
                yield BadNote(place, value)
            elif "resourceType" in value and columns == Columns():
                yield from notes_of(value, place, acceptance)
            else:
                if keys is None:
                    names = list(value)
                    text, ident = columns.among(names, name)
                    keys = names[text], names[ident]
                yield _note(value, *keys, place, acceptance)
    except (OSError, EOFError, zlib.error):
        yield BadNote(f"{name}:{number + 1}", "the file is damaged from here on; the rest of it is not read")


def _object(line: bytes) -> dict[str, Any] | str:
    """The object of a line, or why there is none."""
    try:
        value = parse(line.decode())
    except UnicodeDecodeError as error:
        return f"byte {error.start} of the line is not UTF-8"
    except MalformedDataError as error:
        return error.found
    return value if type(value) is dict else "no JSON object"


def _note(value: dict[str, Any], text_key: str, id_key: str, place: str, acceptance: Acceptance) -> Note | BadNote:
    name, text = value.get(id_key), value.get(text_key)
    if type(name) is int:
        name = str(name)
    if not isinstance(name, str) or not name.strip():
        return BadNote(place, "its id is missing, empty, or neither a string nor a number")
    if not isinstance(text, str):
        return BadNote(name.strip(), "empty" if text is None and text_key in value else "its text is missing or no string")
    return acceptance.of_text(name.strip(), text)
