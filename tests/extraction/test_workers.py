"""Parts go to processes that begin when there is something for them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from clinical_ie.errors import RunError, SettingError
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
