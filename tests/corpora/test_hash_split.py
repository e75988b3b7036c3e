from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from clinical_ie.corpora import BratFolder, Corpus, CorpusReader, Demo, HashSplit, find, find_split
from clinical_ie.corpora.shots import choose
from clinical_ie.document import Document
from clinical_ie.errors import InputError, SettingError
from clinical_ie.formats.findings import Findings
from tests.conftest import corpora_folder

ASSETS = Path(__file__).parents[1] / "assets"
SCHEMA = {"entities": ["Drug"]}

BEFORE = {
    "i2b2_2010": ((1, "8e6a27e3"), (1, "2def851e"), (1, "888b19a4")),
    "n2c2_2018": ((1, "a9bcd7e2"), (1, "fbb6c37b"), (1, "67a118d3")),
    "n2c2_2022": ((2, "f2bd126e"), (1, "4abe9a40"), (1, "d49a251f")),
    "radgraph": ((2, "7c2fe3d9"), (1, "531cd54a"), (1, "cbc0c04e")),
    "my_notes.yaml": ((2, "529cf982"), (2, "45709768"), (2, "fb247138")),
    "demo": ((80, "9a7b6475"), (15, "a59725f2"), (25, "4db09985")),
}
OPEN_BEFORE = {
    "maccrobat": ("maccrobat2020", {}, ((135, "2f839a02"), (19, "72424adc"), (46, "b60237fe"))),
    "maccrobat without dev": ("maccrobat2020", {"dev_share": {"maccrobat": 0.0}}, ((154, "749dec30"), (0, "e3b0c442"), (46, "b60237fe"))),
    "maccrobat of seed 3": ("maccrobat2020", {"seed": 3}, ((127, "8539a27f"), (27, "0fd3185e"), (46, "0263c3b8"))),
    "leaf_clinical_trials": ("leaf_clinical_trials", {}, ((690, "282c584d"), (106, "79dcc418"), (210, "25c3b331"))),
    "uw_social_history": ("uw_social_history_mtsamples", {}, ((251, "96012597"), (73, "682aeb1c"), (37, "164bcaf4"))),
    "phee": ("phee", {}, ((2898, "3143c87c"), (961, "5dd672ef"), (968, "72df3ee5"))),
}
"""Number and SHA-256 of the sorted ids of train, dev and test as commit 92de0d5 shared them out, where corpora still did it themselves."""


def digests(reader: CorpusReader) -> Any:
    ids = reader.ids()
    return tuple((len(names), hashlib.sha256("\n".join(names).encode()).hexdigest()[:8]) for names in ids.values())


@pytest.mark.parametrize("name", list(BEFORE))
def test_no_document_has_moved_since_corpora_shared_them_out(name: str) -> None:
    given = str(ASSETS / name) if name.endswith(".yaml") else name
    corpus = Demo() if name == "demo" else find(given)(str(ASSETS / name.removesuffix(".yaml")))
    assert digests(CorpusReader(corpus, find_split(given), Findings(strict=False))) == BEFORE[name]


@pytest.mark.parametrize("name", list(OPEN_BEFORE))
def test_no_document_of_the_open_corpora_has_moved(name: str) -> None:
    folder, options, expected = OPEN_BEFORE[name]
    if not (corpora_folder() / folder).is_dir():
        pytest.skip(f"{folder} is not here")
    corpus = find(name.split()[0])(str(corpora_folder() / folder))
    assert digests(CorpusReader(corpus, HashSplit(**options), Findings(strict=False))) == expected


def ward(folder: Path, count: int = 40, **options: Any) -> BratFolder:
    folder.mkdir(exist_ok=True)
    for number in range(count):
        (folder / f"n{number:02d}.txt").write_text("Takes aspirin.")
        (folder / f"n{number:02d}.ann").write_text("")
    return BratFolder(str(folder), SCHEMA, corpus_name="ward", **options)


def ids(corpus: Corpus, **options: Any) -> dict[str, list[str]]:
    return {str(role): names for role, names in CorpusReader(corpus, HashSplit(**options)).ids().items()}


