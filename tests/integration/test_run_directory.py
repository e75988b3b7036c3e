"""What a run leaves behind, read back by other means than it was written with."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from clinical_ie.cli import main
from clinical_ie.corpora import Demo
from clinical_ie.data.tokenization import Subwords
from clinical_ie.document import Document
from clinical_ie.formats import brat, jsonl
from clinical_ie.reports import rows
from clinical_ie.reports.gold_survival import survival
from clinical_ie.scoring.calibration import expected_calibration_error, untempered
from clinical_ie.scoring.judged import judged
from clinical_ie.strategies.checkpoint import Checkpoint
from clinical_ie.tasks import EntityTagging
from clinical_ie.tasks.task import Source


def phrases_of(corpus: str, split: str) -> list[bytes]:
    """Some words of every note of a split."""
    texts = [document.text for document in jsonl.read(Path(corpus) / f"{split}.jsonl")]
    return [text[start : start + 24].encode() for text in texts for start in range(100, len(text) - 24, 97)]


def test_files(finished_run: Path) -> None:
    files = {"config.yaml", "splits.json", "learned.npz", "results.json"}
    assert {path.name for path in finished_run.iterdir()} == files | {"checkpoints", "tensorboard", "predictions"}
    splits = json.loads((finished_run / "splits.json").read_text(encoding="utf-8"))
    assert {split: len(names) for split, names in splits["demo"].items()} == {"train": 24, "dev": 6, "test": 6}
    assert {path.name for path in (finished_run / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    results = json.loads((finished_run / "results.json").read_text(encoding="utf-8"))
    assert results["run"]["epochs"] == 3
    assert results["run"]["steps"] > 0
    assert set(results["splits"]) == {"test"}
    assert results["splits"]["test"]["demo"]["entity_tagging"]["coverage"]["gold"] == sum(
        row["tp"] + row["fn"] for row in results["splits"]["test"]["demo"]["entity_tagging"]["entities"]["strict"]["types"].values()
    )


def test_what_comes_back_of_gold_is_what_a_pass_of_its_own_finds(finished_run: Path, small_corpus: str, tiny_bert: str) -> None:
    entry = json.loads((finished_run / "results.json").read_text(encoding="utf-8"))["splits"]["test"]["demo"]["entity_tagging"]
    again = survival(
        jsonl.read(Path(small_corpus) / "test.jsonl"), EntityTagging(96, 16), Source("demo", Demo().schema, Subwords(tiny_bert))
    )
    assert entry["survival"] == again.to_dict()
    coverage = entry["coverage"]
    assert entry["survival"]["returned"] == coverage["gold"] - sum(coverage["unrepresentable"].values()) > 0
    micro = entry["entities"]["strict"]["micro"]
    assert entry["survival"]["gold"] == micro["tp"] + micro["fn"]


def test_results_equal_the_score_command_on_the_written_files(finished_run: Path, small_corpus: str, tmp_path: Path) -> None:
    gold = tmp_path / "gold"
    brat.write(jsonl.read(Path(small_corpus) / "test.jsonl"), gold)
    predicted = str(finished_run / "predictions" / "test" / "demo")
    assert main(["score", "--gold", str(gold), "--predicted", predicted, "--json", str(tmp_path / "s.json")]) == 0
    again = json.loads((tmp_path / "s.json").read_text(encoding="utf-8"))
    entry = json.loads((finished_run / "results.json").read_text(encoding="utf-8"))["splits"]["test"]["demo"]["entity_tagging"]
    assert again["entities"] == entry["entities"]
    assert again["entities"]["strict"]["micro"]["f1"] > 0.3, "the tiny model learned something"
    low, high = (entry["intervals"]["entities/strict"][end] for end in ("low", "high"))
    assert low <= entry["entities"]["strict"]["micro"]["f1"] <= high


def test_what_stands_beside_a_score(finished_run: Path, small_corpus: str) -> None:
    """Counted anew from the files: strings of training notes, and which of the test's mentions have one of them."""
    results = json.loads((finished_run / "results.json").read_text(encoding="utf-8"))
    entry = results["splits"]["test"]["demo"]["entity_tagging"]
    train, test = (list(jsonl.read(Path(small_corpus) / f"{part}.jsonl")) for part in ("train", "test"))
    assert entry["groups"] == {document.id: document.id for document in test}, "no patients are known"

    def words(document: Document) -> list[str]:
        joined = document.joined()
        return [" ".join(" ".join(joined.text[a:b] for a, b in one.span.fragments).lower().split()) for one in joined.entities]

    known = {string for document in train for string in words(document)}
    strings = [string for document in test for string in words(document)]
    gold = [sum((string in known) is seen for string in strings) for seen in (True, False)]
    assert [entry["seen"]["gold"], entry["unseen"]["gold"]] == gold
    assert min(gold) > 0
    assert entry["seen"]["tp"] + entry["unseen"]["tp"] == entry["entities"]["strict"]["micro"]["tp"]
    assert entry["strings"]["entities"]["f1"] >= 0.3
    assert 0 < entry["smallest_visible_difference"]["entities/strict"] < 1
    run = results["run"]
    assert (run["tuning"], run["held_out"]) == ("full", [])
    assert "/" not in run["model"], "no paths of this machine"
    (strict, _) = rows(finished_run)
    assert (strict["f1"], strict["model"], strict["seed"]) == (entry["entities"]["strict"]["micro"]["f1"], run["model"], run["seed"])


