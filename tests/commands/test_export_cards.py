"""The command that writes the cards of a run, on files alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from clinical_ie.cli import main
from clinical_ie.reports.results import Results

CORPUS = {"class_path": "clinical_ie.corpora.Demo", "init_args": {"root": None}}
GONE = {"class_path": "my_own.Corpus", "init_args": {"root": "/gone", "corpus_name": "own"}}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The files of a finished run without weights."""
    folder = tmp_path / "run"
    folder.mkdir()
    settings = {
        "model": {"class_path": "clinical_ie.modules.EncoderTagger", "init_args": {"backbone": "x/y"}},
        "data": {"corpora": [CORPUS, GONE], "tasks": [{"class_path": "clinical_ie.tasks.EntityTagging", "init_args": {}}]},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    Results(run={"fingerprint": "feedbeef", "model": "x/y"}).write(folder / "results.json")
    splits = {"demo": {"train": ["a", "b"], "dev": [], "test": ["c"]}, "own": {"train": ["d"], "dev": [], "test": []}}
    (folder / "splits.json").write_text(json.dumps(splits), encoding="utf-8")
    return folder


def test_three_files_from_the_files_of_a_run(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(run), "--card", f"--output={tmp_path / 'cards'}"]) == 0
    assert {path.name for path in (tmp_path / "cards").iterdir()} == {"model_card.md", "data_statement.md", "tripod_llm.md"}
    statement = (tmp_path / "cards" / "data_statement.md").read_text(encoding="utf-8")
    assert "| trained on | 2 |" in statement
    assert "Licence: Apache-2.0" in statement
    assert "## own" in statement, "a corpus whose class is gone is still counted"
    assert "fill it in before you publish" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda run: (run / "config.yaml").unlink(), "no run (expected config.yaml in it)"),
        (
            lambda run: (run / "config.yaml").write_text("entities: entities\nrelations: relations\n"),
            "of a pipeline give the folder of a stage",
        ),
        (lambda run: (run / "results.json").unlink(), "not finished, there is nothing to report"),
    ],
)
def test_refusals(change, said: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:  # type: ignore[no-untyped-def]
    change(run)
    assert main(["export", str(run), "--card", f"--output={tmp_path / 'cards'}"]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "cards").exists()


def test_weights_and_cards_are_two_exports(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(run), "--card", "--merge", f"--output={tmp_path / 'cards'}"]) == 2
    assert "--card writes no weights" in capsys.readouterr().err
