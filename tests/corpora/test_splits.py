from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinical_ie.corpora import BratFolder, Corpus, CorpusReader, HashSplit, N2c2Medications2018, RadGraph, UWSocialHistory
from clinical_ie.corpora.splits import SPLITS, Split, draw, named_parts, nested_split_folders, position, split_of
from clinical_ie.errors import InputError, SettingError
from clinical_ie.formats.findings import Findings

SHARES: dict[Split, float] = {"dev": 0.1, "test": 0.2}
SCHEMA = {"entities": ["Drug"]}


def notes(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / f"{name}.txt").write_text("Takes aspirin.")
        (folder / f"{name}.ann").write_text("T1\tDrug 6 13\taspirin\n")
    return folder


def ids(corpus: Corpus, split: HashSplit | None = None) -> dict[str, list[str]]:
    return {role: names for role, names in CorpusReader(corpus, split).ids().items() if names}


def test_a_position_is_that_of_the_hash_on_every_machine() -> None:
    for group, seed in (("n1", 13), ("ward/é", 0)):
        whole = int(hashlib.sha256(f"{seed}:{group}".encode()).hexdigest(), 16) / 2**256
        assert position(group, seed) == pytest.approx(whole, abs=1e-15)
    assert position("e\u0301", 3) == position("\u00e9", 3)
    assert 0 <= position("\udcff", 3) < 1


def test_a_group_that_is_added_or_taken_away_moves_no_other() -> None:
    """Public report: one note added to 40 changed 3 of 8 test notes, two of them into training."""
    for seed in range(50):
        names = [f"note{number}" for number in range(40)]
        before = draw(names, seed, SHARES)
        if len(set(before.values())) < 3 or min(list(before.values()).count(split) for split in SPLITS) < 2:
            continue
        for changed in (["more", *names], names[7:], names[::-1]):
            after = draw(changed, seed, SHARES)
            parts = {split: {name for name, part in after.items() if part == split} for split in SPLITS}
            if all(any(before.get(name) == split for name in members) for split, members in parts.items()):
                assert {name: after[name] for name in names if name in after} == {name: before[name] for name in names if name in after}


def test_shares_hold_in_the_large_and_growing_one_takes_from_training_only() -> None:
    names = [f"p{number}" for number in range(20_000)]
    chosen = draw(names, 13, SHARES)
    counts = {split: list(chosen.values()).count(split) / len(names) for split in SPLITS}
    assert counts == pytest.approx({"train": 0.7, "dev": 0.1, "test": 0.2}, abs=0.01)
    more = draw(names, 13, {"dev": 0.1, "test": 0.3})
    assert all(more[name] == chosen[name] for name in names if chosen[name] != "train")
    other = draw(names, 14, SHARES)
    assert 0.3 < sum(other[name] != chosen[name] for name in names) / len(names) < 0.6


@given(st.sets(st.text(max_size=3), max_size=12), st.integers(0, 5), st.sampled_from([0.0, 0.1, 0.45]), st.sampled_from([0.0, 0.2, 0.5]))
def test_as_many_parts_as_the_groups_allow(groups: set[str], seed: int, dev: float, test: float) -> None:
    chosen = draw(groups, seed, {"dev": dev, "test": test})
    assert set(chosen) == groups
    wanted = 1 + (dev > 0) + (test > 0)
    assert len(set(chosen.values())) == min(wanted, len(groups))
    assert not groups or "train" in chosen.values()


def test_files_in_another_order_and_other_folders_give_the_same_split(tmp_path: Path) -> None:
    names = [f"n{number}" for number in range(30)]
    first = BratFolder(str(notes(tmp_path / "a", *names)), SCHEMA)
    second = BratFolder(str(notes(tmp_path / "b", *names[::-1])), SCHEMA)
    assert ids(first) == ids(second)
    assert min(map(len, ids(first).values())) > 0
    before = ids(first)
    notes(tmp_path / "a", "another")
    after = ids(first)
    assert {split: [name for name in names if name != "another"] for split, names in after.items()} == before


@pytest.mark.parametrize(
    ("train", "test", "dev"), [("Train", "Test", "Dev"), ("TRAIN", "TEST", "validation"), ("training", "testing", "val")]
)
def test_folders_of_splits_are_known_in_any_case(tmp_path: Path, train: str, test: str, dev: str) -> None:
    for folder, name in ((train, "a"), (test, "b"), (dev, "c")):
        notes(tmp_path / folder, name)
    corpus = BratFolder(str(tmp_path), SCHEMA)
    assert ids(corpus) == {"train": ["a"], "dev": ["c"], "test": ["b"]}
    assert HashSplit().sources(corpus) == {"train": train, "dev": dev, "test": test}


@pytest.mark.parametrize("pair", [("Train", "train"), ("dev", "val"), ("Test", "testing")])
def test_two_folders_for_one_split_are_refused(tmp_path: Path, pair: tuple[str, str]) -> None:
    notes(tmp_path / pair[0], "a")
    if (tmp_path / pair[1]).exists():
        pytest.skip("this file system does not tell case")
    notes(tmp_path / pair[1], "b")
    with pytest.raises(InputError, match=f"{pair[0]} and {pair[1]} both name"):
        BratFolder(str(tmp_path), SCHEMA).read("train")


