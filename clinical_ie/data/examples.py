"""The examples of a part, by number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch.utils.data import Dataset

from clinical_ie.tasks.task import Example


class Examples(Dataset[Any]):
    """Examples, and of all of them what a plan of batches needs.

    Args:
        examples: All of them.
    """

    def __init__(self, examples: Sequence[Example]) -> None:
        self._examples = examples
        self.lengths = [example.length for example in examples]
        self.targets = [example.targets for example in examples]
        self.corpora = [example.corpus for example in examples]

    def __getitem__(self, index: int | tuple[int, int]) -> Any:
        """The example of this number; or with the targets of its optimizer step, where the index says both."""
        if isinstance(index, tuple):
            return self._examples[index[0]], index[1]
        return self._examples[index]

    def __len__(self) -> int:
        return len(self._examples)

    def __iter__(self) -> Iterator[Example]:
        return iter(self._examples)
