"""Examples that are made when they are wanted: documents in stretches of some batches, each document on one rank.

Batches hold examples of like length, chosen within a stretch. What is known of its documents travels with its first batch, so whoever
gets outputs needs no other list of examples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from torch.utils.data import IterableDataset, get_worker_info

from clinical_ie.data.batching import budget_batches
from clinical_ie.data.collation import Batch
from clinical_ie.data.examples import Examples
from clinical_ie.data.tokenization import Subwords
from clinical_ie.document import Document
from clinical_ie.tasks.coverage import Coverage, count_words
from clinical_ie.tasks.task import Example, Source, Task

_BATCHES = 16
_DOCUMENTS = 1024
"""The most of a stretch: what it holds in memory, against batches that are not full at its end."""

Key = tuple[str, int]
"""A document: its corpus, and its place in it."""
MakeExamples = Callable[[Key, Coverage], Sequence[Example]]
"""Makes the examples of a document, and counts what they can express."""


@dataclass(frozen=True, slots=True)
class MadeExamples:
    """Makes examples of documents (`MakeExamples`)."""

    task: Task[Any]
    sources: Mapping[str, Source]
    inputs: Mapping[str, Sequence[Document]]

    def __call__(self, key: Key, coverage: Coverage) -> Sequence[Example]:  # noqa: D102
        corpus, place = key
        return examples_of(self.task, self.inputs[corpus][place], self.sources[corpus], coverage)


@dataclass(frozen=True, slots=True)
class StoredExamples:
    """Takes examples that were made before (`MakeExamples`), by where those of each document end; they have been counted."""

    examples: Examples
    ends: Mapping[str, Sequence[int]]

    def __call__(self, key: Key, coverage: Coverage) -> Sequence[Example]:  # noqa: D102
        corpus, place = key
        found: list[Example] = self.examples[self.ends[corpus][place] : self.ends[corpus][place + 1]]
        return found


def examples_of(task: Task[Any], document: Document, source: Source, coverage: Coverage, *, training: bool = False) -> list[Any]:
    """The examples of a document; what they can express is counted, and words that the tokenizer does not know."""
    encoder = cast("Subwords", source.encoder)
    if encoder.unknown_id is not None:
        count_words(coverage, document, *encoder.encode(document.text), encoder.unknown_id)
    return task.examples(document, source, coverage, training=training)


class Stretch:
    """Documents with all their examples, and what these can express of each corpus; it stays when its batch moves to a device."""

    def __init__(self) -> None:
        self.documents: list[tuple[Key, Sequence[Example]]] = []
        self.coverage: dict[str, Coverage] = {}


class DocumentStream(IterableDataset[tuple[list[Example], Stretch]]):
    """Batches of examples of one rank's documents, with the stretch that begins with them.

    Args:
        corpora: Corpus -> how many documents it has.
        examples: Makes the examples of a document.
        budget: Most sub-words of a batch, padding included.
        shared_prefixes: Prefixes are shared and cost nothing.
        rank: Which share: ranks, and the workers of each, take documents in turns.
        ranks: How many shares.
    """

    def __init__(
        self,
        corpora: Mapping[str, int],
        examples: MakeExamples,
        budget: int,
        *,
        shared_prefixes: bool = False,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        self.keys = [(corpus, place) for corpus, count in corpora.items() for place in range(count)]
        self.examples, self._budget, self._shared_prefixes, self._rank, self._ranks = examples, budget, shared_prefixes, rank, ranks

    @property
    def mine(self) -> list[Key]:
        """This rank's documents."""
        return self.keys[self._rank :: self._ranks]

    def __iter__(self) -> Iterator[tuple[list[Example], Stretch]]:
        worker = get_worker_info()
        keys = self.mine if worker is None else self.mine[worker.id :: worker.num_workers]
        stretch, total = Stretch(), 0
        for key in keys:
            examples = self.examples(key, stretch.coverage.setdefault(key[0], Coverage()))
            stretch.documents.append((key, examples))
            total += sum(map(self._length, examples))
            if total and (total >= _BATCHES * self._budget or len(stretch.documents) >= _DOCUMENTS):
                yield from self._batches(stretch)
                stretch, total = Stretch(), 0
        yield from self._batches(stretch)

    def _length(self, example: Example) -> int:
        return len(example.input_ids) if self._shared_prefixes else example.length

    def _batches(self, stretch: Stretch) -> Iterator[tuple[list[Example], Stretch]]:
        """The batches of a stretch, none where its documents have no examples."""
        examples = [example for _, found in stretch.documents for example in found]
        for number, batch in enumerate(budget_batches([self._length(example) for example in examples], self._budget)):
            yield [examples[place] for place in batch], Stretch() if number else stretch

    def filler(self) -> tuple[list[Example], Stretch] | None:
        """A batch for a rank that has none left while others have, whose output nobody waits for; None where no document has examples."""
        for key in self.keys:
            for example in self.examples(key, Coverage()):
                return [replace(example, id="")], Stretch()
        return None


class StretchCollator:
    """Batches of a task, each with the stretch that begins with it, and how much it counts in a mean (``batch_targets``)."""

    def __init__(self, collate: Callable[[Sequence[Any]], Batch]) -> None:
        self.collate = collate

    def __call__(self, item: tuple[list[Example], Stretch]) -> Batch:  # noqa: D102
        examples, stretch = item
        targets = sum(example.targets for example in examples if example.id)
        return {**self.collate(examples), "stretch": stretch, "batch_targets": targets}


class InStep:
    """As many batches on each rank as the rank with most of them has: what ranks do together would wait for ever for one that is done.

    Args:
        batches: Those of this rank.
        filler: Makes one for a rank that has none left.
        any_rank: Whether something is true on any rank; all ranks ask together.
    """

    def __init__(self, batches: Iterable[Any], filler: Callable[[], Any], any_rank: Callable[[bool], bool]) -> None:
        self._batches, self._filler, self._any_rank = batches, filler, any_rank

    def __iter__(self) -> Iterator[Any]:
        batches = iter(self._batches)
        while True:
            batch = next(batches, None)
            if not self._any_rank(batch is not None):
                return
            yield self._filler() if batch is None else batch
