"""Notes of any source, one after the other."""

from __future__ import annotations

import itertools
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from clinical_ie.errors import SettingError, did_you_mean_path, printable
from clinical_ie.extraction.inputs import csv_files, json_lines, parquet_files
from clinical_ie.extraction.inputs.acceptance import MOST_CHARACTERS, Acceptance
from clinical_ie.extraction.inputs.columns import Columns
from clinical_ie.extraction.inputs.csv_files import read_csv
from clinical_ie.extraction.inputs.json_lines import read_json_lines
from clinical_ie.extraction.inputs.note import BadNote, Note
from clinical_ie.extraction.inputs.parquet_files import read_parquet
from clinical_ie.extraction.inputs.raw_files import kind_of
from clinical_ie.extraction.inputs.standard_input import read_stream
from clinical_ie.extraction.inputs.text_files import file_id, read_file, read_folder, told
from clinical_ie.formats.findings import Findings
from clinical_ie.formats.folders import stream_files

Notes = Iterator[Note | BadNote]
_TABLES: dict[str, Callable[[Path, Columns, Acceptance], Notes]] = {
    **dict.fromkeys(csv_files.ENDINGS, read_csv),
    **dict.fromkeys(json_lines.ENDINGS, read_json_lines),
    **dict.fromkeys(parquet_files.ENDINGS, read_parquet),
}
_EXPECTED = f"a folder of .txt files, or files that end in {', '.join(_TABLES)} (text ones also with .gz behind it)"


def read(
    source: Path | str,
    *,
    text_column: str | None = None,
    id_column: str | None = None,
    encoding: str | None = None,
    most_characters: int = MOST_CHARACTERS,
    counts: Counter[str] | None = None,
) -> Notes:
    """Notes of a source as they are wanted, in a fixed order; nothing of one is kept when the next is read, but for its id's hash.

    Args:
        source: A folder of ``.txt`` files or one such file; a table (CSV, TSV, JSON lines, Parquet) or a folder of tables; FHIR
            DocumentReference resources as NDJSON; ``-`` for standard input, which is JSON lines or one note.
        text_column: Of a table; guessed when left out.
        id_column: Of a table; guessed when left out.
        encoding: What the bytes of notes are; found out when left out (see `decode`).
        most_characters: Longer notes are bad notes.
        counts: Gets what was read otherwise than as plain UTF-8, and what was left out because it is no note, by kind.

    Raises:
        SettingError: The source is missing or of no known kind, or its columns cannot be told.
    """
    acceptance = Acceptance(most_characters, encoding, Counter() if counts is None else counts)
    columns = Columns(text_column, id_column)
    notes = _once(_reader(source, columns, acceptance))
    first = list(itertools.islice(notes, 1))  # so that what is wrong with the source is said at once
    return itertools.chain(first, notes)


def _reader(source: Path | str, columns: Columns, acceptance: Acceptance) -> Notes:
    if str(source) == "-":
        return read_stream(sys.stdin.buffer, columns, acceptance)
    path = Path(source)
    if path.is_dir():
        return _of_folder(path, columns, acceptance)
    if not path.exists():
        raise SettingError(f"{printable(path)}: no such file or folder{did_you_mean_path(path)}")
    kind = kind_of(path)
    if kind in _TABLES:
        return _TABLES[kind](path, columns, acceptance)
    if path.suffix.lower() == ".txt":
        return iter([read_file(path, file_id(path), acceptance)])
    raise SettingError(f"{printable(path)}: notes in a file of this kind cannot be read; expected {_EXPECTED}")


def _of_folder(folder: Path, columns: Columns, acceptance: Acceptance) -> Notes:
    """Notes of ``.txt`` files; where there is none, those of tables."""
    notes = read_folder(folder, acceptance)
    first = list(itertools.islice(notes, 1))
    yield from itertools.chain(first, notes)
    if first:
        return
    rank, findings = 0, Findings(strict=False)
    for _, _, name in stream_files(folder, (*_TABLES, ".gz"), findings):
        yield from told(findings, folder, acceptance)
        path = Path(name)
        if (kind := kind_of(path)) not in _TABLES:
            continue
        rank += 1
        try:
            yield from _TABLES[kind](path, columns, acceptance)
        except SettingError as error:
            if rank == 1:
                raise
            yield BadNote(path.name, str(error))
    yield from told(findings, folder, acceptance)
    if not rank:
        raise SettingError(f"{printable(folder)}: no notes in this folder; expected {_EXPECTED}")


def _once(notes: Notes) -> Notes:
    """The notes, those whose id stood there before as bad ones."""
    seen: set[int] = set()  # hashes, which take a tenth of the room; of a billion ids two would be taken for one with probability 0.03
    for note in notes:
        if isinstance(note, Note):
            mark = hash(note.id)
            if mark in seen:
                note = BadNote(note.id, "a note before has the same id; rename one of them")
            seen.add(mark)
        yield note
