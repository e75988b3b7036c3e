"""Labels of links and the documents they make; random documents for the tests of all tasks that link."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinical_ie.corpora import Demo, Maccrobat, N2c2SocialHistory2022, UWSocialHistory
from clinical_ie.document import Attribute, Document, Entity, Event, Fragment, Relation, Span, bare_role
from clinical_ie.formats import brat
from clinical_ie.formats.findings import Findings
from clinical_ie.schema import AttributeType, EntityType, RelationType, Schema, arguments
from clinical_ie.tasks.coverage import Coverage
from clinical_ie.tasks.links import LinkLabel, LinkLabels, linked
from clinical_ie.tasks.task import Source

NARROW = Schema(
    (EntityType("Trigger"), EntityType("Status"), EntityType("Thing"), EntityType("Place")),
    (
        *arguments(
            RelationType("Status", "", ("Trigger",), ("Status",)),
            RelationType("Of", "", ("Trigger",), ("Thing", "Status", "Trigger")),
        ),
        RelationType("In", "", ("Thing",), ("Place",)),
        RelationType("In", "", ("Place",), ("Place",)),
    ),
    (AttributeType("Value", "", ("on", "off"), ("Status",)),),
    ("Trigger",),
)
OPEN = Schema(NARROW.entities, (*NARROW.relations, RelationType("Near")), NARROW.attributes, NARROW.events)
"""The same with a relation between any two mentions."""
SCHEMAS = {"narrow": NARROW, "open": OPEN}
_ROLES = ("Status", "Of")
_PIECES: dict[str, int] = {}


class Pieces:
    """A stand-in tokenizer: words in pieces of at most three characters, an id for each, one special id on each side."""

    prefix: list[int] = [1]  # noqa: RUF012 (a stand-in for a property)
    suffix: list[int] = [2]  # noqa: RUF012

    def encode(self, text: str) -> tuple[list[int], list[Fragment]]:
        offsets = [match.span() for match in re.finditer(r"\w{1,3}|[^\w\s]", text)]
        return [3 + _PIECES.setdefault(text[a:b], len(_PIECES)) for a, b in offsets], offsets


def source_of(schema: Schema, corpus: str = "corpus") -> Source:
    return Source(corpus, schema, Pieces())


WORDS = ["ab", "abcdef", "x", "longerwordhere", "é", "😀", "5mg", "q.d.", "Dr.", "end.\n\n", "stop.", "Next:", "\n- item"]


@st.composite
def documents(
    draw: st.DrawFn, *, whole_words: bool = True, most_words: int = 30, most_mentions: int = 7, distinct: bool = False
) -> Document:
    """Any note: mentions nested, crossing, of the same words, in parts, adjacent, at both ends; legal and illegal links.

    Args:
        whole_words: Mentions begin and end where blanks do; else anywhere.
        most_words: Length of the text.
        most_mentions: Number of mentions.
        distinct: No two mentions begin and end at the same characters, and no mention is linked with itself.
    """
    words = draw(st.lists(st.sampled_from(WORDS), min_size=1, max_size=most_words))
    text = draw(st.sampled_from(["", " ", "\n\n"])) + " ".join(words) + draw(st.sampled_from(["", " ", "\n"]))
    spans = [match.span() for match in re.finditer(r"\S+", text)]
    entities: list[Entity] = []
    taken: set[tuple[int, int]] = set()
    for rank in range(draw(st.integers(0, most_mentions))):
        first = draw(st.integers(0, len(spans) - 1) | st.sampled_from([0, len(spans) - 1]))
        last = min(first + draw(st.integers(0, 4)), len(spans) - 1)
        start, end = spans[first][0], spans[last][1]
        if not whole_words and draw(st.booleans()):
            start = draw(st.integers(0, len(text) - 1))
            end = min(start + draw(st.integers(1, 12)), len(text))
        span = Span.of(start, end)
        if last - first >= 2 and (start, end) == (spans[first][0], spans[last][1]) and draw(st.booleans()):
            span = Span((spans[first], (spans[last][0], end)))
        if distinct and (start, end) in taken:
            continue
        taken.add((start, end))
        entities.append(Entity(f"T{rank + 1}", draw(st.sampled_from(NARROW.entity_names)), span))
    entities = draw(st.permutations(entities))
    if not entities:
        return Document("d", text)
    pick = st.sampled_from([entity.id for entity in entities])
    triggers = [entity.id for entity in entities if entity.type == "Trigger"]
    events: list[Event] = []
    for trigger in triggers:
        for _ in range(draw(st.sampled_from([0, 1, 1, 1, 2]))):
            pairs = draw(st.lists(st.tuples(st.sampled_from(_ROLES), pick), max_size=4))
            seen: Counter[str] = Counter()
            listed = []
            for role, tail in pairs:
                if distinct and tail == trigger:
                    continue
                seen[role] += 1
                listed.append((role if seen[role] == 1 else f"{role}{seen[role]}", tail))
            events.append(Event(f"E{len(events) + 1}", "Trigger", trigger, tuple(listed)))
    event_of = {event.trigger: event.id for event in events}
    events = [
        Event(event.id, event.type, event.trigger, tuple((role, event_of.get(tail, tail)) for role, tail in event.arguments))
        for event in events
    ]
    links = draw(st.lists(st.tuples(st.sampled_from(["In", "Near"]), pick, pick), max_size=6))
    relations = tuple(
        Relation(f"R{rank}", name, head, event_of.get(tail, tail))
        for rank, (name, head, tail) in enumerate(links, 1)
        if not (distinct and head == tail)
    )
    valued = [entity.id for entity in entities if entity.type == "Status" and draw(st.booleans())]
    attributes = tuple(Attribute(f"A{rank}", "Value", tail, draw(st.sampled_from(["on", "off"]))) for rank, tail in enumerate(valued, 1))
    return Document("d", text, tuple(entities), relations, tuple(events), attributes)


Link = tuple[str, str, str, str | None]
"""Type, head, tail, value of the tail where the type is an argument that takes one."""


def links_of(document: Document, schema: Schema) -> Counter[Link]:
    """The links of a document as often as they are annotated, events standing for their triggers."""
    trigger = {event.id: event.trigger for event in document.events}
    valued = {name.split("=")[0] for name in LinkLabels(schema).names if "=" in name}
    value = {attribute.target: attribute.value for attribute in document.attributes}
    pairs = [(relation.type, relation.head, relation.tail) for relation in document.relations]
    pairs += [(bare_role(role), event.trigger, tail) for event in document.events for role, tail in event.arguments]
    found: Counter[Link] = Counter()
    for name, head, tail in pairs:
        tail = trigger.get(tail, tail)
        found[name, trigger.get(head, head), tail, value.get(tail) if name in valued else None] += 1
    return found


def assert_gives_back(document: Document, predicted: Document, coverage: Coverage, schema: Schema) -> None:
    """All gold links but as many as are counted, none besides, on the same mentions."""
    gold, found = links_of(document, schema), links_of(predicted, schema)
    assert (predicted.id, predicted.text, predicted.entities) == (document.id, document.text, document.entities)
    assert not found - gold
    assert coverage.of == "links"
    assert coverage.gold == gold.total()
    assert found.total() == coverage.gold - sum(coverage.unrepresentable.values()), dict(coverage.unrepresentable)


def legal_by_hand(schema: Schema, label: LinkLabel, head: str, tail: str) -> bool:
    """Whether any declaration lets a label stand there, and its value with the tail."""
    stands = [
        r for r in schema.relations if r.name == label.relation and (not r.heads or head in r.heads) and (not r.tails or tail in r.tails)
    ]
    takes = [a for a in schema.attributes if a.name == label.attribute and label.value in a.values and (not a.targets or tail in a.targets)]
    return bool(stands) and (label.attribute is None or bool(takes))


DECLARED = {kind.name: kind.declared for kind in (UWSocialHistory, N2c2SocialHistory2022, Demo, Maccrobat)} | SCHEMAS


@pytest.mark.parametrize("name", DECLARED)
def test_every_legal_label_is_there_and_no_other(name: str) -> None:
    schema = DECLARED[name]
    labels = LinkLabels(schema)
    assert len(set(labels.labels)) == len(labels) == len(labels.names)
    assert {label.relation for label in labels.labels} == {relation.name for relation in schema.relations}
    for head in schema.entity_names:
        for tail in schema.entity_names:
            expected = [rank for rank, label in enumerate(labels.labels) if legal_by_hand(schema, label, head, tail)]
            assert list(labels.legal(head, tail)) == expected
            values = {(labels.labels[r].relation, labels.labels[r].attribute, labels.labels[r].value) for r in expected}
            for relation in schema.relations:
                if relation.argument and relation.allows(head, tail):
                    for attribute in schema.attributes:
                        if not attribute.targets or tail in attribute.targets:
                            assert {(relation.name, attribute.name, value) for value in attribute.values} <= values
    assert all(any(labels.legal(a, b) for b in schema.entity_names) for a in {h for r in schema.relations for h in r.heads})


@pytest.mark.parametrize(
    ("name", "head", "tail", "expected"),
    [
        ("uw_social_history", "Tobacco", "Amount", {"Amount"}),
        ("uw_social_history", "Family", "LivingStatus", {"LivingStatus"}),
        ("uw_social_history", "Amount", "Tobacco", set()),
        (
            "n2c2_2022",
            "LivingStatus",
            "TypeLiving",
            {"TypeLiving", "Type"}
            | {f"{role}={v}" for role in ("TypeLiving", "Type") for v in ("alone", "with_family", "with_others", "homeless")},
        ),
        ("n2c2_2022", "Drug", "Type", {"Type"}),
        ("n2c2_2022", "Employment", "TypeLiving", {"Type", "Type=alone", "Type=with_family", "Type=with_others", "Type=homeless"}),
        ("demo", "Alcohol", "Status", {"Status", "Status=current", "Status=past", "Status=none"}),
        ("demo", "Frequency", "Drug", {"Frequency"}),
        ("demo", "Tobacco", "Frequency", {"Frequency"}),
        ("demo", "Problem", "Drug", {"Reason", "ADE"}),
        ("demo", "Drug", "Problem", set()),
        ("maccrobat", "Medication", "Sex", {"AFTER", "BEFORE", "CAUSE", "CO-OCCURRENCE", "IDENTICAL", "MODIFY", "OVERLAP"}),
    ],
)
def test_labels_of_a_pair(name: str, head: str, tail: str, expected: set[str]) -> None:
    labels = LinkLabels(DECLARED[name])
    assert {labels.names[rank] for rank in labels.legal(head, tail)} == expected


def test_an_attribute_without_targets_may_stand_on_any_tail() -> None:
    schema = Schema(
        (EntityType("Trigger"), EntityType("Status")),
        arguments(RelationType("Status", "", ("Trigger",), ("Status",))),
        (AttributeType("Value", "", ("on", "off")),),
        ("Trigger",),
    )
    assert LinkLabels(schema).names == ("Status", "Status=on", "Status=off")


@given(documents())
def test_gold_is_every_annotated_link(document: Document) -> None:
    for schema in SCHEMAS.values():
        labels = LinkLabels(schema)
        types = {entity.id: entity.type for entity in document.entities}
        found: Counter[Link] = Counter()
        refused: Counter[tuple[str, str]] = Counter()
        for head, tail, rank in labels.gold(document):
            if rank is None:
                refused[head.id, tail.id] += 1
            else:
                label = labels.labels[rank]
                found[label.relation, head.id, tail.id, label.value] += 1
        expected = links_of(document, schema)
        legal = Counter({k: n for k, n in expected.items() if schema.allows(k[0], types[k[1]], types[k[2]])})
        assert found == legal
        assert refused == sum((Counter({(h, t): n}) for (_, h, t, _), n in (expected - legal).items()), Counter())


TEXT = "smokes two packs, daily; drinks"
SMOKES = Entity("T1", "Trigger", Span.of(0, 6))
TWO = Entity("T2", "Thing", Span.of(7, 10))
PACKS = Entity("T3", "Thing", Span.of(11, 16))
DAILY = Entity("T4", "Status", Span.of(18, 23))
DRINKS = Entity("T5", "Trigger", Span.of(25, 31))
NOTE = Document("n", TEXT, (SMOKES, TWO, PACKS, DAILY, DRINKS), (Relation("R1", "Near", "T1", "T2"),), (Event("E7", "Trigger", "T1"),))


def test_every_trigger_is_an_event_and_repeated_roles_are_numbered() -> None:
    made = linked(
        NOTE,
        [("T1", "T2", LinkLabel("Of"), 1.0, None), ("T1", "T3", LinkLabel("Of"), 2.0, 0.5), ("T1", "T5", LinkLabel("Of"), 3.0, 0.75)],
        OPEN,
    )
    assert made.entities == NOTE.entities
    assert made.relations == made.attributes == ()
    assert {event.trigger: event.type for event in made.events} == {"T1": "Trigger", "T5": "Trigger"}
    drinks = next(event for event in made.events if event.trigger == "T5")
    smokes = next(event for event in made.events if event.trigger == "T1")
    assert smokes.arguments == (("Of", "T2"), ("Of2", "T3"), ("Of3", drinks.id))
    assert drinks.arguments == drinks.argument_confidences == ()
    assert smokes.argument_confidences == (None, 0.5, 0.75)


def test_relations_point_to_the_events_of_triggers() -> None:
    made = linked(NOTE, [("T1", "T5", LinkLabel("Near"), 1.0, 0.25), ("T2", "T4", LinkLabel("Near"), 1.0, 0.25)], OPEN)
    events = {event.trigger: event.id for event in made.events}
    assert [(r.type, r.head, r.tail) for r in made.relations] == [("Near", events["T1"], events["T5"]), ("Near", "T2", "T4")]
    assert [r.confidence for r in made.relations] == [0.25, 0.25]


@pytest.mark.parametrize("turn", [1, -1])
def test_the_value_of_the_highest_score_stands(turn: int) -> None:
    found = [("T1", "T4", LinkLabel("Status", "Value", "on"), 0.2, 0.1), ("T5", "T4", LinkLabel("Of", "Value", "off"), 0.9, 0.8)][::turn]
    made = linked(NOTE, found, OPEN)
    assert [(a.type, a.target, a.value) for a in made.attributes] == [("Value", "T4", "off")]
    assert [a.confidence for a in made.attributes] == [0.8]
    assert {event.trigger: event.arguments for event in made.events} == {"T1": (("Status", "T4"),), "T5": (("Of", "T4"),)}


def test_one_argument_with_two_values_is_one_argument() -> None:
    found = [("T1", "T4", LinkLabel("Status", "Value", value), score, score / 2) for value, score in (("on", 0.7), ("off", 0.3))]
    made = linked(NOTE, found, OPEN)
    assert made.events[0].arguments == (("Status", "T4"),)
    assert made.events[0].argument_confidences == (0.35,)
    assert [(a.value, a.confidence) for a in made.attributes] == [("on", 0.35)]


@pytest.mark.parametrize("taken", ["E1", "R1", "A1"])
def test_mentions_may_have_any_id(taken: str) -> None:
    """JSON lines bring ids of their own; an event, relation or attribute must not take one of them."""
    mentions = (Entity("x", "Trigger", Span.of(0, 6)), Entity(taken, "Status", Span.of(7, 10)), Entity("y", "Thing", Span.of(11, 16)))
    found = [("x", taken, LinkLabel("Status", "Value", "on"), 1.0, None), ("y", taken, LinkLabel("Near"), 1.0, 0.25)]
    made = linked(Document("n", TEXT, mentions), found, OPEN)
    assert links_of(made, OPEN) == Counter({("Status", "x", taken, "on"): 1, ("Near", "y", taken, None): 1})


@settings(max_examples=100)
@given(documents(), st.randoms(use_true_random=False))
def test_any_links_survive_brat(tmp_path_factory: pytest.TempPathFactory, document: Document, dice: Any) -> None:
    labels = LinkLabels(OPEN).labels
    names = [entity.id for entity in document.entities]
    links = [
        (dice.choice(names), dice.choice(names), dice.choice(labels), dice.random(), dice.random())
        for _ in range(dice.randint(0, 12) if names else 0)
    ]
    made = linked(document, links, OPEN)
    triggers = [entity.id for entity in document.entities if entity.type == "Trigger"]
    assert sorted(event.trigger for event in made.events) == sorted(triggers)
    events = {event.trigger: event.id for event in made.events}
    for event in made.events:
        seen: Counter[str] = Counter()
        for role, target in event.arguments:
            assert target not in triggers
            seen[bare_role(role)] += 1
            assert role == (bare_role(role) if seen[bare_role(role)] == 1 else f"{bare_role(role)}{seen[bare_role(role)]}")
        assert len({(bare_role(role), target) for role, target in event.arguments}) == len(event.arguments)
    best: dict[str, tuple[float, str]] = {}
    for _, tail, label, score, _ in links:
        if label.value is not None:
            best[tail] = max(best.get(tail, (-1.0, "")), (score, label.value))
    assert {a.target: a.value for a in made.attributes} == {tail: value for tail, (_, value) in best.items()}
    expected = {(label.relation, head, tail) for head, tail, label, *_ in links}
    assert {key[:3] for key in links_of(made, OPEN)} == expected
    assert all(r.head not in events and r.tail not in events for r in made.relations)
    folder: Path = tmp_path_factory.mktemp("brat")
    findings = Findings()
    brat.write([made], folder)
    assert brat.read(folder, findings) == [made]
    assert not list(findings)
