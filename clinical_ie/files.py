"""Text files, read without translating line ends and written whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from clinical_ie.errors import FileFormatError, InputError


def read_text(path: Path | str) -> str:
    """The characters of a UTF-8 file, with CR and LF exactly as they stand.

    Standoff offsets count both characters of a CRLF, so newlines are never translated.

    Raises:
        InputError: The file is missing or cannot be opened.
        FileFormatError: The bytes are not UTF-8.
    """
    try:
        with open(path, "rb", buffering=0) as file:
            data = file.read()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise FileFormatError(
            path, line, f"byte {error.start} is not UTF-8", expected="a UTF-8 file", remedy="convert it, e.g. with iconv"
        ) from None


@contextlib.contextmanager
def writing(path: Path | str) -> Iterator[IO[str]]:
    """A file to write to that appears under its name only once it is whole.

    An exception inside the block leaves what stood there before, so a failed run never
    leaves half a file that looks finished.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise InputError(f"{path}: cannot be written, {path.parent} is not a folder") from error
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with open(partial, "w", encoding="utf-8", newline="") as file:
            yield file
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def place_of(folder: Path | str, name: str, ending: str = "") -> Path:
    """Where a document of this id is written inside a folder.

    Raises:
        InputError: The id would lead out of the folder, or is empty.
    """
    parts = name.split("/")
    if not name or name.startswith("/") or "\\" in name or any(part in ("", ".", "..") for part in parts):
        raise InputError(f"document id {name!r} cannot be a file name inside {folder}; expected parts like ward/note1")
    return Path(folder, *parts[:-1], parts[-1] + ending)


def distinct(names: Iterable[str], where: Path | str) -> None:
    """Make sure that no document is written over another.

    Raises:
        InputError: An id stands twice.
    """
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InputError(f"{where}: two documents have the id {name}; one would be written over the other")
        seen.add(name)


def write_text(path: Path | str, text: str) -> None:
    """Write a whole file at once (see `writing`)."""
    with writing(path) as file:
        file.write(text)
