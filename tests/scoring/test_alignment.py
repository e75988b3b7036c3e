"""Every annotation gets one name; what is correct is what strict scoring counts, and nothing is paired that shares no character."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinical_ie.document import Document, Entity, Relation, Span
from clinical_ie.scoring.alignment import Alignment
from clinical_ie.scoring.counts import total
from clinical_ie.scoring.strict_one_to_one import StrictOneToOne

TEXT = "abcdefghijklmnopqrstuvwxyz"


@st.composite
def documents(draw: st.DrawFn) -> Document:
    entities = []
    for place in range(draw(st.integers(0, 7))):
        cuts = sorted(draw(st.sets(st.integers(0, 14), min_size=2, max_size=4)))
        fragments = tuple(zip(cuts[::2], cuts[1::2], strict=False))
        entities.append(Entity(f"T{place}", draw(st.sampled_from("XYZ")), Span(fragments)))
    names = [entity.id for entity in entities]
    ends = st.tuples(st.sampled_from("pq"), st.sampled_from(names), st.sampled_from(names)) if names else st.nothing()
    links = draw(st.lists(ends, max_size=5)) if names else []
    return Document("d", TEXT, tuple(entities), tuple(Relation(f"R{k}", *link) for k, link in enumerate(links)))


@settings(max_examples=400, deadline=None)
@given(documents(), documents())
def test_names_add_up_to_strict_counts(gold: Document, predicted: Document) -> None:
    counts = StrictOneToOne().count(gold, predicted)
    found = Alignment.of(gold, predicted)
    for pairs, modes, ours, theirs in (
        (found.mentions, counts.entities, found.gold.entities, found.predicted.entities),
        (found.links, counts.relations, found.gold_links, found.predicted_links),
    ):
        assert sorted(pair.gold for pair in pairs if pair.gold is not None) == list(range(len(ours))), "each gold one once"
        assert sorted(pair.predicted for pair in pairs if pair.predicted is not None) == list(range(len(theirs))), "each predicted one once"
        outcomes = Counter(pair.outcome for pair in pairs)
        strict, lenient = total(modes["strict"].values()), total(modes["lenient"].values())
        assert outcomes["correct"] == strict.tp
        assert outcomes["correct"] + outcomes["boundary"] <= lenient.tp
        assert len(ours) - outcomes["correct"] == strict.fn
        assert len(theirs) - outcomes["correct"] == strict.fp
        assert all((pair.outcome == "missed") == (pair.predicted is None) for pair in pairs)
        assert all((pair.outcome == "spurious") == (pair.gold is None) for pair in pairs)
    for pair in found.mentions:
        if pair.gold is None or pair.predicted is None:
            continue
        one, other = found.gold.entities[pair.gold], found.predicted.entities[pair.predicted]
        assert one.span.overlaps(other.span)
        assert (one.type == other.type) == (pair.outcome in ("correct", "boundary"))
        assert pair.outcome != "type" or one.span == other.span
    # maximal: what is left on both sides shares no character
    missed = [found.gold.entities[pair.gold] for pair in found.mentions if pair.outcome == "missed" and pair.gold is not None]
    spurious = [found.predicted.entities[pair.predicted] for pair in found.mentions if pair.gold is None and pair.predicted is not None]
    assert not any(one.span.overlaps(other.span) for one in missed for other in spurious)


@settings(max_examples=50, deadline=None)
@given(documents())
def test_a_document_against_itself_is_correct(document: Document) -> None:
    found = Alignment.of(document, document)
    assert {pair.outcome for pair in (*found.mentions, *found.links)} <= {"correct"}


def note(*mentions: tuple[str, int, int], links: tuple[tuple[str, int, int], ...] = ()) -> Document:
    entities = tuple(Entity(f"T{place}", name, Span.of(start, end)) for place, (name, start, end) in enumerate(mentions))
    return Document("d", TEXT, entities, tuple(Relation(f"R{k}", name, f"T{a}", f"T{b}") for k, (name, a, b) in enumerate(links)))


@pytest.mark.parametrize(
    ("gold", "predicted", "expected"),
    [  # by hand, in the words of the module's first lines
        ([("X", 0, 5)], [("X", 0, 5)], ["correct"]),
        ([("X", 0, 5)], [("X", 0, 4)], ["boundary"]),
        ([("X", 0, 5)], [("Y", 0, 5)], ["type"]),
        ([("X", 0, 5)], [("Y", 0, 4)], ["boundary and type"]),
        ([("X", 0, 5)], [("X", 5, 6)], ["missed", "spurious"]),
        ([("X", 0, 5)], [("X", 0, 5), ("X", 0, 5)], ["correct", "spurious"]),
        ([("X", 0, 5)], [("Y", 0, 5), ("X", 1, 5)], ["boundary", "spurious"]),
        ([("X", 0, 5), ("X", 6, 9)], [("X", 4, 7), ("X", 0, 1)], ["boundary", "boundary"]),
    ],
)
def test_names_by_hand(gold: list[tuple[str, int, int]], predicted: list[tuple[str, int, int]], expected: list[str]) -> None:
    assert [pair.outcome for pair in Alignment.of(note(*gold), note(*predicted)).mentions] == expected


@pytest.mark.parametrize(
    ("predicted", "expected"),
    [
        (note(("X", 0, 5), ("Y", 6, 9), links=(("p", 0, 1),)), ["correct"]),
        (note(("X", 0, 4), ("Y", 6, 9), links=(("p", 0, 1),)), ["boundary"]),
        (note(("X", 0, 5), ("Y", 6, 9), links=(("q", 0, 1),)), ["type"]),
        (note(("Z", 0, 5), ("Y", 6, 9), links=(("p", 0, 1),)), ["type"]),
        (note(("X", 0, 4), ("Y", 6, 9), links=(("q", 0, 1),)), ["boundary and type"]),
        (note(("X", 0, 5), ("Y", 6, 9), links=(("p", 1, 0),)), ["missed", "spurious"]),
        (note(("X", 0, 5)), ["missed"]),
    ],
)
def test_names_of_links_by_hand(predicted: Document, expected: list[str]) -> None:
    gold = note(("X", 0, 5), ("Y", 6, 9), links=(("p", 0, 1),))
    assert [pair.outcome for pair in Alignment.of(gold, predicted).links] == expected
