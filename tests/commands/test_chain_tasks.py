"""Arguments of tasks in a chain: of the last one, of a named one, of all; later ones win."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from clinical_ie.commands.chain import Chain
from clinical_ie.errors import SettingError

TWO = ("-c", "task/entity_instruction", "-c", "task/relation_instruction")


def added(given: list[str]) -> list[str]:
    """What the chain says of tasks behind everything else."""
    return [part for part in Chain(given).arguments if part.startswith("--data.tasks")]


def entry(name: str, response: str) -> str:
    arguments = f'{{"response": "{response}", "segment": 256, "window": 2048}}'
    return f'{{"class_path": "clinical_ie.tasks.{name}", "init_args": {arguments}}}'


ENTITIES, RELATIONS = entry("EntityInstruction", "inline"), entry("RelationInstruction", "grouped")


def test_without_names_the_parser_does_it_alone() -> None:
    assert added([*TWO, "--data.tasks.window=96"]) == ["--data.tasks.window=96"]
    assert [kind.name for kind in Chain(TWO).tasks.kinds] == ["entity_instruction", "relation_instruction"]


def test_each_task_is_given_anew_with_its_own(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    shown = {"radgraph": "a.jsonl"}
    own.write_text(yaml.safe_dump({"data": {"task_args": {"all": {"definitions": False, "demonstrations": shown}}}}), encoding="utf-8")
    given = [*TWO, "--data.tasks.window=96", "-c", str(own), "--data.task_args.entity_instruction.window", "512"]
    of_file = ["--data.tasks.init_args.definitions=false", '--data.tasks.init_args.demonstrations={"radgraph": "a.jsonl"}']
    assert added(given)[1:] == [
        "--data.tasks=[]", f"--data.tasks+={ENTITIES}", *of_file, "--data.tasks.init_args.window=512",
        f"--data.tasks+={RELATIONS}", "--data.tasks.window=96", *of_file,
    ]  # fmt: skip
    assert Chain(given).origins["data.tasks.definitions"] == f"{own}:4"
    assert Chain(given).origins["data.tasks.window"] == "--data.task_args.entity_instruction.window"


@pytest.mark.parametrize(
    "given",
    [
        ["--data.task_args.all.window=96"],
        ["--data.task_args.all={window: 96}"],
        ["--data.task_args={all: {window: 96}}"],
        ["--data.task_args.all.init_args.window=96"],
    ],
)
def test_every_way_of_saying_all(given: list[str]) -> None:
    # it is of the tasks before it: what comes later has its own
    assert added([*TWO[:2], *given, *TWO[2:]]) == [
        "--data.tasks=[]", f"--data.tasks+={ENTITIES}", "--data.tasks.init_args.window=96", f"--data.tasks+={RELATIONS}"
    ]  # fmt: skip


def test_a_list_in_place_of_the_tasks_before(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("data: {tasks: [clinical_ie.tasks.JointInstruction, {class_path: no.such.Task}]}\n", encoding="utf-8")
    found = added([*TWO, "-c", str(own), "--data.task_args.all.window=96"])
    assert found[:2] == ["--data.tasks=[]"] * 2, "that of the file, and all anew"
    assert found[2] == '--data.tasks+={"class_path": "clinical_ie.tasks.JointInstruction"}'
    assert found[4] == '--data.tasks+={"class_path": "no.such.Task"}', "which the parser refuses in its own words"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--data.task_args.all.window=96", *TWO], "--data.task_args.all.window sets arguments of data.tasks, but nothing before it names"),
        ([*TWO, "--data.task_args.entity_instuction.window=96"], "no such task before it; there are entity_instruction,"),
        (["--data=my.yaml", "--data.task_args.all.window=96"], "no file or option before it names tasks one by one"),
        ([*TWO, "--data.task_args.entity_instuction.window=96"], "did you mean 'entity_instruction'?"),
    ],
)  # fmt: skip
def test_arguments_of_no_task(given: list[str], said: str) -> None:
    with pytest.raises(SettingError) as refused:
        Chain(given)
    assert said in str(refused.value)
