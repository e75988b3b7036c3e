"""Examples that are made when they are wanted: documents in chunks of some batches, each document on one rank.

Batches hold examples of like length, chosen within a chunk. What is known of its documents travels with its first batch, so whoever
gets outputs needs no other list of examples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, cast

from torch.utils.data import IterableDataset, get_worker_info

from clinical_ie.data.batching import budget_batches
from clinical_ie.data.collation import Batch
from clinical_ie.data.examples import Examples
from clinical_ie.data.tokenization import Subwords
from clinical_ie.document import Document
from clinical_ie.tasks.coverage import Coverage, count_words
from clinical_ie.tasks.task import Example, Source, SourceName, Task

_BATCHES = 16
_DOCUMENTS = 1024
"""The most of a chunk: what it holds in memory, against batches that are not full at its end."""


class Key(NamedTuple):
    """A document that a task is asked for: its corpus, the task, and its place in the corpus."""

    corpus: str
    task: str
    place: int

    @property
    def source(self) -> SourceName:
        """Corpus and task."""
        return SourceName(self.corpus, self.task)


ExampleSource = Callable[[Key, Coverage], Sequence[Example]]
"""Gives the examples of a document; what they can express is counted, where it has not been before."""


def made_examples(
    tasks: Mapping[str, Task[Any]],
    sources: Mapping[str, Source],
    inputs: Mapping[SourceName, Sequence[Document]],
    key: Key,
    coverage: Coverage,
) -> Sequence[Example]:
    """Examples that are made of the document now; the first arguments make an `ExampleSource`."""
    return examples_of(tasks[key.task], inputs[key.source][key.place], sources[key.corpus], coverage)


def stored_examples(examples: Examples, ends: Mapping[SourceName, Sequence[int]], key: Key, coverage: Coverage) -> Sequence[Example]:
    """Examples that were made and counted before, by where those of each document end; the first arguments make an `ExampleSource`."""
    of_source = ends[key.source]
    found: list[Example] = examples[of_source[key.place] : of_source[key.place + 1]]
    return found


def examples_of(task: Task[Any], document: Document, source: Source, coverage: Coverage, *, training: bool = False) -> list[Any]:
    """The examples of a document; what they can express is counted, and words that the tokenizer does not know."""
    encoder = cast("Subwords", source.encoder)
    if encoder.unknown_id is not None:
        count_words(coverage, document, *encoder.encode(document.text), encoder.unknown_id)
    return task.examples(document, source, coverage, training=training)


class DocumentChunk:
    """Documents with all their examples, and what these can express, by corpus and task; it stays when its batch moves to a device."""

    def __init__(self) -> None:
        self.documents: list[tuple[Key, Sequence[Example]]] = []
        self.coverage: dict[SourceName, Coverage] = {}


class DocumentStream(IterableDataset[tuple[list[Example], DocumentChunk]]):
    """Batches of examples of one rank's documents, with the chunk that begins with them.

    Args:
        sources: Corpus and task -> how many documents.
        examples: Gives those of a document.
        budget: Most sub-words of a batch, padding included.
        shared_prefixes: Prefixes are shared and cost nothing.
        rank: Which share: ranks, and the workers of each, take every n-th document.
        ranks: How many shares.
    """

    def __init__(
        self,
        sources: Mapping[SourceName, int],
        examples: ExampleSource,
        budget: int,
        *,
        shared_prefixes: bool = False,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        self.keys = [Key(*source, place) for source, count in sources.items() for place in range(count)]
        self.examples, self._budget, self._shared_prefixes, self._rank, self._ranks = examples, budget, shared_prefixes, rank, ranks

    @property
    def mine(self) -> list[Key]:
        """This rank's documents."""
        return self.keys[self._rank :: self._ranks]

    def __iter__(self) -> Iterator[tuple[list[Example], DocumentChunk]]:
        worker = get_worker_info()
        keys = self.mine if worker is None else self.mine[worker.id :: worker.num_workers]
        chunk, total = DocumentChunk(), 0
        for key in keys:
            examples = self.examples(key, chunk.coverage.setdefault(key.source, Coverage()))
            chunk.documents.append((key, examples))
            total += sum(map(self._length, examples))
            if total and (total >= _BATCHES * self._budget or len(chunk.documents) >= _DOCUMENTS):
                yield from self._batches(chunk)
                chunk, total = DocumentChunk(), 0
        yield from self._batches(chunk)

    def _length(self, example: Example) -> int:
        return len(example.input_ids) if self._shared_prefixes else example.length

    def _batches(self, chunk: DocumentChunk) -> Iterator[tuple[list[Example], DocumentChunk]]:
        """The batches of a chunk, none where its documents have no examples."""
        examples = [example for _, found in chunk.documents for example in found]
        for number, batch in enumerate(budget_batches([self._length(example) for example in examples], self._budget)):
            yield [examples[place] for place in batch], DocumentChunk() if number else chunk

    def dummy_batch(self) -> tuple[list[Example], DocumentChunk] | None:
        """A batch for a rank that has none left while others have, whose output nobody waits for; None where no document has examples."""
        for key in self.keys:
            for example in self.examples(key, Coverage()):
                return [replace(example, id="")], DocumentChunk()
        return None


class ChunkCollator:
    """Batches, each with the chunk that begins with it, and how much it counts in a mean (``batch_targets``)."""

    def __init__(self, collate: Callable[[Sequence[Any]], Batch]) -> None:
        self.collate = collate

    def __call__(self, item: tuple[list[Example], DocumentChunk]) -> Batch:  # noqa: D102
        examples, chunk = item
        targets = sum(example.targets for example in examples if example.id)
        return {**self.collate(examples), "chunk": chunk, "batch_targets": targets}


class EvenBatches:
    """As many batches on each rank as the rank with most of them has: collective operations would wait for ever for one that is done.

    Args:
        batches: Those of this rank.
        dummy_batch: Makes one for a rank that has none left.
        any_rank: Whether something is true on any rank; all ranks ask together.
    """

    def __init__(self, batches: Iterable[Any], dummy_batch: Callable[[], Any], any_rank: Callable[[bool], bool]) -> None:
        self._batches, self._dummy_batch, self._any_rank = batches, dummy_batch, any_rank

    def __iter__(self) -> Iterator[Any]:
        batches = iter(self._batches)
        while True:
            batch = next(batches, None)
            if not self._any_rank(batch is not None):
                return
            yield self._dummy_batch() if batch is None else batch