def test_confidences_are_calibrated_as_the_checkpoint_says(finished_run: Path) -> None:
    """The error in ``results.json`` is that of the predictions that lie beside it, with the temperature of the best checkpoint."""
    known = Checkpoint(finished_run / "checkpoints" / "best.ckpt").meta["calibration"]["demo/entity_tagging"]["entities"]
    entry = json.loads((finished_run / "results.json").read_text(encoding="utf-8"))["splits"]["test"]["demo"]["entity_tagging"]
    found = entry["calibration"]["entities"]
    assert found["temperature"] == known["temperature"]
    assert found.get("not_calibrated") == known.get("reason")
    folder = finished_run / "predictions" / "test"
    gold = {document.id: document for document in jsonl.read(folder / "demo.gold.jsonl")}
    pairs = [(one.confidence, one.right) for document in jsonl.read(folder / "demo.jsonl") for one in judged(gold[document.id], document)]
    assert len(pairs) == found["annotations"] > 0
    assert expected_calibration_error(pairs) == pytest.approx(found["ece"])  # type: ignore[arg-type]
    before = [(untempered(sure or 0.0, known["temperature"]), right) for sure, right in pairs]
    assert expected_calibration_error(before) == pytest.approx(found["ece_before"])


def test_brat_and_json_lines_hold_the_same_predictions(finished_run: Path) -> None:
    folder = finished_run / "predictions" / "test"
    one = sorted(brat.read(folder / "demo"), key=lambda document: document.id)
    two = sorted(jsonl.read(folder / "demo.jsonl"), key=lambda document: document.id)
    assert one == two
    assert 'class="notes"' in (folder / "demo.html").read_text(encoding="utf-8")
    gold = {document.id: document for document in jsonl.read(folder / "demo.gold.jsonl")}
    assert sorted(gold) == [document.id for document in two]
    assert json.loads((folder / "demo.seen.json").read_text(encoding="utf-8")).keys() == gold.keys()


def test_tensorboard(finished_run: Path) -> None:
    events = EventAccumulator(str(finished_run / "tensorboard"), size_guidance={"images": 0})
    events.Reload()
    scalars = set(events.Tags()["scalars"])
    expected = {"train/loss", "train/tokens_per_second", "train/padding_share", "dev/loss"}
    expected |= {"dev/entities/strict_f1", "dev/entities/lenient_f1", "dev, demo, entity_tagging/strict_f1"}
    expected |= {
        f"types, demo, entity_tagging/{mode}_{name}/Drug" for mode in ("strict", "lenient") for name in ("precision", "recall", "f1")
    }
    assert expected <= scalars
    assert any(name.startswith("learning rate/") for name in scalars)
    assert len(events.Scalars("dev/entities/strict_f1")) == 3
    assert {"dev/demo/entity_tagging/confusion", "dev/demo/entity_tagging/reliability"} <= set(events.Tags()["images"])
    assert all(event.value > 0 for event in events.Scalars("train/tokens_per_second"))
    assert 1 <= len(events.Tensors("dev/demo/entity_tagging/precision and recall")) <= 3  # none where nothing was found
    (layout,) = events.Tensors("custom_scalars__config__")
    assert b"types, demo, entity_tagging" in layout.tensor_proto.string_val[0].replace(b"\\", b"")


def test_the_configuration_replays_the_run_alone(
    finished_run: Path, small_corpus: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    replay = tmp_path / "replay"
    assert main(["fit", "-c", str(finished_run / "config.yaml"), f"--run_dir={replay}"]) == 0
    printed = "".join(capfd.readouterr()).encode()
    assert b"test: demo, 6 documents" in printed
    assert not any(phrase in printed for split in ("train", "dev", "test") for phrase in phrases_of(small_corpus, split))
    one, two = (torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True) for folder in (finished_run, replay))
    assert all(torch.equal(one["state_dict"][name], value) for name, value in two["state_dict"].items())
    results = [json.loads((folder / "results.json").read_text(encoding="utf-8")) for folder in (finished_run, replay)]
    assert results[0]["splits"]["test"] == results[1]["splits"]["test"]
    assert len({found["run"]["fingerprint"] for found in results}) == 1, "the same run, wherever it lies"
    assert results[0]["run"]["checkpoints"]["test"]["fingerprint"] == results[0]["run"]["fingerprint"]


