"""What weights have seen, over several runs."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from clinical_ie.callbacks.learned import NAME, Learned, LearnedRecord
from clinical_ie.corpora import Corpus, Demo, HashSplit
from clinical_ie.corpora.brat_folder import BratFolder
from clinical_ie.data.datamodule import ExtractionDataModule
from clinical_ie.document import Document
from clinical_ie.errors import FileFormatError, SettingError
from clinical_ie.formats import brat
from clinical_ie.scoring.strings import digests
from clinical_ie.tasks import EntityTagging


def data_of(*corpora: Corpus, split: HashSplit | None = None) -> ExtractionDataModule:
    data = ExtractionDataModule(list(corpora), [EntityTagging()], "no tokenizer", split=split)
    data.documents["train"] = {name: list(data.reader.read(one, "train")) for name, one in data.corpora_of("train").items()}  # type: ignore[misc]
    return data


def trainer(data: ExtractionDataModule, rate: float = 1e-3, rank: int = 0) -> Any:
    optimizer = SimpleNamespace(param_groups=[{"lr": 0.0, "initial_lr": rate}])  # warm-up begins at 0
    return SimpleNamespace(datamodule=data, optimizers=[optimizer], is_global_zero=rank == 0, fast_dev_run=False)


def fit(run: Path, *corpora: Corpus, split: HashSplit | None = None, rate: float = 1e-3, rank: int = 0, **others: Path) -> Any:
    data = data_of(*corpora, split=split)
    callback, one = LearnedRecord(run, **others), trainer(data, rate, rank)
    callback.setup(one, None, "fit")  # type: ignore[arg-type]
    callback.on_train_start(one, None)  # type: ignore[arg-type]
    return data


def in_a_test(run: Path, *corpora: Corpus) -> ExtractionDataModule:
    data = data_of(*corpora)
    LearnedRecord(run).setup(trainer(data), None, "test")  # type: ignore[arg-type]
    return data


def folder(place: Path, documents: list[Document], name: str = "ward") -> BratFolder:
    brat.write(documents, place)
    return BratFolder(str(place), Demo().schema.to_dict(), corpus_name=name)


@pytest.fixture
def notes() -> list[Document]:
    return [Document(one.id, one.text, one.entities, one.relations) for one in Demo().read("test")]


def strings(*documents: Document) -> frozenset[bytes]:
    return digests(documents)


def test_what_a_run_has_seen_is_that_of_the_runs_before_it_as_well(tmp_path: Path, notes: list[Document]) -> None:
    first = strings(*Demo().read("train"))
    assert fit(tmp_path / "a", Demo()).seen_strings.found == first
    ward = folder(tmp_path / "ward", notes)
    split = HashSplit(held_out="ward", shots=3)
    data = fit(tmp_path / "b", ward, split=split, begun_with=tmp_path / "a")
    shots = strings(*data.documents["train"]["ward"])
    assert len(data.documents["train"]["ward"]) == 3
    assert data.seen_strings.found == first | shots
    assert in_a_test(tmp_path / "b", ward).seen_strings.found == first | shots, "a test alone knows it too, without the first corpus"
    assert fit(tmp_path / "c", ward, split=split).seen_strings.found == shots
    assert shots - first
    # gone on with: what it began with is in its own record
    assert fit(tmp_path / "b", ward, split=split, going_on=tmp_path / "b").seen_strings.found == first | shots


def test_a_run_that_goes_on_without_a_record_knows_what_its_splits_say(tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.mkdir()
    (old / "splits.json").write_text('{"demo": {"train": ["a"]}}')
    assert fit(tmp_path / "a", Demo(), going_on=old).seen_strings.found == strings(*Demo().read("train"))
    (old / "splits.json").write_text('{"demo": {"train": ["a"]}, "ward": {"learned before": ["b"]}}')
    assert fit(tmp_path / "b", Demo(), going_on=old).seen_strings.found is None


def test_weights_that_do_not_move_learn_nothing(tmp_path: Path) -> None:
    assert fit(tmp_path / "a", Demo(), rate=0.0).seen_strings.found == frozenset()
    assert in_a_test(tmp_path / "a", Demo()).seen_strings.found == frozenset()


def test_what_nobody_knows_is_not_told(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    assert fit(tmp_path / "b", Demo(), begun_with=tmp_path / "old").seen_strings.found is None
    assert not (tmp_path / "b").exists()
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "results.json").write_text('{"run": {"init_from": {"fingerprint": "feed"}}, "splits": {}}')
    assert in_a_test(tmp_path / "c", Demo()).seen_strings.found is None
    (tmp_path / "c" / "results.json").write_text('{"run": {"init_from": null}, "splits": {}}')
    assert in_a_test(tmp_path / "c", Demo()).seen_strings.found == strings(*Demo().read("train")), "of runs before there was a record"


def test_a_record_is_the_same_bytes_and_holds_no_text(tmp_path: Path) -> None:
    for run, rank in (("a", 0), ("b", 0), ("c", 1)):
        fit(tmp_path / run, Demo(), rank=rank)
    first = (tmp_path / "a" / NAME).read_bytes()
    assert first == (tmp_path / "b" / NAME).read_bytes()
    assert not (tmp_path / "c").exists()
    assert b"aspirin" not in first.lower()
    assert Learned.read(tmp_path / "a" / NAME) == Learned.read(tmp_path / "b" / NAME)
    (tmp_path / "a" / NAME).write_bytes(first[:200])
    with pytest.raises(FileFormatError, match=r"learned\.npz.*damaged"):
        in_a_test(tmp_path / "a", Demo())


def test_a_text_that_the_first_weights_learned_from_is_not_tested_as_held_out(
    tmp_path: Path, notes: list[Document], caplog: pytest.LogCaptureFixture
) -> None:
    fit(tmp_path / "a", Demo())
    split = HashSplit(held_out="ward", shots=2)
    again = [Document(f"other-{one.id}", one.text.upper(), one.entities) for one in Demo().read("train")][:20]
    leaked = folder(tmp_path / "leaked", [*again, *notes])
    number = sum(one.id.startswith("other-") for one in data_of(leaked).reader.peek("ward", "test"))
    assert number
    said = rf"ward is held out, but .* have learned from the texts of {number} of its test documents \(other-"
    with pytest.raises(SettingError, match=said):
        fit(tmp_path / "b", leaked, split=split, begun_with=tmp_path / "a")
    caplog.set_level(logging.WARNING)
    fit(tmp_path / "b", folder(tmp_path / "clean", notes), split=split, begun_with=tmp_path / "a")
    assert "did not compare its training documents with these test documents" in caplog.text
    caplog.clear()
    (tmp_path / "a" / "results.json").write_text('{"run": {"isolation": {"compared": {"test": {"ward": {}}}}}, "splits": {}}')
    fit(tmp_path / "b", folder(tmp_path / "clean", notes), split=split, begun_with=tmp_path / "a")
    assert not caplog.text
