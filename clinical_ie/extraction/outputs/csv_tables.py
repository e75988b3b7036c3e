"""CSV tables of mentions, links and attributes."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from typing import IO, Any, ClassVar

from clinical_ie.document import Document
from clinical_ie.extraction.outputs.rows import AttributeRow, LinkRow, MentionRow, attribute_rows, link_rows, mention_rows
from clinical_ie.extraction.outputs.writer import PartWriter


class CsvTables(PartWriter):
    """UTF-8, commas, one line of column names a file, CRLF at the end of a row (RFC 4180); an empty field is a missing value."""

    places: ClassVar[tuple[str, ...]] = ("mentions/part-", "links/part-", "attributes/part-")
    ending: ClassVar[str] = ".csv"

    def begin(self, files: list[IO[bytes]]) -> None:
        """Start the three tables."""
        self._mentions, self._links, self._attributes = files
        for file, columns in zip(files, (MentionRow._fields, LinkRow._fields, AttributeRow._fields), strict=True):
            write_rows(file, [columns])

    def add(self, document: Document, meta: Mapping[str, str]) -> None:
        """Write the rows of a document."""
        write_rows(self._mentions, mention_rows(document))
        write_rows(self._links, link_rows(document))
        write_rows(self._attributes, attribute_rows(document))


def write_rows(file: IO[bytes], rows: Iterable[Iterable[Any]]) -> None:
    """Write rows of CSV."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    file.write(text.getvalue().encode())