def test_test_and_predict_from_the_run_directory(finished_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = json.loads((finished_run / "results.json").read_text(encoding="utf-8"))
    assert main(["test", "-c", str(finished_run / "config.yaml")]) == 0
    assert json.loads((finished_run / "results.json").read_text(encoding="utf-8")) == before
    texts = tmp_path / "notes" / "ward"
    texts.mkdir(parents=True)
    (texts / "one.txt").write_text("Started on aspirin 81 mg daily.\r\nDenies fever.", encoding="utf-8", newline="")
    assert main(["predict", "-c", str(finished_run / "config.yaml"), f"--data.texts={tmp_path / 'notes'}"]) == 0
    (found,) = brat.read(finished_run / "predictions" / "predict" / "demo")
    assert found.id == "ward/one"
    assert found.text.endswith("Denies fever.")
    assert f"demo: 1 document, {len(found.entities)} mentions in {finished_run}/predictions/predict/demo/" in capsys.readouterr().out
    (texts / "one.txt").write_text("Lives alone.", encoding="utf-8")
    given = ["predict", "-c", str(finished_run / "config.yaml"), f"--data.texts={tmp_path / 'notes'}"]
    assert main(given) == 2
    assert "annotations of other texts are there; give another folder with --output" in capsys.readouterr().err
    assert brat.read(finished_run / "predictions" / "predict" / "demo") == [found], "another ward's annotations stay"
    assert main([*given, f"--output={tmp_path / 'notes' / 'out'}"]) == 2
    assert "among the notes that are read" in capsys.readouterr().err
    before = {path: path.stat().st_mtime_ns for path in finished_run.rglob("*")}
    assert main([*given, f"--output={tmp_path / 'out'}"]) == 0
    assert {path: path.stat().st_mtime_ns for path in finished_run.rglob("*")} == before  # so that others' runs can be used
    assert [document.text for document in brat.read(tmp_path / "out" / "demo")] == ["Lives alone."]
    assert main(["validate", "-c", str(finished_run / "config.yaml")]) == 0
    splits = json.loads((finished_run / "results.json").read_text(encoding="utf-8"))["splits"]
    assert set(splits) == {"dev", "test"}
    best = torch.load(finished_run / "checkpoints" / "best.ckpt", weights_only=True)
    monitored = next(state["best_model_score"] for name, state in best["callbacks"].items() if name.startswith("Checkpoints"))
    assert splits["dev"]["demo"]["entity_tagging"]["entities"]["strict"]["micro"]["f1"] == pytest.approx(float(monitored), abs=1e-6)


def test_a_prediction_that_fails_leaves_no_answer(
    finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from clinical_ie.tasks.entity_tagging import EntityTagging

    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "one.txt").write_text("Takes aspirin.", encoding="utf-8")
    out = tmp_path / "out"
    given = ["predict", "-c", str(finished_run / "config.yaml"), f"--data.texts={tmp_path / 'notes'}", f"--output={out}"]
    assert main(given) == 0
    with monkeypatch.context() as broken:
        broken.setattr(EntityTagging, "annotations", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            main(given)
    assert {path.name for path in out.iterdir()} == {".earlier"}
    assert f"what was there lies in {out}/.earlier" in capsys.readouterr().err
    assert main(given) == 0
    assert {path.name for path in out.iterdir()} == {"demo", "demo.jsonl", "demo.html"}


def test_a_stopped_prediction_leaves_no_files(
    finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A signal is obeyed at the next batch, and neither the screen nor the log of the run holds a word of the note."""
    from clinical_ie.callbacks.predictions import PredictionWriter

    (tmp_path / "notes").mkdir()
    for number in range(4):
        (tmp_path / "notes" / f"{number}.txt").write_text("Takes zyxomarker and aspirin.", encoding="utf-8")
    given = ["predict", "-c", str(finished_run / "config.yaml"), f"--data.texts={tmp_path / 'notes'}", f"--output={tmp_path / 'out'}"]
    original = PredictionWriter.on_predict_batch_end

    def signalled(self: PredictionWriter, trainer: pl.Trainer, *rest: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        original(self, trainer, *rest)

    with monkeypatch.context() as stopping:
        stopping.setattr(PredictionWriter, "on_predict_batch_end", signalled)
        assert main(given) == 75
    assert list((tmp_path / "out").iterdir()) == []
    printed = "".join(capfd.readouterr())
    assert f"stopped: nothing was written to {tmp_path / 'out'}" in printed
    assert main(given) == 0
    printed += "".join(capfd.readouterr())
    files = [path for path in finished_run.rglob("*") if path.is_file() and "predictions" not in path.parts]
    assert "zyxomarker" not in printed
    assert not any(b"zyxomarker" in path.read_bytes() for path in files)


def test_a_run_never_runs_into_another(finished_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "-c", str(finished_run / "config.yaml")]) == 2
    assert "holds a run already" in capsys.readouterr().err


def test_no_note_text_leaks(finished_run: Path, small_corpus: str) -> None:
    phrases = phrases_of(small_corpus, "train")
    files = [path for path in finished_run.rglob("*") if path.is_file() and "predictions" not in path.parts]
    assert len(files) >= 5
    for path in files:
        data = path.read_bytes()
        assert not any(phrase in data for phrase in phrases), path.name


def test_the_demo_is_part_of_the_package() -> None:
    assert len(Demo().read("train")) == 80


def test_patience_ends_a_run_that_gets_no_better(arguments: Callable[..., list[str]], tmp_path: Path) -> None:
    still = ["--model.init_args.learning_rate=0", "--model.init_args.head_learning_rate=0", "--patience.epochs=1"]
    assert main(arguments("fit", tmp_path / "run", *still)) == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text(encoding="utf-8"))
    assert results["run"]["epochs"] == 2, "one epoch to set the score, one without a better one"


def test_hyper_parameters_are_in_tensorboard(finished_run: Path) -> None:
    data = b"".join(path.read_bytes() for path in (finished_run / "tensorboard").rglob("events*"))
    assert b"_hparams_/session_start_info" in data
    assert b"model/learning_rate" in data
    assert b"best/dev/entities/strict_f1" in data
    assert b"test/demo/entity_tagging/entities/lenient_f1" in data
    assert str(finished_run.parent).encode() not in data


def test_whose_weights_are_tested_says_what_they_learned_from(
    arguments: Callable[..., list[str]], finished_run: Path, small_corpus: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Settings and folder are another run's, which knows nothing of these weights."""
    other = Path(shutil.copytree(small_corpus, tmp_path / "other"))
    for old, new in (("test", "rest"), ("train", "test"), ("rest", "train")):
        (other / f"{old}.jsonl").rename(other / f"{new}.jsonl")
    given = arguments("test", tmp_path / "out", f"--ckpt_path={finished_run}/checkpoints/best.ckpt", f"--data.root={other}")
    assert main(given) == 2
    assert "24 of 24 test documents are training documents of this run" in capsys.readouterr().err


def test_two_commands_do_not_train_in_one_folder(
    arguments: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    holds = (
        "import sys, pathlib; from clinical_ie.commands.run_lock import training_in\n"
        f"with training_in(pathlib.Path({str(run)!r}), 0): print('held', flush=True); sys.stdin.read()"
    )
    again = arguments("fit", run, "--resume=auto", "--trainer.max_epochs=1", "--test_after_fit=false")
    with subprocess.Popen([sys.executable, "-c", holds], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        assert main(again) == 2
        assert f"{run}: another command is training there; wait for its end, or give another --run_dir" in capsys.readouterr().err
        assert [path.name for path in run.iterdir() if path.is_file()] == [".rank0.lock"]
        other.kill()
    assert main(again) == 0, "whoever is killed holds nothing"
    assert not (run / ".rank0.lock").exists()


def test_a_run_that_saved_nothing_may_begin_again(arguments: Callable[..., list[str]], tmp_path: Path) -> None:
    """Killed before its first checkpoint, a run leaves an empty folder; the pipeline trains such a stage anew."""
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    assert main(arguments("fit", tmp_path / "run", "--trainer.max_epochs=1", "--test_after_fit=false")) == 0


def test_a_constant_rate_needs_no_end_but_the_time(arguments: Callable[..., list[str]], tmp_path: Path) -> None:
    run = tmp_path / "run"
    given = ["--trainer.max_epochs=-1", "--trainer.max_time=00:00:00:03"]
    assert main(arguments("fit", run, *given, "--model.init_args.schedule=constant", "--model.init_args.warmup_share=0")) == 0
    results = json.loads((run / "results.json").read_text(encoding="utf-8"))
    last = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert results["run"]["steps"] == last["global_step"] > 0
    assert set(results["splits"]) == {"test"}
    assert {group["lr"] for group in last["optimizer_states"][0]["param_groups"]} == {5e-3, 2e-2}
