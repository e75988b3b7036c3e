"""Answers grounded to mentions: an index finds what looking at every mention finds, and looks at few."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinical_ie.document import Document, Entity, Relation, Span
from clinical_ie.tasks.links import LinkLabels
from clinical_ie.tasks.reading_comprehension import RelationReading, grounded
from tests.tasks.test_links import SCHEMAS, documents, source_of


def brute_force(document: Document, labels: LinkLabels, head: Entity, rank: int, answer: Span) -> Entity | None:
    """Every mention is looked at: the same ends first, then most shared characters, then the shorter one, then the first."""
    best: tuple[int, int, int] | None = None
    found = None
    for entity in document.entities:
        if entity.id == head.id or rank not in labels.legal(head.type, entity.type):
            continue
        shared = min(entity.end, answer.end) - max(entity.start, answer.start)
        if shared <= 0 or not entity.span.overlaps(answer):
            continue
        key = int((entity.start, entity.end) == (answer.start, answer.end)), shared, -(entity.end - entity.start)
        if best is None or key > best:
            best, found = key, entity
    return found


@settings(max_examples=200)
@given(documents(most_mentions=12, whole_words=False), st.sampled_from(sorted(SCHEMAS)), st.integers(0, 10**6))
def test_an_answer_means_the_mention_that_a_search_through_all_finds(document: Document, name: str, seed: int) -> None:
    labels, dice = LinkLabels(SCHEMAS[name]), random.Random(seed)
    document = document.joined()
    if not document.entities or not len(labels):
        return
    answers = []
    for _ in range(20):
        start = dice.randrange(len(document.text))
        answers.append((dice.choice(document.entities), dice.randrange(len(labels)), Span.of(start, start + dice.randint(1, 12))))
    assert grounded(document, labels, answers) == [brute_force(document, labels, *answer) for answer in answers]


class CountedSpan(Span):
    """A span that counts how often it is compared."""

    compared = 0

    def overlaps(self, other: Span) -> bool:
        CountedSpan.compared += 1
        return super().overlaps(other)


@pytest.mark.parametrize("repeated", [50, 200])
def test_a_long_note_costs_what_its_parts_cost(repeated: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each link is held against its own tail alone, and a mention belongs to one window: counted, not timed."""
    entities, relations = [], []
    for place in range(repeated):
        entities += [
            Entity(f"H{place}", "Trigger", CountedSpan.of(10 * place, 10 * place + 3)),
            Entity(f"T{place}", "Thing", CountedSpan.of(10 * place + 4, 10 * place + 9)),
        ]
        relations.append(Relation(f"R{place}", "Near", f"H{place}", f"T{place}"))
    document = Document("d", "abc defgh " * repeated, tuple(entities), tuple(relations))
    monkeypatch.setattr(CountedSpan, "compared", 0)
    examples = RelationReading(window=96).examples(document, source_of(SCHEMAS["open"]))
    assert CountedSpan.compared == repeated
    windows = {(key[0], example.id.rpartition(".")[0]) for example in examples for key in example.keys}
    assert sorted(name for name, _ in windows) == sorted(entity.id for entity in entities)
