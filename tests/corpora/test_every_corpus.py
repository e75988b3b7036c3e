"""The open corpora as they are published; numbers from their own files and from notes taken with other tools."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from clinical_ie.corpora import Corpus, CorpusReader, find
from clinical_ie.corpora.integrity import check
from clinical_ie.document import Document
from clinical_ie.formats import brat, jsonl, phee
from clinical_ie.formats.findings import Findings

ROOT = Path(os.environ.get("CLINICAL_IE_CORPORA") or Path(__file__).parents[2].parent / "shared" / "corpora")


@dataclass(frozen=True)
class Known:
    folder: str
    documents: tuple[int, int, int] | int
    entities: int | None
    types: int | None
    relations: int
    events: int | None


KNOWN = {
    "maccrobat": Known("maccrobat2020", 200, 25_189, 41, 16_307, None),
    "uw_social_history": Known("uw_social_history_mtsamples", (251, 73, 37), 3_778, 26, 0, 1_339),
    "leaf_clinical_trials": Known("leaf_clinical_trials", 1_006, 56_067, 50, 10_410, 27_966),
    "phee": Known("phee", (2_898, 961, 968), None, None, 0, None),
}


@dataclass(frozen=True)
class Read:
    name: str
    corpus: Corpus
    splits: dict[str, list[Document]]
    findings: Findings

    @property
    def documents(self) -> list[Document]:
        return [document for documents in self.splits.values() for document in documents]

    @property
    def known(self) -> Known:
        return KNOWN[self.name]


def folder(name: str) -> Path:
    path = ROOT / KNOWN[name].folder
    if not path.is_dir():
        pytest.skip(f"{path} is not there; set CLINICAL_IE_CORPORA to the folder that holds {KNOWN[name].folder}")
    return path


@pytest.fixture(scope="module", params=list(KNOWN))
def read(request: pytest.FixtureRequest) -> Read:
    corpus, findings = find(request.param)(str(folder(request.param))), Findings(strict=False)
    splits = {str(split): documents for split, documents in check(corpus, findings).items()}
    return Read(request.param, corpus, splits, findings)


def test_it_keeps_its_own_rules(read: Read) -> None:
    assert [str(finding) for finding in read.findings.errors] == []


def test_documents_of_each_split(read: Read) -> None:
    sizes = tuple(len(read.splits[split]) for split in ("train", "dev", "test"))
    if isinstance(read.known.documents, int):
        assert sum(sizes) == read.known.documents
        assert min(sizes) > 0
    else:
        assert sizes == read.known.documents


def test_counts(read: Read) -> None:
    known, documents = read.known, read.documents
    assert sum(len(document.relations) for document in documents) == known.relations
    if known.entities is not None:
        assert sum(len(document.entities) for document in documents) == known.entities
    if known.types is not None:
        assert len({entity.type for document in documents for entity in document.entities}) == known.types
    if known.events is not None:
        assert sum(len(document.events) for document in documents) == known.events


def test_splits_share_no_document(read: Read) -> None:
    names = [document.id for document in read.documents]
    assert len(names) == len(set(names))
    groups = [{read.corpus.group(document.id) for document in documents} for documents in read.splits.values()]
    if isinstance(read.known.documents, int):
        assert not groups[0] & groups[1]
        assert not groups[0] & groups[2]
        assert not groups[1] & groups[2]


def test_one_split_alone_is_the_same_and_so_is_another_reading(read: Read) -> None:
    again = find(read.name)(str(folder(read.name)))
    for split in ("train", "dev", "test"):
        assert CorpusReader(again, findings=Findings(strict=False)).read(split) == read.splits[split]  # type: ignore[arg-type]


def test_every_type_is_declared_and_every_offset_gives_text(read: Read) -> None:
    declared = set(read.corpus.schema.entity_names)
    for document in read.documents:
        assert {entity.type for entity in document.entities} <= declared
        assert all(document.covered(entity.span).strip() for entity in document.entities)


def test_brat_and_jsonl_there_and_back(read: Read, tmp_path: Path) -> None:
    documents = sorted(read.documents, key=lambda document: document.id)
    jsonl.write(documents, tmp_path / "a.jsonl")
    assert jsonl.read(tmp_path / "a.jsonl") == documents
    brat.write(jsonl.read(tmp_path / "a.jsonl"), tmp_path / "brat")
    assert sorted(brat.read(tmp_path / "brat"), key=lambda document: document.id) == documents


@pytest.mark.parametrize("name", ["maccrobat", "uw_social_history", "leaf_clinical_trials"])
def test_covered_text_of_the_files_is_what_the_offsets_give(name: str) -> None:
    """A reader of ten lines beside ours; 10 covered texts of UW are known to be damaged."""
    corpus = find(name)(str(folder(name)))
    different = 0
    for path in corpus.root.rglob("*.ann"):
        text = path.with_suffix(".txt").read_bytes().decode()
        for line in path.read_bytes().decode().splitlines():
            if line.startswith("T") and line.count("\t") == 2:
                _, middle, covered = line.split("\t")
                ranges = [part.split() for part in middle.partition(" ")[2].split(";")]
                different += " ".join(text[int(a) : int(b)] for a, b in ranges).split() != covered.split()
    findings = Findings(strict=False)
    CorpusReader(corpus, findings=findings).read_all()
    assert findings.counts()["covered-text-differs"] == different == (10 if name == "uw_social_history" else 0)


def test_uw_arguments_and_attributes_as_published() -> None:
    splits = CorpusReader(find("uw_social_history")(str(folder("uw_social_history"))), findings=Findings(strict=False)).read_all()
    documents = [document for part in splits.values() for document in part]
    assert sum(len(event.arguments) for document in documents for event in document.events) == 2_649
    assert sum(len(document.attributes) for document in documents) == 956


def test_maccrobat_groups_fragments_and_event_arguments_as_published() -> None:
    splits = CorpusReader(find("maccrobat")(str(folder("maccrobat"))), findings=Findings(strict=False)).read_all()
    documents = [document for part in splits.values() for document in part]
    assert sum(len(document.equivalences) for document in documents) == 2_023
    assert sum(entity.span.discontinuous for document in documents for entity in document.entities) == 44
    ends = [end for document in documents for relation in document.relations for end in (relation.head, relation.tail)]
    assert sum(end.startswith("E") for end in ends) > len(ends) / 2


def test_phee_events_cues_and_file_as_published(tmp_path: Path) -> None:
    path = folder("phee") / "data" / "test.json"
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    events = [event for record in records for annotation in record["annotations"] for event in annotation["events"]]
    documents = phee.read(path, Findings(strict=False))
    outer = [event for document in documents for event in document.events if event.type != "Treatment.Combination"]
    assert len(outer) == len(events)
    assert [document.text for document in documents] == [record["context"] for record in records]
    for cue in ("Negated", "Speculated", "Severity"):
        expected = sum(len(event[cue]["entity_id"]) for event in events if cue in event)
        assert sum(role == cue for event in outer for role, _ in event.arguments) == expected
    phee.write(documents, tmp_path / "test.json")
    assert phee.read(tmp_path / "test.json") == documents


def test_phee_holds_5019_events() -> None:
    splits = CorpusReader(find("phee")(str(folder("phee"))), findings=Findings(strict=False)).read_all()
    types = [event.type for documents in splits.values() for document in documents for event in document.events]
    assert sum(kind != "Treatment.Combination" for kind in types) == 5_019