@pytest.mark.parametrize(
    "folders", [["Test"], ["dev", "test"], ["site/train", "site/test"], ["train", "train/Test"], ["Train_set", "gold-test-2020"]]
)
def test_folders_named_after_splits_are_never_pooled_in_silence(tmp_path: Path, folders: list[str]) -> None:
    notes(tmp_path, "z")
    for number, folder in enumerate(folders):
        notes(tmp_path / folder, f"n{number}")
    with pytest.raises(SettingError, match="split_folders") as caught:
        BratFolder(str(tmp_path), SCHEMA).read("train")
    assert folders[-1] in str(caught.value)
    assert ids(BratFolder(str(tmp_path), SCHEMA, split_folders={"train": ["."]}), HashSplit(dev_share=0.0, test_share=0.0))["train"]


def test_folders_with_a_word_of_a_split_in_their_names_are_ordinary_where_no_other_is_for_training(tmp_path: Path) -> None:
    for folder in ("blood_test", "skin_test", "contest", "trainee"):
        notes(tmp_path / folder, "a")
    assert sum(map(len, ids(BratFolder(str(tmp_path), SCHEMA)).values())) == 4


@pytest.mark.parametrize("folders", [{"train": ["."], "test": ["test"]}, {"train": ["a", "a"]}, {"train": ["a"], "dev": ["link"]}])
def test_folders_of_splits_that_lie_in_each_other_are_refused(tmp_path: Path, folders: dict[str, list[str]]) -> None:
    notes(tmp_path / "a", "x")
    notes(tmp_path / "test", "y")
    (tmp_path / "link").symlink_to("a")
    with pytest.raises(SettingError, match="read twice"):
        BratFolder(str(tmp_path), SCHEMA, split_folders=folders).read("train")


def test_notes_beside_the_splits_are_counted(tmp_path: Path) -> None:
    for folder, names in (("train", ["a"]), ("test", ["b"]), ("extra/deep", ["c", "d"]), (".", ["e"])):
        notes(tmp_path / folder, *names)
    findings = Findings()
    corpus = BratFolder(str(tmp_path), SCHEMA)
    CorpusReader(corpus, findings=findings).read_all()
    assert [(finding.path, finding.message.split()[0]) for finding in findings if finding.code == "outside-the-splits"] == [
        (str(tmp_path), "1"),
        (str(tmp_path / "extra" / "deep"), "2"),
    ]


def test_a_sub_folder_data_does_not_hide_the_notes_above_it(tmp_path: Path) -> None:
    notes(tmp_path / "data", "a")
    assert ids(BratFolder(str(tmp_path), SCHEMA)) == {"train": ["a"]}
    notes(tmp_path, "b")
    assert sum(map(len, ids(BratFolder(str(tmp_path), SCHEMA)).values())) == 2


def test_a_folder_of_the_description_that_is_not_there_is_named(tmp_path: Path) -> None:
    notes(tmp_path / "train", "a")
    with pytest.raises(SettingError, match="tset"):
        BratFolder(str(tmp_path), SCHEMA, split_folders={"train": ["train"], "test": ["tset"]}).read("train")


def test_official_folders_in_another_case(tmp_path: Path) -> None:
    for folder, name in (("Train", "a"), ("Dev", "b"), ("TEST", "c")):
        notes(tmp_path / folder, name)
    assert ids(N2c2Medications2018(str(tmp_path))) == {"train": ["a"], "dev": ["b"], "test": ["c"]}
    assert ids(UWSocialHistory(str(tmp_path))) == {"train": ["a"], "dev": ["b"], "test": ["c"]}
    for name in ("Train", "Test", "readme"):
        (tmp_path / f"{name}.json").write_text('{"d": {"text": "Heart", "entities": {}}}')
    assert list(RadGraph(str(tmp_path)).folders()) == ["train", "test"]


def test_names_of_splits() -> None:
    assert [split_of(name) for name in ("tests", "trainer", "", "data")] == [None] * 4


def test_a_folder_that_cannot_be_listed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        named_parts(tmp_path / "missing")
    assert nested_split_folders(tmp_path / "missing") == []
    (tmp_path / "train").symlink_to(tmp_path)
    assert nested_split_folders(tmp_path) == ["train"]
    assert os.listdir(tmp_path) == ["train"]


@pytest.mark.parametrize(
    "name", ["ward/2024", "../up", "..", "", " ", "a\nb", "a\\b", "C:", "x" * 101, ".hidden", "a.jsonl", "\udcff", "end "]
)
def test_a_corpus_name_that_cannot_be_a_file_name_is_refused_when_the_corpus_is_made(name: str) -> None:
    with pytest.raises(SettingError, match="corpus_name"):
        BratFolder("nowhere", SCHEMA, corpus_name=name)


@pytest.mark.parametrize("name", ["my_notes", "Ward 7 (2024)", "v1.0", "Klinik-Süd"])
def test_other_names_are_fine(name: str) -> None:
    assert BratFolder("nowhere", SCHEMA, corpus_name=name).name == name


def test_folders_of_splits_behind_links_are_seen(tmp_path: Path) -> None:
    """Sites are often links: notes of a linked ``test`` folder must not be pooled with those for training."""
    (tmp_path / "store" / "Test").mkdir(parents=True)
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "site").symlink_to("../store")
    (tmp_path / "store" / "up").symlink_to("..")
    assert "site/Test" in nested_split_folders(tmp_path / "corpus")
