"""An extraction that was interrupted goes on, and comes to the same files."""

from __future__ import annotations

import gc
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from clinical_ie import Extractor, load
from clinical_ie.document import Document, Entity, Span
from clinical_ie.errors import RunError, SettingError
from clinical_ie.extraction.inputs import BadNote, Note
from clinical_ie.extraction.job import ModelWork, Summary, extract
from clinical_ie.extraction.output_folder import OutputFolder, alone_in
from clinical_ie.extraction.outputs import Origin
from clinical_ie.extraction.part_work import write_part
from clinical_ie.extraction.parts import Part, PartSize
from clinical_ie.extraction.thresholds import Thresholds
from clinical_ie.formats import jsonl
from tests.extraction import runs

SIZE = PartSize(3, 1000)
FORMATS = ("jsonl", "brat", "csv")
ASKED = {"model": ["m"], "input": "notes", "format": list(FORMATS), "setting": {}}
BAD = BadNote("bad/2", "byte 7 is not UTF-8")


class FixedWork:
    """A work whose model is there already, and which a signal may stop before one of the parts."""

    def __init__(
        self, extractor: Any, stop: int | None = None, thresholds: Thresholds | None = None, formats: tuple[str, ...] = FORMATS
    ) -> None:
        self.extractor, self.stop, self.thresholds, self.formats = extractor, stop, thresholds, formats
        self.done: list[int] = []

    def begin(self) -> Callable[[Part, Path], Any]:
        write = ModelWork({}, self.formats, datetime(2026, 11, 26), thresholds=self.thresholds).on(self.extractor)

        def annotate(part: Part, folder: Path) -> Any:
            found = write(part, folder)
            if part.number == self.stop:  # all of it is written, and nothing is noted down
                raise KeyboardInterrupt
            self.done.append(part.number)
            return found

        return annotate


@pytest.fixture(scope="module")
def extractor(tagger_run: str) -> Extractor:
    return load(tagger_run, precision="32")


def notes(count: int = 10) -> list[Note | BadNote]:
    found: list[Note | BadNote] = [Note(f"ward{number % 2}/n{number}", runs.note(number)) for number in range(count)]
    return [*found[:4], BAD, *found[4:]]


def run(given: Iterable[Note | BadNote], folder: Path, work: FixedWork, asked: dict[str, Any] = ASKED) -> Summary:
    return extract(iter(given), folder, asked, lambda _: [work], size=SIZE)


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in ("extraction.json", ".lock")
    }


def test_what_is_written_is_what_the_model_finds(extractor: Extractor, tmp_path: Path) -> None:
    summary = run(notes(), tmp_path / "out", FixedWork(extractor))
    found = jsonl.read(tmp_path / "out" / "jsonl")
    expected = list(extractor.stream([note for note in notes() if isinstance(note, Note)]))
    assert [(document.id, document.text, document.entities) for document in found] == [(d.id, d.text, d.entities) for d in expected]
    assert (summary.documents, summary.failed, summary.new) == (10, 1, 11)
    assert summary.mentions == sum(len(document.entities) for document in expected)
    assert (tmp_path / "out" / "brat" / "ward1" / "n3.ann").is_file()
    assert [json.loads(line) for line in (tmp_path / "out" / "failed.jsonl").read_text().splitlines()] == [
        {"id": "bad/2", "reason": "byte 7 is not UTF-8"}
    ]
    assert not list((tmp_path / "out").rglob(".parts*"))


@pytest.mark.parametrize("stop", [1, 2, 4])
def test_an_interrupted_extraction_goes_on_and_comes_to_the_same_files(extractor: Extractor, tmp_path: Path, stop: int) -> None:
    run(notes(), tmp_path / "whole", FixedWork(extractor))
    first = FixedWork(extractor, stop)
    with pytest.raises(KeyboardInterrupt):
        run(notes(), tmp_path / "out", first)
    second = FixedWork(extractor)
    summary = run(notes(), tmp_path / "out", second)
    assert sorted(first.done + second.done) == [1, 2, 3, 4]  # none is annotated twice
    assert summary.new == 11 - 3 * (stop - 1)
    assert files(tmp_path / "out") == files(tmp_path / "whole")
    third = FixedWork(extractor)
    assert run(notes(), tmp_path / "out", third).new == 0
    assert not third.done
    assert files(tmp_path / "out") == files(tmp_path / "whole")


