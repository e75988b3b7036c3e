"""Text files, read without translating line ends and written atomically."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import shutil
import stat
import sys
import unicodedata
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

from clinical_ie.errors import FileFormatError, InputError, RunError, printable

_LONGEST_NAME = 255
"""Bytes of a file name on the file systems in use."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_DESCRIPTOR = re.compile(r"/dev/(?:(stdout|stderr)|fd/([0-9]{1,9}))|/proc/self/fd/([0-9]{1,9})").fullmatch
_STREAMS = {"stdout": 1, "stderr": 2}
_PARTIAL = re.compile(r"\.[0-9a-f]{8}\.[0-9]+\.partial").fullmatch
_AT_ONCE = 32
_NO_FOLDERS = (errno.EINVAL, errno.ENOTSUP, errno.EBADF)
"""What file systems answer that cannot bring a folder to the disk by itself."""


def read_text(path: Path | str) -> str:
    """The characters of a UTF-8 file, with CR and LF exactly as they stand.

    Standoff offsets count both characters of a CRLF, so newlines are never translated. A byte order mark is a
    character like any other.

    Raises:
        FileFormatError: The file is missing, cannot be opened, is not UTF-8 or holds NUL characters.
    """
    try:
        with open(path, "rb", buffering=0) as file:
            data = file.read()
    except (OSError, ValueError) as error:
        raise FileFormatError(path, 0, f"cannot be read ({_reason(error)})") from error
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        utf_16 = data.startswith((b"\xff\xfe", b"\xfe\xff"))
        line = 0 if utf_16 else data.count(b"\n", 0, error.start) + 1
        problem = "the file is UTF-16" if utf_16 else f"byte {error.start} is not UTF-8"
        raise FileFormatError(path, line, problem, expected="a UTF-8 file", remedy=f"convert it, e.g. with {_iconv(utf_16)}") from None
    if "\0" in text:
        line = data.count(b"\n", 0, data.index(b"\0")) + 1
        remedy = f"if it is UTF-16, convert it, e.g. with {_iconv(True)}"
        raise FileFormatError(path, line, f"byte {data.index(0)} is NUL", expected="a UTF-8 text file", remedy=remedy)
    return text


def _iconv(utf_16: bool) -> str:
    return f"iconv -f {'UTF-16' if utf_16 else 'LATIN1'} -t UTF-8"


def _reason(error: OSError | ValueError) -> str:
    """Why the system refused a path, in its words."""
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return "no file can have this name"


@contextlib.contextmanager
def writing(path: Path | str) -> Iterator[IO[str]]:
    """A file to write to that appears under its name only once it is whole.

    An exception inside the block leaves what stood there before, so a failed run never
    leaves half a file that looks finished. Behind a link its target is written, and the link stays. Pipes and
    devices (``/dev/stdout``) are written to directly. A new file has the mode that the umask leaves, a replaced one
    the mode that it had.

    Raises:
        InputError: The path cannot be written, or a character has no UTF-8 form (half of a surrogate pair).
        RunError: The disk is full.
    """
    try:
        with _target(path) as file, io.TextIOWrapper(file, encoding="utf-8", newline="") as text:
            yield text
    except UnicodeEncodeError as error:
        sign = ord(error.object[error.start])
        raise InputError(f"{printable(path)}: cannot be written, U+{sign:04X} is no character of UTF-8") from None


def write_bytes(path: Path | str, data: bytes) -> None:
    """Write a whole file of bytes at once (see `writing`)."""
    with _target(path) as file:
        file.write(data)


def _target(path: Path | str) -> contextlib.AbstractContextManager[IO[bytes]]:
    """What is written to: a pipe or device itself, or a new file that takes the place of another."""
    return _stream(path) or _replaced(path)


@contextlib.contextmanager
def _replaced(path: Path | str) -> Iterator[IO[bytes]]:
    """A new file beside the target, which takes its place in the end."""
    with _refusing(path):
        target = Path(os.path.realpath(path))
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise InputError(f"{printable(path)}: cannot be written, {printable(target.parent)} is not a folder") from error
        if target.is_dir():
            raise InputError(f"{printable(path)}: cannot be written, it is a folder")
        partial = _partial(target)
        mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else None
        file = open(partial, "wb")  # noqa: SIM115 (closed below)
    try:
        with _refusing_full(path), file:
            yield file
        with _refusing(path):
            if mode is not None:
                partial.chmod(mode)
            partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def writing_folder(path: Path | str) -> Iterator[Path]:
    """A folder to write to that takes the place of one of this name only once it is whole.

    Its files get the mode that the umask leaves. An exception inside the block leaves what stood there before.

    Raises:
        InputError: The folder cannot be written.
    """
    target = Path(path)
    partial = _partial(target)
    try:
        with _refusing(path):
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
        yield partial
        with _refusing(path):
            give_umask_modes(partial)
            shutil.rmtree(target, ignore_errors=True)
            partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _partial(target: Path) -> Path:
    """What becomes a file or a folder once it is whole; of a short name of its own, since a long one would not bear an ending."""
    return target.with_name(f".{zlib.crc32(os.fsencode(target.name)):08x}.{os.getpid()}.partial")


