"""How documents become files, a part at a time, so that an interrupted run loses nothing and writes nothing twice.

Whoever writes keeps a ledger. A part goes through three steps::

    names = writer.prepare()      # its files are whole and on the disk, under hidden names
    ledger.append(names, ids)     # from here on the part counts as written
    publish(folder, names)        # the files get their names; may be repeated

After a crash `publish` is repeated for the last entry of the ledger, and `discard` removes what no entry names.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import IO, ClassVar

from clinical_ie.document import Document
from clinical_ie.errors import InputError, RunError, printable
from clinical_ie.schema import Schema

NOTHING_KNOWN: Mapping[str, str] = MappingProxyType({})
_FIRST = "part-"
_PARTIAL = ".partial"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where annotations come from, for outputs that say so.

    Attributes:
        system: The program and the model.
        time: When the run began; the same after a resumption, so that its output is the same, too.
        schema: The types that the model knows, where the output declares them.
        snippets: Whether OMOP rows hold the text around a mention.
    """

    system: str = "clinical_ie"
    time: datetime = field(default_factory=lambda: datetime.now().astimezone())
    schema: Schema | None = None
    snippets: bool = False


class Writer(ABC):
    """Documents to files of a folder.

    Args:
        folder: Where to.
        origin: Where the annotations come from.
        counts: Gets what the output cannot hold, by kind.
    """

    def __init__(self, folder: Path, origin: Origin | None = None, counts: Counter[str] | None = None) -> None:
        self.folder, self.origin = folder, Origin() if origin is None else origin
        self.counts: Counter[str] = Counter() if counts is None else counts

    @abstractmethod
    def write(self, document: Document, meta: Mapping[str, str] = NOTHING_KNOWN) -> None:
        """Take one more document.

        Args:
            document: A note with what was found in it.
            meta: What else is known of the note (`Note.meta`).

        Raises:
            InputError: The folder cannot be written.
            RunError: The disk is full.
        """

    def begin_part(self, number: int) -> None:
        """Let the next document begin the part of this number; without it, parts count on from those that are there."""
        return

    @abstractmethod
    def prepare(self) -> list[str]:
        """Finish the part that the documents since the last call make: its files are whole and on the disk, with hidden names.

        Returns:
            The names that `publish` gives them, relative to the folder; none where there was no document or no hidden file.
        """

    def abandon(self) -> None:
        """Let go of a part that is not finished; `discard` removes its files."""
        return

    def commit(self) -> None:
        """`prepare` and `publish` at once, for runs without a ledger."""
        publish(self.folder, self.prepare())


class PartWriter(Writer):
    """Files ``part-00001``, ``part-00002`` ..., the same number in each place.

    `places` are paths inside the folder that stand before the ending, such as ``mentions/part-`` or ``part-``.
    """

    places: ClassVar[tuple[str, ...]] = (_FIRST,)
    ending: ClassVar[str]

    def __init__(self, folder: Path, origin: Origin | None = None, counts: Counter[str] | None = None) -> None:
        super().__init__(folder, origin, counts)
        self.number = 0
        self._next: int | None = None
        self._files: list[IO[bytes]] = []

    def write(self, document: Document, meta: Mapping[str, str] = NOTHING_KNOWN) -> None:
        """Take one more document."""
        if not self._files:
            self._open()
        self.add(document, meta)

    def begin_part(self, number: int) -> None:
        """Give the next part its number."""
        self._next = number

    def prepare(self) -> list[str]:
        """Finish the part; see `Writer.prepare`."""
        if not self._files:
            return []
        self.end()
        for file in self._files:
            file.flush()
            os.fsync(file.fileno())
            file.close()
        self._files.clear()
        return self._names()

    def abandon(self) -> None:
        """Let go of the part."""
        for file in self._files:
            file.close()
        self._files.clear()

    @abstractmethod
    def begin(self, files: list[IO[bytes]]) -> None:
        """Start a part in these files, one for each place."""

    @abstractmethod
    def add(self, document: Document, meta: Mapping[str, str]) -> None:
        """Write a document to the files of the part."""

    def end(self) -> None:
        """Write what stands behind the last document."""
        return

    def _names(self) -> list[str]:
        return [f"{place}{self.number:05}{self.ending}" for place in self.places]

    def _open(self) -> None:
        if self._next is not None:
            self.number, self._next = self._next - 1, None
        elif not self.number:
            there = (self.folder / self.places[0]).parent.glob(f"{_FIRST}*{self.ending}")
            self.number = max((_number(path, self.ending) for path in there), default=0)
        self.number += 1
        try:
            for name in self._names():
                place = _hidden(self.folder, name)
                place.parent.mkdir(parents=True, exist_ok=True)
                self._files.append(open(place, "wb"))  # noqa: SIM115 (closed by prepare)
        except OSError as error:
            raise InputError(f"{printable(self.folder)}: cannot be written ({error.strerror})") from error
        self.begin(self._files)


def publish(folder: Path, names: Iterable[str]) -> None:
    """Give files that `Writer.prepare` finished their names; those that have them stay as they are.

    Raises:
        RunError: A file is there under neither name.
    """
    for name in names:
        hidden, path = _hidden(folder, name), folder / name
        if hidden.exists():
            hidden.replace(path)
        elif not path.exists():
            raise RunError(f"{printable(path)} is missing, although it was written; was it removed? Start anew in an empty folder")


def discard(folder: Path) -> None:
    """Remove files that an interrupted run never finished."""
    for pattern in (f".{_FIRST}*{_PARTIAL}", f"*/.{_FIRST}*{_PARTIAL}"):
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)


def _hidden(folder: Path, name: str) -> Path:
    path = folder / name
    return path.with_name(f".{path.name}{_PARTIAL}")


def _number(path: Path, ending: str) -> int:
    digits = path.name.removeprefix(_FIRST).removesuffix(ending)
    return int(digits) if digits.isdecimal() else 0
