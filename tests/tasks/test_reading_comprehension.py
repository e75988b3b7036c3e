"""Queries and answers: every answer there and back, every query asked once, and inputs that say what they should."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinical_ie.corpora import Demo, UWSocialHistory
from clinical_ie.document import Document, Entity, Event, Fragment, Relation, Span
from clinical_ie.errors import SettingError
from clinical_ie.schema import EntityType, Schema
from clinical_ie.scoring.score import score
from clinical_ie.scoring.shac import Shac2022
from clinical_ie.tasks.links import LinkLabels
from clinical_ie.tasks.reading_comprehension import QUERY_MARKER, UNGROUNDED, EntityReading, ReadingExample, RelationReading
from clinical_ie.tasks.task import Coverage, Source
from tests.conftest import corpora_folder
from tests.tasks.test_links import NARROW, OPEN, SCHEMAS, Pieces, assert_gives_back, documents, source_of

ENCODINGS = ("packed", "single")
encodings = st.sampled_from(ENCODINGS)


@st.composite
def options(draw: st.DrawFn, **fixed: Any) -> dict[str, Any]:
    """Short windows, so that notes have several; room for the longest query."""
    encoding = draw(encodings)
    drawn = {
        "encoding": encoding,
        "window": draw(st.integers(12, 40) if encoding == "packed" else st.integers(50, 70)),
        "overlap": draw(st.integers(0, 16)),
        "queries_per_input": draw(st.sampled_from([1, 2, 5, 128])),
        "definitions": draw(st.booleans()),
    }
    return drawn | fixed


def gold_outputs(examples: list[ReadingExample]) -> dict[str, list[tuple[int, int, int, float]]]:
    return {
        example.id: [(query, first, last, 1.0) for query, spans in enumerate(example.spans) for first, last in spans]
        for example in examples
    }


def there_and_back(
    task: EntityReading | RelationReading, document: Document, source: Source
) -> tuple[Document, Coverage, list[ReadingExample]]:
    coverage = Coverage()
    examples = task.examples(document, source, coverage)
    assert len({example.id for example in examples}) == len(examples)
    known = document.entities if task.needs_mentions else ()
    predicted = task.annotations(Document(document.id, document.text, known), examples, gold_outputs(examples), source.schema)
    return predicted, coverage, examples


def mentions_of(document: Document) -> Counter[tuple[str, Span]]:
    return Counter((entity.type, entity.span) for entity in document.entities)


def assert_mentions_come_back(document: Document, predicted: Document, coverage: Coverage) -> None:
    gold, found = mentions_of(document), mentions_of(predicted)
    assert coverage.of == "mentions"
    assert coverage.gold == gold.total()
    assert (gold & found).total() == coverage.gold - sum(coverage.unrepresentable.values()), dict(coverage.unrepresentable)
    if "ends inside a word or in white space" not in coverage.unrepresentable:
        assert not found - gold


@settings(max_examples=200)
@given(documents(most_mentions=10), options())
def test_gold_answers_give_gold_mentions(document: Document, given_options: dict[str, Any]) -> None:
    predicted, coverage, _ = there_and_back(EntityReading(**given_options), document, source_of(NARROW))
    assert_mentions_come_back(document, predicted, coverage)
    assert (predicted.id, predicted.text) == (document.id, document.text)


@settings(max_examples=150)
@given(documents(most_mentions=10, whole_words=False), options())
def test_gold_answers_give_gold_mentions_but_those_that_cut_words(document: Document, given_options: dict[str, Any]) -> None:
    predicted, coverage, _ = there_and_back(EntityReading(**given_options), document, source_of(NARROW))
    assert_mentions_come_back(document, predicted, coverage)


@pytest.mark.parametrize("turn", [1, -1])
def test_a_whole_word_counts_as_expressed_beside_its_part(turn: int) -> None:
    entities = (Entity("T1", "Thing", Span.of(0, 6)), Entity("T2", "Thing", Span.of(0, 3)))[::turn]
    document = Document("d", "abcdef", entities)
    predicted, coverage, _ = there_and_back(EntityReading(), document, source_of(NARROW))
    assert_mentions_come_back(document, predicted, coverage)


@settings(max_examples=200)
@given(documents(distinct=True), options(), st.sampled_from(sorted(SCHEMAS)))
def test_gold_answers_give_gold_links(document: Document, given_options: dict[str, Any], name: str) -> None:
    """Of mentions that are told apart by their characters."""
    predicted, coverage, _ = there_and_back(RelationReading(**given_options), document, source_of(SCHEMAS[name]))
    assert_gives_back(document, predicted, coverage, SCHEMAS[name])


@settings(max_examples=150)
@given(documents(), options(), st.sampled_from(sorted(SCHEMAS)))
def test_gold_answers_give_gold_links_of_any_mentions(document: Document, given_options: dict[str, Any], name: str) -> None:
    """Two mentions of the same words may not both be meant by an answer: then one of them must be counted."""
    predicted, coverage, _ = there_and_back(RelationReading(**given_options), document, source_of(SCHEMAS[name]))
    assert_gives_back(document, predicted, coverage, SCHEMAS[name])


@settings(max_examples=150)
@given(documents(whole_words=False), options(), st.sampled_from(sorted(SCHEMAS)))
def test_gold_answers_give_gold_links_of_mentions_that_cut_words(document: Document, given_options: dict[str, Any], name: str) -> None:
    predicted, coverage, _ = there_and_back(RelationReading(**given_options), document, source_of(SCHEMAS[name]))
    assert_gives_back(document, predicted, coverage, SCHEMAS[name])


ENTITIES = (
    Entity("T1", "Trigger", Span.of(0, 2)),
    Entity("T2", "Thing", Span.of(3, 9)),
    Entity("T3", "Place", Span.of(3, 9)),
    Entity("T4", "Thing", Span.of(3, 6)),
    Entity("T5", "Thing", Span.of(7, 9)),
    Entity("T6", "Thing", Span(((0, 2), (3, 9)))),
)


def near(*pairs: tuple[str, str]) -> tuple[Relation, ...]:
    return tuple(Relation(f"R{n}", "Near", head, tail) for n, (head, tail) in enumerate(pairs, 1))


def keep(*names: str) -> tuple[Entity, ...]:
    return tuple(entity for entity in ENTITIES if entity.id in names)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    "document",
    [
        pytest.param(Document("d", "ab cdefgh", keep("T1"), near(("T1", "T1"))), id="a mention with itself"),
        pytest.param(Document("d", "ab cdefgh", keep("T1", "T2", "T3"), near(("T1", "T2"))), id="same words, first"),
        pytest.param(Document("d", "ab cdefgh", keep("T1", "T2", "T3"), near(("T1", "T3"))), id="same words, second"),
        pytest.param(Document("d", "ab cdefgh", keep("T1", "T2", "T3"), near(("T1", "T2"), ("T1", "T3"))), id="same words, both"),
        pytest.param(Document("d", "ab cdefgh", keep("T1", "T2", "T4"), near(("T1", "T4"))), id="a part of a word that is a mention"),
        pytest.param(Document("d", "ab cdefgh", keep("T1", "T4", "T5"), near(("T1", "T5"))), id="parts of one word"),
        pytest.param(Document("d", "ab cdefgh", keep("T2", "T4"), near(("T2", "T4"))), id="a part of its head"),
    ],
)
def test_links_that_answers_cannot_say_are_counted(document: Document, encoding: Any) -> None:
    predicted, coverage, _ = there_and_back(RelationReading(encoding), document, source_of(OPEN))
    assert_gives_back(document, predicted, coverage, OPEN)


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
        assert len(example.asked) == len(example.filled) == count
        assert all(asked[0] == 1 and asked[-1] == 2 and len(asked) > 2 for asked in example.asked)
    else:
        assert count == 1
        assert example.length <= task.window
        assert example.queries == (1,)
        begins, ends = row.index(2) + 1, example.length - 1
        assert positions[2:] == list(range(2, example.length))
        assert example.asked == example.filled == ()
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
                assert example.filled[rank] == filled
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
@pytest.mark.parametrize(
    "document", [Document("d", ""), Document("d", " \n "), Document("d", " \n ", (Entity("T1", "Trigger", Span.of(0, 2)),))]
)
def test_empty_notes(document: Document, encoding: Any) -> None:
    predicted, coverage, examples = there_and_back(EntityReading(encoding), document, source_of(OPEN))
    assert examples == []
    assert predicted == Document("d", document.text)
    assert sum(coverage.unrepresentable.values()) == coverage.gold == len(document.entities)
    predicted, _, examples = there_and_back(RelationReading(encoding), document, source_of(OPEN))
    assert examples == []
    assert predicted.entities == document.entities
    assert len(predicted.events) == len(document.entities)


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
        assert example.asked == ((1, *Pieces().encode(text)[0], 2),)


def test_answers_outside_the_core_are_left_to_the_window_that_owns_them() -> None:
    document = Document("d", "word " * 100)
    task = EntityReading(window=30, overlap=6)
    examples = task.examples(document, source_of(NARROW))
    everywhere = {example.id: [(2, place, place + 1, 1.0) for place in range(len(example.units))] for example in examples}
    predicted = task.annotations(document, examples, everywhere, NARROW)
    assert [(e.type, e.start, e.end) for e in predicted.entities] == [("Thing", 5 * n, 5 * n + 4) for n in range(100)]


@pytest.mark.parametrize(
    ("answer", "tail"),
    [((3, 3, 4), "whole"), ((3, 0, 4), "whole"), ((3, 2, 3), None), ((3, 4, 5), "last"), ((3, 3, 5), "whole"), ((0, 4, 5), None)],
)
def test_answers_mean_the_mention_that_shares_most(answer: tuple[int, int, int], tail: str | None) -> None:
    entities = (
        Entity("head", "Thing", Span.of(0, 2)),
        Entity("other", "Thing", Span.of(3, 5)),
        Entity("whole", "Place", Span.of(9, 15)),
        Entity("last", "Place", Span.of(16, 18)),
    )
    document = Document("d", "ab cd ef ghijkl mn", entities)
    examples = RelationReading().examples(document, source_of(NARROW))
    (example,) = examples
    query = example.keys.index(("head", str(LinkLabels(NARROW).names.index("In"))))
    _, first, last = answer
    if answer[0] == 0:
        query, document = example.keys.index(("whole", example.keys[query][1])), Document("d", document.text, entities[:3])
    outcomes: Counter[str] = Counter()
    predicted = RelationReading().annotations(document, examples, {example.id: [(query, first, last, 1.0)]}, NARROW, outcomes)
    assert [(r.type, r.tail) for r in predicted.relations] == ([("In", tail)] if tail else [])
    assert outcomes == {"answers" if tail else UNGROUNDED: 1}


def test_an_argument_has_the_value_of_the_best_answer() -> None:
    entities = (Entity("T1", "Trigger", Span.of(0, 2)), Entity("T2", "Status", Span.of(3, 5)))
    document = Document("d", "ab cd", entities)
    (example,) = RelationReading().examples(document, source_of(NARROW))
    names = LinkLabels(NARROW).names
    query = {names[int(rank)]: place for place, (_, rank) in enumerate(example.keys)}
    answers = [(query["Status"], 1, 2, 0.1), (query["Status=off"], 1, 2, 0.9), (query["Status=on"], 1, 2, 0.5)]
    predicted = RelationReading().annotations(document, [example], {example.id: answers}, NARROW)
    assert predicted.events == (Event(predicted.events[0].id, "Trigger", "T1", (("Status", "T2"),)),)
    assert [a.value for a in predicted.attributes] == ["off"]


# the open corpora


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(("kind", "split", "folder"), [(UWSocialHistory, "dev", "uw_social_history_mtsamples"), (Demo, "test", None)])
def test_open_corpora_come_back_but_for_what_is_counted(kind: Any, split: str, folder: str | None, encoding: Any) -> None:
    if folder is not None and not (corpora_folder() / folder).exists():
        pytest.skip(f"{folder} is not here")
    corpus = kind(str(corpora_folder() / folder)) if folder else kind()
    source = Source(corpus.name, corpus.schema, Pieces())
    gold = corpus.read(split)
    whole, lost = 0, 0
    for document in gold:
        predicted, coverage, _ = there_and_back(EntityReading(encoding), document, source)
        assert_mentions_come_back(document, predicted, coverage)
        predicted, coverage, _ = there_and_back(RelationReading(encoding, window=512), document, source)
        assert_gives_back(document, predicted, coverage, corpus.schema)
        lost += sum(coverage.unrepresentable.values())
        triggers = Counter((event.type, event.trigger) for event in document.events)
        if not coverage.unrepresentable and max(triggers.values(), default=1) == 1:
            whole += 1
            counts = score([document], [predicted], Shac2022()).events_overall()
            assert (counts.fp, counts.fn) == (0, 0)
    assert whole > 0.5 * len(gold)