def test_a_corpus_that_is_held_out_is_only_tested(tmp_path: Path) -> None:
    usual, held = ids(ward(tmp_path)), ids(ward(tmp_path), held_out="ward")
    assert (held["train"], held["dev"], held["test"]) == ([], [], usual["test"])
    assert held["held-out"] == sorted(usual["train"] + usual["dev"])
    named = ids(Demo(), held_out=["demo"])
    assert {role: len(names) for role, names in named.items()} == {"train": 0, "dev": 0, "test": 25, "held-out": 95}


def test_shots_are_nested_and_of_the_training_documents(tmp_path: Path) -> None:
    corpus, usual = ward(tmp_path), ids(ward(tmp_path))
    found = {count: set(ids(corpus, held_out="ward", shots=count)["train"]) for count in (1, 2, 5, 16)}
    assert [len(names) for names in found.values()] == [1, 2, 5, 16]
    assert found[1] < found[2] < found[5] < found[16] < set(usual["train"])
    assert set(ids(corpus, held_out="ward", shots=5, shots_seed=1)["train"]) != found[5]
    assert ids(corpus, held_out="ward", shots=5)["test"] == usual["test"]
    with pytest.raises(SettingError, match=r"shots is 41, but ward has \d+ documents to learn from"):
        ids(corpus, held_out="ward", shots=41)


def test_one_more_thing_replaces_one_at_most_and_nothing_depends_on_the_order() -> None:
    names = [f"note{number}" for number in range(200)]
    for count in (0, 1, 10, 200, 300):
        before = choose(names, count, 13, of=str)
        assert before == [name for name in names if name in before]
        assert len(before) == min(count, 200)
        assert sorted(choose(names[::-1], count, 13, of=str)) == sorted(before)
        assert len(set(choose([*names, "more"], count, 13, of=str)) - set(before)) <= 1
    assert choose(names, 10, 14, of=str) != choose(names, 10, 13, of=str)


def test_values_for_one_corpus_leave_the_others_alone(tmp_path: Path) -> None:
    corpus, usual = ward(tmp_path), ids(ward(tmp_path))
    for options in ({"dev_share": {"other": 0.5}}, {"seed": {"other": 3}}, {"test_share": {"other": 0.0}}):
        assert ids(corpus, **options) == usual
    assert ids(corpus, dev_share={"ward": 0.0})["dev"] == []
    assert ids(corpus, seed={"ward": 3}) == ids(corpus, seed=3) != usual


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"dev_share": 1.0}, "dev_share is 1.0 and test_share 0.2; expected shares"),
        ({"dev_share": {"ward": 0.9}}, "dev_share is 0.9 and test_share 0.2 for ward"),
        ({"test_share": -0.1}, "test_share -0.1"),
        ({"shots": 3}, "shots is 3: they are documents of corpora that data.split.held_out names"),
        ({"held_out": "ward", "shots": -1}, "shots is -1"),
        ({"held_out": "ward", "shots_by": "chance"}, "shots_by is 'chance'; expected stratified or random"),
        ({"folds": 1}, "folds is 1 and fold 0; expected 2 folds or more"),
        ({"folds": 5, "fold": 5}, "folds is 5 and fold 5"),
        ({"fold": 2}, "folds is None and fold 2"),
        ({"pool_test": True}, "give data.split.folds"),
    ],
)
def test_wrong_values_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingError, match=said):
        HashSplit(**options)


def test_names_of_no_corpus_are_refused_before_training() -> None:
    HashSplit(held_out="ward", dev_share={"demo": 0.2}).check(["demo", "ward"])
    for options in ({"held_out": ["wrad"]}, {"seed": {"wrad": 3}}):
        with pytest.raises(SettingError, match=r"data\.split names 'wrad'; the corpora are .*; did you mean 'ward'"):
            HashSplit(**options).check(["demo", "ward"])
    with pytest.raises(SettingError, match="nothing is left to learn from"):
        HashSplit(held_out=["ward"]).check(["ward"])
    HashSplit(held_out=["ward"], shots=1).check(["ward"])


