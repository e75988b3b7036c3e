"""Files as bytes: compressed ones, and lines of bounded length."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from clinical_ie.errors import SettingError, printable

_CHUNK = 1 << 20


def opened(path: Path) -> IO[bytes]:
    """A file to read from, decompressed where its name ends in ``.gz``.

    Raises:
        SettingError: It cannot be opened.
    """
    try:
        if path.suffix.lower() == ".gz":
            return cast("IO[bytes]", gzip.open(path, "rb"))
        return open(path, "rb")
    except OSError as error:
        raise SettingError(f"{printable(path)}: cannot be read ({error.strerror})") from error


def kind_of(path: Path) -> str:
    """The ending of a file without ``.gz``, in small letters."""
    return Path(path.stem if path.suffix.lower() == ".gz" else path.name).suffix.lower()


def lines(file: IO[bytes], most: int, first: bytes = b"") -> Iterator[tuple[int, bytes | None]]:
    """Lines with their numbers; None in place of a line of more than so many bytes, which is passed over.

    Args:
        file: Where they stand.
        most: Bytes of a line.
        first: What was read of the first line before, up to its end.
    """
    number = 0
    while True:
        line = first or file.readline(most)
        first = b""
        if not line:
            return
        number += 1
        if len(line) < most or line.endswith(b"\n"):
            yield number, line
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(_CHUNK)
        yield number, None
