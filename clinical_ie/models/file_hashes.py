"""Hashes of files of weights, computed once for each state of the files and kept in the user's cache.

A safetensors file is hashed by its tensors (names, types, shapes, bytes in the order of names), so that neither its division into
shards nor what a library notes in its header counts; any other file by its bytes.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import mmap
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from clinical_ie.errors import ClinicalIEError
from clinical_ie.files import write_text


def user_cache() -> Path:
    """``$XDG_CACHE_HOME/clinical_ie``, by default ``~/.cache/clinical_ie``; it need not exist."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "clinical_ie"


def weights_digest(files: Sequence[Path]) -> str:
    """A SHA-256 of the weights that these files hold together.

    It is looked up by path, size, times and inode of each file. Where the cache cannot be written it is computed anew.
    """
    paths = [file.resolve() for file in sorted(files)]
    entry = user_cache() / "hashes" / _sha256([str(path) for path in paths])
    state = _sha256([_state(path) for path in paths])
    if (known := _known(entry, state)) is not None:
        return known
    with one_process(entry):
        if (known := _known(entry, state)) is not None:  # another rank has computed it
            return known
        tensors = all(file.suffix == ".safetensors" for file in files)
        digest = _digest_of_tensors(files) if tensors else _digest_of_bytes(files)
        with contextlib.suppress(OSError, ClinicalIEError):  # a full disk, too
            entry.parent.mkdir(parents=True, exist_ok=True)
            write_text(entry, f"{state} {digest}\n")
    return digest


def _known(entry: Path, state: str) -> str | None:
    with contextlib.suppress(OSError, ValueError):
        known, digest = entry.read_text(encoding="ascii").split()
        return digest if known == state else None
    return None


@contextlib.contextmanager
def one_process(path: Path) -> Iterator[None]:
    """Let one process after the other make a file or folder of the cache, so that all ranks but one find it made.

    Where there are no locks, or the cache cannot be written, nobody waits.

    Args:
        path: What is made.
    """
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            name = path.with_name(f"{path.name}.lock")
            lock = held.enter_context(name.open("w", encoding="ascii"))
            held.callback(name.unlink, missing_ok=True)  # who waits for it looks whether the thing is made
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _sha256(things: Sequence[object]) -> str:
    return hashlib.sha256(repr(things).encode()).hexdigest()


def _state(file: Path) -> tuple[int, int, int, int]:
    found = file.stat()
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


def _digest_of_bytes(files: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(f"{file.stat().st_size}\n".encode())
        with file.open("rb") as stream:
            while block := stream.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()


def _digest_of_tensors(files: Sequence[Path]) -> str:
    """Reference: the format's description, https://huggingface.co/docs/safetensors (8 bytes of length, a JSON header, the tensors)."""
    digest = hashlib.sha256()
    with contextlib.ExitStack() as opened:
        places: dict[str, tuple[memoryview, str]] = {}
        for file in files:
            stream = opened.enter_context(file.open("rb"))
            mapped = opened.enter_context(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
            view = opened.enter_context(memoryview(mapped))
            start = 8 + int.from_bytes(view[:8], "little")
            for name, entry in json.loads(bytes(view[8:start])).items():
                if name != "__metadata__":
                    first, last = entry["data_offsets"]
                    part = opened.enter_context(view[start + first : start + last])
                    places[name] = part, f"{name} {entry['dtype']} {entry['shape']}\n"
        for _, (part, described) in sorted(places.items()):
            digest.update(described.encode())
            digest.update(part)
    return digest.hexdigest()
