"""Documents in chunks: every rank and worker sees its own, each example once, in batches within the budget."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

import pytest

from clinical_ie.data.streaming import DocumentChunk, DocumentStream, EvenBatches, Key
from clinical_ie.tasks.coverage import Coverage
from clinical_ie.tasks.entity_tagging import TaggingExample
from clinical_ie.tasks.task import Example, SourceName

DICE = random.Random(0)
SOURCES = {SourceName("a", "tags"): 90, SourceName("b", "tags"): 20, SourceName("b", "links"): 20}
LENGTHS = {Key("a", "tags", place): [DICE.randint(1, 30) for _ in range(DICE.choice([0, 0, 1, 1, 5]))] for place in range(90)}
LENGTHS |= {Key("b", "tags", place): [7] * (place % 3) for place in range(20)}
LENGTHS |= {Key("b", "links", place): [5] * (place % 2) for place in range(20)}


def examples(key: Key, coverage: Coverage) -> Sequence[Example]:
    coverage.gold += 1
    name = f"{key.source}/{key.place}"
    return [TaggingExample(f"{name}#{n}", name, *key.source, (1,) * length, (), (), (0, 0), {}) for n, length in enumerate(LENGTHS[key])]


def stream(rank: int = 0, ranks: int = 1, budget: int = 40) -> DocumentStream:
    return DocumentStream(SOURCES, examples, budget, rank=rank, ranks=ranks)


@pytest.mark.parametrize("ranks", [1, 2, 7, 200])
def test_every_example_is_in_one_batch_of_the_rank_that_has_its_document(ranks: int) -> None:
    seen: Counter[str] = Counter()
    counted = 0
    for rank in range(ranks):
        mine = set(stream(rank, ranks).mine)
        known: dict[str, Key] = {}
        for batch, chunk in stream(rank, ranks):
            assert batch
            assert max(example.length for example in batch) * len(batch) <= 40
            for key, found in chunk.documents:
                assert key in mine
                known |= {example.id: key for example in found}
            counted += sum(coverage.gold for coverage in chunk.coverage.values())
            assert all(example.id in known for example in batch), "a document is known before its examples come"
            seen.update(example.id for example in batch)
    assert seen == Counter(example.id for key in LENGTHS for example in examples(key, Coverage()))
    assert counted <= len(LENGTHS), "what comes with no batch is left to whoever gets the outputs"
    assert sorted(key for rank in range(ranks) for key in stream(rank, ranks).mine) == sorted(LENGTHS)


def test_documents_are_asked_for_when_they_are_wanted() -> None:
    asked: list[Key] = []

    def remembered(key: Key, coverage: Coverage) -> Sequence[Example]:
        asked.append(key)
        return examples(key, coverage)

    batches = iter(DocumentStream(SOURCES, remembered, 2))
    next(batches)
    assert 0 < len(asked) < 20, "16 batches' worth, not all"
    for _ in batches:
        pass
    assert asked == list(LENGTHS)


def test_ranks_take_equally_many_steps() -> None:
    rounds = [[True, True, False], [True, False, False], [False, False, False]]
    for rank, count in enumerate((2, 1, 0)):
        asked: list[bool] = []

        def any_rank(wish: bool, asked: list[bool] = asked, rank: int = rank) -> bool:
            assert wish == rounds[len(asked)][rank]
            asked.append(wish)
            return any(rounds[len(asked) - 1])

        batches = [f"batch {number}" for number in range(count)]
        assert list(EvenBatches(batches, lambda: "dummy", any_rank)) == (batches + ["dummy"] * 2)[:2]
        assert len(asked) == 3


def test_a_dummy_batch_is_small_and_nobody_waits_for_its_output() -> None:
    dummy = stream(3, 4).dummy_batch()
    assert dummy is not None
    (example,), chunk = dummy
    assert example.id == ""
    assert (chunk.documents, chunk.coverage) == ([], {})
    assert DocumentStream({SourceName("a", "tags"): 1}, lambda key, coverage: [], 40).dummy_batch() is None


def test_a_chunk_stays_where_it_is() -> None:
    """Lightning takes data classes in a batch apart."""
    from lightning.fabric.utilities.apply_func import move_data_to_device

    chunk = DocumentChunk()
    chunk.documents.append((Key("a", "tags", 1), examples(Key("a", "tags", 2), Coverage())))
    assert move_data_to_device({"chunk": chunk}, "cpu")["chunk"] is chunk
