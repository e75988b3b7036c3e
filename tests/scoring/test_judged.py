"""By hand, and against the counts of `StrictOneToOne`."""

from __future__ import annotations

from dataclasses import replace

from clinical_ie.document import Attribute, Document, Entity, Event, Relation, Span
from clinical_ie.scoring.judged import Judged, judged
from clinical_ie.scoring.strict_one_to_one import StrictOneToOne

TEXT = "aspirin 81 mg for pain"
ENTITIES = (
    Entity("T1", "Drug", Span.of(0, 7), 0.9),
    Entity("T2", "Dose", Span.of(8, 13), 0.8),
    Entity("T3", "Problem", Span.of(18, 22), 0.7),
)
GOLD = Document(
    "n",
    TEXT,
    ENTITIES,
    (Relation("R1", "For", "T1", "T3"),),
    (Event("E1", "Drug", "T1", (("Amount", "T2"), ("Amount2", "T3"))),),
    (Attribute("A1", "Certain", "T3", "yes"), Attribute("A2", "Planned", "E1")),
)


def test_each_is_right_or_wrong() -> None:
    predicted = replace(
        GOLD,
        entities=(ENTITIES[0], replace(ENTITIES[1], span=Span.of(8, 10)), ENTITIES[2]),
        relations=(Relation("R1", "For", "T3", "T1", confidence=0.4),),
        events=(Event("E1", "Drug", "T1", (("Amount2", "T2"), ("Amount", "T3")), 0.9, (0.3, 0.2)),),
        attributes=(Attribute("A1", "Certain", "T3", "no", 0.1), Attribute("A2", "Planned", "E1", None, 0.6)),
    )
    assert judged(GOLD, predicted) == [
        Judged("entities", "Drug", 0.9, True),
        Judged("entities", "Dose", 0.8, False),
        Judged("entities", "Problem", 0.7, True),
        Judged("attributes", "Planned", 0.6, True),
        Judged("relations", "For", 0.4, False),
        Judged("relations", "Amount", 0.3, False),
        Judged("relations", "Amount", 0.2, True),
        Judged("attributes", "Certain", 0.1, False),
    ]
    counts = StrictOneToOne().count(GOLD, predicted)
    found = judged(GOLD, predicted)
    assert sum(c.tp for c in counts.entities["strict"].values()) == sum(one.right for one in found if one.kind == "entities")
    assert sum(c.fp for c in counts.relations["strict"].values()) == sum(not one.right for one in found if one.kind == "relations")


def test_of_equal_predictions_the_surest_is_right() -> None:
    twice = replace(GOLD, entities=(*ENTITIES, Entity("T9", "Drug", Span.of(0, 7), 0.95)))
    assert [(one.confidence, one.right) for one in judged(GOLD, twice) if one.type == "Drug"] == [(0.95, True), (0.9, False)]
