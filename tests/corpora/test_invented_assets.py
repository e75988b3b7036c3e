"""Two invented notes of each corpus that cannot be had freely, laid out as its owners ship it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from clinical_ie.corpora import (
    BratFolder,
    Corpus,
    CorpusReader,
    HashSplit,
    I2b2Concepts2010,
    N2c2Medications2018,
    N2c2SocialHistory2022,
    RadGraph,
    find,
    find_split,
)
from clinical_ie.corpora.integrity import check
from clinical_ie.document import Document
from clinical_ie.errors import FileFormatError, InputError, SettingError
from clinical_ie.formats.findings import Findings

ASSETS = Path(__file__).parents[1] / "assets"
CORPORA: dict[str, Callable[[str], Corpus]] = {
    "i2b2_2010": I2b2Concepts2010,
    "n2c2_2018": N2c2Medications2018,
    "n2c2_2022": N2c2SocialHistory2022,
    "radgraph": RadGraph,
}


def words(document: Document) -> list[tuple[str, str]]:
    return [(entity.type, document.covered(entity.span)) for entity in document.entities]


def links(document: Document) -> set[tuple[str, str, str]]:
    return {(kind, document.covered(head.span), document.covered(tail.span)) for _, kind, head, tail in document.links()}


def values(document: Document) -> dict[str, str | None]:
    anchors = document.anchors()
    return {document.covered(anchors[attribute.target].span): attribute.value for attribute in document.attributes}


@pytest.mark.parametrize("name", list(CORPORA))
def test_it_is_found_by_name_and_keeps_its_rules(name: str) -> None:
    assert find(name) is CORPORA[name]
    findings = Findings(strict=False)
    splits = check(CORPORA[name](str(ASSETS / name)), findings)
    assert [str(finding) for finding in findings] == []
    assert all(splits[split] for split in ("train", "test"))


@pytest.mark.parametrize("name", list(CORPORA))
def test_another_folder_is_refused_by_name(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=tmp_path.name):
        CORPORA[name](str(tmp_path)).read("train")
    with pytest.raises(InputError, match="missing"):
        CORPORA[name](str(tmp_path / "missing")).read("train")


def test_i2b2_2010() -> None:
    corpus = I2b2Concepts2010(str(ASSETS / "i2b2_2010"))
    beth, partners = corpus.read("train")
    assert (beth.id, partners.id) == ("record-13", "000000001_DH")
    assert words(beth) == [("problem", "chest pain"), ("test", "An EKG"), ("problem", "atrial fibrillation")]
    assert links(beth) == {("TeRP", "An EKG", "atrial fibrillation")}
    assert values(beth) == {"chest pain": "absent", "atrial fibrillation": "present"}
    assert links(partners) == {("TrAP", "Metoprolol", "hypertension")}
    (test,) = corpus.read("test")
    assert (test.text, words(test)) == ("Mother had asthma .\n", [("problem", "asthma")])
    assert values(test) == {"asthma": "associated_with_someone_else"}


def test_n2c2_2018() -> None:
    corpus = N2c2Medications2018(str(ASSETS / "n2c2_2018"))
    first, second = corpus.read("train")
    assert [document.id for document in (first, second)] == ["100035", "100039"]
    assert ("Reason", "atrial fibrillation") in words(first)
    assert links(first) == {
        ("Strength-Drug", "2.5 mg", "Warfarin"),
        ("Form-Drug", "Tablet", "Warfarin"),
        ("Route-Drug", "PO", "Warfarin"),
        ("Frequency-Drug", "daily", "Warfarin"),
        ("Reason-Drug", "atrial fibrillation", "Warfarin"),
        ("ADE-Drug", "bled", "heparin"),
    }
    assert links(second) == {("Dosage-Drug", "Two puffs", "albuterol"), ("Duration-Drug", "for 3 days", "albuterol")}
    assert [words(document) for document in corpus.read("test")] == [[("Drug", "Lasix")]]


def test_n2c2_2022() -> None:
    corpus = N2c2SocialHistory2022(str(ASSETS / "n2c2_2022"))
    mimic, uw = corpus.read("train")
    assert (mimic.id, uw.id) == ("mimic/0001", "uw/0002")
    assert {event.type for event in mimic.events} == {"Tobacco", "LivingStatus", "Employment"}
    assert links(mimic) == {
        ("Status", "Smokes", "Smokes"),
        ("Amount", "Smokes", "one pack"),
        ("Frequency", "Smokes", "daily"),
        ("Duration", "Smokes", "for 20 years"),
        ("Type", "Lives", "with wife"),
        ("Status", "Lives", "Lives"),
        ("Status", "Retired teacher", "Retired"),
        ("Type", "Retired teacher", "teacher"),
    }
    assert values(mimic) == {"Smokes": "current", "Lives": "current", "with wife": "with_family", "Retired": "retired"}
    assert links(uw) == {("Status", "alcohol", "No"), ("Status", "drugs", "no"), ("Method", "drugs", "IV")}
    assert [document.id for split in ("dev", "test") for document in corpus.read(split)] == ["mimic/0003", "uw/0004"]


def test_radgraph() -> None:
    corpus = RadGraph(str(ASSETS / "radgraph"))
    first, second = CorpusReader(corpus).read("train")
    assert words(first) == [("OBS-DP", "Small"), ("ANAT-DP", "left"), ("OBS-DP", "effusion"), ("OBS-DA", "pneumothorax")]
    assert links(first) == {("modify", "Small", "effusion"), ("located_at", "effusion", "left")}
    assert links(second) == {("suggestive_of", "Opacity", "pneumonia")}
    (test,) = corpus.read("test")
    assert links(test) == {("located_at", "enlarged", "Heart")}
    assert corpus.group(first.id) == "p10000001"


def test_a_problem_beyond_syntax_is_told_with_file_and_line(tmp_path: Path) -> None:
    """``corpus check`` promises file and line for every problem, not the document's name alone."""
    shutil.copytree(ASSETS / "i2b2_2010", tmp_path / "i2b2")
    path = tmp_path / "i2b2/concept_assertion_relation_training_data/beth/concept/record-13.con"
    path.write_text(path.read_text().replace('t="test"', 't="exam"'))
    findings = Findings(strict=False)
    check(I2b2Concepts2010(str(tmp_path / "i2b2")), findings)
    (error,) = findings.errors
    assert error.code == "unknown-entity-type"
    assert (error.path, error.line) == (str(path), 2)


