"""Batches say what their examples say, row by row, whatever else is in them."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any, cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clinical_ie.data.collation import ReadingCollator, TaggingCollator, collator_for
from clinical_ie.data.marker_collation import PairCollator
from clinical_ie.data.padding import Batch
from clinical_ie.document import Document, Entity, Span
from clinical_ie.errors import SettingError
from clinical_ie.schema import EntityType, RelationType, Schema
from clinical_ie.tasks.entity_tagging import EntityTagging
from clinical_ie.tasks.links import LinkLabels
from clinical_ie.tasks.reading_comprehension import EntityReading, ReadingExample, RelationReading
from clinical_ie.tasks.relation_classification import PairExample, RelationClassification
from clinical_ie.tasks.task import Task
from tests.tasks.test_links import NARROW, OPEN, documents, source_of

PAD = 777
SMALL = Schema((EntityType("Trigger"), EntityType("Place")), (RelationType("At"),))
CORPORA = {"narrow": NARROW, "small": SMALL, "open": OPEN}
encodings = st.sampled_from(["shared", "pair"])


def shown(document: Document, schema: Schema) -> Document:
    """The document as a corpus of that schema has it."""
    kept = tuple(entity for entity in document.entities if entity.type in schema.entity_names)
    return document if len(kept) == len(document.entities) else Document(document.id, document.text, kept)


def examples_of(task: Task[Any], notes: dict[str, list[Document]], dice: random.Random) -> list[Any]:
    """Examples of several corpora in any order; notes get ids of their own."""
    found = []
    for corpus, listed in notes.items():
        for number, document in enumerate(listed):
            named = replace(shown(document, CORPORA[corpus]), id=f"{corpus}{number}")
            found += task.examples(named, source_of(CORPORA[corpus], corpus))
    dice.shuffle(found)
    return found


mixed = st.fixed_dictionaries({corpus: st.lists(documents(most_words=12, most_mentions=5), max_size=2) for corpus in CORPORA})


def check_rows(batch: Batch, examples: list[Any], shift: dict[str, int] | None = None) -> None:
    """Ids, mask and positions of every row, and filling behind them."""
    longest = max(example.length for example in examples)
    assert batch["example_ids"] == [example.id for example in examples]
    assert batch["corpora"] == [example.corpus for example in examples]
    for key in ("input_ids", "attention_mask", "position_ids"):
        assert batch[key].shape == (len(examples), longest)
        assert batch[key].dtype == torch.long
    for row, example in enumerate(examples):
        count = example.length
        by = (shift or {}).get(example.corpus, 0)
        assert batch["input_ids"][row].tolist() == [n - by if n < 0 else n for n in example.input_ids] + [PAD] * (longest - count)
        assert batch["attention_mask"][row].tolist() == [1] * count + [0] * (longest - count)
        assert batch["position_ids"][row].tolist() == [*example.position_ids] + [0] * (longest - count)


def check_pairs(batch: Batch, examples: list[PairExample]) -> None:
    shift = {"narrow": 0, "small": 4 * 4, "open": 4 * 4 + 4 * 2}
    check_rows(batch, examples, shift)
    mentions = [(row, index) for row, example in enumerate(examples) for index in range(len(example.mentions))]
    pairs = [(row, place) for row, example in enumerate(examples) for place in range(len(example.pairs))]
    assert batch["mention_rows"].tolist() == [row for row, _ in mentions]
    for key, shape in (
        ("marker_positions", (len(mentions), 2)),
        ("types", (len(mentions),)),
        ("pairs", (len(pairs), 2)),
        ("distances", (len(pairs), 2)),
    ):
        assert batch[key].shape == shape
        assert batch[key].dtype == torch.long
    assert batch["mention_rows"].dtype == torch.long
    for place, (row, index) in enumerate(mentions):
        example = examples[row]
        assert tuple(batch["marker_positions"][place].tolist()) == example.marker_positions[index]
        assert batch["types"][place] == example.types[index]
        if any(number < 0 for number in example.input_ids):
            first = -1 - 4 * example.types[index] - shift[example.corpus]
            assert batch["input_ids"][row, batch["marker_positions"][place, 0]].item() in (first, first - 2)
    assert batch["pair_keys"] == pairs
    for place, (row, rank) in enumerate(pairs):
        example = examples[row]
        assert tuple(mentions[index] for index in batch["pairs"][place].tolist()) == tuple((row, index) for index in example.pairs[rank])
        assert tuple(batch["distances"][place].tolist()) == example.distances[rank]
    assert sorted(place for places in batch["pairs_by_corpus"].values() for place in places.tolist()) == list(range(len(pairs)))
    assert set(batch["pairs_by_corpus"]) == set(batch["labels"]) <= {example.corpus for example in examples}
    for corpus, places in batch["pairs_by_corpus"].items():
        hot = batch["labels"][corpus]
        assert places.dtype == torch.long
        assert hot.dtype == torch.bool
        assert hot.shape == (len(places), len(LinkLabels(CORPORA[corpus])))
        for line, place in zip(hot, places.tolist(), strict=True):
            row, rank = pairs[place]
            assert examples[row].corpus == corpus
            assert line.nonzero().flatten().tolist() == sorted(examples[row].labels[rank])


@settings(max_examples=80)
@given(mixed, encodings, st.sampled_from([20, 60]), st.randoms(use_true_random=False))
def test_pairs_of_several_corpora(notes: dict[str, list[Document]], encoding: Any, window: int, dice: random.Random) -> None:
    task = RelationClassification(encoding, "multi_label", window=window, overlap=4)
    examples = examples_of(task, notes, dice)
    if not examples:
        return
    batch = PairCollator(PAD, CORPORA)(examples)
    check_pairs(batch, examples)
    lowest = min(batch["input_ids"].min().item(), 0)
    assert lowest >= -4 * sum(len(schema.entities) for schema in CORPORA.values())


def test_markers_of_corpora_are_told_apart() -> None:
    """The same note of three corpora; four markers for each type, corpora in the order of the schemas."""
    entities = (Entity("T1", "Trigger", Span.of(0, 2)), Entity("T2", "Place", Span.of(3, 5)))
    examples: list[PairExample] = []
    for corpus in ("open", "small"):
        examples += RelationClassification("pair").examples(Document("d", "ab cd", entities), source_of(CORPORA[corpus], corpus))
    batch = PairCollator(PAD, CORPORA)(examples)
    found = {
        (corpus, tuple(sorted(number for number in row if number < 0)))
        for corpus, row in zip(batch["corpora"], batch["input_ids"].tolist(), strict=True)
    }
    small, large = 16, 24  # four types of "narrow"; these and two of "small"
    trigger, place, place_small = 0, 4 * 3, 4 * 1
    assert found == {
        ("open", tuple(sorted(-1 - large - n for n in (trigger, trigger + 1, place + 2, place + 3)))),
        ("open", tuple(sorted(-1 - large - n for n in (trigger + 2, trigger + 3, place, place + 1)))),
        ("small", tuple(sorted(-1 - small - n for n in (trigger, trigger + 1, place_small + 2, place_small + 3)))),
        ("small", tuple(sorted(-1 - small - n for n in (trigger + 2, trigger + 3, place_small, place_small + 1)))),
    }


def bare(corpus: str, mentions: int) -> PairExample:
    """A window with mentions and no pair to label."""
    positions = tuple((3 + 2 * n, 4 + 2 * n) for n in range(mentions))
    row = (1, 5, 2, *(-1 - n % 2 for n in range(2 * mentions)))
    names = tuple(f"T{n}" for n in range(mentions))
    return PairExample(
        f"{corpus}/bare{mentions}#0",
        "bare",
        corpus,
        "relation_classification",
        row,
        (0, 1, 2) + (1,) * 2 * mentions,
        names,
        (0,) * mentions,
        positions,
        (),
        (),
        (),
    )


@pytest.mark.parametrize("with_pairs", [False, True])
@pytest.mark.parametrize("mentions", [0, 1, 3])
def test_windows_without_pairs_do_not_break_a_batch(mentions: int, with_pairs: bool) -> None:
    examples = [bare("small", mentions), bare("open", 0)]
    if with_pairs:
        entities = (Entity("T1", "Thing", Span.of(0, 2)), Entity("T2", "Place", Span.of(3, 5)))
        examples += RelationClassification().examples(Document("d", "ab cd", entities), source_of(NARROW, "narrow"))
    check_pairs(PairCollator(PAD, CORPORA)(examples), examples)


def check_queries(batch: Batch, examples: list[ReadingExample]) -> None:
    check_rows(batch, examples)
    words = max(len(example.units) for example in examples)
    most = max(len(example.queries) for example in examples)
    for key, width, listed in (
        ("unit_positions", words, [example.positions for example in examples]),
        ("query_positions", most, [example.queries for example in examples]),
    ):
        assert batch[key].dtype == torch.long
        assert batch[key].tolist() == [[*places] + [0] * (width - len(places)) for places in listed]
        mask = batch[key.replace("positions", "mask")]
        assert mask.dtype == torch.bool
        assert mask.tolist() == [[True] * len(places) + [False] * (width - len(places)) for places in listed]
    expected = [
        (row, query, first, last - 1)
        for row, example in enumerate(examples)
        for query, spans in enumerate(example.spans)
        for first, last in spans
    ]
    assert batch["spans"].shape == (len(expected), 4)
    assert batch["spans"].dtype == torch.long
    assert sorted(map(tuple, batch["spans"].tolist())) == sorted(expected)


def check_packed(batch: Batch, examples: list[ReadingExample]) -> None:
    most = max(len(example.queries) for example in examples)
    different = {asked for example in examples for asked in example.query_ids}
    lengths = batch["query_ids_mask"].sum(1).tolist()
    rows = [tuple(row[:length]) for row, length in zip(batch["query_ids"].tolist(), lengths, strict=True)]
    assert len(rows) == len(different)
    assert set(rows) == different
    assert all(number == PAD for row, length in zip(batch["query_ids"].tolist(), lengths, strict=True) for number in row[length:])
    assert batch["query_indices"].shape == (len(examples), most)
    some = any(ids for example in examples for ids in example.slot_ids)
    assert (batch["slot_ids"] is None) == (batch["slot_mask"] is None) == (not some)
    for row, example in enumerate(examples):
        for query, (asked, filled) in enumerate(zip(example.query_ids, example.slot_ids, strict=True)):
            assert rows[batch["query_indices"][row, query]] == asked
            if some:
                assert batch["slot_ids"].shape == batch["slot_mask"].shape
                assert batch["slot_ids"].shape[:2] == (len(examples), most)
                assert batch["slot_mask"][row, query].sum() == len(filled)
                assert batch["slot_ids"][row, query, : len(filled)].tolist() == [*filled]
                assert batch["slot_mask"][row, query, : len(filled)].all()
        if some:
            assert not batch["slot_mask"][row, len(example.slot_ids) :].any()
    assert 0 <= batch["query_indices"].min() <= batch["query_indices"].max() < len(rows)


@pytest.mark.parametrize("kind", [EntityReading, RelationReading])
@settings(max_examples=50)
@given(notes=mixed, encoding=st.sampled_from(["packed", "single"]), most=st.sampled_from([2, 128]), dice=st.randoms(use_true_random=False))
def test_queries_of_several_corpora(
    kind: type[EntityReading], notes: dict[str, list[Document]], encoding: Any, most: int, dice: random.Random
) -> None:
    task = kind(encoding, window=70, overlap=4, queries_per_input=most)
    examples = examples_of(task, notes, dice)
    if not examples:
        return
    batch = ReadingCollator(PAD)(examples)
    check_queries(batch, examples)
    assert ("query_ids" in batch) == (encoding == "packed")
    if encoding == "packed":
        check_packed(batch, examples)


def test_a_query_of_many_windows_is_encoded_once() -> None:
    document = Document("d", "word " * 60)
    examples = EntityReading(window=30, overlap=4).examples(document, source_of(NARROW))
    batch = ReadingCollator(PAD)(examples)
    assert len(examples) > 2
    assert batch["query_ids"].shape[0] == len(NARROW.entities)
    assert batch["query_indices"].tolist() == [[0, 1, 2, 3]] * len(examples)
    assert batch["slot_ids"] is None


@pytest.mark.parametrize("place", [0, 1])
def test_windows_without_queries_do_not_break_a_batch(place: int) -> None:
    """Wherever the empty one stands, the queries of the others are there."""
    entities = (Entity("T1", "Trigger", Span.of(0, 2)), Entity("T2", "Place", Span.of(3, 5)))
    (full,) = RelationReading().examples(Document("d", "ab cd", entities), source_of(OPEN, "open"))
    empty = ReadingExample("open/e#0.0", "e", "open", "entity_reading", (1, 5, 2), (0, 1, 2), ((0, 2),), (1,), (0, 1), (), (), ())
    examples = [full]
    examples.insert(place, empty)
    batch = ReadingCollator(PAD)(examples)
    check_queries(batch, examples)
    check_packed(batch, examples)


def test_the_collator_follows_from_the_task() -> None:
    for task, kind in (
        (EntityTagging(), TaggingCollator),
        (RelationClassification(), PairCollator),
        (EntityReading(), ReadingCollator),
        (RelationReading(), ReadingCollator),
    ):
        assert type(collator_for([cast("Task[Any]", task)], 0, CORPORA)) is kind
    with pytest.raises(SettingError, match="no batches are known for object"):
        collator_for([cast("Any", object())], 0, CORPORA)
