"""The folder of an extraction: what was asked, which parts are done, and everything that was written.

::

    DIR/extraction.json    what was asked: model, input, settings
    DIR/ledger.jsonl       a line for each part that is done, in the order in which they were
    DIR/failed.jsonl       id and reason of each note that could not be annotated
    DIR/jsonl/, DIR/brat/  what was found, a folder for each format
    DIR/review.jsonl       with thresholds: what is not sure enough; until all is done, parts of it in DIR/review/ instead
    DIR/.parts/            parts that are not done

A part's files lie in ``.parts`` until all are whole, then they take their places, then, once they are on the disk, the ledger gets its
line. Whatever is interrupted before that line is done again and takes the same places, so that nothing is there twice and nothing is
missing.

Where an extraction that was done goes on, because the input has grown, ``review.jsonl`` moves into ``review/`` in front of the new parts
before the first of them takes its place. So where both are there, the file has all that the folder has: a kill came before the folder went.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from clinical_ie.errors import InputError, SettingError, printable
from clinical_ie.extraction.part_work import REVIEW, PartResult
from clinical_ie.extraction.parts import Part
from clinical_ie.files import bring_to_disk, is_partial, write_text

_ASKED, _LEDGER, _FAILED, _REVIEW = "extraction.json", "ledger.jsonl", "failed.jsonl", f"{REVIEW}.jsonl"
_PARTS, _LOCK = ".parts", ".lock"
_GATHERED = f"part-{0:05}.jsonl"
"""In ``review/`` what was one file before the input grew: in front of all parts, which are numbered from 1."""


class OutputFolder:
    """Takes up what an earlier command with the same question has left, or begins.

    Args:
        folder: Where everything goes.
        asked: What was asked, as plain data: name -> value. What is the same in another way each time stays out of it.
        noted: What is noted down beside it when the extraction begins, such as the time.

    Raises:
        SettingError: The folder holds the answer to another question, or anything else.
        InputError: It cannot be written to.
    """

    def __init__(self, folder: Path, asked: Mapping[str, Any], noted: Mapping[str, Any]) -> None:
        self.folder = folder
        path = folder / _ASKED
        if path.is_file():
            self.noted = self._compared(path, asked)
        elif folder.exists() and not all(entry.name in (_LOCK, _PARTS) or is_partial(entry) for entry in folder.iterdir()):
            raise SettingError(f"{printable(folder)}: something else is there; give a new folder with --output")
        else:
            self.noted = dict(noted)
            write_text(path, json.dumps({"asked": dict(asked), "noted": self.noted}, indent=1, ensure_ascii=False) + "\n")
            bring_to_disk([path, folder])
        for entry in list(folder.iterdir()):
            if is_partial(entry):  # a kill came while one of our files was written
                entry.unlink(missing_ok=True)
        shutil.rmtree(folder / _PARTS, ignore_errors=True)
        if (folder / _REVIEW).exists() and (folder / REVIEW).is_dir():
            self._drop_review_parts()
        self._digests: dict[int, str] = {}
        self.documents = self.mentions = self.links = self.failed = 0
        for result in self.results():
            self._count(result)
        self._ledger = self._opened()

    @staticmethod
    def _compared(path: Path, asked: Mapping[str, Any]) -> dict[str, Any]:
        try:
            held = json.loads(path.read_bytes())
            before, noted = dict(held["asked"]), dict(held["noted"])
        except (ValueError, KeyError, TypeError) as error:
            raise SettingError(f"{path}: damaged; give a new folder with --output") from error
        now = json.loads(json.dumps(dict(asked)))
        if other := [name for name in sorted(before.keys() | now.keys()) if before.get(name) != now.get(name)]:
            raise SettingError(
                f"{path.parent} holds what was found with another {' and another '.join(other)}; give a new folder with --output"
            )
        return noted

    def _opened(self) -> IO[bytes]:
        """The ledger, for lines to be added; half a line that a crash has left is cut off."""
        path = self.folder / _LEDGER
        file = path.open("ab")
        size = file.tell()
        whole = path.read_bytes().rfind(b"\n") + 1 if size else 0
        if whole < size:
            file.truncate(whole)
        return file

    def results(self) -> Iterator[PartResult]:
        """What became of the parts that are done."""
        path = self.folder / _LEDGER
        if not path.is_file():
            return
        with path.open("rb") as file:
            for line in file:
                if line.endswith(b"\n"):
                    yield PartResult.from_dict(json.loads(line))

    def is_done(self, part: Part) -> bool:
        """Whether a part is done.

        Raises:
            SettingError: It is, but of other notes: the input has changed.
        """
        digest = self._digests.get(part.number)
        if digest is not None and digest != part.digest:
            raise self._changed(part.number)
        return digest is not None

    def check_end(self, number: int) -> None:
        """Make sure that nothing is done behind the last part of the input.

        Raises:
            SettingError: It is: the input has changed.
        """
        if max(self._digests, default=0) > number:
            raise self._changed(number + 1)

    def _changed(self, number: int) -> SettingError:
        return SettingError(
            f"the input has changed since part {number} of {printable(self.folder)} was written; give a new folder with --output"
        )

    def staging(self, number: int) -> Path:
        """A new folder for the files of a part that is not done."""
        folder = self._staged(number)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def _staged(self, number: int) -> Path:
        # of this process: a worker of one that was killed may still write for a while
        return self.folder / _PARTS / f"{number:05}-{os.getpid()}"

    def commit(self, result: PartResult) -> None:
        """Give the files of a part their places, and note it down as done."""
        staged = self._staged(result.number)
        if (staged / REVIEW).is_dir():
            self._take_review_apart()
        placed: list[Path] = []
        for place, _, names in os.walk(staged):
            target = self.folder / os.path.relpath(place, staged)
            target.mkdir(parents=True, exist_ok=True)
            placed.append(target)
            for name in names:
                Path(place, name).replace(target / name)
                placed.append(target / name)
        bring_to_disk(placed)  # the line promises them: it must not outlive a power failure that they do not
        self._ledger.write(json.dumps(result.to_dict(), ensure_ascii=False).encode() + b"\n")
        self._ledger.flush()
        os.fsync(self._ledger.fileno())
        self._count(result)
        shutil.rmtree(staged, ignore_errors=True)

    def _count(self, result: PartResult) -> None:
        self._digests[result.number] = result.digest
        self.documents += result.documents
        self.mentions += result.mentions
        self.links += result.links
        self.failed += len(result.failed)

    def _take_review_apart(self) -> None:
        """Let the one file of an extraction that was done be the first part again, for others come behind it."""
        whole, parts = self.folder / _REVIEW, self.folder / REVIEW
        if whole.exists():
            parts.mkdir(exist_ok=True)
            whole.replace(parts / _GATHERED)

    def _drop_review_parts(self) -> None:
        aside = self.folder / _PARTS
        aside.mkdir(exist_ok=True)
        (self.folder / REVIEW).rename(aside / REVIEW)  # as a whole: half of them would be taken for all
        shutil.rmtree(aside / REVIEW)

    def end(self) -> None:
        """All parts are done: make one file of those for review. Killed at any moment, it is made again or there already."""
        parts = self.folder / REVIEW
        if not parts.is_dir():
            return
        aside = self.folder / _PARTS
        aside.mkdir(exist_ok=True)
        whole = aside / _REVIEW
        with whole.open("wb") as file:
            for part in sorted(parts.iterdir(), key=lambda path: (len(path.name), path.name)):  # part-100000 behind part-99999
                with part.open("rb") as given:
                    shutil.copyfileobj(given, file)
        bring_to_disk([whole])
        whole.replace(self.folder / _REVIEW)
        bring_to_disk([self.folder])
        self._drop_review_parts()

    def close(self) -> None:
        """Write down what failed, in the order of the input, and leave nothing that is not an answer."""
        failed = sorted((result.number, result.failed) for result in self.results() if result.failed)
        rows = [{"id": name, "reason": reason} for _, pairs in failed for name, reason in pairs]
        if rows or (self.folder / _FAILED).exists():
            write_text(self.folder / _FAILED, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        self._ledger.close()
        shutil.rmtree(self.folder / _PARTS, ignore_errors=True)


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold a folder for one command; the system lets go of it when the process ends, however it does.

    Raises:
        SettingError: Another command writes there.
        InputError: The folder cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / _LOCK).open("w", encoding="ascii")
    except OSError as error:
        raise InputError(f"{printable(folder)}: cannot be written to ({error.strerror})") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SettingError(f"{printable(folder)}: another command is writing there; wait for its end") from None
        except OSError:  # a file system without locks
            pass
        yield
