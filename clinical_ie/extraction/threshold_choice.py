"""Thresholds as ``clinical-ie extract`` is told them: numbers, or a bound on the share of wrong annotations and notes to prove it on."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from clinical_ie.document import Document
from clinical_ie.errors import InputError, SettingError
from clinical_ie.extraction.extractor import Extractor
from clinical_ie.extraction.false_discovery import TypeThreshold, controlled
from clinical_ie.extraction.trained_run import TrainedRun
from clinical_ie.formats import brat, jsonl
from clinical_ie.schema import Schema

_LOG = logging.getLogger(__name__)


def types_of(schema: Schema) -> list[str]:
    """Names of everything that can have a threshold."""
    names = (*schema.entity_names, *(one.name for one in schema.relations), *(one.name for one in schema.attributes))
    return list(dict.fromkeys(names))


def calibration_notes(path: Path) -> list[Document]:
    """Annotated notes, of a BRAT folder, a JSON-lines file or a folder of such.

    Raises:
        InputError: There are none.
    """
    is_jsonl = path.is_file() or (path.is_dir() and any(path.glob("*.jsonl")))
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; --calibration names annotated notes (a BRAT folder or JSON lines)")
    found = list(jsonl.read(path) if is_jsonl else brat.read(path))
    if not found:
        raise InputError(f"{path}: no annotated note in it; --calibration names a BRAT folder or JSON lines")
    return found


def chosen_by_bound(extractor: Extractor, notes: Sequence[Document], bound: float) -> list[TypeThreshold]:
    """A threshold for each type that the model finds, chosen on annotated notes; see `controlled`."""
    predicted = extractor.annotate(notes)
    known = set(types_of(extractor.schema))
    found = controlled(zip(notes, predicted, strict=True), bound, types=extractor.schema.entity_names)
    return [one for one in found if one.type in known]


def refuse_learned(run: TrainedRun, path: Path, notes: Sequence[Document]) -> None:
    """Make sure that notes prove something, or warn that nobody knows.

    Raises:
        SettingError: The run has learned from some of them.
    """
    known = run.learned(note.id for note in notes)
    if known is None:
        _LOG.warning(
            f"Warning: {run.folder} does not say which notes it has learned from, so nobody can tell whether the {len(notes):,} of"
            f" --calibration {path} are among them; where some are, more than the bound may be wrong. Export it again from its run, or make"
            " sure that they are not"
        )
    elif known:
        raise SettingError(
            f"--calibration {path}: {len(known)} of {len(notes)} notes are those that {run.folder} has learned from or was chosen by, on"
            " which it is better than on others; give other notes"
        )
