"""Predicted documents as files: a BRAT folder and a page for people, JSON lines for programs; gold beside them, where it is known.

Documents are written as they come, by one process or several, in a folder that is not that of the answer. An earlier answer is moved
aside before a model begins and deleted when the new one is whole, so that what stands under the names of an answer is never that of a
run that failed, and no answer is lost to one.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from clinical_ie.document import Document
from clinical_ie.errors import InputError, SettingError
from clinical_ie.files import place_of
from clinical_ie.formats import brat, jsonl
from clinical_ie.reports.gold_beside import GOLD_ENDINGS, GoldBeside
from clinical_ie.reports.note_page import NotePage

_ENDINGS = ("", ".jsonl", ".html", *GOLD_ENDINGS)
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

    Where gold is known, ``CORPUS.gold.jsonl`` holds it, and ``CORPUS.seen.json`` which of its mentions training has seen the strings of.

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

    def part(self, rank: int = 0) -> PredictionPart:
        """Where a process writes its documents, beside the place of the answer."""
        return PredictionPart(self.folder / _PARTIAL, self.corpora, rank)

    def give_up(self) -> None:
        """Delete what was written, and is not whole."""
        shutil.rmtree(self.folder / _PARTIAL, ignore_errors=True)

    def finish(
        self,
        parts: Sequence[Mapping[str, Lines]],
        gold: Mapping[str, Sequence[Document]] | None = None,
        *,
        title: str,
        trained: Collection[bytes] | None = None,
    ) -> list[Written]:
        """Make an answer of what all processes wrote, and delete what was set aside; nothing appears before everything is there.

        Args:
            parts: What each part gave when it was closed, in the order of their ranks.
            gold: Corpus -> the same documents as they should be, where that is known.
            title: Of the pages, behind the name of the corpus.
            trained: `digests` of the training documents, where these are known.

        Raises:
            InputError: The files of another process cannot be seen here, or nothing can be written.
        """
        partial = self.folder / _PARTIAL
        found = []
        try:
            with _explained(self.folder):
                for corpus in self.corpora:
                    lines = [part[corpus] for part in parts]
                    place_of(partial, corpus).mkdir(parents=True, exist_ok=True)  # also where there are no documents
                    whole = place_of(partial, corpus, ".jsonl")
                    _join(lines, [_lines_file(partial, corpus, rank) for rank in range(len(parts))], whole)
                    places = sorted(place for one in lines for place in one.places)
                    links = any(one.links for one in lines)
                    ours = [gold[corpus][place] for place in places] if gold else None
                    truth = None if ours is None else GoldBeside(partial, corpus, ours, trained, links=links)
                    self._page(place_of(partial, corpus, ".html"), f"{corpus}, {title}", whole, truth)
                    documents, mentions, links = (sum(getattr(one, name) for one in lines) for name in ("documents", "mentions", "links"))
                    found.append(Written(corpus, place_of(self.folder, corpus), documents, mentions, links))
                self._move(partial, self.folder)
        finally:
            self.give_up()
        shutil.rmtree(self.folder / EARLIER, ignore_errors=True)
        return found

    @staticmethod
    def _page(path: Path, title: str, predicted: Path, truth: GoldBeside | None) -> None:
        with NotePage(path, title, compared=truth is not None) as page:
            for place, document in enumerate(jsonl.stream(predicted)):
                if truth:
                    right, seen, apart = truth.at(place)
                    page.add(document, right, seen, links_apart=apart)
                else:
                    page.add(document)
        if truth:
            truth.write()

    def _move(self, source: Path, target: Path) -> None:
        for name in self._names:
            if (source / name).exists():
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                (source / name).rename(target / name)


@dataclass(slots=True)
class Lines:
    """What a process wrote of a corpus: the place of each document in it, where its line ends, and what all of them hold."""

    places: array[int] = field(default_factory=lambda: array("q"))
    ends: array[int] = field(default_factory=lambda: array("q"))
    mentions: int = 0
    links: int = 0
    types: set[str] = field(default_factory=set)

    @property
    def documents(self) -> int:
        """How many."""
        return len(self.places)


class PredictionPart:
    """Documents of one process, written as they come: BRAT files, and lines whose order is that in which they came.

    Args:
        folder: Where to, which is not yet that of the answer.
        corpora: Their corpora.
        rank: The number of the process.

    Raises:
        InputError: Nothing can be written there.
    """

    def __init__(self, folder: Path, corpora: Sequence[str], rank: int) -> None:
        self._folder = folder
        self._lines = {corpus: Lines() for corpus in corpora}
        with contextlib.ExitStack() as stack, _explained(folder.parent):
            self._files = {}
            for corpus in corpora:
                path = _lines_file(folder, corpus, rank)
                path.parent.mkdir(parents=True, exist_ok=True)
                self._files[corpus] = stack.enter_context(path.open("wb"))
            self._open = stack.pop_all()

    def add(self, corpus: str, place: int, document: Document) -> None:
        """Write a document.

        Args:
            corpus: Whose.
            place: Its place among the documents of the corpus.
            document: With annotations.

        Raises:
            InputError: BRAT cannot hold it, or nothing can be written.
        """
        lines, file = self._lines[corpus], self._files[corpus]
        with _explained(self._folder.parent):
            brat.write([document], place_of(self._folder, corpus))
            file.write(jsonl.line(document).encode())
            lines.ends.append(file.tell())
        lines.places.append(place)
        lines.mentions += len(document.entities)
        lines.links += sum(1 for _ in document.links())
        lines.types.update(entity.type for entity in document.entities)

    def close(self) -> dict[str, Lines]:
        """Corpus -> what was written of it."""
        with _explained(self._folder.parent):
            self._open.close()
        return self._lines


def _lines_file(folder: Path, corpus: str, rank: int) -> Path:
    return place_of(folder, corpus, f".{rank}.lines")


def _join(parts: Sequence[Lines], paths: Sequence[Path], whole: Path) -> None:
    """The lines of all parts in the order of their documents, in one file; the parts are deleted."""
    order = sorted((place, rank, number) for rank, part in enumerate(parts) for number, place in enumerate(part.places))
    with contextlib.ExitStack() as stack:
        for path in paths:
            if not path.is_file():
                raise InputError(f"{path}: what another process wrote is not there; give a folder that all processes see")
        files = [stack.enter_context(path.open("rb")) for path in paths]
        joined = stack.enter_context(whole.open("wb"))
        for _, rank, number in order:
            start = parts[rank].ends[number - 1] if number else 0
            files[rank].seek(start)
            joined.write(files[rank].read(parts[rank].ends[number] - start))
        joined.flush()
        os.fsync(joined.fileno())
    for path in paths:
        path.unlink()


def folder_of(whole: Path, task: str, tasks: Collection[object]) -> Path:
    """Where the predictions of a task of a run go, among those of all its tasks."""
    return whole / task if len(tasks) > 1 else whole


def prediction_files(folder: Path) -> list[Path]:
    """The JSON lines of all corpora in a folder that predictions were written to, without those of gold."""
    return sorted(file for file in folder.glob("*.jsonl") if not file.name.endswith(GOLD_ENDINGS))


def set_all_aside(folder: Path) -> None:
    """Move all answers in a folder out of the way."""
    PredictionFolder(folder, sorted(file.stem for file in prediction_files(folder))).set_aside()


def _problem(place: Path, corpus: str, documents: Sequence[Document]) -> str | None:
    """Why the files of a corpus must not be deleted; None where there are none, or the same texts' as they were written."""
    notes, lines, *others = (place_of(place, corpus, ending) for ending in _ENDINGS)
    there = [path for path in (notes, lines, *others) if path.exists()]
    if not there:
        return None
    if not lines.is_file() or not (notes.is_dir() or not notes.exists()):
        return f"{there[0].name} is there, which no prediction wrote"
    try:
        held = {document.id: _digest(document.text) for document in jsonl.stream(lines)}
    except InputError:
        return f"{lines.name} is there, which no prediction wrote"
    if held != {document.id: _digest(document.text) for document in documents}:
        return "annotations of other texts are there"
    with _explained(place):
        if notes.exists() and _files(notes) != _as_written(jsonl.stream(lines), place / _PARTIAL):
            return "annotations are there that were changed since they were written"
    return None


def _as_written(documents: Iterable[Document], partial: Path) -> dict[str, bytes]:
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        for document in documents:
            brat.write([document], partial)
        return _files(partial)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _files(folder: Path) -> dict[str, bytes]:
    """Path -> digest of what is there."""
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).digest() for path in folder.rglob("*") if path.is_file()}


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


@contextlib.contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """An error of the operating system as an error of ours."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{folder}: cannot be written to ({error.strerror or error})") from error
