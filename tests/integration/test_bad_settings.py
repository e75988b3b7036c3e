"""What cannot work is refused with exit code 2 and a sentence, before or instead of a traceback."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from clinical_ie.cli import main
from clinical_ie.formats import brat
from clinical_ie.formats.jsonl import read

Arguments = Callable[..., list[str]]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--data.tasks.window=1024"], "512 positions only"),
        (["--ckpt_path=nowhere/last.ckpt"], "no such checkpoint"),
        (["--model.init_args.backbone=./nowhere"], "no such folder"),
        (["--data.corpora.init_args.root=/nowhere"], "no such folder"),
        (["--evaluation.rules=n2c2-2022"], "did you mean 'n2c2-2018'?"),
        (["--data.mixing.corpus_weights.dem=2"], "data.mixing.corpus_weights names 'dem'; the corpora are demo; did you mean 'demo'?"),
        (["--data.mixing=Temperature", "--data.mixing.temperature=0"], "data.mixing.temperature is 0"),
        (["--evaluation.rules=shac-2022"], "counts nothing in corpus demo: the task finds mentions"),
        (["--evaluation.interval_samples=1"], "evaluation.interval_samples is 1; expected a number"),
        (["--evaluation.interval_samples=-5"], "or 0 for none"),
        (["--data.root=/nowhere/at/all"], "/nowhere/at/all: no such folder"),
        (["-c", "data/phee", "--data.root=/nowhere"], "there are 2 corpora; give --data.roots.demo=DIR, --data.roots.phee=DIR"),
        (
            ["-c", "data/phee", "--data.roots.phe=/nowhere"],
            "--data.roots.phe: no corpus of that name; there are demo, phee; did you mean 'phee'?",
        ),
        (["-c", "data/phee", "--data.roots.phee=/nowhere"], "/nowhere: no such folder; phee is not there"),
        (["--trainer.max_epoch=3"], "unknown option --trainer.max_epoch; did you mean '--trainer.max_epochs'?"),
        (["--trainer.max_epochs=three"], "--trainer.max_epochs: expected a whole number or null, got 'three'"),
        (["--model.init_args.learnig_rate=3"], "EncoderTagger has no argument 'learnig_rate'; did you mean 'learning_rate'?"),
        (["--model.decoder=crff"], "--model.decoder: expected crf or softmax, got 'crff'"),
        (["--model=EncoderTager"], "--model: there is no class EncoderTager; did you mean 'EncoderTagger'?"),
        (["--data.tasks+=clinical_ie.tasks.EntityTaging"], "no class clinical_ie.tasks.EntityTaging; did you mean 'EntityTagging'?"),
        (["--data.tasks+=clinical_ie.modules.EncoderTagger"], "clinical_ie.modules.EncoderTagger is no Task"),
        (["--model.peft=peft.LoraConfig", "--model.peft.rr=4"], "LoraConfig has no argument 'rr'; did you mean 'r'?"),
        (["--trainer.callbacks+=EarlyStopping"], "--trainer.callbacks+: EarlyStopping needs monitor, which is missing"),
        (["--trainer.logger=CSVLogger"], "--trainer.logger: CSVLogger needs save_dir, which is missing"),
        (["word"], "'word' is no option"),
        (["-c", "task/entity_taging"], "did you mean 'task/entity_tagging'?"),
        (["--trainer.limit_test_batches=1", "--trainer.max_epochs=1", "--data.eval_batch_budget=100"], "half annotated"),
    ],
)
def test_refused(more: list[str], message: str, arguments: Arguments, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments("fit", tmp_path / "run", *more)) == 2
    assert message in capsys.readouterr().err


def test_a_run_directory_is_wanted(arguments: Arguments, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = [part for part in arguments("fit", tmp_path) if not part.startswith("--run_dir")]
    assert main(given) == 2
    assert "--run_dir is missing" in capsys.readouterr().err
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert main(arguments("fit", tmp_path / "file")) == 2
    assert "is a file" in capsys.readouterr().err
    assert main(arguments("fit", tmp_path / "file" / "run")) == 2
    assert "/file is a file" in capsys.readouterr().err


def test_damaged_results_are_refused_before_training(arguments: Arguments, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "results.json").write_text("{", encoding="utf-8")
    assert main(arguments("fit", tmp_path)) == 2
    assert "results.json: not a results file" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


def test_weights_for_other_types_are_refused(finished_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fewer = "--data.corpora.init_args.entity_types=[Drug, Dosage]"
    assert main(["test", "-c", str(finished_run / "config.yaml"), fewer]) == 2
    assert "trained for" in capsys.readouterr().err


def test_types_that_the_schema_does_not_declare_stop_a_run(
    arguments: Arguments, small_corpus: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    brat.write(read(Path(small_corpus) / "train.jsonl"), tmp_path / "notes")
    given = [part for part in arguments("fit", tmp_path / "run") if "demo.yaml" not in part and "corpora.init_args" not in part]
    given = [part for place, part in enumerate(given) if not (part == "-c" and given[place + 1] == "-c")]
    own = tmp_path / "own.yaml"
    own.write_text(
        f"data:\n  corpora+:\n    - class_path: clinical_ie.corpora.BratFolder\n      init_args:\n        root: {tmp_path / 'notes'}\n"
        "        schema: {entities: [Drug, Dosage]}\n",
        encoding="utf-8",
    )
    assert main([*given, "-c", str(own)]) == 2
    assert "which the schema does not declare" in capsys.readouterr().err


def test_predicting_needs_no_corpus(finished_run: Path, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "one.txt").write_text("Started aspirin.", encoding="utf-8")
    given = [
        "predict",
        "-c",
        str(finished_run / "config.yaml"),
        f"--data.texts={tmp_path / 'notes'}",
        "--data.corpora.init_args.root=/nowhere",
    ]
    assert main([*given, f"--output={tmp_path / 'annotated'}"]) == 0
