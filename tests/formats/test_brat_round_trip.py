"""Any document, written as BRAT and read again."""

from __future__ import annotations

import string

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from clinical_ie.document import Attribute, Comment, Document, Entity, Equivalence, Event, Normalization, Relation, Span
from clinical_ie.errors import FileFormatError
from clinical_ie.formats import brat
from clinical_ie.formats.findings import Findings

WORDS = st.text(string.ascii_letters + "_-.", min_size=1, max_size=6)
VALUES = st.text(string.ascii_letters + " _-.:;", min_size=1, max_size=6).filter(lambda value: value == value.strip())
ANYTHING = st.text(st.sampled_from("aT1_: \t\n\r\0\x1c\x85\xa0\u2028é\U0001fac0\ud83d#*;|"), max_size=4)
NOTES = st.text(st.sampled_from("ab \t\n\r\u00e9\u2028\U0001fac0;:#T1"), min_size=1, max_size=30).flatmap(
    lambda text: st.sampled_from([text, text.replace("\n", "\r\n"), text + "\r\n", "\ufeff" + text])
)


@st.composite
def documents(draw: st.DrawFn, words: st.SearchStrategy[str] = WORDS, values: st.SearchStrategy[str] = VALUES) -> Document:
    """Any document: mentions adjacent, nested, crossing, discontinuous, at the end of the text."""
    text = draw(NOTES)
    entities = []
    for rank in range(draw(st.integers(0, 5))):
        edges = sorted(draw(st.sets(st.integers(0, len(text)), min_size=2, max_size=5)))
        if draw(st.booleans()):
            edges = [edges[0], len(text)] if edges[0] < len(text) else edges
        pairs = list(zip(edges[::2], edges[1::2], strict=False))
        entities.append(Entity(f"T{rank + 1}", draw(words), Span(tuple(pairs))))
    names = [entity.id for entity in entities]
    if not names:
        return Document("d", text)
    pick = st.sampled_from(names)
    roles = st.lists(st.tuples(words, pick), max_size=3).map(tuple)
    events = tuple(Event(f"E{rank}", draw(words), draw(pick), draw(roles)) for rank in range(draw(st.integers(0, 2))))
    node = st.sampled_from([*names, *(event.id for event in events)])
    pair = st.just(("Arg1", "Arg2")) | st.tuples(words, words)
    relations = tuple(Relation(f"R{rank}", draw(words), draw(node), draw(node), draw(pair)) for rank in range(draw(st.integers(0, 3))))
    value = st.none() | values
    attributes = tuple(Attribute(f"A{rank}", draw(words), draw(node), draw(value)) for rank in range(draw(st.integers(0, 3))))
    groups = tuple(Equivalence(draw(words), (draw(node), draw(node))) for _ in range(draw(st.integers(0, 1))))
    links = tuple(Normalization(f"N{rank}", draw(words), draw(node), draw(words), draw(values)) for rank in range(draw(st.integers(0, 1))))
    notes = tuple(Comment(f"#{rank}", draw(words), draw(node), draw(values)) for rank in range(draw(st.integers(0, 1))))
    return Document("d", text, tuple(entities), relations, events, attributes, groups, links, notes)


@given(documents())
def test_rendering_and_parsing_loses_nothing(document: Document) -> None:
    findings = Findings()
    assert brat.parse("d", document.text, brat.render(document), findings) == document
    assert not list(findings)


def shape(document: Document) -> tuple[object, ...]:
    """What has to come back whatever its names are: places, references and how many there are."""
    return (
        [(entity.id, entity.span) for entity in document.entities],
        [(relation.id, relation.head, relation.tail) for relation in document.relations],
        [(event.id, event.trigger, [target for _, target in event.arguments]) for event in document.events],
        [(attribute.id, attribute.target, attribute.value is None) for attribute in document.attributes],
        [group.members for group in document.equivalences],
        [(entry.id, entry.target) for entry in document.normalizations],
        [(comment.id, comment.target) for comment in document.comments],
    )


@given(documents(ANYTHING, ANYTHING))
def test_any_names_and_values_are_refused_or_come_back(document: Document) -> None:
    """Written in strict mode they come back as they are, in lenient mode with other names, counted."""
    mended = Findings(strict=False)
    records = brat.render(document, mended)
    try:
        assert brat.render(document) == records
        refused = False
    except FileFormatError:
        refused = True
    assert refused == bool(mended.errors)
    findings = Findings()
    back = brat.parse("d", document.text, records, findings)
    assert shape(back) == shape(document)
    assert set(findings.counts()) <= {"blank-in-entry"}
    if not refused:
        assert (back.entities, back.relations, back.events) == (document.entities, document.relations, document.events)
        assert back.attributes == document.attributes


