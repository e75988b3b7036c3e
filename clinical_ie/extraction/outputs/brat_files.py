"""BRAT: a ``.txt`` and an ``.ann`` file for each note, written as soon as it is annotated."""

from __future__ import annotations

from collections.abc import Mapping

from clinical_ie.document import Document
from clinical_ie.extraction.outputs.writer import NOTHING_KNOWN, Writer
from clinical_ie.files import place_of, write_text
from clinical_ie.formats import brat
from clinical_ie.formats.findings import Findings


class BratFiles(Writer):
    """Each file appears whole. A document that is written again after a crash replaces itself, so there are no parts.

    The ``.ann`` file comes last. Names that BRAT cannot hold get ``_`` for what is wrong with them, and are counted.
    """

    def write(self, document: Document, meta: Mapping[str, str] = NOTHING_KNOWN) -> None:
        """Write both files of a document."""
        findings = Findings(strict=False)
        place = place_of(self.folder, document.id, ".ann")
        records = brat.render(document, findings, place)
        write_text(place_of(self.folder, document.id, ".txt"), document.text)
        write_text(place, records)
        self.counts.update(findings.losses)
        self.counts.update(f"BRAT: {code}" for code in findings.counts().elements())

    def prepare(self) -> list[str]:
        """Nothing: all files have their names."""
        return []
