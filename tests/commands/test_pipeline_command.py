"""What a finished pipeline takes its stages from, without training one."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from clinical_ie.cli import main
from clinical_ie.commands import pipeline
from clinical_ie.errors import FileFormatError, SettingError


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What would have been run."""
    found: list[tuple[str, ...]] = []
    monkeypatch.setattr(pipeline, "_command", lambda *arguments: found.append(arguments))
    return found


def annotate(run_dir: Path) -> None:
    assert pipeline.run(["pipeline", f"--run_dir={run_dir}", "--texts=notes"]) == 0


def test_a_moved_pipeline_annotates_with_the_stages_inside_it(commands: list[tuple[str, ...]], tmp_path: Path) -> None:
    before, after, elsewhere = tmp_path / "before", tmp_path / "after", tmp_path / "elsewhere"
    stages = {"entities": before / "entities", "relations": elsewhere}
    written = {stage: pipeline._named(folder, before) for stage, folder in stages.items()}
    assert written == {"entities": "entities", "relations": str(elsewhere)}
    (before / "entities").mkdir(parents=True)
    (before / "entities" / "config.yaml").write_text("data: {tasks: [clinical_ie.tasks.EntityTagging]}\n", encoding="utf-8")
    (before / "config.yaml").write_text("".join(f"{stage}: {name}\n" for stage, name in written.items()), encoding="utf-8")
    before.rename(after)
    annotate(after)
    entities, relations = commands
    assert entities[:3] == ("predict", "-c", str(after / "entities" / "config.yaml"))
    assert f"--ckpt_path={after / 'entities' / 'checkpoints' / 'best.ckpt'}" in entities
    assert relations[:3] == ("predict", "-c", str(elsewhere / "config.yaml"))
    assert f"--data.mentions={after / 'mentions' / 'predictions' / 'predict'}" in relations
    assert not any(str(before) in argument for command in commands for argument in command)


def test_one_run_for_both_stages_gives_the_mentions_of_its_task_to_the_other(commands: list[tuple[str, ...]], tmp_path: Path) -> None:
    (tmp_path / "both").mkdir()
    tasks = ", ".join(f"clinical_ie.tasks.{name}Instruction" for name in ("Joint", "Relation", "Entity"))
    (tmp_path / "both" / "config.yaml").write_text(f"data: {{tasks: [{tasks}]}}\n", encoding="utf-8")
    (tmp_path / "config.yaml").write_text("both: both\n", encoding="utf-8")
    annotate(tmp_path)
    assert [command[:3] for command in commands] == [("predict", "-c", str(tmp_path / "both" / "config.yaml"))] * 2
    assert f"--data.mentions={tmp_path / 'mentions' / 'predictions' / 'predict' / 'entity_instruction'}" in commands[1]


@pytest.mark.parametrize("first", [("entities", "relations"), ("entities",), ("both",)])
def test_attributes_follow_what_is_there(first: tuple[str, ...], commands: list[tuple[str, ...]], tmp_path: Path) -> None:
    tasks = {"entities": "EntityTagging", "relations": "RelationClassification", "attributes": "AttributeClassification"}
    tasks["both"] = "EntityInstruction, clinical_ie.tasks.RelationInstruction"
    for name in (*first, "attributes"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text(f"data: {{tasks: [clinical_ie.tasks.{tasks[name]}]}}\n", encoding="utf-8")
    (tmp_path / "config.yaml").write_text("".join(f"{name}: {name}\n" for name in (*first, "attributes")), encoding="utf-8")
    annotate(tmp_path)
    whole = {"both": ["both", "both"]}.get(first[0], [*first])
    assert [command[2] for command in commands] == [str(tmp_path / name / "config.yaml") for name in (*whole, "attributes")]
    mentions, linked = tmp_path / "mentions" / "predictions" / "predict", tmp_path / "linked" / "predictions" / "predict"
    if first == ("both",):
        mentions, linked = mentions / "entity_instruction", linked / "relation_instruction"
    assert f"--data.mentions={mentions}" in commands[1]
    assert f"--data.mentions={mentions if len(whole) == 1 else linked}" in commands[-1]
    assert f"--output={tmp_path / 'predictions' / 'predict'}" in commands[-1]


@pytest.mark.parametrize("tasks", [["entity_instruction"], ["relation_instruction"], ["entity_instruction", "joint_instruction"]])
def test_one_run_needs_a_task_for_each_stage(tasks: list[str], commands: list[tuple[str, ...]], tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"both: [{', '.join(f'task/{task}' for task in tasks)}, model/smollm2_135m, data/demo]\n", encoding="utf-8")
    with pytest.raises(SettingError, match=f"and one that links them, .*; it has {', '.join(tasks)}"):
        pipeline.run(["pipeline", str(recipe), f"--run_dir={tmp_path / 'run'}"])
    assert not commands


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("entities: [a\nrelations: b\n", r"config\.yaml:2: not YAML"),
        ("entities: 1\nrelations: b\n", "not the configuration of a pipeline"),
        ("entities: a\n", "not the configuration of a pipeline"),
        ("", "not the configuration of a pipeline"),
    ],
)
def test_what_is_no_pipeline_is_refused(content: str, message: str, commands: list[tuple[str, ...]], tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(content, encoding="utf-8")
    with pytest.raises(FileFormatError, match=message):
        annotate(tmp_path)
    assert not commands


def test_a_stopped_stage_stops_the_pipeline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run: list[list[str]] = []
    monkeypatch.setattr(pipeline, "run_process", lambda line: run.append(line) or 75)
    assert main(["pipeline", "demo", f"--run_dir={tmp_path}"]) == 75
    assert len(run) == 1, "no stage after it"
    assert "--resume=auto" in run[0]
    assert "`clinical-ie fit` was stopped; the same command goes on from there" in capsys.readouterr().err


def test_signals_are_passed_on(tmp_path: Path) -> None:
    """The stage acts on the signal, here with an exit code of its own; Ctrl-C reaches it without our help."""
    ready = tmp_path / "ready"
    code = (
        "import os, pathlib, signal, sys, time; signal.signal(signal.SIGUSR1, lambda *_: sys.exit(75));"
        f"pathlib.Path({str(ready)!r}).touch(); time.sleep(100)"
    )

    before = signal.getsignal(signal.SIGUSR1)

    def send() -> None:
        while not ready.exists() or signal.getsignal(signal.SIGUSR1) is before:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGUSR1)

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    assert pipeline.run_process([sys.executable, "-c", code]) == 75
    thread.join()