@given(documents(), st.lists(ANYTHING | st.sampled_from(["T1", "R1", "n1", "N1", "#1", "T" + "9" * 5000]), min_size=20, unique=True))
def test_any_ids_become_ids_that_brat_can_read(document: Document, ids: list[str]) -> None:
    kinds = (document.entities, document.relations, document.events, document.attributes)
    old = [item.id for items in kinds for item in items]
    assume(len(old) <= len(ids))
    new = dict(zip(old, ids, strict=False))
    odd = Document(
        "d",
        document.text,
        tuple(Entity(new[e.id], e.type, e.span) for e in document.entities),
        tuple(Relation(new[r.id], r.type, new[r.head], new[r.tail], r.roles) for r in document.relations),
        tuple(Event(new[e.id], e.type, new[e.trigger], tuple((role, new[to]) for role, to in e.arguments)) for e in document.events),
        tuple(Attribute(new[a.id], a.type, new[a.target], a.value) for a in document.attributes),
        tuple(Equivalence(g.type, tuple(new[m] for m in g.members)) for g in document.equivalences),
        tuple(Normalization(ids[-1], n.type, new[n.target], n.entry, n.text) for n in document.normalizations),
        tuple(Comment(ids[-1], c.type, new[c.target], c.text) for c in document.comments),
    )
    back = brat.parse("d", document.text, brat.render(odd))
    assert [(e.type, e.span) for e in back.entities] == [(e.type, e.span) for e in document.entities]
    assert [(kind, head.span, tail.span) for _, kind, head, tail in back.links()] == [
        (kind, head.span, tail.span) for _, kind, head, tail in document.links()
    ]
    assert [len(part) for part in (back.attributes, back.normalizations, back.comments)] == [
        len(part) for part in (document.attributes, document.normalizations, document.comments)
    ]


def test_ids_of_two_normalizations_that_differ_in_their_first_letter_stay_apart() -> None:
    mention = (Entity("T1", "X", Span.of(0, 1)),)
    entries = tuple(Normalization(name, "Reference", "T1", f"A:{rank}") for rank, name in enumerate(["N1", "n1", "N2", "N1", "T1"]))
    document = Document("d", "a", mention, normalizations=entries, comments=(Comment("#1", "Note", "n1", "x"),))
    back = brat.parse("d", "a", brat.render(document))
    assert [(entry.id, entry.target, entry.entry) for entry in back.normalizations] == [
        ("N1", "T1", "A:0"), ("N3", "T1", "A:1"), ("N2", "T1", "A:2"), ("N4", "T1", "A:3"), ("N5", "T1", "A:4"),
    ]  # fmt: skip
    assert back.entities == mention
    assert back.comments[0].target == "N3"


@pytest.mark.parametrize(
    ("document", "what"),
    [
        (Document("d", "a", (Entity("T1", "Adverse Event", Span.of(0, 1)),)), "the type of T1 holds white space"),
        (Document("d", "a", (Entity("7", "", Span.of(0, 1)),)), "the type of 7 is empty"),
        (Document("d", "a", (Entity("T1", "X", Span.of(0, 1)),), events=(Event("E1", "a:b", "T1"),)), "the type of E1"),
        (Document("d", "a", (Entity("T1", "X", Span.of(0, 1)),), (Relation("R1", "r", "T1", "T1", ("a b", "c")),)), "the role of R1"),
        (
            Document("d", "a", (Entity("T1", "X", Span.of(0, 1)),), (Relation("R1", "r", "T1", "T1", ("Arg2", "Arg1")),)),
            "the roles of R1",
        ),
        (
            Document("d", "a", (Entity("T1", "X", Span.of(0, 1)),), attributes=(Attribute("A1", "S", "T1", "yes\nT9\tX 0 3\tasp"),)),
            "the value of A1",
        ),
        (Document("d", "a", equivalences=(Equivalence("Same", ()),)), "a group has no members"),
    ],
)
def test_what_brat_cannot_hold_is_refused_with_document_annotation_and_remedy(document: Document, what: str) -> None:
    with pytest.raises(FileFormatError, match="--lenient") as caught:
        brat.render(document, path="out/d.ann")
    assert f"out/d.ann: document d: {what}" in str(caught.value)
    assert "asp" not in str(caught.value)
    findings = Findings(strict=False)
    back = brat.parse("d", "a", brat.render(document, findings))
    assert findings.counts() == {"unrepresentable" if "group" in what else "name-replaced": 1}
    assert len(back.entities) == len(document.entities)
