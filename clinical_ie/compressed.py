"""Sequences of like items in compressed storage."""

from __future__ import annotations

import hashlib
import io
import pickle
import zlib
from array import array
from collections.abc import Iterable, Sequence
from typing import Any, Generic, TypeVar, overload

T = TypeVar("T")
_LEVEL = 1
_WINDOW = 32 * 1024
"""Bytes that deflate looks back at, so the most of a preset dictionary that is of use."""


class CompressedSequence(Sequence[T], Generic[T]):
    """Items that are pickled and compressed one by one; each access returns a new object, equal to what was appended.

    The first item of a group is the preset dictionary of the others, so that each costs about what it does not share with it. All lie in
    one buffer: processes that are forked share it, whatever they read of it.

    Args:
        items: The first of them.
    """

    def __init__(self, items: Iterable[T] = ()) -> None:
        self._bytes = bytearray()
        self._ends = array("Q", [0])
        self._groups = array("H")
        self._dictionaries: list[bytes] = []
        self._digest = b""
        for item in items:
            self.append(item)

    def append(self, item: T, group: int = 0) -> None:
        """Add an item.

        Args:
            item: What can be pickled.
            group: Number, below 65,536, of the items that have much in common with it; a new group has the next number.
        """
        written = _pickled(item)
        if group == len(self._dictionaries):
            self._dictionaries.append(written[:_WINDOW])
        self._digest = hashlib.sha256(self._digest + written).digest()
        compressor = zlib.compressobj(_LEVEL, zdict=self._dictionaries[group])
        self._bytes += compressor.compress(written) + compressor.flush()
        self._ends.append(len(self._bytes))
        self._groups.append(group)

    @property
    def digest(self) -> str:
        """Of all content, in its order; the same for equal items in every process and on every machine."""
        return hashlib.sha256(self._digest).hexdigest()[:16]

    @property
    def size(self) -> int:
        """Compressed bytes."""
        return len(self._bytes)

    @overload
    def __getitem__(self, index: int) -> T: ...

    @overload
    def __getitem__(self, index: slice) -> list[T]: ...

    def __getitem__(self, index: int | slice) -> T | list[T]:
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"{index} of {len(self)}")
        index %= len(self)
        opened = zlib.decompressobj(zdict=self._dictionaries[self._groups[index]])
        written = memoryview(self._bytes)[self._ends[index] : self._ends[index + 1]]
        found: T = pickle.loads(opened.decompress(written))  # noqa: S301 (written above)
        return found

    def __len__(self) -> int:
        return len(self._groups)


def _pickled(item: Any) -> bytes:
    """Without references: those tell which of equal objects are one, which differs from process to process."""
    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer, protocol=4)
    pickler.fast = True
    pickler.dump(item)
    return buffer.getvalue()
