"""JSON lines: one document a line with all that was found, confidences included; nothing is lost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, ClassVar

from clinical_ie.document import Document
from clinical_ie.extraction.outputs.writer import PartWriter
from clinical_ie.formats import jsonl


class JsonLines(PartWriter):
    """Files that `clinical_ie.formats.jsonl` reads, one by one or the folder at once."""

    ending: ClassVar[str] = ".jsonl"

    def begin(self, files: list[IO[bytes]]) -> None:
        """Start a file."""
        (self._file,) = files

    def add(self, document: Document, meta: Mapping[str, str]) -> None:
        """Write a line."""
        self._file.write(jsonl.line(document).encode())
