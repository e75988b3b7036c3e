"""Predicted documents as files: a BRAT folder and a page for people, JSON lines for programs.

An earlier answer is moved aside before a model begins and deleted when the new one is whole, so that what stands under the names of
an answer is never that of a run that failed, and no answer is lost to one.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from clinical_ie.document import Document
from clinical_ie.errors import InputError, SettingError
from clinical_ie.files import place_of
from clinical_ie.formats import brat, jsonl
from clinical_ie.reports.annotated_html import write_page

_ENDINGS = ("", ".jsonl", ".html")
EARLIER, _PARTIAL = ".earlier", ".partial"


@dataclass(frozen=True, slots=True)
class Written:
    """What was written of a corpus: its BRAT folder, beside which lie ``.jsonl`` and ``.html`` files of the same name, and counts."""

    corpus: str
    folder: Path
    documents: int
    mentions: int
    links: int


class PredictionFolder:
    """``CORPUS/*.{txt,ann}``, ``CORPUS.jsonl`` and ``CORPUS.html`` of some corpora in a folder; what else lies there is left alone.

    Raises:
        InputError: The name of a corpus cannot be that of a file.
    """

    def __init__(self, folder: Path | str, corpora: Sequence[str]) -> None:
        self.folder, self.corpora = Path(folder), tuple(corpora)
        self._names = [place_of("", corpus, ending) for corpus in corpora for ending in _ENDINGS]

    def refuse_others(self, documents: Mapping[str, Sequence[Document]]) -> None:
        """Make sure that nothing would be deleted but an answer to the same question.

        Raises:
            SettingError: In place of the files, or of those set aside, lie annotations of other texts, ones that somebody changed, or
                something that no prediction wrote.
        """
        for place in (self.folder, self.folder / EARLIER):
            for corpus in self.corpora:
                if problem := _problem(place, corpus, documents[corpus]):
                    raise SettingError(f"{place_of(place, corpus)}: {problem}; give another folder with --output")

    def set_aside(self) -> None:
        """Move an earlier answer out of the way; without one, make sure that the folder can be written to.

        Raises:
            InputError: It cannot.
        """
        with _explained(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(self.folder / _PARTIAL, ignore_errors=True)
            (self.folder / _PARTIAL).mkdir()
            (self.folder / _PARTIAL).rmdir()
            if any((self.folder / name).exists() for name in self._names):
                shutil.rmtree(self.folder / EARLIER, ignore_errors=True)
                self._move(self.folder, self.folder / EARLIER)

    def write(
        self, predicted: Mapping[str, Sequence[Document]], gold: Mapping[str, Sequence[Document]] | None = None, *, title: str
    ) -> list[Written]:
        """Write all files and delete those that were set aside; nothing appears before everything is written.

        Args:
            predicted: Corpus -> documents.
            gold: Corpus -> the same documents as they should be, where that is known.
            title: Of the pages, behind the name of the corpus.
        """
        partial = self.folder / _PARTIAL
        self.set_aside()
        found = []
        try:
            with _explained(self.folder):
                for corpus in self.corpora:
                    documents = predicted[corpus]
                    place_of(partial, corpus).mkdir(parents=True)  # also where there are no documents
                    brat.write(documents, place_of(partial, corpus))
                    jsonl.write(documents, place_of(partial, corpus, ".jsonl"))
                    write_page(place_of(partial, corpus, ".html"), f"{corpus}, {title}", documents, gold[corpus] if gold else None)
                    mentions = sum(len(document.entities) for document in documents)
                    links = sum(1 for document in documents for _ in document.links())
                    found.append(Written(corpus, place_of(self.folder, corpus), len(documents), mentions, links))
                self._move(partial, self.folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(self.folder / EARLIER, ignore_errors=True)
        return found

    def _move(self, source: Path, target: Path) -> None:
        for name in self._names:
            if (source / name).exists():
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                (source / name).rename(target / name)


def set_all_aside(folder: Path) -> None:
    """Move all answers in a folder out of the way."""
    PredictionFolder(folder, sorted(file.stem for file in folder.glob("*.jsonl"))).set_aside()


def _problem(place: Path, corpus: str, documents: Sequence[Document]) -> str | None:
    """Why the files of a corpus must not be deleted; None where there are none, or the same texts' as they were written."""
    notes, lines, page = (place_of(place, corpus, ending) for ending in _ENDINGS)
    there = [path for path in (notes, lines, page) if path.exists()]
    if not there:
        return None
    if not lines.is_file() or not (notes.is_dir() or not notes.exists()):
        return f"{there[0].name} is there, which no prediction wrote"
    try:
        held = jsonl.read(lines)
    except InputError:
        return f"{lines.name} is there, which no prediction wrote"
    if {document.id: document.text for document in held} != {document.id: document.text for document in documents}:
        return "annotations of other texts are there"
    with _explained(place):
        if notes.exists() and _files(notes) != _as_written(held, place / _PARTIAL):
            return "annotations are there that were changed since they were written"
    return None


def _as_written(documents: Sequence[Document], partial: Path) -> dict[str, bytes]:
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        brat.write(documents, partial)
        return _files(partial)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@contextlib.contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """An error of the operating system as an error of ours."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{folder}: cannot be written to ({error.strerror or error})") from error
