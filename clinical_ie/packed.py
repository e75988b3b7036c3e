"""Many like things as a few compressed bytes each."""

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
_REACH = 32 * 1024
"""What deflate looks back at."""


class Packed(Sequence[T], Generic[T]):
    """Things that are made again whenever they are asked for, equal to what they were.

    Each is pickled and compressed against the first of its group, which holds what they have in common, so that it costs about what is its
    own. All lie in one buffer: processes that are forked share it, whatever they read of it.

    Args:
        things: The first of them.
    """

    def __init__(self, things: Iterable[T] = ()) -> None:
        self._bytes = bytearray()
        self._ends = array("Q", [0])
        self._groups = array("H")
        self._openings: list[bytes] = []
        self._digest = b""
        for thing in things:
            self.append(thing)

    def append(self, thing: T, group: int = 0) -> None:
        """Add a thing.

        Args:
            thing: What can be pickled.
            group: A number below 65,536 for those that have much in common; new groups count on from the last.
        """
        written = _pickled(thing)
        if group == len(self._openings):
            self._openings.append(written[:_REACH])
        self._digest = hashlib.sha256(self._digest + written).digest()
        compressor = zlib.compressobj(_LEVEL, zdict=self._openings[group])
        self._bytes += compressor.compress(written) + compressor.flush()
        self._ends.append(len(self._bytes))
        self._groups.append(group)

    @property
    def digest(self) -> str:
        """Of all content, in its order; the same for equal things in every process and on every machine."""
        return hashlib.sha256(self._digest).hexdigest()[:16]

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self._bytes)

    @overload
    def __getitem__(self, place: int) -> T: ...

    @overload
    def __getitem__(self, place: slice) -> list[T]: ...

    def __getitem__(self, place: int | slice) -> T | list[T]:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self)))]
        if not -len(self) <= place < len(self):
            raise IndexError(f"{place} of {len(self)}")
        place %= len(self)
        opened = zlib.decompressobj(zdict=self._openings[self._groups[place]])
        written = memoryview(self._bytes)[self._ends[place] : self._ends[place + 1]]
        found: T = pickle.loads(opened.decompress(written))  # noqa: S301 (written above)
        return found

    def __len__(self) -> int:
        return len(self._groups)


def _pickled(thing: Any) -> bytes:
    """Without references: those tell which of equal objects are one, which differs from process to process."""
    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer, protocol=4)
    pickler.fast = True
    pickler.dump(thing)
    return buffer.getvalue()
