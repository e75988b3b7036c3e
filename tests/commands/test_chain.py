"""Chains of configurations, looked over without torch."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from clinical_ie.commands import configurations
from clinical_ie.commands.chain import Chain
from clinical_ie.errors import FileFormatError, InputError, SettingError

SHORT = ("-c", "task/entity_tagging", "-c", "model/minilm", "-c", "data/phee")


def files(chain: Chain) -> list[str]:
    top = configurations.folder()
    return [
        Path(value).relative_to(top).with_suffix("").as_posix()
        for option, value in zip(chain.arguments, chain.arguments[1:], strict=False)
        if option == "-c"
    ]


def written(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "own.yaml"
    path.write_text(text, encoding="utf-8")
    return ["-c", str(path)]


def test_the_defaults_stand_in_front() -> None:
    assert files(Chain(SHORT)) == ["base", "strategy/single", "task/entity_tagging", "model/minilm", "data/phee"]


@pytest.mark.parametrize("given", [["--config", "task/entity_tagging"], ["--config=task/entity_tagging"], ["-ctask/entity_tagging"]])
def test_every_way_of_naming_a_configuration(given: list[str]) -> None:
    assert files(Chain(given))[-1] == "task/entity_tagging"


def test_options_stay_as_they_were_typed() -> None:
    given = ["--trainer.max_epochs", "3", "--x", "-1", "--print_config", "--run_dir=a=b", "word"]
    assert Chain([*SHORT, *given]).arguments[-len(given) :] == given


def test_a_list_of_classes_begins_anew(tmp_path: Path) -> None:
    """jsonargparse gives an entry what the one before it in its place was given, where both lists are equally long."""
    own = written(tmp_path, "data:\n  corpora:\n  - class_path: clinical_ie.corpora.Demo\n  tasks+: []\n")
    typed = '--data.corpora=[{"class_path": "clinical_ie.corpora.Phee"}]'
    assert Chain([*SHORT, *own, typed]).arguments[-5:] == ["--data.corpora=[]", *own, "--data.corpora=[]", typed]


@pytest.mark.parametrize(
    "given",
    [
        [*SHORT, "--data.root=/notes"],
        ["--data.root", "/notes", *SHORT],
        [*SHORT, "--data.root=/elsewhere", "--data.root=/notes"],
    ],
)
def test_one_folder_for_the_corpus(given: list[str]) -> None:
    assert Chain(given).arguments[-1] == "--data.corpora.init_args.root=/notes"


def test_the_folder_from_a_file(tmp_path: Path) -> None:
    own = written(tmp_path, "data:\n  root: /notes\n")
    assert Chain([*own, *SHORT]).arguments[-1] == "--data.corpora.init_args.root=/notes"
    assert Chain([*own, *SHORT, "--data.root=/others"]).arguments[-1] == "--data.corpora.init_args.root=/others"
    assert Chain([*SHORT, *written(tmp_path, "data:\n  root: null\n")]).arguments[-1].endswith("own.yaml")


def test_where_settings_come_from(tmp_path: Path) -> None:
    own = written(tmp_path, "# a remark\ntrainer:\n  max_epochs: 3\nmodel:\n  init_args:\n    decoder: crf\n")
    origins = Chain([*SHORT, *own, "--data.tasks.init_args.window=128"]).origins
    assert origins["trainer.max_epochs"].endswith("own.yaml:3")
    assert origins["model.decoder"].endswith("own.yaml:6")
    assert origins["data.tasks.window"] == "--data.tasks.init_args.window"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "no task: add -c task/NAME (known: attribute_classification, "),
        (["-c", "task/entity_tagging"], "no model: add -c model/NAME (known: bert_large, "),
        (["-c", "task/entity_tagging", "-c", "model/minilm"], "no corpus: add -c data/NAME (known: brat_folder, demo, "),
    ],
)
def test_a_missing_axis_is_named(given: list[str], said: str) -> None:
    with pytest.raises(SettingError) as refused:
        Chain(given).require_axes()
    assert str(refused.value).startswith(said)


def test_whole_sections_count_as_axes() -> None:
    Chain([*SHORT[:4], "--data=my.yaml"]).require_axes()
    Chain(["--model=EncoderTagger", "--model.backbone=here", *SHORT[:2], "--data.corpora+=clinical_ie.corpora.Demo"]).require_axes()
    Chain(SHORT).require_axes()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["-c", "model/minilm", *SHORT], "-c model/minilm sets arguments of model,"),
        (["-c", "model/minilm", *SHORT], "put -c task/entity_tagging before it"),
        (["-c", "peft/lora", *SHORT], "-c peft/lora sets arguments of model,"),
        (["-c", "model/minilm"], "put -c task/NAME before it (known: attribute_classification,"),
        (["--data.tasks.window=128", *SHORT], "--data.tasks.window sets arguments of data.tasks,"),
        (["--data.corpora.init_args.root=here", *SHORT], "put -c data/phee before it"),
    ],
)
def test_a_wrong_order_is_explained(given: list[str], said: str) -> None:
    with pytest.raises(SettingError) as refused:
        Chain(given)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("trainer: [\n  max_epochs: 3\n", "own.yaml:3: not YAML"),
        ("- a\n", "own.yaml: no settings in it"),
        ("", "own.yaml: no settings in it"),
        ("word\n", "own.yaml: no settings in it"),
        ("entities: [base]\nrelations: [base]\n", "train it with `clinical-ie pipeline own`"),
        ("trainer:\n  max_epochs: 1\n  max_epochs: 2\n", "own.yaml:3: max_epochs is set twice"),
        ("data:\n  tasks: null\n", "own.yaml:2: data.tasks is empty"),
        ("trainer: " + "[" * 100_000, "nested too deeply"),
        ("trainer: &a [*a]\n", "an alias stands inside of what it stands for"),
    ],
)
def test_files_that_are_no_configurations(text: str, said: str, tmp_path: Path) -> None:
    own = written(tmp_path, text)
    with pytest.raises(FileFormatError) as refused:
        Chain([*SHORT, *own])
    assert said in str(refused.value)


def test_merged_keys_count(tmp_path: Path) -> None:
    text = "model:\n  <<: {class_path: clinical_ie.modules.EncoderTagger}\n  init_args: {decoder: crf}\n"
    assert "model.decoder" in Chain(written(tmp_path, text)).origins


def test_nothing_behind_c() -> None:
    for given in (["-c"], ["-c", "--run_dir=x"]):
        with pytest.raises(InputError, match="expected a configuration behind it"):
            Chain(given)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trainer: &a {max_epochs: 1, callbacks: *a}", "an alias stands inside of what it stands for"),
        ("a: &a0 {x: 1}\n" + "".join(f"b{n}: &a{n} {{x: *a{n - 1}, y: *a{n - 1}}}\n" for n in range(1, 40)), "more than 100,000 values"),
        ("a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{x: *a{n - 1}}}\n" for n in range(1, 2000)), "nested too deeply"),
        ("trainer: {callbacks: [" + "[" * 5000 + "]" * 5000 + "]}", "nested too deeply"),
        ("\n1: 2", ":2: a number or the like in place of a setting's name"),
        ("trainer:\n  max_epochs: 1\n  ? [a, b]\n  : 3", ":3: not YAML, or no plain one"),
        ("trainer: !!python/object:os.system {}", ":1: not YAML, or no plain one"),
        ("trainer: 3", ":1: trainer holds no settings; expected trainer: {NAME: VALUE}"),
        ("evaluation: [a]", ":1: evaluation holds no settings"),
        ("data: []", ":1: data holds no settings"),
    ],
)
def test_yaml_that_holds_no_settings(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=re.escape(message)):
        Chain([*SHORT, *written(tmp_path, text)])


def test_anchors_and_merges_are_read(tmp_path: Path) -> None:
    text = "trainer: &a {max_epochs: 1}\npatience:\n  <<: {epochs: 3}\nevaluation: {rules: &r n2c2-2018, again: [*r, 2020-99-99]}\n"
    assert Chain([*SHORT, *written(tmp_path, text)]).has("patience.epochs")
