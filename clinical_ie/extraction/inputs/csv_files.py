"""CSV and TSV: a note a row, quoted fields with all their line ends."""

from __future__ import annotations

import codecs
import csv
import io
import re
import zlib
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TextIO

from clinical_ie.errors import SettingError, printable
from clinical_ie.extraction.inputs.acceptance import Acceptance
from clinical_ie.extraction.inputs.columns import Columns
from clinical_ie.extraction.inputs.decoding import UTF_8
from clinical_ie.extraction.inputs.note import BadNote, Note
from clinical_ie.extraction.inputs.raw_files import kind_of, opened

_MOST_FIELD = 1 << 26
"""Characters of a field, or of all the lines behind a quotation mark that nothing ends."""
_DELIMITERS = {".csv": (",", ";", "\t"), ".tsv": ("\t",), ".tab": ("\t",)}
_UNDECODED = re.compile(r"[\udc80-\udcff]")
ENDINGS = tuple(_DELIMITERS)


def read_csv(path: Path, columns: Columns, acceptance: Acceptance) -> Iterator[Note | BadNote]:
    """Notes of a table with a header.

    A row with more or fewer fields than the header, or with a quotation mark where none can stand, is a bad note; reading goes on in
    the line behind the one where the row began.

    Raises:
        SettingError: The file cannot be opened, is empty, or its columns cannot be told.
    """
    csv.field_size_limit(max(csv.field_size_limit(), _MOST_FIELD, acceptance.most_characters))
    with opened(path) as file:
        encoding = acceptance.encoding or _encoding(file)
        errors = "strict" if encoding.startswith(("utf-16", "utf-32")) else "surrogateescape"
        with io.TextIOWrapper(file, encoding=encoding, errors=errors, newline="") as text:
            lines = _Lines(text)
            try:
                yield from _Table(path, columns, acceptance, lines, encoding).notes()
            except (UnicodeDecodeError, OSError, EOFError, zlib.error) as error:
                reason = f"not {encoding}" if isinstance(error, UnicodeDecodeError) else "damaged"
                yield BadNote(f"{path.name}:{lines.number + 1}", f"the file is {reason} from here on; the rest of it is not read")


class _Lines:
    """Lines of a file, with those of the present row at hand, to go back to."""

    def __init__(self, file: TextIO) -> None:
        self.file, self.number = file, 0
        self.row: list[str] = []
        self.pending: deque[str] = deque()

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self.pending.popleft() if self.pending else self.file.readline(_MOST_FIELD)
        if not line:
            raise StopIteration
        self.number += 1
        self.row.append(line)
        return line

    def go_back(self) -> None:
        """Go on with the second line of the present row."""
        again = self.row[1:]
        self.pending.extendleft(reversed(again))
        self.number -= len(again)


class _Table:
    def __init__(self, path: Path, columns: Columns, acceptance: Acceptance, lines: _Lines, encoding: str) -> None:
        self.path, self.acceptance, self.lines, self.encoding = path, acceptance, lines, encoding
        first = next(lines, "").removeprefix("\ufeff")
        if not first.strip():
            raise SettingError(f"{printable(path)}: the first line is empty; expected the names of the columns")
        lines.pending.append(first)
        lines.number = 0
        self.rows = csv.reader(lines, delimiter=_delimiter(first, _DELIMITERS[kind_of(path)]), strict=True)
        try:
            self.header = next(self.rows)
        except csv.Error:
            raise SettingError(f"{printable(path)}:1: not CSV; expected the names of the columns") from None
        self.text, self.id = columns.among(self.header, path)

    def notes(self) -> Iterator[Note | BadNote]:
        """All rows behind the header."""
        while True:
            self.lines.row.clear()
            place = f"{self.path.name}:{self.lines.number + 1}"
            try:
                row = next(self.rows)
            except StopIteration:
                return
            except csv.Error:
                self.lines.go_back()
                reason = 'a quotation mark where none can stand, or none where one must; expected "..." with "" for each inside'
                yield BadNote(place, reason)
                continue
            if len(row) == len(self.header):
                yield self._note(row, place)
            elif row:
                yield BadNote(place, f"{len(row)} fields, expected {len(self.header)} as in the header")

    def _note(self, row: list[str], place: str) -> Note | BadNote:
        name, text = row[self.id].strip(), row[self.text]
        if not name:
            return BadNote(place, "its id is empty")
        if _is_undecoded(name):
            return BadNote(place, f"its id is not {self.encoding}")
        if not _is_undecoded(text):
            return self.acceptance.of_text(name, text, encoding=UTF_8 if self.encoding == "utf-8-sig" else self.encoding)
        return self.acceptance.of_bytes(name, text.encode(self.encoding.removesuffix("-sig"), "surrogateescape"))


def _is_undecoded(text: str) -> bool:
    """Whether some of its bytes had no character."""
    return not text.isascii() and _UNDECODED.search(text) is not None


def _encoding(file: IO[bytes]) -> str:
    """The encoding of a file as its first bytes tell it: with a mark, or UTF-8."""
    opening = file.read(4)
    file.seek(0)
    if opening.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    return "utf-16" if opening.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"


def _delimiter(header: str, candidates: tuple[str, ...]) -> str:
    """The first of the candidates that stands in the header; spreadsheets write semicolons where commas are for decimals."""
    return next((sign for sign in candidates if sign in header), candidates[0])
