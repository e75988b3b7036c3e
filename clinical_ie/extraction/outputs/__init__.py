"""What `extract` writes: a writer for each form of output, by name."""

from __future__ import annotations

from clinical_ie.extraction.outputs.brat_files import BratFiles
from clinical_ie.extraction.outputs.csv_tables import CsvTables
from clinical_ie.extraction.outputs.json_lines import JsonLines
from clinical_ie.extraction.outputs.label_studio_tasks import LabelStudioTasks
from clinical_ie.extraction.outputs.writer import Origin, Writer, discard, publish

OUTPUTS: dict[str, type[Writer]] = {
    "brat": BratFiles,
    "jsonl": JsonLines,
    "csv": CsvTables,
    "label-studio": LabelStudioTasks,
}
"""The writer of each form."""

__all__ = ["OUTPUTS", "Origin", "Writer", "discard", "publish"]
