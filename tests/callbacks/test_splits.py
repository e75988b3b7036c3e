from __future__ import annotations

import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from clinical_ie.callbacks.splits import NAME, SplitRecord, read_splits
from clinical_ie.corpora import BratFolder, Demo, HashSplit
from clinical_ie.data.documents import DocumentReader
from clinical_ie.errors import FileFormatError, SettingError
from clinical_ie.formats.findings import Findings
from clinical_ie.tasks import EntityTagging

PARTS: tuple[Any, ...] = ("train", "dev", "test")


def notes(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / f"{name}.txt").write_text(f"Takes aspirin as in {folder} {name}.")
        (folder / f"{name}.ann").write_text("")


def corpus(root: Path) -> BratFolder:
    return BratFolder(str(root), {"entities": ["Drug"]}, corpus_name="ward")


def trainer(*corpora: Any, rank: int = 0, split: HashSplit | None = None) -> Any:
    split, known = split or HashSplit(), {one.name: one for one in corpora}
    reader = DocumentReader(corpora, split, [EntityTagging()], Findings(), texts=None, mentions=None)
    documents = {part: {name: reader.read(one, part) for name, one in known.items()} for part in PARTS}
    data = SimpleNamespace(corpora=known, documents=documents, split=split, reader=reader, corpora_of=lambda part: known)
    return SimpleNamespace(datamodule=data, is_global_zero=rank == 0, fast_dev_run=False)


def fit(run: Path, *corpora: Any, rank: int = 0, split: HashSplit | None = None, **others: Path | None) -> None:
    callback = SplitRecord(run, **others)
    callback.setup(trainer(*corpora, split=split), None, "fit")  # type: ignore[arg-type]
    callback.on_train_start(trainer(*corpora, rank=rank), None)  # type: ignore[arg-type]


def scored(run: Path, *corpora: Any, stage: str = "test", split: HashSplit | None = None) -> None:
    SplitRecord(run, going_on=run).setup(trainer(*corpora, split=split), None, stage)  # type: ignore[arg-type]


def test_training_writes_the_documents_of_each_split_down(tmp_path: Path) -> None:
    notes(tmp_path / "notes", *(f"n{number:02d}" for number in range(40)))
    fit(tmp_path / "run", corpus(tmp_path / "notes"), Demo())
    written = json.loads((tmp_path / "run" / NAME).read_text())
    assert set(written) == {"ward", "demo"}
    assert sorted(name for names in written["ward"].values() for name in names) == [f"n{number:02d}" for number in range(40)]
    assert written["demo"]["test"] == sorted(document.id for document in Demo().read("test"))
    fit(tmp_path / "other", Demo(), rank=1)
    assert not (tmp_path / "other").exists()


def test_added_notes_are_fine_and_go_into_the_record(tmp_path: Path) -> None:
    notes(tmp_path / "notes", *(f"n{number:02d}" for number in range(40)))
    fit(tmp_path / "run", corpus(tmp_path / "notes"))
    before = read_splits(tmp_path / "run" / NAME)
    notes(tmp_path / "notes", "another")
    scored(tmp_path / "run", corpus(tmp_path / "notes"))
    assert read_splits(tmp_path / "run" / NAME) == before
    fit(tmp_path / "run", corpus(tmp_path / "notes"))
    assert any("another" in names for names in read_splits(tmp_path / "run" / NAME)["ward"].values())


@pytest.mark.parametrize("change", [{"seed": 4}, {"test_share": 0.6}, {"seed": {"ward": 4}}])
def test_training_documents_are_never_scored(tmp_path: Path, change: dict[str, Any]) -> None:
    notes(tmp_path / "notes", *(f"n{number:02d}" for number in range(40)))
    fit(tmp_path / "run", corpus(tmp_path / "notes"))
    ward, other = corpus(tmp_path / "notes"), HashSplit(**change)
    for stage in ("test", "fit") + (("validate",) if "seed" in change else ()):
        with pytest.raises(SettingError, match="training documents of this run"):
            scored(tmp_path / "run", ward, stage=stage, split=other)
    before = read_splits(tmp_path / "run" / NAME)
    scored(tmp_path / "run", ward, stage="predict", split=other)
    assert read_splits(tmp_path / "run" / NAME) == before