def is_partial(path: Path) -> bool:
    """Whether a file is one that never became whole, because the process that wrote it was killed."""
    return _PARTIAL(path.name) is not None and path.is_file()


def bring_to_disk(paths: Iterable[Path]) -> None:
    """Return once files and folders are on the disk, so that not even a power failure takes them away.

    Many threads wait at once: a file system writes its journal once for all who wait, and one after the other each would wait for a
    writing of its own (4 ms a file against 0.3 ms, ext4 on a virtual disk).

    Args:
        paths: Files for what is in them, folders for the names that their files have there.

    Raises:
        RunError: The disk is full.
    """
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        for _ in threads.map(_bring_to_disk, paths):
            pass


def _bring_to_disk(path: Path) -> None:
    with _refusing_full(path):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if not (path.is_dir() and error.errno in _NO_FOLDERS):
                raise
        finally:
            os.close(descriptor)


def give_umask_modes(folder: Path) -> None:
    """Give all files of a folder the mode that a new file gets; safetensors makes files that only their owner can read."""
    sample = folder / ".mode"
    sample.touch()
    mode = stat.S_IMODE(sample.stat().st_mode)
    sample.unlink()
    for file in folder.rglob("*"):
        if file.is_file() and not file.is_symlink():
            file.chmod(mode)


def _stream(path: Path | str) -> contextlib.AbstractContextManager[IO[bytes]] | None:
    """What is written to directly, because it is no file that another could replace; None for files."""
    with _refusing(path):
        if match := _DESCRIPTOR(os.path.normpath(path)):
            descriptor = _STREAMS[match[1]] if match[1] else int(match[2] or match[3])
            sys.stdout.flush()
            # the descriptor itself, so that what else is printed to it comes behind
            return open(os.dup(descriptor), "wb")
        try:
            mode = Path(path).stat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            return None
        if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
            return None
        return open(path, "wb")


@contextlib.contextmanager
def _refusing(path: Path | str) -> Iterator[None]:
    """Errors of the system as errors of the user's input."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise InputError(f"{printable(path)}: cannot be written ({_reason(error)})") from error


@contextlib.contextmanager
def _refusing_full(path: Path | str) -> Iterator[None]:
    """A full disk as an error of the run; other errors belong to whoever uses the file."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise RunError(f"{printable(path)}: cannot be written ({_reason(error)})") from error


def storable(text: str) -> bool:
    """Whether a text comes back from a file: NUL and halves of surrogate pairs do not."""
    return not any(sign == "\0" or "\ud800" <= sign <= "\udfff" for sign in text if not sign.isprintable())


def unfit(name: str, ending: str = "") -> str | None:
    """Why an id cannot be the name of a file inside a folder, or None where it can.

    Example:
        >>> unfit("ward/note1"), unfit("../note1")
        (None, "it has a part '..'")
    """
    parts = name.split("/")
    if bad := [part for part in parts if part in ("", ".", "..")]:
        return f"it has a part {bad[0]!r}" if bad[0] else "it is empty, or a part of it is"
    if "\\" in name:
        return "it has a backslash"
    if any(part.startswith(".") for part in parts):
        return "a part of it begins with a full stop, which hides files"
    if any(unicodedata.category(sign) in ("Cc", "Cs") for sign in name):
        return "it has a control character or is not UTF-8"
    sizes = [len(part.encode()) for part in (*parts[:-1], parts[-1] + ending)]
    return f"it has {max(sizes)} bytes, more than a file name can have" if max(sizes) > _LONGEST_NAME else None


def place_of(folder: Path | str, name: str, ending: str = "") -> Path:
    """Where a document of this id is written inside a folder.

    Raises:
        InputError: The id would lead out of the folder, is empty, too long, or has characters that no file name should have.
    """
    if reason := unfit(name, ending):
        shown = printable(name) if len(name) <= 80 else f"{printable(name[:40])}..."
        raise InputError(f"document id '{shown}' cannot be a file name inside {folder}: {reason}; expected parts like ward/note1")
    parts = name.split("/")
    return Path(folder, *parts[:-1], parts[-1] + ending)


def distinct(names: Iterable[str], where: Path | str) -> None:
    """Make sure that no document is written over another.

    Raises:
        InputError: An id stands twice.
    """
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InputError(f"{where}: two documents have the id {printable(name)}; one would be written over the other")
        seen.add(name)


def write_text(path: Path | str, text: str) -> None:
    """Write a whole file at once (see `writing`)."""
    with writing(path) as file:
        file.write(text)
