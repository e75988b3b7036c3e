"""Files of tasks: a JSON list, as Label Studio exports and imports it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

from clinical_ie.document import Document
from clinical_ie.errors import DocumentError, FileFormatError, InputError, printable, shown
from clinical_ie.fields import Fields, MalformedDataError, elements
from clinical_ie.files import distinct, read_text, write_text, writing
from clinical_ie.formats.brat.offsets import CHARACTERS, check_rule
from clinical_ie.formats.findings import Findings
from clinical_ie.formats.folders import find_files
from clinical_ie.formats.json_text import parse as parse_json
from clinical_ie.formats.label_studio.labeling import Labeling
from clinical_ie.formats.label_studio.parsing import annotated, parse
from clinical_ie.formats.label_studio.rendering import render

_EXPECTED = "a JSON list of tasks, as Label Studio exports it (JSON, not JSON-MIN)"


def read(path: Path | str, findings: Findings | None = None, *, offsets: str = CHARACTERS) -> list[Document]:
    """Documents of an export, or of all ``.json`` files of a folder.

    Where annotators had any of the tasks, those that they did not have or skipped are left out, and counted. Where they had none,
    predictions are read, and counted as such.

    Args:
        path: A file or a folder.
        findings: Collects what is wrong; strict when left out.
        offsets: What offsets count: ``characters``, or ``utf-16`` code units, as versions before 1.6 do.

    Raises:
        InputError: Nothing there.
        FileFormatError: No list of tasks, or (in strict mode) a task or an annotation that is broken.
    """
    check_rule(offsets)
    findings = Findings() if findings is None else findings
    findings.begin()
    files = [os.fspath(path)]
    if os.path.isdir(path):
        files = [paths[".json"] for name, paths in find_files(path, (".json",), findings).items() if "/" not in name]
        if not files:
            raise InputError(f"{printable(path)}: no .json file in this folder; expected Label Studio's export")
    tasks = [(file, number, task) for file in files for number, task in enumerate(_tasks(file), 1)]
    reviewed = any(type(task) is dict and annotated(Fields(task)) for _, _, task in tasks)
    found: dict[str, Document] = {}
    for file, number, task in tasks:
        try:
            document = parse(task, findings, file, fallback=f"{Path(file).stem}_{number}", predictions=not reviewed, offsets=offsets)
        except (MalformedDataError, DocumentError) as error:
            problem = error.found if isinstance(error, MalformedDataError) else str(error)
            expected, remedy = (error.expected, error.remedy) if isinstance(error, MalformedDataError) else ("", "")
            findings.error(file, 0, "malformed-document", f"task {number}: {problem}", expected=expected or _EXPECTED, remedy=remedy)
            continue
        if document is None:
            continue
        if document.id in found:
            problem = f"task {number}: the document id {shown(document.id)} stands there already"
            findings.error(file, 0, "duplicate-document-id", problem, remedy="remove one of the tasks")
            continue
        found[document.id] = document
    return list(found.values())


def _tasks(path: str) -> list[object]:
    try:
        value = parse_json(read_text(path).removeprefix("\ufeff"))
        return list(elements([value] if type(value) is dict else value, ""))
    except MalformedDataError as error:
        raise FileFormatError(path, error.line, error.found, expected=_EXPECTED, remedy=error.remedy) from None


def write(documents: Iterable[Document], path: Path | str, findings: Findings | None = None, *, labeling: Labeling | None = None) -> None:
    """All documents as tasks into one file, and the labeling configuration beside it (``.xml``).

    Args:
        documents: What to write.
        path: Of the file of tasks.
        findings: Collects what has no place in a task; strict when left out.
        labeling: The labels to choose from; those that stand in the documents when left out.

    Raises:
        InputError: Two documents with one id.
        FileFormatError: Something has no place in a task, in strict mode.
    """
    findings = Findings() if findings is None else findings
    listed = list(documents)
    distinct((document.id for document in listed), path)
    labeling = Labeling.of_documents(listed) if labeling is None else labeling
    with writing(path) as file:
        file.write("[")
        for rank, document in enumerate(listed):
            file.write(",\n" if rank else "\n")
            json.dump(render(document, labeling, findings, path), file, ensure_ascii=False)
        file.write("\n]\n")
    write_text(Path(path).with_suffix(".xml"), labeling.xml())
