from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinical_ie.document import Attribute, Document, Entity, Event, Relation, Span
from clinical_ie.errors import SettingError
from clinical_ie.extraction.thresholds import Thresholds, keep

TEXT = "aspirin 81 mg daily for pain"
DRUG, DOSE, OFTEN, PAIN = (
    Entity("T1", "Drug", Span.of(0, 7), 0.9),
    Entity("T2", "Dose", Span.of(8, 13), 0.5),
    Entity("T3", "Frequency", Span.of(14, 19), 0.8),
    Entity("T4", "Problem", Span.of(24, 28), 0.7),
)
NOTE = Document(
    "n",
    TEXT,
    (DRUG, DOSE, OFTEN, PAIN),
    (Relation("R1", "For", "T1", "T4", confidence=0.95), Relation("R2", "At", "T2", "T3", confidence=0.99)),
    (Event("E1", "Drug", "T1", (("Amount", "T2"), ("When", "T3"), ("Why", "T4")), 0.9, (0.99, 0.6, 0.95)),),
    (Attribute("A1", "Certain", "T4", "yes", 0.65), Attribute("A2", "Planned", "E1", None, 0.9)),
)


def ids(document: Document) -> list[str]:
    return [one.id for one in (*document.entities, *document.relations, *document.events, *document.attributes)]


def test_nothing_falls_without_a_threshold() -> None:
    assert keep(NOTE, Thresholds()) == (NOTE, Document("n", TEXT))


def test_what_refers_to_something_that_falls_falls_with_it() -> None:
    kept, review = keep(NOTE, Thresholds(0.7))
    assert ids(kept) == ["T1", "T3", "T4", "R1", "E1", "A2"], "R2 with its head T2, A1 by itself"
    assert kept.events[0].arguments == (("Why", "T4"),), "Amount with its target, When by itself"
    assert kept.events[0].argument_confidences == (0.95,)
    assert ids(review) == ["T1", "T2", "T3", "T4", "R2", "E1", "A1"], "what fell, and what that refers to"
    assert review.events[0].arguments == (("Amount", "T2"), ("When", "T3"))
    assert review.events[0].argument_confidences == (0.99, 0.6)


def test_an_event_falls_with_its_trigger_and_everything_on_it() -> None:
    kept, review = keep(NOTE, Thresholds(0, {"Drug": 0.95}))
    assert ids(kept) == ["T2", "T3", "T4", "R2", "A1"]
    assert ids(review) == ["T1", "T2", "T3", "T4", "R1", "E1", "A2"]
    assert review.events == NOTE.events


def test_a_type_has_its_own_threshold() -> None:
    kept, _ = keep(NOTE, Thresholds(0.9, {"Dose": 0.5, "Frequency": 0.8, "When": 0.6, "Problem": 0, "Certain": 0.65}))
    assert kept == NOTE


def test_what_has_no_confidence_is_kept_only_without_a_threshold() -> None:
    unsure = replace(NOTE, entities=(replace(DRUG, confidence=None), DOSE, OFTEN, PAIN))
    assert "T1" not in ids(keep(unsure, Thresholds(0.1))[0])
    assert "T1" in ids(keep(unsure, Thresholds(0.1, {"Drug": 0}))[0])


def _said(document: Document) -> Iterator[tuple[object, ...]]:
    for one in (*document.entities, *document.relations, *document.attributes):
        yield (one,)
    for event in document.events:
        yield event.id, event.type, event.trigger
        for argument in event.arguments:
            yield event.id, argument


@settings(max_examples=100)
@given(st.lists(st.sampled_from([None, 0.0, 0.3, 0.5, 1.0]), min_size=11, max_size=11), st.sampled_from([0.0, 0.2, 0.4, 0.9, 2.0]))
def test_together_they_are_everything(values: list[float | None], threshold: float) -> None:
    given_ = iter(values)
    note = replace(
        NOTE,
        entities=tuple(replace(one, confidence=next(given_)) for one in NOTE.entities),
        relations=tuple(replace(one, confidence=next(given_)) for one in NOTE.relations),
        events=(replace(NOTE.events[0], argument_confidences=tuple(next(given_) for _ in range(3))),),
        attributes=tuple(replace(one, confidence=next(given_)) for one in NOTE.attributes),
    )
    kept, review = keep(note, Thresholds(threshold))
    assert set(_said(kept)) | set(_said(review)) == set(_said(note))
    assert all(one.confidence is None or one.confidence >= threshold for one in (*kept.entities, *kept.relations, *kept.attributes))
    assert keep(kept, Thresholds(threshold))[0] == kept


@pytest.mark.parametrize("given_", ["1.5", "-0.1", "high", "Drug=", "Drug=2", "nan", "=x"])
def test_what_is_no_probability_is_refused(given_: str) -> None:
    with pytest.raises(SettingError, match="probability"):
        Thresholds.parse([given_])


def test_an_unknown_type_is_refused_with_the_nearest_one() -> None:
    assert Thresholds.parse(["0.5", "Drug=0.9", "Drug=0.8"], ["Drug"]) == Thresholds(0.5, {"Drug": 0.8})
    with pytest.raises(SettingError, match="did you mean"):
        Thresholds.parse(["Drugs=0.9"], ["Drug", "Dose"])