def test_an_attempt_that_saved_nothing_binds_nobody(tmp_path: Path) -> None:
    """It stopped before its first checkpoint, so that there are no weights that could have learned from its documents."""
    notes(tmp_path / "notes", *(f"n{number:02d}" for number in range(40)))
    fit(tmp_path / "run", corpus(tmp_path / "notes"))
    before = read_splits(tmp_path / "run" / NAME)
    fit(tmp_path / "run", corpus(tmp_path / "notes"), split=HashSplit(seed=4))
    assert read_splits(tmp_path / "run" / NAME)["ward"]["train"] != before["ward"]["train"]


def test_what_the_first_weights_learned_from_is_never_scored_either(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A chain of runs: each begins with the weights of the one before it."""
    notes(tmp_path / "notes", *(f"n{number:02d}" for number in range(40)))
    ward, held_out, other = corpus(tmp_path / "notes"), HashSplit(held_out="ward", shots=4), HashSplit(seed=4)
    fit(tmp_path / "first", ward)
    fit(tmp_path / "second", Demo(), begun_with=tmp_path / "first")
    fit(tmp_path / "third", ward, split=held_out, begun_with=tmp_path / "second")
    learned = read_splits(tmp_path / "first" / NAME)["ward"]["train"]
    for run in ("second", "third"):
        assert read_splits(tmp_path / run / NAME)["ward"]["learned before"] == learned
    assert set(read_splits(tmp_path / "third" / NAME)["demo"]) == {"learned before"}
    for run in ("first", "second", "third"):
        with pytest.raises(
            SettingError, match=r"ward: the weights that this run begins with \(.*\) have learned from \d+ of \d+ dev documents"
        ):
            fit(tmp_path / "fourth", ward, split=other, begun_with=tmp_path / run)
    with pytest.raises(SettingError, match="ward: the weights that this run begins with have learned from"):
        scored(tmp_path / "third", ward, split=other)
    for run in ("third", "elsewhere"):  # a run that goes on names no weights to begin with
        fit(tmp_path / run, ward, split=held_out, going_on=tmp_path / "third")
        assert read_splits(tmp_path / run / NAME)["ward"]["learned before"] == learned
    fit(tmp_path / "fifth", ward, split=other, begun_with=tmp_path / "nowhere")
    assert "documents that these weights learned from may be among those that are scored now" in caplog.text


def test_a_corpus_that_repeats_a_document_in_two_splits_is_not_refused(tmp_path: Path) -> None:
    for folder in ("train", "dev", "test"):
        notes(tmp_path / "notes" / folder, "same")
    fit(tmp_path / "run", corpus(tmp_path / "notes"))
    scored(tmp_path / "run", corpus(tmp_path / "notes"))


def test_a_run_without_a_record_is_warned_of_where_the_split_is_drawn(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    notes(tmp_path / "notes", *(f"n{number:02d}" for number in range(40)))
    with caplog.at_level(logging.WARNING):
        scored(tmp_path / "run", Demo())
        assert not caplog.records
        scored(tmp_path / "run", corpus(tmp_path / "notes"))
    assert "split by hash" in caplog.text


@pytest.mark.parametrize("text", ["{", "[]", '{"ward": []}', '{"ward": {"train": "n1"}}', '{"ward": {"train": [1]}}'])
def test_a_damaged_record_is_refused_by_name(tmp_path: Path, text: str) -> None:
    (tmp_path / NAME).write_text(text)
    with pytest.raises(FileFormatError, match=NAME):
        read_splits(tmp_path / NAME)
