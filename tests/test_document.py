from __future__ import annotations

import dataclasses

import pytest

from clinical_ie.document import (
    Attribute,
    Comment,
    Document,
    Entity,
    Equivalence,
    Event,
    Normalization,
    Relation,
    Span,
    bare_role,
    next_id,
)
from clinical_ie.errors import DocumentError, InputError

TEXT = "No chest pain; aspirin daily."
CHEST = Entity("T1", "Problem", Span.of(3, 13))
DRUG = Entity("T2", "Drug", Span.of(15, 22))
OFTEN = Entity("T3", "Frequency", Span.of(23, 28))


@pytest.mark.parametrize(
    "fragments",
    [(), ((3, 3),), ((5, 4),), ((-1, 2),), ((4, 6), (0, 2)), ((0, 4), (3, 6))],
    ids=["none", "empty", "backwards", "negative", "out of order", "overlapping"],
)
def test_impossible_spans_are_refused(fragments: tuple[tuple[int, int], ...]) -> None:
    with pytest.raises(DocumentError):
        Span(fragments)


def test_a_span_knows_its_ends_and_gaps() -> None:
    whole, parted = Span.of(2, 9), Span(((2, 4), (6, 9)))
    assert (parted.start, parted.end) == (whole.start, whole.end) == (2, 9)
    assert parted.discontinuous
    assert not whole.discontinuous
    assert Span.of(2, 9) != parted


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (Span.of(0, 3), Span.of(3, 5), False),
        (Span.of(0, 4), Span.of(3, 5), True),
        (Span.of(0, 9), Span.of(4, 5), True),
        (Span(((0, 2), (6, 8))), Span.of(2, 6), False),
        (Span(((0, 2), (6, 8))), Span.of(7, 9), True),
    ],
)
def test_overlap_needs_a_shared_character(first: Span, second: Span, expected: bool) -> None:
    assert first.overlaps(second) is expected
    assert second.overlaps(first) is expected


def test_a_mention_may_end_with_the_text_and_not_behind_it() -> None:
    assert Document("d", "abc", (Entity("T1", "X", Span.of(1, 3)),)).entities[0].end == 3
    with pytest.raises(DocumentError, match="T1"):
        Document("d", "abc", (Entity("T1", "X", Span.of(1, 4)),))


def test_offsets_count_code_points() -> None:
    text = "🙂 pain"
    document = Document("d", text, (Entity("T1", "Problem", Span.of(2, 6)),))
    assert document.covered(document.entities[0].span) == "pain"


@pytest.mark.parametrize(
    "more",
    [
        {"entities": (CHEST, CHEST)},
        {"entities": (CHEST,), "events": (Event("T1", "Problem", "T1"),)},
        {"entities": (CHEST, DRUG), "relations": (Relation("R1", "A", "T1", "T2"), Relation("R1", "B", "T1", "T2"))},
        {"entities": (CHEST,), "attributes": (Attribute("A1", "X", "T1"), Attribute("A1", "Y", "T1"))},
    ],
    ids=["entities", "entity and event", "relations", "attributes"],
)
def test_an_id_is_used_once(more: dict[str, object]) -> None:
    with pytest.raises(DocumentError, match="same id"):
        Document("d", TEXT, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "more",
    [
        {"relations": (Relation("R1", "A", "T1", "T9"),)},
        {"relations": (Relation("R1", "A", "T9", "T1"),)},
        {"events": (Event("E1", "Problem", "T9"),)},
        {"events": (Event("E1", "Problem", "T1", (("Drug", "T9"),)),)},
        {"attributes": (Attribute("A1", "Negated", "T9"),)},
        {"equivalences": (Equivalence("Equiv", ("T1", "T9")),)},
        {"normalizations": (Normalization("N1", "Reference", "T9", "UMLS:C1"),)},
    ],
)
def test_references_need_a_target(more: dict[str, object]) -> None:
    with pytest.raises(DocumentError, match="does not exist"):
        Document("d", TEXT, (CHEST,), **more)  # type: ignore[arg-type]


def test_the_trigger_of_an_event_is_a_mention() -> None:
    """An event that triggers an event has no words of its own, and `anchors` could not say where it stands."""
    with pytest.raises(DocumentError):
        Document("d", TEXT, (CHEST,), events=(Event("E1", "Problem", "E2"), Event("E2", "Problem", "T1")))


def test_links_resolve_events_and_bare_roles() -> None:
    event = Event("E1", "Drug", "T2", (("Frequency2", "T3"),))
    document = Document("d", TEXT, (CHEST, DRUG, OFTEN), (Relation("R1", "Reason", "T1", "E1"),), (event,))
    assert list(document.links()) == [("R1", "Reason", CHEST, DRUG), ("E1", "Frequency", DRUG, OFTEN)]
    assert document.anchors()["E1"] == DRUG


def test_values_leave_flags_out() -> None:
    attributes = (Attribute("A1", "Status", "T1", "past"), Attribute("A2", "Negated", "T1"), Attribute("A3", "Degree", "T2", "mild"))
    document = Document("d", TEXT, (CHEST, DRUG), attributes=attributes)
    assert document.values() == {"T1": {"Status": "past"}, "T2": {"Degree": "mild"}}


def test_covered_joins_fragments_with_a_blank() -> None:
    assert Document("d", TEXT).covered(Span(((3, 8), (15, 22)))) == "chest aspirin"


