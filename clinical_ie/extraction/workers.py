"""Worker processes: each has a model of its own and annotates whole parts; the process that started them reads and notes down."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Protocol

from clinical_ie.errors import ClinicalIEError, InputError, RunError, SettingError
from clinical_ie.extraction.part_work import PartResult
from clinical_ie.extraction.parts import Part

_AHEAD = 2
"""Parts that a worker is given before it has answered: one that it works on, and the next."""


class Work(Protocol):
    """What a worker does, in a form that another process can be given."""

    def begin(self) -> Callable[[Part, Path], PartResult]:
        """Load what is needed: what annotates a part and writes it below a folder."""


def work_here(work: Work, parts: Iterable[tuple[Part, Path]]) -> Generator[PartResult]:
    """Results of parts, one after the other, in this process."""
    annotate: Callable[[Part, Path], PartResult] | None = None
    for part, folder in parts:
        annotate = work.begin() if annotate is None else annotate
        yield annotate(part, folder)


def work_beside(works: Sequence[Work], parts: Iterable[tuple[Part, Path]]) -> Generator[PartResult]:
    """Results of parts as they come, from a process for each work, which begins when there is a part for it.

    No more parts are asked for than the processes can hold. When this generator is closed, so are the processes; they also end when this
    process does, however that happens.

    Raises:
        ClinicalIEError: What a worker raised.
        RunError: A worker ended in the middle of its work.
    """
    workers: list[_Worker] = []
    try:
        waiting = iter(parts)
        while True:
            while (len(workers) < len(works) or any(len(each.parts) < _AHEAD for each in workers)) and (given := next(waiting, None)):
                if len(workers) < len(works) and all(each.parts for each in workers):
                    workers.append(_Worker(works[len(workers)]))
                min(workers, key=lambda each: len(each.parts)).give(*given)
            busy = {worker.answers: worker for worker in workers if worker.parts}
            if not busy:
                return
            for connection in wait(list(busy)):
                yield busy[connection].answer()  # type: ignore[index]
    finally:
        for worker in workers:
            worker.end()


class _Worker:
    """A process, and the parts that it has been given and not answered."""

    def __init__(self, work: Work) -> None:
        context = multiprocessing.get_context("spawn")
        self.answers, theirs = context.Pipe()
        self.parts: list[Part] = []
        self._process = context.Process(target=_serve, args=(work, theirs), daemon=True)
        self._process.start()
        theirs.close()

    def give(self, part: Part, folder: Path) -> None:
        self.parts.append(part)
        try:
            self.answers.send((part, folder))
        except OSError:
            while True:  # it has ended: its last answer says why, or that there is none does
                self.answer()

    def answer(self) -> PartResult:
        try:
            found = self.answers.recv()
        except (EOFError, OSError) as error:
            raise self._lost() from error
        if isinstance(found, PartResult):
            self.parts.pop(0)
            return found
        assert isinstance(found, Exception)
        raise found

    def _lost(self) -> RunError:
        self._process.join(5)
        code = self._process.exitcode
        how = f"was killed by signal {-code} (out of memory?)" if code is not None and code < 0 else f"ended with exit code {code}"
        numbers = " and ".join(str(part.number) for part in self.parts[:1])
        return RunError(
            f"a worker {how} while it annotated part {numbers}; the same command goes on from there, with fewer --workers where memory is"
            " short"
        )

    def end(self) -> None:
        self.answers.close()
        self._process.terminate()
        self._process.join()


def _serve(work: Work, connection: Connection) -> None:
    """Answer parts with their results until nobody asks any more."""
    for number in (signal.SIGINT, signal.SIGUSR1):  # a terminal sends Ctrl-C to all processes; the one that reads acts on it
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    try:
        annotate = work.begin()
        while True:
            part, folder = connection.recv()
            connection.send(annotate(part, folder))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
    except ClinicalIEError as error:
        connection.send(_sendable(error))
    except Exception as error:  # not as it is: what another library says may hold words of a note
        connection.send(RunError(f"a worker failed: {type(error).__name__}"))


def _sendable(error: ClinicalIEError) -> ClinicalIEError:
    """An error that another process can be given: one whose class takes a message alone."""
    kind = next(each for each in (SettingError, InputError, RunError, ClinicalIEError) if isinstance(error, each))
    return kind(str(error))


def _end_with(parent: int) -> None:
    """End this process soon after the one that started it has ended: nobody would take its results."""
    event = threading.Event()
    while os.getppid() == parent:
        event.wait(1.0)
    os._exit(1)
