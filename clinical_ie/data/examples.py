"""The examples of a part, by number: compressed, and restored when a batch wants them."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from typing import Any

from torch.utils.data import Dataset

from clinical_ie.compressed import CompressedSequence
from clinical_ie.data.sampler import PlannedBatch
from clinical_ie.tasks.task import Example, SourceName


class Examples(Dataset[Any]):
    """Examples, and of all of them what a plan of batches needs.

    What many examples have in common (`Example.common`) is held once.

    Args:
        examples: The first of them.
    """

    def __init__(self, examples: Iterable[Example] = ()) -> None:
        self.lengths: Sequence[int] = array("l")
        self.targets: Sequence[int] = array("l")
        self.input_lengths: Sequence[int] = array("l")
        self.shared: Sequence[int] = array("l")
        self._stored: CompressedSequence[tuple[Any, ...]] = CompressedSequence()
        self._common: list[tuple[Any, ...]] = []
        self._places: dict[tuple[Any, ...], int] = {}
        self._kind: type[Example] | None = None
        self.extend(examples)

    def extend(self, examples: Iterable[Example]) -> None:
        """Add examples of one kind."""
        for example in examples:
            self._kind = type(example)
            common = tuple(getattr(example, name) for name in self._kind.common)
            shared = self._places.setdefault(common, len(self._places))
            if shared == len(self._common):
                self._common.append(common)
            self._stored.append(tuple(getattr(example, name) for name in _own(self._kind)), shared)
            self.lengths.append(example.length)  # type: ignore[attr-defined]
            self.targets.append(example.targets)  # type: ignore[attr-defined]
            self.input_lengths.append(len(example.input_ids))  # type: ignore[attr-defined]
            self.shared.append(shared)  # type: ignore[attr-defined]

    @property
    def sources(self) -> list[SourceName]:
        """Corpus and task of each."""
        of_common = [SourceName(*common[: len(SourceName._fields)]) for common in self._common]
        return [of_common[shared] for shared in self.shared]

    def prefixes(self) -> tuple[list[int], list[int]]:
        """Of instructions: for each example the number of its shared prefix, and the sub-words of each prefix."""
        assert self._kind is not None
        place = self._kind.common.index("prefix_ids")
        numbers = {prefix_ids: number for number, prefix_ids in enumerate(dict.fromkeys(common[place] for common in self._common))}
        of_common = [numbers[common[place]] for common in self._common]
        return [of_common[shared] for shared in self.shared], [len(prefix_ids) for prefix_ids in numbers]

    @property
    def digest(self) -> str:
        """Of all content; the same on every machine."""
        found = hashlib.sha256(self._stored.digest.encode())
        for common in self._common:
            found.update(repr(_ordered(common)).encode())
        return found.hexdigest()[:16]

    @property
    def size(self) -> int:
        """Compressed bytes."""
        return self._stored.size

    def __getitem__(self, index: int | slice | PlannedBatch) -> Any:
        """The example of this number; or the examples of a batch, and what was planned with them."""
        if isinstance(index, PlannedBatch):
            return [self[number] for number in index.examples], index
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        assert self._kind is not None
        own = dict(zip(_own(self._kind), self._stored[index], strict=True))
        common = zip(self._kind.common, self._common[self.shared[index]], strict=True)
        return self._kind(**own, **dict(common))

    def __len__(self) -> int:
        return len(self._stored)

    def __iter__(self) -> Iterator[Example]:
        return (self[place] for place in range(len(self)))


def _own(kind: type[Example]) -> list[str]:
    return [field.name for field in fields(kind) if field.name not in kind.common]


def _ordered(value: Any) -> Any:
    """Plain data whose sets have an order of their own: that of a set depends on the process."""
    if isinstance(value, tuple):
        return tuple(map(_ordered, value))
    return sorted(value) if isinstance(value, frozenset) else value
