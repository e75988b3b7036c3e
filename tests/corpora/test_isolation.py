from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clinical_ie.corpora import BratFolder, CorpusReader, Demo, HashSplit, find
from clinical_ie.corpora.isolation import Isolation, isolate
from clinical_ie.errors import SettingError
from tests.conftest import corpora_folder

TESTED = [document.text for document in Demo().read("test")]


def ward(folder: Path, **texts: str) -> BratFolder:
    """Notes in one folder for training and one for testing."""
    for name, text in texts.items():
        part = folder / name.rstrip("0123456789")
        part.mkdir(parents=True, exist_ok=True)
        (part / f"{name}.txt").write_text(text)
        (part / f"{name}.ann").write_text("")
    return BratFolder(str(folder), {"entities": ["Drug"]}, corpus_name=folder.name)


def compared(*corpora: Any, learned: list[str] | None = None, **options: Any) -> tuple[Isolation, dict[str, CorpusReader]]:
    split = HashSplit(dev_share={"ward": 0.0}, **options)
    readers = {corpus.name: CorpusReader(corpus, split) for corpus in corpora}
    return isolate(readers, [name for name in readers if split.teaches(name)] if learned is None else learned), readers


def shuffled_case(text: str) -> str:
    return "  ".join(text.upper().split()) + "\n"


def tenth_changed(text: str) -> str:
    return " ".join(word if place % 10 else f"other{place}" for place, word in enumerate(text.split(), 1))


def test_a_corpus_that_is_held_out_is_refused_where_its_test_notes_are_trained_on(tmp_path: Path) -> None:
    corpus = ward(
        tmp_path / "ward", train1=shuffled_case(TESTED[3]), train2=tenth_changed(TESTED[5]), train3="Something else.", test1="Nothing."
    )
    with pytest.raises(SettingError) as caught:
        compared(Demo(), corpus, held_out="demo")
    said = str(caught.value)
    assert "2 of 25 of demo (test-003, test-005); they repeat 2 training documents (ward/train1, ward/train2)" in said
    assert "--data.split.drop_duplicates=true" in said
    words = {word for text in TESTED for word in text.split() if len(word) > 6 and word.isalpha()}
    assert not words & set(said.replace("(", " ").replace(")", " ").split()), "ids only"


def test_by_a_flag_they_are_dropped_from_training_and_counted(tmp_path: Path) -> None:
    corpus = ward(
        tmp_path / "ward", train1=shuffled_case(TESTED[3]), train2=tenth_changed(TESTED[5]), train3="Something else.", test1="Nothing."
    )
    found, readers = compared(Demo(), corpus, held_out="demo", drop_duplicates=True)
    assert found.to_dict() == {
        "threshold": 0.8,
        "learned": {"ward": 1},
        "compared": {
            "test": {"demo": {"documents": 25, "equal": 0, "near": 0}, "ward": {"documents": 1, "equal": 0, "near": 0}},
        },
        "dropped": {"ward": ["train1", "train2"]},
    }
    assert [document.id for document in readers["ward"].read("train")] == ["train3"]
    assert readers["ward"].ids() == {"train": ["train3"], "dev": [], "test": ["test1"], "held-out": ["train1", "train2"]}
    assert [document.id for document in readers["ward"].read("train")] == ["train3"], "read again, they are not there again"


def test_shots_are_not_the_test_notes_either(tmp_path: Path) -> None:
    texts = {f"train{number}": f"note {number} of nothing much {number}" for number in range(5)}
    corpus = ward(tmp_path / "ward", **texts, test1="note 2 of nothing much 2", test2="other")
    with pytest.raises(SettingError, match=r"1 of 2 of ward \(test1\); they repeat 1 training documents \(ward/train2\)"):
        compared(Demo(), corpus, held_out="ward", shots=5)
    found, readers = compared(Demo(), corpus, held_out="ward", shots=4, drop_duplicates=True)
    assert found.dropped == {"ward": ["train2"]}
    assert found.learned == {"demo": 80, "ward": 4}, "another takes its place"
    assert readers["ward"].ids()["held-out"] == ["train2"]
    nested = [set(compared(Demo(), corpus, held_out="ward", shots=k, drop_duplicates=True)[1]["ward"].ids()["train"]) for k in (1, 2, 3)]
    assert nested[0] < nested[1] < nested[2] < set(readers["ward"].ids()["train"])
    with pytest.raises(SettingError, match="shots is 5, but ward has 4 documents to learn from"):
        compared(Demo(), corpus, held_out="ward", shots=5, drop_duplicates=True)
    assert not compared(Demo(), corpus, held_out="ward")[0].leaks, "nothing of it is learned from"


def test_of_other_corpora_repeated_notes_are_counted_and_stay(tmp_path: Path) -> None:
    corpus = ward(tmp_path / "ward", train1=TESTED[3], train2=tenth_changed(TESTED[3]), train3=tenth_changed(TESTED[5]), test1="Nothing.")
    found, readers = compared(Demo(), corpus, drop_duplicates=True)
    assert found.counts("test", "demo") == (1, 1)
    assert found.counts("dev", "demo") == found.counts("test", "ward") == (0, 0)
    assert len(readers["ward"].read("train")) == 3
    assert not compared(Demo(), corpus, learned=["demo"])[0].leaks


def test_a_text_that_stands_often_is_compared_once_and_every_document_counts(tmp_path: Path) -> None:
    """Reports that find nothing are thousands of equal ones, and their pairs would be millions."""
    texts = {f"{part}{number}": " No acute  FINDING" for part, count in (("train", 300), ("test", 200)) for number in range(count)}
    corpus = ward(tmp_path / "ward", **texts, train999="Something else.")
    found, _ = compared(corpus)
    assert found.counts("test", "ward") == (200, 0)
    assert len(found.leaks) == 200
    with pytest.raises(SettingError, match=r"200 of 200 of ward \(.*, \.\.\.\); they repeat 300 training documents"):
        compared(Demo(), corpus, held_out="ward", shots=301)
    assert compared(Demo(), corpus, held_out="ward", shots=1, drop_duplicates=True)[0].learned == {"demo": 80, "ward": 1}


def test_what_is_far_enough_is_another_note(tmp_path: Path) -> None:
    far = " ".join(f"other{place}" if place % 10 in (1, 4, 7) else word for place, word in enumerate(TESTED[3].split()))
    assert not compared(Demo(), ward(tmp_path / "ward", train1=far, test1="Nothing."), held_out="demo")[0].leaks


def test_notes_that_uw_repeats_are_counted() -> None:
    folder = corpora_folder() / "uw_social_history_mtsamples"
    if not folder.is_dir():
        pytest.skip("the corpus is not here")
    found, _ = compared(find("uw_social_history")(str(folder)))
    repeated = {leak.scored for leak in found.leaks if leak.equal}
    assert len(repeated) == found.counts("dev", "uw_social_history")[0] + found.counts("test", "uw_social_history")[0]
    assert 6 <= len(repeated) <= 9, "nine are in two parts; those of dev and test alone are none that is trained on"
