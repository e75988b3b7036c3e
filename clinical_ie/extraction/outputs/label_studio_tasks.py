"""Label Studio: a task for each note, with what was found as a prediction to correct."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import IO, ClassVar

from clinical_ie.document import Document
from clinical_ie.extraction.outputs.writer import Origin, PartWriter
from clinical_ie.files import write_text
from clinical_ie.formats import label_studio
from clinical_ie.formats.findings import Findings
from clinical_ie.formats.label_studio import Labeling


class LabelStudioTasks(PartWriter):
    """JSON lists of tasks to import, and ``labeling.xml``, the labeling interface that they need, where the model's types are known."""

    ending: ClassVar[str] = ".json"

    def __init__(self, folder: Path, origin: Origin | None = None, counts: Counter[str] | None = None) -> None:
        super().__init__(folder, origin, counts)
        schema = self.origin.schema
        self.labeling = Labeling() if schema is None else Labeling.of_schema(schema)
        if schema is not None:
            write_text(folder / "labeling.xml", self.labeling.xml())

    def begin(self, files: list[IO[bytes]]) -> None:
        """Start a list."""
        (self._file,) = files
        self._opening = b"[\n"

    def add(self, document: Document, meta: Mapping[str, str]) -> None:
        """Write a task."""
        findings = Findings(strict=False)
        task = label_studio.render(document, self.labeling, findings, system=self.origin.system)
        self._file.write(self._opening + json.dumps(task, ensure_ascii=False).encode())
        self._opening = b",\n"
        self.counts.update({f"Label Studio: {kind}": count for kind, count in findings.losses.items()})

    def end(self) -> None:
        """End the list."""
        self._file.write(b"\n]\n")