SPLIT = find_split(str(ASSETS / "my_notes.yaml"))


def folder(**options: Any) -> Corpus:
    return BratFolder.from_yaml(ASSETS / "my_notes.yaml", root=str(ASSETS / "my_notes"), **options)


def test_a_folder_by_yaml_alone_keeps_patients_together() -> None:
    findings = Findings(strict=False)
    splits = check(folder(), findings, SPLIT)
    assert [str(finding) for finding in findings] == []
    patients = {split: {document.id[:2] for document in documents} for split, documents in splits.items()}
    assert {split: len(documents) for split, documents in splits.items()} == {"train": 2, "dev": 2, "test": 2}
    assert set.union(*patients.values()) == {"07", "11", "12"}
    assert sum(map(len, patients.values())) == 3
    assert CorpusReader(find(str(ASSETS / "my_notes.yaml"))(root=str(ASSETS / "my_notes")), SPLIT).read_all() == splits


def test_the_split_follows_the_seed() -> None:
    splits = [HashSplit(dev_share=0.3, test_share=0.3, seed=seed) for seed in range(20)]
    assert len({document.id for split in splits for document in CorpusReader(folder(), split).read("test")}) == 6
    assert CorpusReader(folder(), splits[3]).read("dev") == CorpusReader(folder(), splits[3]).read("dev")


def test_without_a_pattern_every_note_is_its_own_group() -> None:
    assert folder(patient_pattern=None).group("07_1") == "07_1"
    assert folder().group("07_1") == "07"


@pytest.mark.parametrize(
    "change",
    [{"schema": {}}, {"shares": 1}, {"patient_pattern": "("}, {"split_folders": {"training": ["."]}}, {"split_folders": {"test": ["."]}}],
)
def test_wrong_settings_are_said(tmp_path: Path, change: dict[str, Any]) -> None:
    data = yaml.safe_load((ASSETS / "my_notes.yaml").read_text()) | {"root": str(ASSETS / "my_notes")} | change
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(data))
    with pytest.raises((SettingError, FileFormatError), match=r"c\.yaml"):
        CorpusReader(BratFolder.from_yaml(tmp_path / "c.yaml")).read_all()


@pytest.mark.parametrize("text", ["a: [", "- 1", "root: x", "data: 5"])
def test_what_is_no_description_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(FileFormatError, match=r"c\.yaml"):
        BratFolder.from_yaml(tmp_path / "c.yaml")


def test_a_few_notes_leave_some_for_training(tmp_path: Path) -> None:
    for name in ("07_1", "11_1"):
        for ending in ("txt", "ann"):
            shutil.copy(ASSETS / "my_notes" / f"{name}.{ending}", tmp_path)
    assert CorpusReader(BratFolder.from_yaml(ASSETS / "my_notes.yaml", root=str(tmp_path)), SPLIT).read("train")
