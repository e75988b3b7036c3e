"""What a response format cannot say is counted, or refused with another format as the remedy."""

from __future__ import annotations

import pytest

from clinical_ie.document import Document, Entity, Relation, Span
from clinical_ie.errors import SettingError
from clinical_ie.schema import EntityType, Schema
from clinical_ie.tasks.task import Source
from tests.tasks.instruction_round_trip import NEAR, Characters, compared, task_of, there_and_back


def lost(kind: str, response: str, document: Document, schema: Schema = NEAR) -> tuple[int, int]:
    """Annotations that do not come back, and how many of those were counted."""
    predicted, coverage, _, _ = there_and_back(task_of(kind, response), document, Source("c", schema, Characters()))
    right, gold, found = compared(kind, document, predicted, schema)
    assert right == found, "what comes back is right"
    return gold - right, sum(coverage.unrepresentable.values())


def test_parts_of_words_are_counted_by_bio() -> None:
    """Its docstring: flat mentions of whole words."""
    document = Document("d", "a nonsmoker here", (Entity("T1", "Dose", Span.of(2, 5)), Entity("T2", "Drug", Span.of(5, 11))))
    missing, counted = lost("entities", "bio", document)
    assert missing == counted > 0


def test_a_part_of_a_word_is_not_made_a_whole_one_by_bio() -> None:
    document = Document("d", "a nonsmoker here", (Entity("T2", "Drug", Span.of(5, 11)),))
    missing, counted = lost("entities", "bio", document)
    assert missing == counted == 1


def test_links_of_mentions_that_markup_cannot_say_are_counted() -> None:
    entities = (Entity("T1", "Dose", Span(((0, 3), (8, 11)))), Entity("T2", "Drug", Span.of(12, 19)))
    document = Document("d", "one and two aspirin", entities, (Relation("R1", "Of", "T1", "T2"),))
    assert lost("joint", "lines", document) == (0, 0)
    assert lost("joint", "markup", document) == (1, 1)
    assert lost("joint", "inline", document) == (1, 1)


@pytest.mark.parametrize("sign", "{}|,:\\")
def test_types_that_cannot_stand_in_braces_are_refused(sign: str) -> None:
    schema = Schema((EntityType(f"Dose{sign}5"),))
    with pytest.raises(SettingError, match="grouped"):
        task_of("entities", "inline").examples(Document("d", "one aspirin"), Source("here", schema, Characters()))


@pytest.mark.parametrize("response", ["lines", "grouped", "json", "inline", "markup"])
def test_links_of_mentions_annotated_twice_are_counted(response: str) -> None:
    entities = (Entity("T1", "Dose", Span.of(0, 3)), Entity("T2", "Dose", Span.of(0, 3)), Entity("T3", "Drug", Span.of(4, 11)))
    document = Document("d", "one aspirin", entities, (Relation("R1", "Of", "T2", "T3"),))
    missing, counted = lost("joint", response, document)
    assert missing == counted


@pytest.mark.parametrize("response", ["lines", "grouped", "json", "inline", "markup", "bio"])
@pytest.mark.parametrize(
    "text",
    ["one\ttwo drugs", "one\n  two drugs", "a\u00a0b c", "x <Drug> y", "x {Drug|y} z", "a & b &lt; c", "é ü\u0301 漢字 😀 b", '"a" \\ b'],
)
def test_whatever_a_text_holds(text: str, response: str) -> None:
    words = [place for place, character in enumerate(text) if not character.isspace() and (not place or text[place - 1].isspace())]
    ends = [
        place + 1
        for place, character in enumerate(text)
        if not character.isspace() and (place + 1 == len(text) or text[place + 1].isspace())
    ]
    entities = (Entity("T1", "Drug", Span.of(words[0], ends[1])), Entity("T2", "Dose", Span.of(words[-1], ends[-1])))
    missing, counted = lost("entities", response, Document("d", text, entities))
    assert missing == counted
    assert response == "bio" or missing == 0


def test_an_ellipsis_in_the_text_is_no_gap() -> None:
    document = Document("d", "one ... aspirin and x", (Entity("T1", "Drug", Span.of(0, 15)),))
    for response in ("lines", "grouped", "json", "inline", "markup", "bio"):
        missing, counted = lost("entities", response, document)
        assert missing == counted, response
