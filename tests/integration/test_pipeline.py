"""An entity and a relation model as one run: trained, scored on gold and predicted entities, resumed, and used on texts."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from clinical_ie.cli import main
from clinical_ie.corpora import Demo
from clinical_ie.document import Document, Entity, Span
from clinical_ie.formats import brat, jsonl
from clinical_ie.scoring.rules import rule_set
from clinical_ie.scoring.score import score
from tests.integration.processes import forked


def options(tiny_bert: str, small_corpus: str) -> list[str]:
    given = [
        f"--data.corpora.init_args.root={small_corpus}",
        f"--model.init_args.backbone={tiny_bert}",
        "--model.init_args.learning_rate=5e-3",
        "--model.init_args.head_learning_rate=2e-2",
        "--data.batch_budget=512",
        "--data.tasks.init_args.window=96",
        "--data.tasks.init_args.overlap=16",
        "--trainer.precision=32-true",
        "--trainer.accelerator=cpu",
        "--trainer.enable_progress_bar=false",
    ]
    return [*(f"--both={option}" for option in given), "--entities=--trainer.max_epochs=4", "--relations=--trainer.max_epochs=3"]


@pytest.fixture(scope="module", autouse=True)
def stages_in_forks() -> Iterator[None]:
    """Processes of the pipeline's stages, without an import of everything in each."""

    def run(line: list[str]) -> int:
        assert line[:3] == [sys.executable, "-m", "clinical_ie"]
        code, printed = forked(*line[3:])
        print(printed)
        return code

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("clinical_ie.commands.pipeline.run_process", run)
        yield


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "recipe.yaml"
    common = ["strategy/single", "data/demo"]
    stages = {"entities": ["base", "task/entity_tagging", *common], "relations": ["base", "task/relation_classification", *common]}
    path.write_text(yaml.safe_dump(stages), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def finished(recipe: Path, tiny_bert: str, small_corpus: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pipeline") / "run"
    assert main(["pipeline", str(recipe), f"--run_dir={folder}", *options(tiny_bert, small_corpus)]) == 0
    return folder


def test_both_settings_stand_in_one_table(finished: Path, small_corpus: str) -> None:
    results = json.loads((finished / "results.json").read_text(encoding="utf-8"))
    gold, end_to_end = (
        results["splits"]["test on gold entities"]["demo"]["relation_classification"],
        results["splits"]["test"]["demo"]["relation_classification"],
    )
    assert (gold["relation_setting"], end_to_end["relation_setting"]) == ("gold entities", "end to end")
    assert gold["relations"]["strict"]["micro"]["f1"] > end_to_end["relations"]["strict"]["micro"]["f1"]
    assert end_to_end["entities"]["strict"]["micro"]["f1"] < 1 == gold["entities"]["strict"]["micro"]["f1"]
    assert end_to_end["coverage"] is None
    assert set(results["run"]["stages"]) == {"entities", "relations"}
    documents = jsonl.read(Path(small_corpus) / "test.jsonl")
    found = score(documents, jsonl.read(finished / "predictions" / "test" / "demo.jsonl"), rule_set("strict-one-to-one")).to_dict()
    assert found["relations"] == end_to_end["relations"]
    assert found["entities"] == end_to_end["entities"]


def test_the_entities_are_those_that_the_entity_model_found(finished: Path) -> None:
    one = jsonl.read(finished / "entities" / "predictions" / "test" / "demo.jsonl")
    two = jsonl.read(finished / "predictions" / "test" / "demo.jsonl")
    assert [document.entities for document in one] == [document.entities for document in two]
    assert any(document.relations for document in two)


def test_a_finished_stage_is_not_trained_again(
    finished: Path, recipe: Path, tiny_bert: str, small_corpus: str, capfd: pytest.CaptureFixture[str]
) -> None:
    before = (finished / "entities" / "checkpoints" / "best.ckpt").stat().st_mtime_ns
    results = (finished / "results.json").read_text(encoding="utf-8")
    assert main(["pipeline", str(recipe), f"--run_dir={finished}", *options(tiny_bert, small_corpus)]) == 0
    assert (finished / "entities" / "checkpoints" / "best.ckpt").stat().st_mtime_ns == before
    assert capfd.readouterr().out.count("is trained already, and scored") == 2
    again = json.loads((finished / "results.json").read_text(encoding="utf-8"))
    assert again["splits"] == json.loads(results)["splits"]


def test_other_settings_for_a_finished_stage_are_refused_by_name(
    finished: Path, recipe: Path, tiny_bert: str, small_corpus: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (finished / "results.json").read_bytes()
    more = ["--entities=--seed_everything=5", "--entities=--model.init_args.decoder=softmax"]
    assert main(["pipeline", str(recipe), f"--run_dir={finished}", *options(tiny_bert, small_corpus), *more]) == 2
    assert "model.init_args.decoder: crf -> softmax, seed_everything: 0 -> 5" in capsys.readouterr().out, "printed by the stage"
    assert (finished / "results.json").read_bytes() == before


@pytest.mark.parametrize("text", ["entities: 3\nrelations: [a]\n", "entities: {a\n", "[" * 5000])
def test_a_damaged_pipeline_annotates_nothing(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.yaml").write_text(text, encoding="utf-8")
    assert main(["pipeline", f"--run_dir={tmp_path}", f"--texts={tmp_path}"]) == 2
    assert "config.yaml" in capsys.readouterr().err


def test_texts_come_out_with_links(finished: Path, tmp_path: Path) -> None:
    texts = tmp_path / "notes"
    brat.write([type(document)(document.id, document.text) for document in Demo().read("test")[:3]], texts)
    assert main(["pipeline", f"--run_dir={finished}", f"--texts={texts}"]) == 0
    written = brat.read(finished / "predictions" / "predict" / "demo")
    assert [document.id for document in written] == sorted(document.id for document in Demo().read("test")[:3])
    assert sum(len(document.entities) for document in written) > 0


def test_notes_without_anything_to_link_are_written_and_other_notes_stay(
    finished: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    texts, output = tmp_path / "ward2", tmp_path / "out"
    brat.write([Document("blank", " \n\n"), Document("empty", "")], texts)
    before = {path: path.read_bytes() for path in (finished / "predictions").rglob("*") if path.is_file()}
    assert main(["pipeline", f"--run_dir={finished}", f"--texts={texts}", f"--output={output}"]) == 0
    assert brat.read(output / "demo") == brat.read(texts)
    said = capfd.readouterr().out
    assert f"demo: 2 documents, 0 mentions, 0 links in {output / 'demo'}/" in said
    if before:  # another ward's notes are there
        assert main(["pipeline", f"--run_dir={finished}", f"--texts={texts}"]) in (0, 2)
    assert before.items() <= {path: path.read_bytes() for path in (finished / "predictions").rglob("*") if path.is_file()}.items()


@pytest.fixture(scope="module")
def unlinkable(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Notes of which only those of the training split have pairs of mentions; one of the others has none at all."""
    folder = tmp_path_factory.mktemp("unlinkable")
    jsonl.write(Demo().read("train")[:6], folder / "train.jsonl")
    one = [Document("one", "Aspirin daily.", (Entity("T1", "Drug", Span.of(0, 7)),)), Document("blank", "")]
    for split in ("dev", "test"):
        jsonl.write(one, folder / f"{split}.jsonl")
    return str(folder)


@pytest.mark.parametrize(("command", "split"), [("test", "test"), ("validate", "dev")])
def test_a_split_without_pairs_is_scored(command: str, split: str, finished: Path, unlinkable: str, tmp_path: Path) -> None:
    given = [command, "-c", str(finished / "relations" / "config.yaml"), f"--run_dir={tmp_path}"]
    given += [f"--ckpt_path={finished / 'relations' / 'checkpoints' / 'best.ckpt'}", f"--data.corpora.init_args.root={unlinkable}"]
    assert main(given) == 0
    entry = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["splits"][split]["demo"]["relation_classification"]
    assert entry["documents"] == 2
    assert entry["relations"]["strict"]["micro"]["f1"] == 0
    if split == "test":
        assert [document.id for document in jsonl.read(tmp_path / "predictions" / "test" / "demo.jsonl")] == ["one", "blank"]


def test_links_between_mentions_that_were_not_found_are_missed(finished: Path, small_corpus: str, tmp_path: Path) -> None:
    gold = jsonl.read(Path(small_corpus) / "test.jsonl")
    jsonl.write([Document(document.id, document.text) for document in gold], tmp_path / "mentions" / "demo.jsonl")
    run = tmp_path / "run"
    given = ["test", "-c", str(finished / "relations" / "config.yaml"), f"--run_dir={run}", f"--data.mentions={tmp_path / 'mentions'}"]
    assert main([*given, f"--ckpt_path={finished / 'relations' / 'checkpoints' / 'best.ckpt'}"]) == 0
    micro = json.loads((run / "results.json").read_text(encoding="utf-8"))["splits"]["test"]["demo"]["relation_classification"][
        "relations"
    ]["strict"]["micro"]
    assert (micro["tp"], micro["fp"]) == (0, 0)
    assert micro["fn"] == sum(1 for document in gold for _ in document.links())


def test_a_run_ends_well_where_only_training_notes_have_pairs(finished: Path, unlinkable: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    given = ["fit", "-c", str(finished / "relations" / "config.yaml"), f"--run_dir={run}", "--trainer.max_epochs=1"]
    assert main([*given, f"--data.corpora.init_args.root={unlinkable}"]) == 0
    assert (
        json.loads((run / "results.json").read_text(encoding="utf-8"))["splits"]["test"]["demo"]["relation_classification"]["documents"]
        == 2
    )
    assert (run / "checkpoints" / "best.ckpt").exists()


def test_runs_that_exist_can_be_joined(finished: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "joined.yaml"
    recipe.write_text(yaml.safe_dump({stage: str(finished / stage) for stage in ("entities", "relations")}), encoding="utf-8")
    assert main(["pipeline", str(recipe), f"--run_dir={tmp_path / 'joined'}", "--both=--trainer.enable_progress_bar=false"]) == 0
    one, two = (json.loads((folder / "results.json").read_text(encoding="utf-8"))["splits"] for folder in (finished, tmp_path / "joined"))
    assert one == two


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("entities: [base]\n", "not a recipe"),
        ("- base\n", "not a recipe"),
        ("entities: [base\nrelations: }\n", "bad.yaml:2: not YAML"),
        ("entities: [base]\nrelations: [no_such_file]\n", "no packaged configuration of that name"),
        ("entities: /nowhere\nrelations: [base]\n", "no finished run"),
    ],
)
def test_bad_recipes_are_refused(text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "bad.yaml"
    recipe.write_text(text, encoding="utf-8")
    assert main(["pipeline", str(recipe), f"--run_dir={tmp_path / 'run'}"]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_run_without_test_results_is_refused_before_anything_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "old" / "checkpoints").mkdir(parents=True)
    (tmp_path / "old" / "checkpoints" / "best.ckpt").touch()
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump({"entities": str(tmp_path / "old"), "relations": ["base"]}), encoding="utf-8")
    assert main(["pipeline", str(recipe), f"--run_dir={tmp_path / 'run'}"]) == 2
    assert f"run `clinical-ie test -c {tmp_path / 'old'}/config.yaml` first" in capsys.readouterr().err
    assert main(["pipeline", str(recipe), f"--run_dir={tmp_path / 'run'}", "--output=x"]) == 2
    assert "--texts" in capsys.readouterr().err


def test_neither_recipe_nor_texts(tmp_path: Path) -> None:
    assert main(["pipeline", f"--run_dir={tmp_path}"]) == 2


def test_mentions_of_other_notes_are_refused(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "mentions"
    documents = jsonl.read(finished / "entities" / "predictions" / "test" / "demo.jsonl")
    jsonl.write(documents[:-1], other / "demo.jsonl")
    given = ["test", "-c", str(finished / "relations" / "config.yaml"), f"--run_dir={tmp_path / 'run'}"]
    given += [f"--ckpt_path={finished / 'relations' / 'checkpoints' / 'best.ckpt'}"]
    assert main([*given, f"--data.mentions={other}"]) == 2
    said = capsys.readouterr().err
    assert documents[-1].id in said
    assert documents[-1].text[:20] not in said
    assert main([*given, f"--data.mentions={tmp_path}"]) == 2
    assert "no predictions of this corpus there; expected demo.jsonl or a folder demo" in capsys.readouterr().err


def test_texts_need_mentions(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "one.txt").write_text("Aspirin 81 mg daily.", encoding="utf-8")
    given = ["predict", "-c", str(finished / "relations" / "config.yaml"), f"--run_dir={finished / 'relations'}"]
    assert main([*given, f"--data.texts={tmp_path / 'notes'}"]) == 2
    assert "--data.mentions" in capsys.readouterr().err


def test_a_tagger_takes_no_mentions(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["test", "-c", str(finished / "entities" / "config.yaml"), f"--run_dir={finished / 'entities'}", f"--data.mentions={tmp_path}"]
    assert main(given) == 2
    assert "starts from text alone" in capsys.readouterr().err