def test_a_part_is_read_when_it_is_wanted_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    load = Demo.load

    def counted(self: Demo, path: Path, findings: Findings) -> list[Document]:
        read.append(path.name)
        return load(self, path, findings)

    monkeypatch.setattr(Demo, "load", counted)
    reader = CorpusReader(Demo())
    assert len(reader.read("test")) == 25
    assert read == ["test.jsonl"]
    assert len(reader.ids()["train"]) == 80
    assert [len(reader.read(part)) for part in ("train", "dev")] == [80, 15]
    assert read == ["test.jsonl", "train.jsonl", "dev.jsonl"]
    assert len(reader.read("dev")) == 15, "what was handed over is read again"
    assert read[3:] == ["dev.jsonl"]


def test_a_part_that_the_owners_do_not_name_is_not_read_as_if_they_did(tmp_path: Path) -> None:
    corpus = ward(tmp_path)
    assert len(corpus.read("train")) == 40
    with pytest.raises(SettingError, match="ward names no test part"):
        corpus.read("test")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("split: {dev_share: half}", "split.dev_share: found a string; expected a share"),
        ("split: {dev_share: {ward: half}}", "split.dev_share.ward: found a string; expected a share"),
        ("split: {seed: 1.5}", "split.seed: found a number; expected a number without a fraction"),
        ("split: {sed: 1}", "unknown key 'sed'"),
        ("split: [a]", "split: found a list"),
        ("split: {dev_share: 0.9}", "expected shares"),
        ("data: {corpora+: [{init_args: {root: x}}], split: {class_path: x, init_args: {held_out: a}}}", "held_out: found a string"),
    ],
)
def test_a_wrong_split_of_a_description_is_named_with_its_file(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(("" if text.startswith("data") else "root: x\nschema: {entities: [Drug]}\n") + text)
    with pytest.raises(InputError) as caught:
        find_split(str(path))
    assert str(caught.value).startswith(str(path))
    assert said in str(caught.value)


def test_folds_are_disjoint_and_hold_everything_and_adding_notes_moves_none(tmp_path: Path) -> None:
    folds = [ids(ward(tmp_path / "a"), folds=4, fold=fold) for fold in range(4)]
    everything = [f"n{number:02d}" for number in range(40)]
    assert sorted(name for found in folds for name in found["test"]) == everything
    for found in folds:
        assert sorted(found["train"] + found["dev"] + found["test"]) == everything
        assert found["dev"]
        assert found["train"]
    more = [ids(ward(tmp_path / "b", 60), folds=4, fold=fold) for fold in range(4)]
    assert all(set(before["test"]) <= set(after["test"]) for before, after in zip(folds, more, strict=True))
    assert ids(ward(tmp_path / "a"), folds=4, fold=1, seed=3)["test"] != folds[1]["test"]


def test_patients_are_whole_in_folds(tmp_path: Path) -> None:
    corpus = ward(tmp_path, patient_pattern=r"n(\d)")
    for fold in range(3):
        found = ids(corpus, folds=3, fold=fold)
        patients = [{name[1] for name in found[role]} for role in ("train", "dev", "test")]
        assert sum(map(len, patients)) == len(set.union(*patients)) == 4


def test_the_test_part_of_the_owners_joins_folds_only_where_that_is_said() -> None:
    usual = ids(Demo())
    for pool_test, pooled in (
        (False, sorted(usual["train"] + usual["dev"])),
        (True, sorted(name for names in usual.values() for name in names)),
    ):
        folds = [ids(Demo(), folds=3, fold=fold, pool_test=pool_test) for fold in range(3)]
        assert sorted(name for found in folds for name in found["test"]) == pooled
        for found in folds:
            assert found.get("held-out", []) == ([] if pool_test else usual["test"])
            assert sorted(found["train"] + found["dev"] + found["test"]) == pooled
    reader = CorpusReader(Demo(), HashSplit(folds=3))
    assert sorted(document.id for document in reader.read("test")) == reader.ids()["test"]


def test_a_corpus_that_is_held_out_is_tested_fold_by_fold() -> None:
    usual, held = ids(Demo(), folds=3, fold=1), ids(Demo(), folds=3, fold=1, held_out="demo", shots=5)
    assert held["test"] == usual["test"]
    assert len(held["train"]) == 5
    assert set(held["train"]) < set(usual["train"]) | set(usual["dev"])
    assert held["dev"] == []
    assert len(held["held-out"]) == 120 - 5 - len(held["test"])


def test_tasks_and_sources_are_held_out_too() -> None:
    split = HashSplit(held_out=["ward", "demo/entity_tagging", "relation_reading"])
    tasks = ("entity_tagging", "relation_reading", "joint_instruction")
    taught = {(corpus, task) for corpus in ("demo", "ward", "other") for task in tasks if split.teaches(corpus, task)}
    assert taught == {("demo", "joint_instruction"), ("other", "entity_tagging"), ("other", "joint_instruction")}
    assert all(split.validates(*source) for source in taught)
    assert split.teaches("demo")
    assert not split.teaches("ward")
    split.check(["demo", "ward", "other"], (), tasks)
    assert HashSplit(held_out="ward", shots=2).teaches("ward", "entity_tagging")
    assert not HashSplit(held_out="ward", shots=2).validates("ward", "entity_tagging")
    for held_out, options, said in (
        ("demo/entity_taging", {}, "did you mean 'demo/entity_tagging'"),
        ("entity_taging", {}, "did you mean 'entity_tagging'"),
        (["entity_tagging"], {"shots": 3}, "held_out names entity_tagging: shots are documents of corpora"),
        (["entity_tagging", "ward/joint_instruction", "demo"], {}, "nothing is left to learn from"),
    ):
        with pytest.raises(SettingError, match=said):
            HashSplit(held_out=held_out, **options).check(["demo", "ward"], (), ("entity_tagging", "joint_instruction"))


def test_a_rare_type_is_in_few_shots_unless_they_are_random(tmp_path: Path) -> None:
    def stock(folder: Path) -> BratFolder:
        corpus = BratFolder(str(folder), {"entities": ["Drug", "Allergy", "Device"]}, corpus_name="ward")
        ward(folder)
        for number in range(40):
            (folder / f"n{number:02d}.ann").write_text("T1\tDrug 6 13\taspirin\n")
        for number, kind in ((7, "Allergy"), (21, "Allergy"), (3, "Device"), (33, "Device"), (35, "Device")):
            (folder / f"n{number:02d}.ann").write_text(f"T1\t{kind} 6 13\taspirin\n")
        return corpus

    corpus = stock(tmp_path)
    options: dict[str, Any] = {"held_out": "ward", "test_share": 0.0}
    found = {seed: [set(ids(corpus, shots=k, shots_seed=seed, **options)["train"]) for k in (1, 2, 3, 6)] for seed in range(8)}
    for one, two, three, six in found.values():
        assert one < two < three < six
        assert one <= {"n07", "n21"}
        assert two - one <= {"n03", "n33", "n35"}
        assert not (three - two) & {"n07", "n21", "n03", "n33", "n35"}
    assert len({frozenset(three) for _, _, three, _ in found.values()}) > 3, "another seed, another sample"
    plain = [set(ids(corpus, shots=3, shots_seed=seed, shots_by="random", **options)["train"]) for seed in range(8)]
    assert sum(bool(names & {"n07", "n21"}) for names in plain) < 5


def test_where_folds_and_shots_come_from_is_said(tmp_path: Path) -> None:
    assert HashSplit(folds=4, fold=1).sources(Demo()) == {
        "train": "the other 3 folds",
        "dev": "10% of the other 3 folds",
        "test": "fold 1 of 4 of train and dev (data.split.seed 13)",
    }
    assert HashSplit(held_out="ward", shots=5).sources(ward(tmp_path)) == {
        "train": "5 shots (stratified) of all files",
        "test": "20% held out of train (data.split.seed 13)",
    }


def test_a_description_says_folds_and_shots_too(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text("root: x\nschema: {entities: [Drug]}\nsplit: {folds: 5, fold: 2, pool_test: true, drop_duplicates: true}\n")
    split = find_split(str(path))
    assert (split.folds, split.fold, split.pool_test, split.drop_duplicates) == (5, 2, True, True)
