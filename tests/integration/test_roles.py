"""Roles of corpora in a whole run: what is learned from, chosen by and tested."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import yaml

from clinical_ie.cli import main
from clinical_ie.corpora import Demo
from clinical_ie.document import Document
from clinical_ie.formats import brat
from clinical_ie.formats.findings import Findings
from clinical_ie.reports.results import Results
from tests.integration.conftest import Arguments

WARD = """
data:
  corpora+:
    - class_path: clinical_ie.corpora.BratFolder
      init_args:
        root: {root}
        corpus_name: ward
        schema: {{entities: [Drug, Dosage]}}
"""


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Twenty of the invented notes, which nothing is trained on, as another corpus; the path of its data configuration."""
    folder = tmp_path_factory.mktemp("ward")
    brat.write([Document(document.id, document.text, tuple(e for e in document.entities if e.type in ("Drug", "Dosage")))
                for document in Demo().read("test")[:20]], folder / "notes")  # fmt: skip
    (folder / "ward.yaml").write_text(WARD.format(root=folder / "notes"))
    return str(folder / "ward.yaml")


def test_a_corpus_that_is_held_out_is_scored_and_nothing_else_and_files_are_read_once(
    arguments: Arguments, ward: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: Counter[str] = Counter()
    load = Demo.load

    def counted(self: Demo, path: Path, findings: Findings) -> list[Document]:
        read[path.name] += 1
        return load(self, path, findings)

    monkeypatch.setattr(Demo, "load", counted)
    run = tmp_path / "run"
    files = ("-c", ward, "--data.split.held_out=ward", "--trainer.max_epochs=1", "--data.tasks.window=200")
    assert (
        main(arguments("fit", run, *files, "--evaluation.interval_samples=0", "--evaluation.rules.ward=n2c2-2018", task="entity_reading"))
        == 0
    )
    assert read == {"train.jsonl": 1, "dev.jsonl": 1, "test.jsonl": 1}
    splits = json.loads((run / "splits.json").read_text())
    assert splits["ward"]["train"] == splits["ward"]["dev"] == []
    assert len(splits["ward"]["test"]) + len(splits["ward"]["held-out"]) == 20
    results = Results.load(run / "results.json")
    assert {name: tasks["entity_reading"].rules for name, tasks in results.splits["test"].items()} == {
        "demo": "strict-one-to-one",
        "ward": "n2c2-2018",
    }
    assert yaml.safe_load((run / "config.yaml").read_text())["data"]["split"]["init_args"]["held_out"] == "ward"
    assert results.run["isolation"]["learned"] == {"demo": 24}
    shift = results.run["label_shift"]["corpora"]["ward"]
    assert shift["entities"]["labels"] == {"Drug": "name", "Dosage": "name"}
    # a few of its documents, from there: what the weights have seen before still counts
    few, entry = tmp_path / "few", results.splits["test"]["ward"]["entity_reading"]
    alone = tmp_path / "alone.yaml"
    settings = yaml.safe_load(Path(ward).read_text())
    alone.write_text(yaml.safe_dump({"data": {"corpora": settings["data"]["corpora+"]}}))
    files = ("-c", str(alone), "--data.split.held_out=ward", "--data.split.shots=2", "--data.tasks.window=200", "--trainer.max_steps=1")
    files += ("--trainer.max_epochs=-1", "--trainer.limit_val_batches=0", "--evaluation.interval_samples=0")
    assert main(arguments("fit", few, *files, f"--init_from={run}", task="entity_reading")) == 0
    found = Results.load(few / "results.json")
    assert found.run["label_shift"]["corpora"]["ward"] == shift
    seen = found.splits["test"]["ward"]["entity_reading"].seen
    assert entry.seen is not None
    assert seen is not None
    assert seen.gold >= entry.seen.gold > 0, "strings of the first run and of the shots"


def test_only_corpora_with_something_to_find_choose_the_checkpoint(
    arguments: Arguments, ward: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Review of the training: a perfect model had 0.5, for a corpus without development documents counted as F1 0."""
    silent = tmp_path / "silent.yaml"
    silent.write_text(WARD.format(root=tmp_path / "notes").replace("ward", "silent"))
    brat.write([Document(f"n{number}", "Nothing is taken.") for number in range(8)], tmp_path / "notes")
    logged: dict[str, list[float]] = {}
    log = pl.LightningModule.log_dict

    def noted(self: pl.LightningModule, dictionary: Any, *args: Any, **options: Any) -> None:
        for name, value in dictionary.items():
            logged.setdefault(name, []).append(float(value))
        log(self, dictionary, *args, **options)

    monkeypatch.setattr(pl.LightningModule, "log_dict", noted)
    files = (
        "-c",
        ward,
        "-c",
        str(silent),
        "--data.split.dev_share.ward=0.0",
        "--data.split.dev_share.silent=0.5",
        "--test_after_fit=false",
    )
    assert main(arguments("fit", tmp_path / "run", *files)) == 0
    splits = json.loads((tmp_path / "run" / "splits.json").read_text())
    assert not splits["ward"]["dev"]
    assert splits["silent"]["dev"]
    for name in ("strict_f1", "strict_recall", "lenient_f1"):
        assert logged[f"dev/entities/{name}"] == logged[f"dev/demo/entity_tagging/entities/{name}"]
    assert logged["dev/entities/strict_f1"][-1] > 0


def test_a_corpus_without_relations_is_left_out_of_a_run_that_links(arguments: Arguments, ward: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    files = ("-c", ward, "--trainer.max_epochs=1", "--data.tasks.window=200")
    given = ("--evaluation.interval_samples=0", "--evaluation.rules.ward=n2c2-2018")
    assert main(arguments("fit", run, *files, *given, task="relation_classification")) == 0
    results = Results.load(run / "results.json")
    assert set(results.splits["test"]) == {"demo"}
    assert results.run["sources_left_out"] == {"ward/relation_classification": "its schema declares no relations"}


def test_what_cannot_hold_a_corpus_out_says_so_before_training(
    arguments: Arguments, ward: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for more, said in (
        (["--data.split.held_out=ward"], "has heads only for corpora that it learns from"),
        (
            ["--data.split.held_out=wrad"],
            "data.split names 'wrad'; the corpora are demo, ward, the tasks entity_tagging; did you mean 'ward'",
        ),
        (["--data.split.held_out=[ward,demo]"], "nothing is left to learn from"),
        (["--data.corpora.init_args.dev_share=0.3"], "give data.split.dev_share"),
        (["--data.split.dev_share.ward=1.5"], "dev_share is 1.5"),
        (
            ["--data.split.held_out=ward", "--data.split.shots=2", "--checkpoints.monitor=dev/ward/entity_tagging/entities/strict_f1"],
            "is not logged",
        ),
    ):
        assert main(arguments("fit", tmp_path / "run", "-c", ward, *more)) == 2
        assert said in capsys.readouterr().err
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_a_few_shots_are_trained_on_for_fixed_steps_and_nothing_is_chosen_by_other_notes(
    arguments: Arguments, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = ("--data.split.held_out=demo", "--data.split.shots=3", "--trainer.max_steps=4", "--evaluation.interval_samples=0")
    for more, said in (
        ("--patience.epochs=3", "patience.epochs is 3, but all corpora are held out, and beside their 3 shots are no notes to choose by"),
        ("--checkpoints.monitor=dev/entities/strict_f1", "checkpoints.monitor is dev/entities/strict_f1, but all corpora are held out"),
    ):
        assert main(arguments("fit", tmp_path / "run", *few, more)) == 2
        (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("clinical-ie")]
        assert said in line
        assert "--trainer.max_steps=N" in line
    assert main(arguments("fit", tmp_path / "run", *few)) == 0
    results = Results.load(tmp_path / "run" / "results.json")
    assert results.run["steps"] == 4
    assert results.run["shots"]["demo"]["documents"] == 3
    assert results.run["shots"]["demo"]["ids"] == json.loads((tmp_path / "run" / "splits.json").read_text())["demo"]["train"]
    assert results.run["isolation"]["learned"] == {"demo": 3}
    assert set(results.splits) == {"test"}


@pytest.mark.slow
def test_a_generator_is_shown_shots_of_what_is_held_out(
    arguments: Arguments, ward: str, tiny_llama: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = arguments("fit", tmp_path / "run", "-c", ward, "-c", "peft/lora")
    given = [part.replace("entity_tagging", "entity_instruction") for part in given if "overlap" not in part and "window=96" not in part]
    given += [f"--model.init_args.backbone={tiny_llama}", "--trainer.max_steps=2", "--data.tasks.init_args.window=4096"]
    given += ["--data.tasks.init_args.shot_demonstrations.count=1", "--data.tasks.init_args.shot_demonstrations.by=random"]
    given += ["--model.init_args.max_new_tokens_ratio=0", "--model.init_args.max_new_tokens_base=4", "--data.dev_documents=1"]
    given += ["--evaluation.interval_samples=0"]
    assert main([*given, "--data.split.held_out=ward"]) == 2
    assert "shot_demonstrations of entity_instruction shows shots, but data.split.shots is 0" in capsys.readouterr().err
    assert main([*given, "--data.split.held_out=ward", "--data.split.shots=3"]) == 0
    run = tmp_path / "run"
    saved = yaml.safe_load((run / "config.yaml").read_text())["data"]["tasks"][-1]["init_args"]["shot_demonstrations"]
    assert saved == {"count": 1, "by": "random"}
    assert Results.load(run / "results.json").run["shots"]["ward"]["documents"] == 3
    assert main(["test", "-c", str(run / "config.yaml")]) == 0
