"""Folders of BRAT files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from clinical_ie.document import Document
from clinical_ie.errors import InputError
from clinical_ie.files import distinct, place_of, storable, write_text
from clinical_ie.formats.brat.offsets import CHARACTERS, check_rule
from clinical_ie.formats.brat.records import parse
from clinical_ie.formats.brat.rendering import render
from clinical_ie.formats.findings import Findings
from clinical_ie.formats.folders import find_files, text_of


def read(
    folder: Path | str, findings: Findings | None = None, *, texts: Mapping[str, str] | None = None, offsets: str = CHARACTERS
) -> list[Document]:
    """Documents of a folder and its sub-folders, by path; the id is the path without its ending.

    Args:
        folder: Where the files lie.
        findings: Collects what is wrong; strict when left out.
        texts: Document id -> text, for folders of ``.ann`` files without ``.txt`` beside them
            (a system's output); files whose id is not among them need a text of their own.
        offsets: What the offsets of the files count: ``characters``, ``utf-16`` (code units), ``utf-8`` (bytes),
            ``crlf-as-one``, ``without-bom``, or some joined by ``+``.

    Raises:
        InputError: No such folder, or none of its files can be read as BRAT.
        FileFormatError: A broken record or an unreadable file, in strict mode.
        SettingError: Another word for what offsets count.
    """
    check_rule(offsets)
    findings = Findings() if findings is None else findings
    findings.begin()
    files = find_files(folder, (".txt", ".ann"), findings)
    if not any(".ann" in paths for paths in files.values()):
        found = "no .ann file, only .txt files" if files else "neither a .txt nor an .ann file"
        raise InputError(f"{folder}: {found} in this folder; expected BRAT files (.txt beside .ann)")
    documents = []
    for name, paths in files.items():
        if ".ann" not in paths:
            if not name.rpartition("/")[2].upper().startswith(("README", "LICENSE")):
                findings.warning(paths[".txt"], 0, "no-annotation-file", "no .ann file beside it: not read")
            continue
        text: str | None
        if ".txt" in paths:
            text = text_of(paths[".txt"], findings)
        elif texts is not None and name in texts:
            text = texts[name]
        else:
            findings.error(paths[".ann"], 0, "no-text-file", "no .txt file beside it", remedy="add the text file")
            continue
        annotation = text_of(paths[".ann"], findings)
        if text is not None and annotation is not None:
            documents.append(parse(name, text, annotation, findings, path=paths[".ann"], offsets=offsets))
    return documents


def write(documents: Iterable[Document], folder: Path | str, findings: Findings | None = None) -> None:
    """A ``.txt`` and an ``.ann`` file for every document, sub-folders from their ids.

    Args:
        documents: What to write.
        folder: Where to.
        findings: Collects what BRAT cannot hold (see `render`); strict when left out.

    Raises:
        InputError: Two documents with one id, or an id that cannot be a file name inside the folder.
        FileFormatError: BRAT cannot hold a name or a text, in strict mode.
    """
    findings = Findings() if findings is None else findings
    listed = list(documents)
    distinct((document.id for document in listed), folder)
    places = [place_of(folder, document.id, ".ann") for document in listed]
    files = []
    for document, place in zip(listed, places, strict=True):  # all before the first is written: what is refused leaves no half folder
        if not storable(document.text):
            problem = f"document {document.id}: its text has NUL characters or halves of surrogate pairs, which no text file holds"
            findings.error(place, 0, "unrepresentable", problem, remedy="remove them where the text comes from")
            findings.losses["documents"] += 1
        else:
            files.append((str(place).removesuffix(".ann"), document.text, render(document, findings, place)))
    for stem, text, records in files:
        write_text(f"{stem}.txt", text)
        write_text(f"{stem}.ann", records)
