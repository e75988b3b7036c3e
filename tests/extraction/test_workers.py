"""Parts go to processes that begin when there is something for them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from clinical_ie.errors import FileFormatError, InputError, RunError, SettingError
from clinical_ie.extraction.inputs import Note
from clinical_ie.extraction.part_work import PartResult
from clinical_ie.extraction.parts import Part
from clinical_ie.extraction.workers import work_beside


@dataclass(frozen=True)
class Noting:
    """Notes down in a folder which process began and which annotated; it may fail at a part."""

    folder: Path
    fails: int = 0
    dies: int = 0

    def begin(self) -> Callable[[Part, Path], PartResult]:
        (self.folder / f"began-{os.getpid()}").touch()

        def annotate(part: Part, folder: Path) -> PartResult:
            if part.number == self.fails:
                raise SettingError("no such thing")
            if part.number == self.dies:
                os._exit(9)
            (self.folder / f"part-{part.number}-{os.getpid()}").touch()
            time.sleep(0.05)
            return PartResult(part.number, part.digest)

        return annotate


def parts(number: int, taken: list[int] | None = None) -> Iterator[tuple[Part, Path]]:
    for each in range(1, number + 1):
        if taken is not None:
            taken.append(each)
        yield Part(each, ()), Path("unused")


def names(folder: Path, kind: str) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.startswith(kind))


@pytest.mark.parametrize(("number", "processes"), [(0, 0), (1, 1), (7, 2)])
def test_no_process_begins_for_which_there_is_nothing(number: int, processes: int, tmp_path: Path) -> None:
    found = [result.number for result in work_beside([Noting(tmp_path)] * 2, parts(number))]
    assert sorted(found) == list(range(1, number + 1))
    assert len(names(tmp_path, "part")) == number
    assert len(names(tmp_path, "began")) == processes
    assert {name.rpartition("-")[2] for name in names(tmp_path, "part")} <= {name.rpartition("-")[2] for name in names(tmp_path, "began")}


def test_no_more_parts_are_asked_for_than_processes_can_hold(tmp_path: Path) -> None:
    taken: list[int] = []
    results = work_beside([Noting(tmp_path)] * 2, parts(50, taken))
    next(results)
    assert len(taken) == 4
    next(results)
    assert len(taken) <= 6
    results.close()


def test_what_a_worker_raises_and_that_it_ended_are_said(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="no such thing"):
        list(work_beside([Noting(tmp_path, fails=3)] * 2, parts(9)))
    with pytest.raises(RunError, match=r"a worker ended with exit code 9 while it annotated part 2; the same command goes on"):
        list(work_beside([Noting(tmp_path, dies=2)] * 2, parts(9)))


@dataclass(frozen=True)
class Unready:
    """Cannot begin."""

    error: Exception

    def begin(self) -> Callable[[Part, Path], PartResult]:
        raise self.error


@pytest.mark.parametrize("processes", [1, 2])
def test_what_a_worker_says_is_heard_where_parts_are_too_large_for_it_to_have_taken_them(processes: int) -> None:
    """That nobody reads any more was taken for a lack of memory; the advice was fewer workers."""
    large = [(Part(number, (Note("n", "x" * 400_000),)), Path("unused")) for number in range(1, 5)]
    with pytest.raises(SettingError, match="the pretrained model is missing"):
        list(work_beside([Unready(SettingError("the pretrained model is missing"))] * processes, large))


def test_an_error_that_names_a_file_comes_from_a_worker(tmp_path: Path) -> None:
    """It has more arguments than a message, and was a TypeError here."""
    with pytest.raises(InputError, match=r"heads: no such file; expected all of it"):
        list(work_beside([FileNaming(tmp_path)], parts(1)))


@dataclass(frozen=True)
class FileNaming:
    """Misses a file."""

    folder: Path

    def begin(self) -> Callable[[Part, Path], PartResult]:
        raise FileFormatError(self.folder / "heads", 0, "no such file", expected="all of it")
