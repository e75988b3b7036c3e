"""What comes back from a file plus what was counted as lost is the document, whatever it holds and whoever writes."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinical_ie.document import Attribute, Comment, Document, Entity, Equivalence, Event, Normalization, Relation, Span
from clinical_ie.errors import FileFormatError
from clinical_ie.formats import brat, i2b2, jsonl, phee, radgraph
from clinical_ie.formats.findings import Findings

TYPES = ("Adverse_event", "Effect", "Treatment", "Treatment.Drug", "Treatment.Combination", "Combination.Drug", "Severity", "problem")
ROLES = (*TYPES, "Theme", "value", "Trigger", "Treatment.Combination.Drug")
VALUES = ("SeverityValue", "DrugValue", "assertion", "Negated")
Way = Callable[[Document, Path, Findings], Document]


def _brat(document: Document, path: Path, findings: Findings) -> Document:
    brat.write([document], path, findings)
    return brat.read(path)[0]


def _i2b2(document: Document, path: Path, findings: Findings) -> Document:
    i2b2.write([document], path, findings)
    return i2b2.read(path)[0]


def _jsonl(document: Document, path: Path, findings: Findings) -> Document:
    jsonl.write([document], path)
    return jsonl.read(path)[0]


def _phee(document: Document, path: Path, findings: Findings) -> Document:
    phee.write([document], path, findings)
    return phee.read(path)[0]


def _radgraph(document: Document, path: Path, findings: Findings) -> Document:
    radgraph.write([document], path, findings)
    return radgraph.read(path)[0]


WAYS: dict[str, Way] = {"brat": _brat, "i2b2": _i2b2, "jsonl": _jsonl, "phee": _phee, "radgraph": _radgraph}


@st.composite
def documents(draw: st.DrawFn) -> Document:
    """Documents in which much fits PHEE or i2b2, and much does not."""
    text = draw(st.text(st.sampled_from("ab  \n.\u00e9\U0001fac0"), min_size=1, max_size=16))
    words = [place for place in range(len(text)) if not text[place].isspace()]
    entities = []
    for number in range(draw(st.integers(0, 6)) if words else 0):
        start = draw(st.sampled_from(words))
        end = draw(st.sampled_from([place for place in words if place >= start])) + 1
        later = [place for place in words if place > end]
        fragments = [(start, end)]
        if later and draw(st.integers(0, 4)) == 0:
            place = draw(st.sampled_from(later))
            fragments.append((place, place + 1))
        entities.append(Entity(f"T{number}", draw(st.sampled_from(TYPES)), Span(tuple(fragments)).joined(text)))
    if not entities:
        return Document("d", text)
    mentions = st.sampled_from(entities)
    triggers = draw(st.lists(mentions, max_size=4))
    names = [f"E{number}" for number in range(len(triggers))]
    ends = st.sampled_from([entity.id for entity in entities] + names)
    kinds = {entity.id: entity.type for entity in entities} | {name: one.type for name, one in zip(names, triggers, strict=True)}
    events = []
    for name, trigger in zip(names, triggers, strict=True):
        targets = draw(st.lists(ends, max_size=4))
        roles = tuple((kinds[target] if draw(st.integers(0, 4)) else draw(st.sampled_from(ROLES)), target) for target in targets)
        kind = trigger.type if draw(st.integers(0, 4)) else "Other"
        events.append(Event(name, kind, trigger.id, roles))
    roles = st.sampled_from([("Arg1", "Arg2"), ("Arg1", "Arg2"), ("Whole", "Part")])
    relations = tuple(Relation(f"R{n}", "Of", draw(ends), draw(ends), draw(roles)) for n in range(draw(st.integers(0, 3))))
    values = st.sampled_from([None, "High", "True"])
    attributes = tuple(Attribute(f"A{n}", draw(st.sampled_from(VALUES)), draw(ends), draw(values)) for n in range(draw(st.integers(0, 4))))
    target = draw(ends)
    rest: dict[str, Any] = {}
    if draw(st.booleans()):
        rest = {
            "equivalences": (Equivalence("Same", (target,)),),
            "normalizations": (Normalization("N1", "Reference", target, "UMLS:C1", "x"),),
            "comments": (Comment("#1", "AnnotatorNotes", target, "sure?"),),
        }
    return Document("d", text, tuple(entities), relations, tuple(events), attributes, **rest)


def contents(document: Document) -> dict[str, Counter[Any]]:
    """Annotations by kind, without ids: two files may name the same thing differently."""
    mention = {entity.id: (entity.type, entity.span.fragments) for entity in document.entities}
    event = {one.id: ("event", one.type, mention[one.trigger]) for one in document.events}
    node: dict[str, Any] = mention | event
    known = node | {one.id: ("relation", one.type, node[one.head], node[one.tail]) for one in document.relations}
    return {
        "mentions": Counter(mention.values()),
        "relations": Counter((one.type, node[one.head], node[one.tail]) for one in document.relations),
        "events": Counter(event.values()),
        "event arguments": Counter((event[one.id], role, node[target]) for one in document.events for role, target in one.arguments),
        "attributes": Counter((one.type, known[one.target], one.value) for one in document.attributes),
        "groups": Counter((one.type, tuple(known[member] for member in one.members)) for one in document.equivalences),
        "normalizations": Counter((one.type, known[one.target], one.entry, one.text) for one in document.normalizations),
        "comments": Counter((one.type, known.get(one.target), one.text) for one in document.comments),
    }


@pytest.mark.parametrize("name", WAYS)
@settings(max_examples=150)
@given(document=documents())
def test_what_comes_back_and_what_was_counted_are_the_document(name: str, document: Document) -> None:
    findings = Findings(strict=False)
    with tempfile.TemporaryDirectory() as folder:
        back = WAYS[name](document, Path(folder, "out"), findings)
    assert (back.id, back.text) == (document.id, document.text)
    there, before = contents(back), contents(document)
    for kind, found in there.items():
        assert not found - before[kind], f"{kind} were invented or changed"
        assert before[kind].total() - found.total() == findings.losses[kind], kind
    changed = [one for one in document.relations if one.roles != ("Arg1", "Arg2")]
    assert findings.losses["relation role names"] <= len(changed)
    assert bool(findings.losses) == bool(findings.errors)
    if name in ("brat", "jsonl"):
        assert not findings.losses
        assert Counter(one.roles for one in back.relations) == Counter(one.roles for one in document.relations)


@pytest.mark.parametrize("name", ["i2b2", "phee", "radgraph"])
@settings(max_examples=50)
@given(document=documents())
def test_strict_writers_stop_where_lenient_ones_count(name: str, document: Document) -> None:
    findings = Findings(strict=False)
    with tempfile.TemporaryDirectory() as folder:
        WAYS[name](document, Path(folder, "lenient"), findings)
        if findings.losses:
            with pytest.raises(FileFormatError, match=r"have no place in|cannot hold"):
                WAYS[name](document, Path(folder, "strict"), Findings())
            assert not Path(folder, "strict").exists()
        else:
            WAYS[name](document, Path(folder, "strict"), Findings())


def test_phee_never_renames_a_type() -> None:
    """Public corpus: all 244 events of BioNLP's GE came back with roles in place of types, and nested events as new mentions."""
    text = "IL-2 binds X and Y inhibits it"
    entities = tuple(
        Entity(f"T{n}", kind, Span.of(text.index(word), text.index(word) + len(word)))
        for n, (kind, word) in enumerate([("Protein", "IL-2"), ("Binding", "binds"), ("Protein", "X"), ("Regulation", "inhibits")], 1)
    )
    events = (Event("E1", "Binding", "T2", (("Theme", "T1"), ("Theme2", "T3"))), Event("E2", "Regulation", "T4", (("Theme", "E1"),)))
    findings = Findings(strict=False)
    with tempfile.TemporaryDirectory() as folder:
        back = _phee(Document("d", text, entities, events=events), Path(folder, "a.json"), findings)
    assert {entity.type for entity in back.entities} == {"Binding", "Regulation"}
    assert findings.losses == {"mentions": 2, "event arguments": 3}


