"""Strings without offsets, and strings seen in training, against a hand-made note."""

import pytest

from clinical_ie.document import Document, Entity, Relation, Span
from clinical_ie.scoring.counts import Counts
from clinical_ie.scoring.strings import StringCounts, digests, normalised

TEXT = "Aspirin for pain, then aspirin for chest\n pain. No fever."
ASPIRIN, PAIN, AGAIN, CHEST, FEVER = (0, 7), (12, 16), (23, 30), (35, 46), (51, 56)


def note(*mentions: tuple[str, tuple[int, int]], links: tuple[tuple[int, int], ...] = (), text: str = TEXT) -> Document:
    entities = tuple(Entity(f"T{place}", kind, Span.of(*at)) for place, (kind, at) in enumerate(mentions))
    return Document("n", text, entities, tuple(Relation(f"R{place}", "For", f"T{a}", f"T{b}") for place, (a, b) in enumerate(links)))


GOLD = note(
    ("Drug", ASPIRIN), ("Problem", PAIN), ("Drug", AGAIN), ("Problem", CHEST), ("Problem", FEVER), links=((0, 1), (2, 3))
)  # fmt: skip


def test_sets_of_types_and_strings_by_hand() -> None:
    """Gold: (Drug, aspirin), (Problem, pain), (Problem, chest pain), (Problem, fever); For: aspirin-pain, aspirin-chest pain."""
    counts = StringCounts()
    # the second aspirin stands for both; pain at another place is right; "chest" is no string of gold; fever has the wrong type
    predicted = note(("Drug", AGAIN), ("Problem", (42, 46)), ("Problem", (35, 40)), ("Drug", FEVER), links=((0, 1), (0, 2)))
    counts.add(GOLD, predicted, frozenset())
    assert counts.found == {"entities": Counts(2, 2, 2), "relations": Counts(1, 1, 1), "attributes": Counts()}


def test_seen_and_unseen_by_hand() -> None:
    """Training knows aspirin and chest pain, in other cases and white space and of whatever type."""
    trained = digests([note(("Other", (0, 7)), ("Other", (8, 20)), text="ASPIRIN CHEST   PAIN")])
    counts = StringCounts()
    counts.add(GOLD, note(("Drug", ASPIRIN), ("Problem", CHEST), ("Drug", FEVER), ("Problem", (12, 17))), trained)
    # seen: both aspirins and chest pain, the second aspirin missed; unseen: pain (wrong end) and fever (wrong type) missed
    assert (counts.seen, counts.unseen) == ([3, 2], [2, 0])
    counts.add(GOLD, GOLD, frozenset())
    assert (counts.seen, counts.unseen) == ([3, 2], [7, 5])


def test_a_mention_is_found_once() -> None:
    twice = note(("Drug", ASPIRIN), ("Drug", ASPIRIN))
    counts = StringCounts()
    counts.add(twice, note(("Drug", ASPIRIN)), digests([twice]))
    assert (counts.seen, counts.unseen) == ([2, 1], [0, 0])


def test_counts_add_up() -> None:
    whole, parts = StringCounts(), [StringCounts(), StringCounts()]
    predicted = [note(("Drug", ASPIRIN)), note(("Problem", FEVER), ("Problem", PAIN), links=((0, 1),))]
    for part, document in zip(parts, predicted, strict=True):
        whole.add(GOLD, document, digests([GOLD]))
        part.add(GOLD, document, digests([GOLD]))
    parts[0].update(parts[1])
    assert parts[0] == whole


@pytest.mark.parametrize(
    ("text", "span", "expected"),
    [
        ("Stra\u00dfe", Span.of(0, 6), "strasse"),
        ("left \t and\nright arm", Span(((0, 4), (17, 20))), "left arm"),
        ("pain relief", Span(((0, 4), (5, 11))), "pain relief"),
    ],
)
def test_normalisation(text: str, span: Span, expected: str) -> None:
    assert normalised(Document("a", text), Entity("T1", "X", span)) == expected
