"""Any document, written as BRAT and read again."""

from __future__ import annotations

import string

from hypothesis import given
from hypothesis import strategies as st

from clinical_ie.document import Attribute, Comment, Document, Entity, Equivalence, Event, Normalization, Relation, Span
from clinical_ie.formats import brat
from clinical_ie.formats.findings import Findings

WORDS = st.text(string.ascii_letters + "_-.", min_size=1, max_size=6)
NOTES = st.text(st.sampled_from("ab \t\n\r\u00e9\u2028\U0001fac0;:#T1"), min_size=1, max_size=30).flatmap(
    lambda text: st.sampled_from([text, text.replace("\n", "\r\n"), text + "\r\n"])
)


@st.composite
def documents(draw: st.DrawFn) -> Document:
    """Any document: mentions adjacent, nested, crossing, discontinuous, at the end of the text."""
    text = draw(NOTES)
    entities = []
    for rank in range(draw(st.integers(0, 5))):
        edges = sorted(draw(st.sets(st.integers(0, len(text)), min_size=2, max_size=5)))
        if draw(st.booleans()):
            edges = [edges[0], len(text)] if edges[0] < len(text) else edges
        pairs = list(zip(edges[::2], edges[1::2], strict=False))
        entities.append(Entity(f"T{rank + 1}", draw(WORDS), Span(tuple(pairs))))
    names = [entity.id for entity in entities]
    if not names:
        return Document("d", text)
    pick = st.sampled_from(names)
    roles = st.lists(st.tuples(WORDS, pick), max_size=3).map(tuple)
    events = tuple(Event(f"E{rank}", draw(WORDS), draw(pick), draw(roles)) for rank in range(draw(st.integers(0, 2))))
    node = st.sampled_from([*names, *(event.id for event in events)])
    relations = tuple(Relation(f"R{rank}", draw(WORDS), draw(node), draw(node)) for rank in range(draw(st.integers(0, 3))))
    value = st.none() | WORDS
    attributes = tuple(Attribute(f"A{rank}", draw(WORDS), draw(node), draw(value)) for rank in range(draw(st.integers(0, 3))))
    groups = tuple(Equivalence(draw(WORDS), (draw(node), draw(node))) for _ in range(draw(st.integers(0, 1))))
    links = tuple(Normalization(f"N{rank}", "Reference", draw(node), draw(WORDS), draw(WORDS)) for rank in range(draw(st.integers(0, 1))))
    notes = tuple(Comment(f"#{rank}", "AnnotatorNotes", draw(node), draw(WORDS)) for rank in range(draw(st.integers(0, 1))))
    return Document("d", text, tuple(entities), relations, events, attributes, groups, links, notes)


@given(documents())
def test_rendering_and_parsing_loses_nothing(document: Document) -> None:
    findings = Findings()
    assert brat.parse("d", document.text, brat.render(document), findings) == document
    assert not list(findings)
