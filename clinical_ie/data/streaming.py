"""Examples that are made when they are wanted: documents in chunks of some batches, each document on one rank.

Batches hold examples of like length, chosen within a chunk. What is known of its documents travels with its first batch, so whoever
gets outputs needs no other list of examples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar, cast

from torch.utils.data import IterableDataset, get_worker_info

from clinical_ie.data.batching import budget_batches
from clinical_ie.data.examples import Examples
from clinical_ie.data.padding import Batch
from clinical_ie.data.tokenization import Subwords
from clinical_ie.document import Document
from clinical_ie.tasks.coverage import Coverage, count_words
from clinical_ie.tasks.task import Example, Source, SourceName, Task

D = TypeVar("D")
E = TypeVar("E", bound=Example)
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


def chunks(
    documents: Iterable[tuple[D, Sequence[Example]]], budget: int, *, shared_prefixes: bool = False
) -> Iterator[list[tuple[D, Sequence[Example]]]]:
    """Documents with their examples, as many as are looked ahead over for batches of examples of like length.

    Args:
        documents: One after the other; no more of them are asked for than are in a chunk.
        budget: Most sub-words of a batch.
        shared_prefixes: Prefixes are shared and cost nothing.
    """
    chunk: list[tuple[D, Sequence[Example]]] = []
    total = 0
    for document, examples in documents:
        chunk.append((document, examples))
        total += sum(_length(example, shared_prefixes) for example in examples)
        if total and (total >= _BATCHES * budget or len(chunk) >= _DOCUMENTS):
            yield chunk
            chunk, total = [], 0
    if chunk:
        yield chunk


def batches(examples: Sequence[E], budget: int, *, shared_prefixes: bool = False) -> Iterator[list[E]]:
    """Batches of examples of like length."""
    for batch in budget_batches([_length(example, shared_prefixes) for example in examples], budget):
        yield [examples[place] for place in batch]


def _length(example: Example, shared_prefixes: bool) -> int:
    return len(example.input_ids) if shared_prefixes else example.length


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
        chunk = DocumentChunk()

        def made() -> Iterator[tuple[Key, Sequence[Example]]]:
            for key in keys:
                yield key, self.examples(key, chunk.coverage.setdefault(key.source, Coverage()))

        for documents in chunks(made(), self._budget, shared_prefixes=self._shared_prefixes):
            chunk.documents = documents
            examples = [example for _, found in documents for example in found]
            for number, batch in enumerate(batches(examples, self._budget, shared_prefixes=self._shared_prefixes)):
                yield batch, DocumentChunk() if number else chunk
            chunk = DocumentChunk()

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