@pytest.mark.parametrize(
    ("text", "fragments", "expected"),
    [
        ("220 mg\ntwice a day", ((0, 6), (7, 18)), ((0, 18),)),
        ("220 mg \r\n  twice a day", ((0, 6), (11, 22)), ((0, 22),)),
        ("220 mg \n twice a day", ((0, 7), (9, 20)), ((0, 20),)),  # blanks inside the fragments
        ("220\n\nmg\n twice\u00a0\x0cdaily", ((0, 3), (5, 7), (9, 14), (16, 21)), ((0, 21),)),
        ("left and right leg", ((0, 4), (15, 18)), ((0, 4), (15, 18))),
        ("left,\nright leg", ((0, 4), (6, 11)), ((0, 4), (6, 11))),
        ("pain in\nthe left or right\nleg", ((0, 7), (8, 16), (26, 29)), ((0, 16), (26, 29))),
        ("pain in the left or right\nleg", ((0, 7), (20, 25), (26, 29)), ((0, 7), (20, 29))),
        ("aspirin", ((0, 3), (3, 7)), ((0, 7),)),
        ("aspirin", ((0, 7),), ((0, 7),)),
    ],
)
def test_fragments_with_white_space_between_them_are_joined(
    text: str, fragments: tuple[tuple[int, int], ...], expected: tuple[tuple[int, int], ...]
) -> None:
    entity = Entity("T1", "Dose", Span(fragments))
    document = Document("a", text, (entity,), attributes=(Attribute("A1", "Negated", "T1"),))
    assert entity.span.joined(text) == Span(expected)
    joined = document.joined()
    assert joined.entities == (Entity("T1", "Dose", Span(expected)),)
    assert joined.attributes == document.attributes
    assert document.entities == (entity,), "a document keeps the fragments of its file"
    assert (joined is document) == (fragments == expected)
    assert joined.joined() is joined


def test_documents_are_frozen_and_compare_by_content() -> None:
    document = Document("d", TEXT, (CHEST,), comments=(Comment("#1", "AnnotatorNotes", "T1", "sure"),))
    assert document == dataclasses.replace(document)
    with pytest.raises(dataclasses.FrozenInstanceError):
        document.text = ""  # type: ignore[misc]


def test_messages_hold_no_text_of_the_note() -> None:
    with pytest.raises(InputError) as caught:
        Document("d", "Mrs Smithson", (Entity("T1", "X", Span.of(4, 99)),))
    assert "Smithson" not in str(caught.value)


@pytest.mark.parametrize(("role", "expected"), [("Amount", "Amount"), ("Amount2", "Amount"), ("Arg12", "Arg"), ("7", "7")])
def test_bare_role(role: str, expected: str) -> None:
    assert bare_role(role) == expected


@pytest.mark.parametrize(("taken", "expected"), [([], "T1"), (["T2", "T10", "R99", "Tx"], "T11")])
def test_next_id(taken: list[str], expected: str) -> None:
    assert next_id("T", taken) == expected


def test_a_confidence_is_no_part_of_an_annotation() -> None:
    sure, unsure = (dataclasses.replace(DRUG, confidence=value) for value in (0.9, 0.1))
    assert sure == unsure == DRUG
    assert len({sure, unsure, DRUG}) == 1
    assert Document("d", TEXT, (sure,)) == Document("d", TEXT, (DRUG,))


@pytest.mark.parametrize("value", [-0.01, 1.01, float("nan"), float("inf")])
@pytest.mark.parametrize("where", ["entity", "relation", "event", "argument", "attribute"])
def test_a_confidence_is_a_probability(where: str, value: float) -> None:
    def document(at: dict[str, float]) -> Document:
        return Document(
            "d",
            TEXT,
            (dataclasses.replace(CHEST, confidence=at.get("entity")), DRUG),
            (Relation("R1", "Treats", "T2", "T1", confidence=at.get("relation")),),
            (Event("E1", "Drug", "T2", (("For", "T1"),), at.get("event"), (at.get("argument"),)),),
            (Attribute("A1", "Negated", "T1", confidence=at.get("attribute")),),
        )

    for allowed in (0.0, 0.5, 1.0):
        document({where: allowed})
    with pytest.raises(DocumentError, match="no probability"):
        document({where: value})


def test_arguments_have_a_confidence_each_or_none() -> None:
    event = Event("E1", "Drug", "T2", (("For", "T1"), ("When", "T3")), argument_confidences=(0.5, None))
    Document("d", TEXT, (CHEST, DRUG, OFTEN), events=(event,))
    with pytest.raises(DocumentError, match="1 confidences of 2 arguments"):
        Document("d", TEXT, (CHEST, DRUG, OFTEN), events=(dataclasses.replace(event, argument_confidences=(0.5,)),))


def test_an_event_keeps_the_confidences_of_the_arguments_that_it_keeps() -> None:
    event = Event("E1", "Drug", "T2", (("For", "T1"), ("When", "T3")), 0.7, (0.5, 0.25))
    kept = event.linking({"T3"})
    assert (kept.arguments, kept.confidence, kept.argument_confidences) == ((("When", "T3"),), 0.7, (0.25,))
    assert event.linking({"T1", "T3"}) is event
    assert dataclasses.replace(event, argument_confidences=()).linking({"T3"}).argument_confidences == ()


def test_joined_mentions_keep_their_confidence() -> None:
    parted = Entity("T1", "Problem", Span(((3, 8), (9, 13))), 0.25)
    (joined,) = Document("d", TEXT, (parted,)).joined().entities
    assert (joined.span, joined.confidence) == (Span.of(3, 13), 0.25)