@pytest.mark.parametrize("moment", ["at a part", "before the file takes its place", "before its parts go"])
def test_what_is_not_sure_enough_comes_into_one_file(
    extractor: Extractor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    thresholds = Thresholds(0.6)
    run(notes(), tmp_path / "whole", FixedWork(extractor, None, thresholds))
    expected = files(tmp_path / "whole")
    kept, review = jsonl.read(tmp_path / "whole" / "jsonl"), jsonl.read(tmp_path / "whole" / "review.jsonl")
    for documents, low, high in ((kept, 0.6, 1.0), (review, 0.0, 0.6)):
        sure = [entity.confidence for document in documents for entity in document.entities]
        assert sure
        assert all(low <= (value or 0) <= high for value in sure)
    assert [document.id for document in review] == [d.id for d in kept if d.id in {found.id for found in review}], "in the order of notes"
    out = tmp_path / "out"
    if moment == "at a part":
        with pytest.raises(KeyboardInterrupt):
            run(notes(), out, FixedWork(extractor, 3, thresholds))
        assert (out / "review").is_dir()
        assert not (out / "review.jsonl").exists()
    else:
        method = "replace" if moment.endswith("place") else "rename"
        original = getattr(Path, method)

        def stopped(self: Path, target: Path) -> Path:
            if self.name.startswith("review"):
                raise KeyboardInterrupt
            return original(self, target)  # type: ignore[no-any-return]

        with monkeypatch.context() as patch:
            patch.setattr(Path, method, stopped)
            with pytest.raises(KeyboardInterrupt):
                run(notes(), out, FixedWork(extractor, None, thresholds))
    for _ in range(2):
        run(notes(), out, FixedWork(extractor, None, thresholds))
        assert files(out) == expected


class _Dead(BaseException):
    """A kill: nothing that comes behind it does anything."""


def _dying(monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """Let this process be as good as dead at its n-th change of a folder, before it."""
    changes = iter(range(at))

    def dying(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **options: Any) -> Any:
            if next(changes, None) is None:
                raise _Dead
            return original(*given, **options)

        return call

    for owner, names in ((Path, ("replace", "rename", "mkdir", "unlink", "touch")), (shutil, ("rmtree",))):
        for name in names:
            monkeypatch.setattr(owner, name, dying(getattr(owner, name)))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the dead leave files open
def test_an_input_that_has_grown_goes_on_with_what_is_to_be_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was all replaced by that of the new notes. Killed before any change of a folder, it comes to the same files."""
    given: list[Note | BadNote] = [Note(f"n{number}", "word") for number in range(12)]

    def go(count: int, out: Path) -> Summary:
        return run(given[:count], out, FixedWork(_Unsure(), None, Thresholds(0.5), ("jsonl",)))

    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # no power fails here
    go(12, tmp_path / "whole")
    expected = files(tmp_path / "whole")
    assert [document.id for document in jsonl.read(tmp_path / "whole" / "review.jsonl")] == [note.id for note in given]
    go(6, tmp_path / "half")
    for kill in range(1000):
        out = shutil.copytree(tmp_path / "half", tmp_path / f"out{kill}")
        with monkeypatch.context() as patch:
            _dying(patch, kill)
            try:
                go(12, out)
            except _Dead:
                killed = True
            else:
                killed = False
        assert (
            not killed
            or not (out / "review.jsonl").exists()
            or (out / "review.jsonl").read_bytes()
            in (
                (tmp_path / "half" / "review.jsonl").read_bytes(),
                expected["review.jsonl"],
            )
        ), "an answer, or none"
        go(12, out)
        assert files(out) == expected, f"killed before change {kill}"
        if not killed:
            break
    gc.collect()
    assert kill > 10


def test_half_a_line_of_the_ledger_is_no_line(extractor: Extractor, tmp_path: Path) -> None:
    run(notes(), tmp_path / "whole", FixedWork(extractor))
    with pytest.raises(KeyboardInterrupt):
        run(notes(), tmp_path / "out", FixedWork(extractor, 3))
    ledger = tmp_path / "out" / "ledger.jsonl"
    ledger.write_bytes(ledger.read_bytes()[:-20])  # the second of two lines is cut
    run(notes(), tmp_path / "out", work := FixedWork(extractor))
    assert work.done == [2, 3, 4]
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_what_the_ledger_promises_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """BRAT's files were not: the ledger's line would have outlived a power failure that they did not."""
    original, out = os.fsync, tmp_path / "out"
    synced: dict[str, bytes | None] = {}
    lines = 0

    def noted(descriptor: int) -> None:
        nonlocal lines
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        if path.name == "ledger.jsonl":
            lines += 1
            there = [each for each in out.rglob("*") if each.name not in ("ledger.jsonl", ".lock") and ".parts" not in each.parts]
            assert {str(each): each.read_bytes() if each.is_file() else None for each in there}.items() <= synced.items()
            assert str(out) in synced
        synced[str(path)] = path.read_bytes() if path.is_file() else None
        original(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    formats = (*FORMATS, "label-studio")
    run([Note(f"w{number % 2}/n{number}", "word") for number in range(5)], out, FixedWork(_Fussy(), formats=formats))
    assert lines == 2


def test_a_kill_while_the_question_is_written_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / ".lock").touch()
    (out / ".0a1b2c3d.4711.partial").write_text('{"asked"')
    with alone_in(out):
        OutputFolder(out, ASKED, {}).close()
    assert {path.name for path in out.iterdir()} == {".lock", "extraction.json", "ledger.jsonl"}
    (out / ".0a1b2c3d.4711.partial").write_text("half of failed.jsonl")
    with alone_in(out):
        OutputFolder(out, ASKED, {}).close()
    assert not list(out.glob("*.partial"))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / ".mine.partial").touch()
    with alone_in(tmp_path / "other"), pytest.raises(SettingError, match="something else is there"):
        OutputFolder(tmp_path / "other", ASKED, {})


@pytest.mark.parametrize("what", ["model", "input", "format", "setting"])
def test_another_question_is_refused(extractor: Extractor, tmp_path: Path, what: str) -> None:
    run(notes(2), tmp_path / "out", FixedWork(extractor))
    before = files(tmp_path)
    with pytest.raises(SettingError, match=f"another {what}; give a new folder"):
        run(notes(2), tmp_path / "out", FixedWork(extractor), ASKED | {what: "other"})
    assert files(tmp_path) == before


def test_an_input_that_has_changed_is_refused(extractor: Extractor, tmp_path: Path) -> None:
    run(notes(), tmp_path / "out", FixedWork(extractor))
    changed = notes()
    changed[7] = Note(changed[7].id, "another text")
    with pytest.raises(SettingError, match="changed since part 3"):
        run(changed, tmp_path / "out", FixedWork(extractor))
    with pytest.raises(SettingError, match="changed since part 4"):
        run(notes()[:9], tmp_path / "out", FixedWork(extractor))


def test_a_folder_of_other_things_or_of_another_command_is_refused(extractor: Extractor, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(SettingError, match="something else is there"):
        run(notes(), tmp_path, FixedWork(extractor))
    with alone_in(tmp_path / "out"), pytest.raises(SettingError, match="another command is writing there"):
        run(notes(), tmp_path / "out", FixedWork(extractor))


class _Fussy:
    """Finds the first word of each note, and fails on some notes."""

    name, schema = "fussy", None

    confidence: float | None = None

    def __init__(self, *bad: str) -> None:
        self.bad, self._outcomes = bad, Counter[str]()

    @property
    def outcomes(self) -> Counter[str]:
        return Counter(self._outcomes)

    def stream(self, notes: Iterable[Note]) -> Iterator[Document]:
        for note in notes:
            self._outcomes["looked at"] += 1
            if note.id in self.bad:
                raise ValueError(f"secret text {note.text}")
            yield Document(note.id, note.text, (Entity("T1", "Word", Span.of(0, 1), self.confidence),))


class _Unsure(_Fussy):
    """Is not sure of it."""

    confidence = 0.25


def test_a_note_on_which_the_model_fails_stops_no_other(tmp_path: Path) -> None:
    given = [Note(f"n{number}", "word") for number in range(5)]
    summary = run(given, tmp_path / "out", FixedWork(_Fussy("n1")))
    assert (summary.documents, summary.failed) == (4, 1)
    assert summary.outcomes == {"looked at": 4}, "once for each document, not for each try"
    assert [document.id for document in jsonl.read(tmp_path / "out" / "jsonl")] == ["n0", "n2", "n3", "n4"]
    (line,) = (tmp_path / "out" / "failed.jsonl").read_text().splitlines()
    assert json.loads(line) == {"id": "n1", "reason": "ValueError while it was annotated"}


def test_a_model_that_fails_on_everything_ends_the_run_without_note_text(tmp_path: Path) -> None:
    given = [Note(f"n{number}", "word") for number in range(3)]
    with pytest.raises(RunError, match="fails on each of 3 notes: ValueError while it was annotated") as caught:
        run(given, tmp_path / "out", FixedWork(_Fussy("n0", "n1", "n2")))
    assert "secret" not in str(caught.value)
    assert not files(tmp_path / "out").get("ledger.jsonl")


def test_notes_of_one_id_keep_their_own_documents(tmp_path: Path) -> None:
    """Readers let no such notes through; whoever else gives them loses none."""
    part = Part(1, (Note("n", "one", {"subject": "Patient/1"}), Note("n", "two")))
    result = write_part(_Fussy(), part, ["jsonl"], tmp_path, Origin())  # type: ignore[arg-type]
    assert result.documents == 2
    assert [json.loads(line)["text"] for line in (tmp_path / "jsonl" / "part-00001.jsonl").read_text().splitlines()] == ["one", "two"]


def test_an_id_that_no_file_can_hold_fails_alone(tmp_path: Path) -> None:
    summary = run([Note("a", "word"), BadNote("\ud800", "its id"), Note("b", "word")], tmp_path / "out", FixedWork(_Fussy()))
    assert (summary.documents, summary.failed) == (2, 1)
    assert json.loads((tmp_path / "out" / "failed.jsonl").read_text())["id"] == "\\ud800"


def test_no_notes_leave_an_empty_answer(extractor: Extractor, tmp_path: Path) -> None:
    assert run([], tmp_path / "out", FixedWork(extractor)) == Summary()
    assert run([BAD], tmp_path / "bad", FixedWork(extractor)).failed == 1
