"""Every YAML file is parsed in a chain, and none swallows a misspelt key; the slow tests and the benchmarks run the experiments."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from clinical_ie.cli import main
from clinical_ie.commands.pipeline import read_recipe

CONFIGS = Path(__file__).parents[2] / "configs"
RECIPES = sorted((CONFIGS / "pipeline").glob("*.yaml"))
STUDIES = sorted((CONFIGS / "study").glob("*.yaml"))
FILES = sorted(set(CONFIGS.rglob("*.yaml")) - set(RECIPES) - set(STUDIES))
CHAIN = ("base", "task/entity_tagging", "model/minilm", "data/demo")


def chain(*last: Path) -> list[str]:
    names = list(CHAIN)
    if any("instruction" in file.stem for file in last):
        names[1] = "task/joint_instruction"
    elif any("reading" in file.stem for file in last):
        names[1] = "task/relation_reading"
    elif any(file.stem.endswith("_relations") for file in last):
        names[1] = "task/relation_classification"
    elif any(file.stem.endswith("_attributes") for file in last):
        names[1] = "task/attribute_classification"
    files = [CONFIGS / f"{name}.yaml" for name in names] + list(last)
    return ["fit", *(part for file in files for part in ("-c", str(file))), "--run_dir=unused", "--print_config"]


def test_there_are_files() -> None:
    assert len(FILES) >= 40
    assert len(RECIPES) >= 4


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(CONFIGS)))
def test_parses(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(chain(file))
    assert stopped.value.code == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    own = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert set(own) <= set(printed)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(CONFIGS)))
def test_a_misspelt_key_is_refused(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = yaml.safe_load(file.read_text(encoding="utf-8"))
    section = next(key for key in data if isinstance(data[key], dict))
    inner = data[section]
    if "init_args" in inner:
        inner = inner["init_args"]
    inner["mispelt_key"] = 1
    wrong = tmp_path / f"wrong_{file.name}"
    wrong.write_text(yaml.safe_dump(data), encoding="utf-8")
    assert main(chain(wrong)) == 2
    said = capsys.readouterr().err
    assert "mispelt_key" in said
    assert f"{wrong}:" in said, "the file and the line are named"
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_a_recipe_names_chains_that_parse(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for stage, given in read_recipe(str(file)).items():
        with pytest.raises(SystemExit) as stopped:
            main(["fit", *(part for name in given for part in ("-c", name)), "--run_dir=unused", "--print_config"])
        assert stopped.value.code == 0
        printed = yaml.safe_load(capsys.readouterr().out)
        tasks = [entry["class_path"].rpartition(".")[2] for entry in printed["data"]["tasks"]]
        assert tasks in {
            "entities": (["EntityTagging"], ["EntityReading"]),
            "relations": (["RelationClassification"], ["RelationReading"]),
            "attributes": (["AttributeClassification"],),
            "both": (["EntityInstruction", "RelationInstruction"],),
        }[stage]  # fmt: skip
        assert len(printed["data"]["corpora"]) == 1


@pytest.mark.parametrize("method", sorted(path.stem for path in (CONFIGS / "peft").glob("*.yaml")))
@pytest.mark.parametrize("task", sorted(path.stem for path in (CONFIGS / "task").glob("*.yaml")))
def test_every_way_of_tuning_fits_every_task(task: str, method: str, capsys: pytest.CaptureFixture[str]) -> None:
    names = ("base", f"task/{task}", "model/minilm", f"peft/{method}", "data/demo")
    with pytest.raises(SystemExit) as stopped:
        main(["fit", *(part for name in names for part in ("-c", str(CONFIGS / f"{name}.yaml"))), "--run_dir=unused", "--print_config"])
    assert stopped.value.code == 0
    printed = yaml.safe_load(capsys.readouterr().out)["model"]["init_args"]
    assert (printed["peft"] is None) == (method in ("full", "frozen"))


def test_the_short_chain_is_the_long_one(capsys: pytest.CaptureFixture[str]) -> None:
    def printed(*names: str) -> dict[str, object]:
        with pytest.raises(SystemExit) as stopped:
            main(["fit", *(part for name in names for part in ("-c", name)), "--run_dir=unused", "--print_config"])
        assert stopped.value.code == 0
        found: dict[str, object] = yaml.safe_load(capsys.readouterr().out)
        return found

    short = ("task/entity_tagging", "model/minilm", "data/demo")
    assert printed(*short) == printed(*(str(CONFIGS / f"{name}.yaml") for name in ("base", *short, "strategy/single")))
    trainer = printed(*short, "strategy/ddp")["trainer"]
    assert isinstance(trainer, dict)
    assert (trainer["strategy"], trainer["devices"]) == ("ddp", "auto"), "a strategy that is named wins over the default"


def test_corpora_in_place_of_others_have_their_own_arguments_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As ``-c RUN/config.yaml -c others.yaml`` for a test on other corpora."""
    given = ["-c", "task/entity_tagging", "-c", "model/minilm"]
    demo = {"class_path": "clinical_ie.corpora.Demo"}
    schema = {"entities": ["Drug"]}
    first = {"root": "a", "corpus_name": "a", "schema": schema, "entity_types": ["Drug"], "patient_pattern": "^a"}
    brat = [
        {"class_path": "clinical_ie.corpora.BratFolder", "init_args": init}
        for init in (first, {"root": "b", "corpus_name": "b", "schema": schema})
    ]
    for number, corpora in enumerate(([brat[0], demo], [demo, brat[1]])):
        path = tmp_path / f"{number}.yaml"
        path.write_text(yaml.safe_dump({"data": {"corpora": corpora}}), encoding="utf-8")
        given += ["-c", str(path)]
    with pytest.raises(SystemExit):
        main(["fit", *given, f"--data.corpora={json.dumps([demo, brat[1]])}", "--run_dir=unused", "--print_config"])
    found = [corpus["init_args"] for corpus in yaml.safe_load(capsys.readouterr().out)["data"]["corpora"]]
    assert found[0]["entity_types"] is found[1]["entity_types"] is found[1]["patient_pattern"] is None
