"""What `extract` writes: a writer for each form of output, by name."""

from __future__ import annotations

from clinical_ie.extraction.outputs.brat_files import BratFiles
from clinical_ie.extraction.outputs.csv_tables import CsvTables
from clinical_ie.extraction.outputs.fhir_bundles import FhirBundles
from clinical_ie.extraction.outputs.json_lines import JsonLines
from clinical_ie.extraction.outputs.label_studio_tasks import LabelStudioTasks
from clinical_ie.extraction.outputs.omop_notes import OmopNotes
from clinical_ie.extraction.outputs.parquet_tables import ParquetTables
from clinical_ie.extraction.outputs.writer import Origin, Writer, discard, publish

OUTPUTS: dict[str, type[Writer]] = {
    "brat": BratFiles,
    "jsonl": JsonLines,
    "csv": CsvTables,
    "parquet": ParquetTables,
    "fhir": FhirBundles,
    "omop": OmopNotes,
    "label-studio": LabelStudioTasks,
}
"""The writer of each form."""

__all__ = ["OUTPUTS", "Origin", "Writer", "discard", "publish"]
