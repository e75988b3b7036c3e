"""Folders of ``.txt`` files, one note each."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from clinical_ie.errors import printable
from clinical_ie.extraction.inputs.acceptance import Acceptance
from clinical_ie.extraction.inputs.note import BadNote, Note
from clinical_ie.files import unfit
from clinical_ie.formats.findings import Findings
from clinical_ie.formats.folders import stream_files

_MOST_BYTES = 4
"""Of a character, in UTF-8, UTF-16 and UTF-32 alike."""


def read_folder(folder: Path, acceptance: Acceptance) -> Iterator[Note | BadNote]:
    """Notes of a folder and its sub-folders; ids are paths inside the folder, without ending and in Unicode's form NFC.

    Links are followed, endings may be in capitals. Hidden files and folders are left out and counted; what cannot be read is a
    bad note that has the path for its id.

    Raises:
        InputError: The folder itself cannot be read.
    """
    findings = Findings(strict=False)
    for name, _, path in stream_files(folder, (".txt",), findings):
        yield from told(findings, folder, acceptance)
        yield read_file(path, name, acceptance)
    yield from told(findings, folder, acceptance)


def read_file(path: Path | str, name: str, acceptance: Acceptance) -> Note | BadNote:
    """The note of one file."""
    try:
        with open(path, "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            if size > acceptance.most_characters * _MOST_BYTES:
                return BadNote(name, acceptance.too_long(f"{size:,} bytes"))
            data = file.read()
    except OSError as error:
        return BadNote(name, f"the file cannot be read ({error.strerror})")
    return acceptance.of_bytes(name, data)


def file_id(path: Path) -> str:
    """The document id of a file that is named by itself."""
    name = unicodedata.normalize("NFC", path.stem)
    return name if unfit(name) is None else "note"


def told(findings: Findings, folder: Path, acceptance: Acceptance) -> Iterator[BadNote]:
    """What was found since the last time: errors as bad notes, the rest counted."""
    for finding in findings:
        if finding.error:
            yield BadNote(finding.path.removeprefix(printable(folder)).lstrip("/"), finding.message)
        else:
            acceptance.counts[f"not read: {finding.code.replace('-', ' ')}"] += 1
    findings.clear()
