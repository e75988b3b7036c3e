"""Annotated notes of a folder, a file or a run, with gold beside them where it is known: what `view` and `errors` are given."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from clinical_ie.commands.arguments import Parser
from clinical_ie.commands.score import check_names, read
from clinical_ie.document import Document
from clinical_ie.errors import InputError, SettingError, did_you_mean_path, printable
from clinical_ie.formats import jsonl
from clinical_ie.formats.brat.offsets import CHARACTERS
from clinical_ie.formats.findings import Findings
from clinical_ie.reports.error_counts import EXTRA, MISSING
from clinical_ie.reports.gold_beside import GOLD, SEEN, read_seen
from clinical_ie.reports.prediction_folder import prediction_files
from clinical_ie.scoring.alignment import mentions_alone
from clinical_ie.scoring.same_text import on_texts

_SPLITS = ("test", "predict")


@dataclass(frozen=True, slots=True)
class AnnotatedNote:
    """A note as predicted (or as annotated, where there is nothing to compare with), and as it should be.

    `seen` are ids of gold mentions whose strings training has seen, None where that is not known; `remark` says which side a note is
    missing on, `links_apart` how many gold links are left out because the predictions hold mentions alone.
    """

    predicted: Document
    gold: Document | None = None
    seen: list[str] | None = None
    remark: str = ""
    links_apart: int = 0


@dataclass(frozen=True, slots=True)
class AnnotatedNotes:
    """Where notes are.

    `parts` are files of a run's predictions by the name that stands before their ids; a folder or a file has one part without a name.
    """

    name: str
    parts: dict[str, Path]
    compared: bool
    gold: Path | None
    findings: Findings

    @classmethod
    def of(cls, options: argparse.Namespace) -> AnnotatedNotes:
        """What the options of `add_options` name.

        Raises:
            SettingError: A run without predictions, or ``--split`` for something that is no run.
        """
        path, findings = Path(options.dir), Findings(strict=not options.lenient)
        path = _extracted(path) if (path / "extraction.json").is_file() else path
        gold = Path(options.gold) if options.gold else None
        name = Path(options.dir).resolve().name
        if not (path / "predictions").is_dir():
            if options.split:
                raise SettingError(f"--split={options.split}: {printable(path)} is no run (it has no folder predictions/)")
            return cls(name, {"": path}, gold is not None, gold, findings)
        split = options.split or next((one for one in _SPLITS if (path / "predictions" / one).is_dir()), "test")
        folder = path / "predictions" / split
        files = [file for part in (folder, *sorted(one for one in folder.glob("*") if one.is_dir())) for file in prediction_files(part)]
        if not files:
            raise SettingError(f"{printable(folder)}: no predictions (.jsonl) there; `clinical-ie test` or `predict` writes them")
        parts = {file.relative_to(folder).as_posix().removesuffix(".jsonl"): file for file in files}
        beside = all(file.with_name(file.name.removesuffix(".jsonl") + GOLD).is_file() for file in files)
        return cls(f"{name}, {split}", parts if len(parts) > 1 else {"": files[0]}, gold is not None or beside, gold, findings)

    def __iter__(self) -> Iterator[AnnotatedNote]:
        """The notes, one after the other where the format allows."""
        for name, path in self.parts.items():
            for note in self._notes(path):
                yield note if not name else _named(note, name)

    def _notes(self, path: Path) -> Iterator[AnnotatedNote]:
        stem = path.name.removesuffix(".jsonl")
        if not self.compared:
            for document in self._alone(path):
                yield AnnotatedNote(document)
            return
        gold_path = self.gold or path.with_name(stem + GOLD)
        gold = {document.id: document for document in read(str(gold_path), self.findings, None, CHARACTERS)}
        texts = {name: document.text for name, document in gold.items()}
        predicted = read(str(path), self.findings, texts, CHARACTERS)
        check_names(str(gold_path), list(gold), str(path), [document.id for document in predicted])
        seen = read_seen(path.with_name(stem + SEEN)) if self.gold is None else None
        there = set()
        if not any(document.relations or document.events for document in predicted):
            apart = {name: sum(1 for _ in document.links()) for name, document in gold.items()}
            gold = {name: mentions_alone(document) for name, document in gold.items()}
        else:
            apart = {}
        for document in on_texts(predicted, texts, str(path), self.findings):
            there.add(document.id)
            truth = gold.get(document.id)
            known = None if seen is None else seen.get(document.id, [])
            yield AnnotatedNote(document, truth, known, "" if truth else EXTRA, apart.get(document.id, 0))
        for name, document in gold.items():
            if name not in there:
                yield AnnotatedNote(
                    Document(name, document.text), document, None if seen is None else seen.get(name, []), MISSING, apart.get(name, 0)
                )

    def _alone(self, path: Path) -> Iterator[Document]:
        if path.is_file() or (path.name == "jsonl" and (path.parent / "extraction.json").is_file()):  # parts, which share no document
            for file in [path] if path.is_file() else sorted(path.glob("*.jsonl")):
                yield from jsonl.stream(file, self.findings)
        else:
            yield from read(str(path), self.findings, None, CHARACTERS)


def _extracted(folder: Path) -> Path:
    """Where the documents of an extraction lie.

    Raises:
        SettingError: It wrote neither JSON lines nor BRAT files.
    """
    for name in ("jsonl", "brat"):
        if (folder / name).is_dir():
            return folder / name
    raise SettingError(f"{printable(folder)}: an extraction without jsonl/ or brat/; extract with --format jsonl to look at it")


def _named(note: AnnotatedNote, name: str) -> AnnotatedNote:
    gold = note.gold and replace(note.gold, id=f"{name}/{note.gold.id}")
    return replace(note, predicted=replace(note.predicted, id=f"{name}/{note.predicted.id}"), gold=gold)


def add_options(parser: Parser) -> None:
    """What names notes, for `AnnotatedNotes.of`."""
    parser.add_argument("dir", metavar="DIR", help="a run, what `extract` wrote, a BRAT folder, or a .jsonl file or a folder of such")
    parser.add_argument("--gold", metavar="DIR", help="the same notes as they should be (BRAT or JSON lines); a tested run knows its own")
    parser.add_argument("--split", choices=_SPLITS, help="of a run: which of its predictions (default: test, if there are any)")
    parser.add_argument("--lenient", action="store_true", help="mend and count broken records instead of stopping at the first")


def tell_findings(findings: Findings) -> None:
    """Say what was mended or noted while reading."""
    for code, count in sorted(findings.counts().items()):
        print(f"while reading: {count:,} x {code}")


def check_there(path: str) -> None:
    """Make sure that notes are there.

    Raises:
        InputError: They are not.
    """
    if not Path(path).exists():
        raise InputError(
            f"{printable(path)}: no such folder or file; expected a run, a BRAT folder, or JSON lines{did_you_mean_path(path)}"
        )
