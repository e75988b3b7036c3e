"""What Label Studio gets comes back, but for what is counted as lost: any invented document, and all open corpora."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinical_ie.document import Attribute, Document, Entity, Event, Relation, Span, bare_role
from clinical_ie.errors import FileFormatError
from clinical_ie.formats import brat, label_studio, phee
from clinical_ie.formats.findings import Findings
from clinical_ie.formats.label_studio import Labeling
from clinical_ie.formats.label_studio.labeling import CONTINUED, FLAG
from tests.conftest import corpora_folder

NAMES = st.text(st.sampled_from("aB: \t\n\"'<&é😀1"), min_size=1, max_size=5) | st.sampled_from(
    [CONTINUED, FLAG, "Drug", "Drug: Dose", "event"]
)
NOTES = st.text(st.sampled_from("ab \t\n\r\u00e9\u2028\U0001fac0\\n"), min_size=1, max_size=30).flatmap(
    lambda text: st.sampled_from([text, text.replace("\n", "\r\n"), text + "\r\n", "\ufeff" + text, text.replace("a", "a  a")])
)


@st.composite
def documents(draw: st.DrawFn) -> Document:
    """Mentions adjacent, nested, crossing, equal, discontinuous; relations and arguments between any of them."""
    text = draw(NOTES)
    entities = []
    for rank in range(draw(st.integers(0, 5))):
        edges = sorted(draw(st.sets(st.integers(0, len(text)), min_size=2, max_size=6)))
        pairs = list(zip(edges[::2], edges[1::2], strict=False))
        entities.append(Entity(f"T{rank + 1}", draw(NAMES), Span(tuple(pairs)), draw(st.none() | st.floats(0, 1))))
    if not entities:
        return Document("d", text)
    pick = st.sampled_from([entity.id for entity in entities])
    events = tuple(
        Event(f"E{n}", draw(NAMES), draw(pick), draw(st.lists(st.tuples(NAMES, pick), max_size=3).map(tuple))) for n in range(3, 5)
    )
    events = draw(st.sampled_from([(), events[:1], events]))
    node = st.sampled_from([*(entity.id for entity in entities), *(event.id for event in events)])
    relations = tuple(Relation(f"R{rank}", draw(NAMES), draw(node), draw(node)) for rank in range(draw(st.integers(0, 3))))
    value = st.none() | NAMES
    attributes = tuple(Attribute(f"A{rank}", draw(NAMES), draw(node), draw(value)) for rank in range(draw(st.integers(0, 3))))
    return Document("d", text, tuple(entities), relations, events, attributes)


def canonical(given: Document) -> Document:
    """What should come back, by the rules that the documentation states."""
    events: dict[str, Event] = {}
    for event in given.events:
        events.setdefault(event.trigger, event)  # one event a trigger
    to_event = {event.trigger: f"E{rank}" for rank, event in enumerate(events.values(), 1)}
    node = {entity.id: to_event.get(entity.id, entity.id) for entity in given.entities}
    node |= {event.id: to_event[event.trigger] for event in events.values()}
    kept = []
    for event in events.values():
        seen: Counter[str] = Counter()
        arguments = []
        for role, target in event.arguments:
            if target in node:
                seen[bare_role(role)] += 1
                rank = seen[bare_role(role)]
                arguments.append((bare_role(role) + (str(rank) if rank > 1 else ""), node[target]))
        kept.append(Event(to_event[event.trigger], event.type, event.trigger, tuple(arguments)))
    kinds = {event.id: event.type for event in kept}
    relations = [
        (relation.type, node[relation.head], node[relation.tail])
        for relation in given.relations
        if relation.head in node
        and relation.tail in node
        and relation.type != CONTINUED
        and not (node[relation.head] in kinds and relation.type.startswith(f"{kinds[node[relation.head]]}: "))
    ]
    attributes = [(a.type, node[a.target], a.value) for a in given.attributes if a.target in node and a.value not in ("", FLAG)]
    return Document(
        given.id,
        given.text,
        given.entities,
        tuple(Relation(f"R{rank}", *relation) for rank, relation in enumerate(relations, 1)),
        tuple(kept),
        tuple(Attribute(f"A{rank}", *attribute) for rank, attribute in enumerate(attributes, 1)),
    )


def there_and_back(document: Document, findings: Findings) -> Document | None:
    task = label_studio.render(document, Labeling.of_documents([document]), findings)
    return label_studio.parse(task, Findings(as_errors=frozenset({"covered-text-differs"})))


@given(documents())
def test_any_document_comes_back(document: Document) -> None:
    findings = Findings(strict=False)
    back = there_and_back(document, findings)
    expected = canonical(document)
    assert back == expected
    assert [entity.confidence for entity in back.entities] == [entity.confidence for entity in document.entities]
    lost = sum(findings.losses.values())
    renamed = replace(document, relations=(), events=(), attributes=()) == replace(back, relations=(), events=(), attributes=())
    assert renamed
    missing = len(document.relations) + len(document.events) + len(document.attributes)
    missing -= len(back.relations) + len(back.events) + len(back.attributes)
    assert lost >= missing
    if not lost:
        there_and_back(document, Findings())
    else:
        with pytest.raises(FileFormatError, match="have no place in Label Studio"):
            label_studio.render(document)


@given(documents())
def test_what_came_back_once_comes_back_the_same(document: Document) -> None:
    once = there_and_back(document, Findings(strict=False))
    assert once is not None
    assert there_and_back(once, Findings()) == once


CORPORA = {
    "maccrobat2020": {"groups": 2023, "comments": 335},
    "uw_social_history_mtsamples": {"event role numbers": 2, "comments": 1},
    "leaf_clinical_trials": {"event role numbers": 304},
    "phee": {"event role numbers": 2145, "events": 27},
}
"""What Label Studio cannot hold of each, counted by a program that reads the files and knows nothing of Label Studio."""


def read(name: str) -> list[Document]:
    folder, findings = corpora_folder() / name / "data", Findings(strict=False)
    if not folder.exists():
        pytest.skip(f"{name} is not here")
    if name != "phee":
        return brat.read(folder, findings)
    parts = [phee.read(file, findings) for file in sorted(folder.glob("*.json*"))]
    return [replace(document, id=f"{rank}/{document.id}") for rank, part in enumerate(parts) for document in part]


def with_emoji_and_crlf(document: Document) -> Document:
    """The document with an emoji before each sentence-like line and CRLF for LF, all offsets moved along."""
    pieces = [{"\n": "\r\n", ".": ".\U0001fac0", " ": "  "}.get(sign, sign) for sign in document.text]
    ends = list(accumulate(map(len, pieces), initial=0))
    entities = [
        replace(entity, span=Span(tuple((ends[start], ends[end]) for start, end in entity.span.fragments))) for entity in document.entities
    ]
    return replace(document, text="".join(pieces), entities=tuple(entities))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["maccrobat2020", "uw_social_history_mtsamples"])
def test_corpora_with_emoji_crlf_and_double_blanks_come_back(tmp_path: Path, name: str) -> None:
    documents = [with_emoji_and_crlf(document) for document in read(name)]
    label_studio.write(documents, tmp_path / "tasks.json", Findings(strict=False))
    back = Findings(as_errors=frozenset({"covered-text-differs"}))
    assert label_studio.read(tmp_path / "tasks.json", back) == [canonical(document) for document in documents]
    brat.write(documents, tmp_path / "brat", Findings(as_errors=frozenset({"covered-text-differs"})))
    assert brat.read(tmp_path / "brat", Findings(as_errors=frozenset({"covered-text-differs"}))) == documents


@pytest.mark.slow
@pytest.mark.parametrize("name", CORPORA)
def test_brat_files_of_all_corpora_come_back(tmp_path: Path, name: str) -> None:
    documents = read(name)
    strict = Findings(as_errors=frozenset({"covered-text-differs"}))
    brat.write(documents, tmp_path, strict)
    assert sorted(brat.read(tmp_path, strict), key=lambda one: one.id) == sorted(documents, key=lambda one: one.id)


@pytest.mark.slow
@pytest.mark.parametrize("name", CORPORA)
def test_all_corpora_come_back(tmp_path: Path, name: str) -> None:
    documents, findings = read(name), Findings(strict=False)
    label_studio.write(documents, tmp_path / "tasks.json", findings)
    back = Findings(as_errors=frozenset({"covered-text-differs"}))
    assert label_studio.read(tmp_path / "tasks.json", back) == [canonical(document) for document in documents]
    assert {kind: count for kind, count in findings.losses.items() if kind != "event arguments"} == CORPORA[name]
    assert back.counts() == {"prediction-read": len(documents)}
