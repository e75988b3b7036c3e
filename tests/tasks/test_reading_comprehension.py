"""Answers: every gold answer there and back, and what any other answer means."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinical_ie.corpora import Demo, UWSocialHistory
from clinical_ie.document import Document, Entity, Event, Relation, Span
from clinical_ie.scoring.score import score
from clinical_ie.scoring.shac import Shac2022
from clinical_ie.tasks.coverage import Coverage
from clinical_ie.tasks.links import LinkLabels
from clinical_ie.tasks.reading_comprehension import UNGROUNDED, EntityReading, RelationReading
from clinical_ie.tasks.task import Source
from tests.conftest import corpora_folder
from tests.tasks.test_links import NARROW, OPEN, SCHEMAS, Pieces, assert_gives_back, documents, source_of

sys.path.insert(0, str(Path(__file__).parent))
from reading_round_trip import ENCODINGS, ENTITIES, options, there_and_back


def mentions_of(document: Document) -> Counter[tuple[str, Span]]:
    return Counter((entity.type, entity.span) for entity in document.entities)


def assert_mentions_come_back(document: Document, predicted: Document, coverage: Coverage) -> None:
    gold, found = mentions_of(document), mentions_of(predicted)
    assert coverage.of == "mentions"
    assert coverage.gold == gold.total()
    assert (gold & found).total() == coverage.gold - sum(coverage.unrepresentable.values()), dict(coverage.unrepresentable)
    if not any("ends" in reason for reason in coverage.unrepresentable):
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


def test_answers_outside_the_core_are_left_to_the_window_that_owns_them() -> None:
    document = Document("d", "word " * 100)
    task = EntityReading(window=30, overlap=6)
    examples = task.examples(document, source_of(NARROW))
    everywhere = {example.id: [(2, place, place + 1, 1.0, None) for place in range(len(example.units))] for example in examples}
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
    predicted = RelationReading().annotations(document, examples, {example.id: [(query, first, last, 1.0, None)]}, NARROW, outcomes)
    assert [(r.type, r.tail) for r in predicted.relations] == ([("In", tail)] if tail else [])
    assert outcomes == {"answers" if tail else UNGROUNDED: 1}


def test_an_argument_has_the_value_of_the_best_answer() -> None:
    entities = (Entity("T1", "Trigger", Span.of(0, 2)), Entity("T2", "Status", Span.of(3, 5)))
    document = Document("d", "ab cd", entities)
    (example,) = RelationReading().examples(document, source_of(NARROW))
    names = LinkLabels(NARROW).names
    query = {names[int(rank)]: place for place, (_, rank) in enumerate(example.keys)}
    answers = [(query["Status"], 1, 2, 0.1, 0.3), (query["Status=off"], 1, 2, 0.9, 0.75), (query["Status=on"], 1, 2, 0.5, 0.4)]
    predicted = RelationReading().annotations(document, [example], {example.id: answers}, NARROW)
    assert predicted.events == (Event(predicted.events[0].id, "Trigger", "T1", (("Status", "T2"),)),)
    assert [a.value for a in predicted.attributes] == ["off"]
    assert predicted.events[0].argument_confidences == (0.75,)
    assert [a.confidence for a in predicted.attributes] == [0.75]


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
