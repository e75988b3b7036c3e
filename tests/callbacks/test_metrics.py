from __future__ import annotations

import pytest

from clinical_ie.callbacks.metrics import TypeScore
from clinical_ie.corpora import Demo
from clinical_ie.document import Document, Entity, Relation, Span
from clinical_ie.schema import EntityType, RelationType, Schema
from clinical_ie.scoring.rules import StrictOneToOne
from clinical_ie.scoring.score import score

SCHEMA = Schema((EntityType("A"), EntityType("B")))
TEXT = "one two three four"


def document(name: str, *spans: tuple[str, int, int]) -> Document:
    return Document(name, TEXT, tuple(Entity(f"T{k}", kind, Span.of(a, b)) for k, (kind, a, b) in enumerate(spans)))


GOLD = [document("1", ("A", 0, 3), ("B", 4, 7)), document("2", ("A", 0, 7)), document("3")]
PREDICTED = [document("1", ("A", 0, 3), ("B", 4, 5)), document("2", ("B", 0, 7)), document("3", ("A", 0, 3))]


def test_the_metric_is_the_score() -> None:
    metric = TypeScore("entities", SCHEMA)
    for one, other in zip(GOLD, PREDICTED, strict=True):
        metric.update(StrictOneToOne().count(one, other))
    values = metric.compute()
    # by hand, strict: A 1 tp, 1 fp (document 3), 1 fn (2); B 0 tp, 2 fp, 1 fn -> micro 1 tp, 3 fp, 2 fn
    assert values["strict_precision"] == pytest.approx(1 / 4)
    assert values["strict_recall"] == pytest.approx(1 / 3)
    assert values["types/A/strict_f1"] == pytest.approx(1 / 2)
    assert values["types/B/strict_f1"] == 0
    # lenient: B of document 1 overlaps -> 2 tp, 2 fp, 1 fn
    assert values["lenient_f1"] == pytest.approx(4 / 7)
    assert values["strict_f1"] == pytest.approx(score(GOLD, PREDICTED, StrictOneToOne()).micro("entities", "strict").f1)


def test_ranks_add_up() -> None:
    whole, first, second = TypeScore("entities", SCHEMA), TypeScore("entities", SCHEMA), TypeScore("entities", SCHEMA)
    for place, (one, other) in enumerate(zip(GOLD, PREDICTED, strict=True)):
        counts = StrictOneToOne().count(one, other)
        whole.update(counts)
        (first if place % 2 else second).update(counts)
    first.strict += second.strict
    first.lenient += second.lenient
    assert first.compute() == whole.compute()


def test_every_type_of_a_schema_has_its_figures() -> None:
    metric = TypeScore("entities", Demo().schema)
    metric.update(StrictOneToOne().count(Document("d", TEXT), Document("d", TEXT)))
    values = metric.compute()
    assert {f"types/{name}/strict_f1" for name in Demo().schema.entity_names} <= set(values)
    assert set(values.values()) == {0.0}


def test_links_are_counted_by_their_own_names() -> None:
    schema = Schema(SCHEMA.entities, (RelationType("R", heads=("A",)), RelationType("S"), RelationType("R", heads=("B",))))
    metric = TypeScore("relations", schema)
    assert metric.types == ("R", "S"), "a relation that is declared twice is one row"
    mentions = (Entity("T1", "A", Span.of(0, 3)), Entity("T2", "B", Span.of(4, 7)))
    gold = Document("1", TEXT, mentions, (Relation("R1", "R", "T1", "T2"), Relation("R2", "S", "T2", "T1")))
    predicted = Document("1", TEXT, mentions, (Relation("R1", "R", "T1", "T2"), Relation("R2", "R", "T2", "T1")))
    metric.update(StrictOneToOne().count(gold, predicted))
    values = metric.compute()
    # by hand: R 1 tp, 1 fp; S 1 fn
    assert values["types/R/strict_precision"] == pytest.approx(1 / 2)
    assert values["types/S/strict_recall"] == 0
    assert values["strict_f1"] == pytest.approx(2 / (2 + 1 + 1))
    assert values["strict_f1"] == pytest.approx(score([gold], [predicted], StrictOneToOne()).micro("relations", "strict").f1)


def test_types_that_the_schema_does_not_know_still_count() -> None:
    metric = TypeScore("entities", SCHEMA)
    metric.update(StrictOneToOne().count(document("1", ("Unknown", 0, 3), ("A", 4, 7)), document("1", ("A", 4, 7))))
    assert metric.compute()["strict_recall"] == pytest.approx(1 / 2)
