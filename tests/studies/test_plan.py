"""Runs of a study: each once, in an order that can be done, under a key that is the content's."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from clinical_ie.commands.run_content import RunContent
from clinical_ie.corpora import Demo, demo_notes
from clinical_ie.errors import SettingError
from clinical_ie.formats import jsonl
from clinical_ie.formats.findings import Findings
from clinical_ie.studies.grid import Cell
from clinical_ie.studies.plan import Content, distinct, plan

NOTES = Path(next(iter(demo_notes.__path__)))
CHAIN = ("task/entity_tagging", "model/minilm", "data/demo")


def named(chain: Sequence[str]) -> Content:
    return Content(hashlib.sha256(" ".join(chain).encode()).hexdigest(), "shape")


def cell(name: str, *chain: str, init_from: str | None = None, read_from: str | None = None) -> Cell:
    return Cell(name, {}, chain, (), init_from, read_from)


def test_cells_of_one_content_share_a_run_and_stand_behind_what_they_begin_with() -> None:
    there = [
        cell("base", "a"),
        cell("again", "a"),
        cell("tuned", "b", init_from="base"),
        cell("read", read_from="tuned"),
        cell("fresh", "b"),
    ]
    found = plan(there, named, "code")
    runs = distinct(found.values())
    assert [run.cells for run in runs] == [["base", "again"], ["tuned", "read"], ["fresh"]]
    assert runs[1].begins_with is runs[0]
    assert runs[1].key != runs[2].key, "the same settings from other weights are another run"
    for number, run in enumerate(runs):
        assert run.begins_with is None or run.begins_with in runs[:number]


def test_the_version_of_the_code_is_part_of_the_key_and_nothing_else_changes() -> None:
    one, two = (plan([cell("a", "x"), cell("b", "y", init_from="a")], named, code) for code in ("c1", "c2"))
    assert [run.key.rpartition("-")[0] for run in one.values()] == [run.key.rpartition("-")[0] for run in two.values()]
    assert not {run.key for run in one.values()} & {run.key for run in two.values()}


def test_equal_content_has_one_digest_whatever_it_is_called_and_wherever_it_lies(tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for part in ("train", "dev", "test"):
        shutil.copy(NOTES / f"{part}.jsonl", moved)
    experiment = tmp_path / "mine.yaml"
    experiment.write_text("trainer: {max_epochs: 3}\ndata: {batch_budget: 512}\n", encoding="utf-8")
    spelt = [
        (*CHAIN, "--trainer.max_epochs=3", "--data.batch_budget=512"),
        (*CHAIN, str(experiment)),
        (*CHAIN, "--data.batch_budget=99", str(experiment)),
        (*CHAIN, str(experiment), f"--data.root={moved}"),
        (*CHAIN[:2], str(experiment), "--data.corpora=[{class_path: clinical_ie.corpora.Demo}]"),
        (*CHAIN, str(experiment), "--trainer.accelerator=cpu", "--data.workers=2", "--interruption.every=3"),
    ]
    digests = {RunContent(tmp_path / f"cache{number}", "code")(chain).digest for number, chain in enumerate(spelt)}
    assert len(digests) == 1


@pytest.mark.parametrize(
    "more",
    [
        ["--seed_everything=1"],
        ["--trainer.max_epochs=3"],
        ["--data.split.shots=2", "--data.split.held_out=demo"],
        ["--evaluation.rules=n2c2-2018"],
        ["data/demo_ward"],
        ["peft/lora"],
        ["--model.init_args.backbone=other/model"],
        ["--model.init_args.gradient_checkpointing=true"],
        ["--model.init_args.packed_attention=dense"],
        ["strategy/zero2"],
    ],
    ids=lambda more: more[0],
)
def test_other_content_has_another_digest(more: list[str], tmp_path: Path) -> None:
    content = RunContent(tmp_path, "code")
    assert content(CHAIN).digest != content([*CHAIN, *more]).digest


def test_one_changed_annotation_makes_another_run(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    for part in ("train", "dev", "test"):
        shutil.copy(NOTES / f"{part}.jsonl", notes)
    content = RunContent(tmp_path / "cache", "code")
    chain = [*CHAIN, f"--data.root={notes}"]
    before = content(chain).digest
    documents = list(jsonl.stream(notes / "test.jsonl", Findings()))
    first = documents[0]
    changed = type(first)(first.id, first.text, first.entities[:-1])
    jsonl.write([changed, *documents[1:]], notes / "test.jsonl")
    assert RunContent(tmp_path / "cache", "code")(chain).digest != before, "the digest that was kept is of other files"
    jsonl.write(documents, notes / "test.jsonl")
    assert RunContent(tmp_path / "cache", "code")(chain).digest == before


def test_the_folder_that_an_option_names_for_a_corpus_is_the_one_that_counts(tmp_path: Path) -> None:
    for name in ("all", "some"):
        (tmp_path / name).mkdir()
        for part in ("train", "dev", "test"):
            documents = list(jsonl.stream(NOTES / f"{part}.jsonl", Findings()))
            jsonl.write(documents[: None if name == "all" else 5], tmp_path / name / f"{part}.jsonl")
    content = RunContent(tmp_path / "cache", "code", corpora=tmp_path)
    found = {
        (option, name): content([*CHAIN, f"--{option}={tmp_path / name}"])
        for option in ("data.root", "data.roots.demo")
        for name in ("all", "some")
    }
    assert found["data.root", "all"].digest == found["data.roots.demo", "all"].digest == content(CHAIN).digest
    assert found["data.root", "some"].digest == found["data.roots.demo", "some"].digest != content(CHAIN).digest
    placed = content(["task/entity_tagging", "model/minilm", "data/n2c2_2018", f"--data.roots.n2c2_2018={tmp_path / 'none'}"])
    assert placed.absent == ("n2c2_2018",)


def test_documents_are_read_once_for_each_state_of_their_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    RunContent(tmp_path, "code")(CHAIN)
    monkeypatch.setattr(Demo, "load", lambda *_: pytest.fail("read again"))
    RunContent(tmp_path, "code")(CHAIN)


def test_a_corpus_may_be_named_by_its_class_alone(tmp_path: Path) -> None:
    content = RunContent(tmp_path, "code")
    whole, short = ([*CHAIN[:2], f"--data.corpora={given}"] for given in ("[clinical_ie.corpora.Demo]", "[Demo]"))
    assert content(whole).absent == content(short).absent == ()
    with pytest.raises(SettingError, match="no such class of corpora"):
        content([*CHAIN[:2], "--data.corpora=[clinical_ie.corpora.Demoo]"])


def test_a_corpus_that_is_not_there_can_be_planned(tmp_path: Path) -> None:
    chain = ["task/entity_tagging", "model/minilm", "data/n2c2_2018", "--trainer.max_steps=10", "--data.batch_budget=100"]
    found = RunContent(tmp_path, "code", corpora=tmp_path)(chain)
    assert (found.absent, found.options, found.steps, found.tokens) == (("n2c2_2018",), (), 10, 100)


@pytest.mark.parametrize("own", ["--run_dir=x", "--init_from=x", "--data.texts=x"])
def test_what_a_study_sets_itself_is_refused(own: str, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="a study sets"):
        RunContent(tmp_path, "code")([*CHAIN, own])