def test_numbers_of_roles_are_counted() -> None:
    entities = (Entity("T1", "Adverse_event", Span.of(0, 1)), Entity("T2", "Effect", Span.of(2, 3)), Entity("T3", "Effect", Span.of(4, 5)))
    document = Document("d", "a b c", entities, events=(Event("E1", "Adverse_event", "T1", (("Effect", "T2"), ("Effect2", "T3"))),))
    findings = Findings(strict=False)
    with tempfile.TemporaryDirectory() as folder:
        back = _phee(document, Path(folder, "a.json"), findings)
    assert back.events[0].arguments == (("Effect", "T2"), ("Effect", "T3"))
    assert findings.losses == {"event role numbers": 1}


def test_losses_of_all_documents_add_up(tmp_path: Path) -> None:
    """Public corpus: 766 stood where 66,818 mentions and 52,211 relations were left out."""
    mentions = tuple(Entity(f"T{n}", "Drug", Span.of(n, n + 1)) for n in range(5))
    documents = [Document(f"d{n}", "abcde", mentions, (Relation("R1", "Of", "T1", "T2"),)) for n in range(3)]
    findings = Findings(strict=False)
    phee.write(documents, tmp_path / "a.json", findings)
    assert findings.losses == {"mentions": 15, "relations": 3}
