from __future__ import annotations

from pathlib import Path

import pytest

from clinical_ie.corpora import CorpusReader, Demo, demo_notes
from clinical_ie.corpora.demo_notes import generate
from clinical_ie.corpora.demo_notes.markup import NoteWriter
from clinical_ie.corpora.integrity import check
from clinical_ie.document import Attribute, Document, Entity, Event, Relation, Span
from clinical_ie.formats import jsonl
from clinical_ie.formats.findings import Findings
from clinical_ie.segmentation.sentences import sentences


@pytest.fixture(scope="module")
def splits() -> dict[str, list[Document]]:
    return {str(split): documents for split, documents in CorpusReader(Demo()).read_all().items()}


@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_generating_again_gives_the_files_of_the_package(split: str, tmp_path: Path) -> None:
    jsonl.write(generate.notes(split), tmp_path / "again.jsonl")
    shipped = Path(next(iter(demo_notes.__path__))) / f"{split}.jsonl"
    assert (tmp_path / "again.jsonl").read_bytes() == shipped.read_bytes()


def test_another_seed_gives_other_notes() -> None:
    assert generate.note("train", 0, seed=1).text != generate.note("train", 0, seed=2).text


def test_it_keeps_its_own_rules() -> None:
    findings = Findings(strict=False)
    check(Demo(), findings)
    assert [str(finding) for finding in findings] == []


def test_notes_and_texts_are_in_one_split_only(splits: dict[str, list[Document]]) -> None:
    documents = [document for part in splits.values() for document in part]
    assert {split: len(part) for split, part in splits.items()} == {"train": 80, "dev": 15, "test": 25}
    assert len({document.id for document in documents}) == len({document.text for document in documents}) == 120


def forms(documents: list[Document]) -> list[tuple[str, str]]:
    return [(entity.type, document.covered(entity.span).lower()) for document in documents for entity in document.entities]


def test_a_dictionary_of_the_training_notes_is_not_enough(splits: dict[str, list[Document]]) -> None:
    seen = set(forms(splits["train"] + splits["dev"]))
    mentions = forms(splits["test"])
    assert sum(form not in seen for form in mentions) > 0.2 * len(mentions)


@pytest.mark.parametrize("split", ["train", "test"])
def test_what_makes_clinical_text_hard_is_in_it(splits: dict[str, list[Document]], split: str) -> None:
    documents = splits[split]
    nested = crossing_sentences = 0
    for document in documents:
        for inner in document.entities:
            nested += any(
                o is not inner and o.start <= inner.start and inner.end <= o.end and o.span != inner.span for o in document.entities
            )
        starts = [start for start, _ in sentences(document.text)]
        for _, _, head, tail in document.links():
            left, right = sorted((head.start, tail.start))
            crossing_sentences += any(left < start <= right for start in starts)
    assert nested > 0
    assert crossing_sentences > 0
    assert any(entity.span.discontinuous for document in documents for entity in document.entities)
    assert any(document.events for document in documents)
    assert {a.value for d in documents for a in d.attributes if a.type == "Assertion"} >= {"absent", "possible", "family", "hypothetical"}


def test_every_declared_type_occurs_in_training_and_test(splits: dict[str, list[Document]]) -> None:
    declared = set(Demo.declared.entity_names)
    links = {relation.name for relation in Demo.declared.relations}
    for split in ("train", "test"):
        assert {entity.type for document in splits[split] for entity in document.entities} == declared
        assert {kind for document in splits[split] for _, kind, _, _ in document.links()} == links


def test_the_same_words_mean_different_things(splits: dict[str, list[Document]]) -> None:
    """Some forms have two types, so that context is needed."""
    types: dict[str, set[str]] = {}
    for kind, form in forms(splits["train"]):
        types.setdefault(form, set()).add(kind)
    assert any(len(kinds) > 1 for kinds in types.values())


def test_markup_writes_what_it_annotates() -> None:
    writer = NoteWriter()
    writer.plain("Has ")
    writer.write(
        "<p Problem|pain in the <a Anatomy|arm>> and <q Problem|sore> throat, <q+ Problem|red>.", "p LocatedAt a", "p.Assertion=absent"
    )
    writer.write("<s Status|No> <t Tobacco|smoking>", "t(Status=s)")
    text = "Has pain in the arm and sore throat, red.No smoking"
    assert writer.document("d") == Document(
        "d",
        text,
        (
            Entity("T1", "Problem", Span.of(4, 19)),
            Entity("T2", "Anatomy", Span.of(16, 19)),
            Entity("T3", "Problem", Span(((24, 28), (37, 40)))),
            Entity("T4", "Status", Span.of(41, 43)),
            Entity("T5", "Tobacco", Span.of(44, 51)),
        ),
        (Relation("R1", "LocatedAt", "T1", "T2"),),
        (Event("E1", "Tobacco", "T5", (("Status", "T4"),)),),
        (Attribute("A1", "Assertion", "T1", "absent"),),
    )
