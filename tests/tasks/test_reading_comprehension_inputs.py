"""Queries: every one asked once, inputs that say what they should, and settings that make them."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinical_ie.document import Document, Entity, Fragment, Relation, Span
from clinical_ie.errors import SettingError
from clinical_ie.schema import EntityType, Schema
from clinical_ie.tasks.coverage import Coverage
from clinical_ie.tasks.links import LinkLabels
from clinical_ie.tasks.reading_comprehension import EntityReading, RelationReading
from clinical_ie.tasks.reading_inputs import QUERY_MARKER, ReadingExample
from tests.tasks.test_links import NARROW, OPEN, Pieces, assert_gives_back, documents, source_of

sys.path.insert(0, str(Path(__file__).parent))
from reading_round_trip import ENCODINGS, ENTITIES, options, there_and_back


def words_by_hand(text: str, offsets: list[Fragment]) -> list[Fragment]:
    """Pieces of one run of letters, or of digits, are one word; all others are words of their own."""
    words: list[Fragment] = []
    for start, end in offsets:
        joined = words and words[-1][1] == start
        if joined and ((text[start - 1].isalpha() and text[start].isalpha()) or (text[start - 1].isdecimal() and text[start].isdecimal())):
            words[-1] = words[-1][0], end
        else:
            words.append((start, end))
    return words


def check_input(task: EntityReading | RelationReading, document: Document, example: ReadingExample) -> None:
    """The context is a stretch of the note, its words are where they are said to be, and everything fits."""
    ids, offsets = Pieces().encode(document.text)
    words = words_by_hand(document.text, offsets)
    row, positions = list(example.input_ids), list(example.position_ids)
    count = len(example.queries)
    assert len(positions) == example.length
    assert 0 <= min(positions) <= max(positions) < task.window
    assert count == len(example.keys) == len(example.spans) >= 1
    assert [place for place, number in enumerate(row) if number < 0] == list(example.queries)
    assert all(row[place] == QUERY_MARKER for place in example.queries)
    if task.encoding == "packed":
        assert count <= task.queries_per_input
        begins, ends = 1, example.length - count - 1
        assert positions[: ends + 1] == list(range(ends + 1))
        assert len(example.query_ids) == len(example.slot_ids) == count
        assert all(asked[0] == 1 and asked[-1] == 2 and len(asked) > 2 for asked in example.query_ids)
    else:
        assert count == 1
        assert example.length <= task.window
        assert example.queries == (1,)
        begins, ends = row.index(2) + 1, example.length - 1
        assert positions[2:] == list(range(2, example.length))
        assert example.query_ids == example.slot_ids == ()
    assert row[0] == 1
    assert row[ends] == 2
    assert len(example.units) == len(example.positions) > 0
    firsts = {word: next(rank for rank, (a, _) in enumerate(offsets) if a == word[0]) for word in words}
    start = firsts[example.units[0]] - (example.positions[0] - begins)
    assert row[begins:ends] == ids[start : start + ends - begins]
    assert start >= 0
    assert list(example.units) == [word for word in words if start <= firsts[word] < start + ends - begins]
    assert [place - begins + start for place in example.positions] == [firsts[word] for word in example.units]
    assert 0 <= example.owned[0] <= example.owned[1] <= len(example.units)
    for spans in example.spans:
        assert len(set(spans)) == len(spans)
        assert all(0 <= first < last <= len(example.units) for first, last in spans)


@settings(max_examples=150)
@given(documents(most_mentions=5, whole_words=False), options())
def test_entity_queries_are_asked_of_every_word(document: Document, given_options: dict[str, Any]) -> None:
    task = EntityReading(**given_options)
    examples = task.examples(document, source_of(NARROW))
    asked: Counter[tuple[str, Fragment]] = Counter()
    for example in examples:
        check_input(task, document, example)
        for (kind,) in example.keys:
            asked.update((kind, unit) for unit in example.units[slice(*example.owned)])
        shown = [example.position_ids[place] for place in example.queries]
        assert shown == [example.length - len(shown) if task.encoding == "packed" else 1] * len(shown)
    _, offsets = Pieces().encode(document.text)
    expected = {(kind, word) for kind in NARROW.entity_names for word in words_by_hand(document.text, offsets)}
    assert asked == Counter(expected)


def check_relation_queries(document: Document, given_options: dict[str, Any]) -> None:
    task = RelationReading(**given_options)
    labels = LinkLabels(OPEN)
    coverage = Coverage()
    examples = task.examples(document, source_of(OPEN), coverage)
    ids, offsets = Pieces().encode(document.text)
    asked: Counter[tuple[str, ...]] = Counter()
    by_id = {entity.id: entity for entity in document.entities}
    for example in examples:
        check_input(task, document, example)
        asked.update(example.keys)
        for rank, (key, place) in enumerate(zip(example.keys, example.queries, strict=True)):
            head = by_id[key[0]]
            filled = tuple(Pieces().encode(document.covered(head.span))[0])
            if task.encoding == "packed":
                assert example.slot_ids[rank] == filled
            else:
                assert example.input_ids[2 : example.input_ids.index(2)][-len(filled) :] == filled or not filled
            begins = example.position_ids[place]  # the marker of a query stands where its head begins
            first = next((n for n, (_, end) in enumerate(offsets) if end > head.start), None)
            if first is None:
                continue
            (start,) = {n for n, (a, _) in enumerate(offsets) if a == example.units[0][0]}
            start -= example.positions[0]
            word = next((n for n, place in enumerate(example.positions) if place + start == first), None)
            if word is not None:
                assert begins + start == first
            else:  # inside a word: there, or where that begins, but in the text
                assert example.positions[0] <= begins <= min(first - start, example.length - 2)
                assert example.input_ids[begins] == ids[begins + start]
    expected = {
        (entity.id, str(rank))
        for entity in document.entities
        for rank in range(len(labels))
        if any(rank in labels.legal(entity.type, tail) for tail in OPEN.entity_names)
    }
    if not offsets:
        expected = set()
    assert asked == Counter(expected)
    assert coverage.candidates == len(expected)


@settings(max_examples=150)
@given(documents(most_mentions=5), options())
def test_relation_queries_are_asked_once(document: Document, given_options: dict[str, Any]) -> None:
    check_relation_queries(document, given_options)


@settings(max_examples=200)
@given(documents(most_mentions=5, whole_words=False), options())
def test_relation_queries_are_asked_once_of_heads_that_cut_words(document: Document, given_options: dict[str, Any]) -> None:
    check_relation_queries(document, given_options)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("overlap", [0, 3])
@pytest.mark.parametrize("length", [6, 9, 30])
def test_a_head_that_begins_inside_a_word_at_a_seam(encoding: Any, overlap: int, length: int) -> None:
    """Windows of 8 sub-words: wherever the seam falls, some head begins in the word before it and its answer is in reach."""
    text = ("a" * length + " ") * 12
    for place in range(12):
        word = place * (length + 1)
        head, tail = Entity("T1", "Thing", Span.of(word + 4, word + length)), Entity("T2", "Place", Span.of(word, word + length))
        document = Document("d", text, (head, tail), (Relation("R1", "In", "T1", "T2"),))
        given_options = {"encoding": encoding, "window": 12 if encoding == "packed" else 32, "overlap": overlap, "definitions": False}
        check_relation_queries(document, given_options)
        predicted, coverage, _ = there_and_back(RelationReading(**given_options), document, source_of(OPEN))
        assert_gives_back(document, predicted, coverage, OPEN)


@pytest.mark.parametrize("kind", [EntityReading, RelationReading])
@settings(max_examples=60)
@given(document=documents(distinct=True), given_options=options(), share=st.sampled_from([0.0, 0.4]))
def test_training_leaves_out_queries_without_answer_only(
    kind: type[EntityReading], document: Document, given_options: dict[str, Any], share: float
) -> None:
    def answers(examples: list[ReadingExample]) -> dict[Any, tuple[Fragment, ...]]:
        return {
            (example.units, key): tuple((example.units[a][0], example.units[b - 1][1]) for a, b in spans)
            for example in examples
            for key, spans in zip(example.keys, example.spans, strict=True)
        }

    source = source_of(OPEN)
    before, after = Coverage(), Coverage()
    whole = answers(kind(**given_options).examples(document, source, before, training=True))
    task = kind(**given_options, negatives=share)
    some = answers(task.examples(document, source, after, training=True))
    assert before == after
    assert answers(task.examples(document, source)) == whole
    assert answers(task.examples(document, source, training=True)) == some
    assert some.items() <= whole.items()
    assert {key for key, spans in whole.items() if spans} <= set(some)
    if share == 0:
        assert all(some.values())
    assert all(example.keys for example in task.examples(document, source, training=True))


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_notes_without_mentions_have_no_relation_queries(encoding: Any) -> None:
    assert RelationReading(encoding).examples(Document("d", "ab cd"), source_of(OPEN)) == []


@pytest.mark.parametrize("kind", [EntityReading, RelationReading])
def test_impossible_settings_are_refused(kind: type[EntityReading]) -> None:
    document = Document("d", "ab cdefgh", ENTITIES)
    with pytest.raises(SettingError, match="give a larger one"):
        kind(window=10).examples(document, source_of(OPEN))
    for bad in ({"negatives": 2}, {"negatives": -1}, {"queries_per_input": 0}):
        with pytest.raises(SettingError, match="expected a share and at least 1"):
            kind(**bad)


def test_definitions_are_asked_with_if_so_set() -> None:
    schema = Schema((EntityType("Lab_value", "what a test gave"),))
    for definitions, text in ((True, "Lab value: what a test gave"), (False, "Lab value")):
        (example,) = EntityReading(definitions=definitions).examples(Document("d", "ab"), source_of(schema))
        assert example.query_ids == ((1, *Pieces().encode(text)[0], 2),)
