"""A new run begins with another's weights: a new optimizer and schedule from step 0, heads by what they mean."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from clinical_ie.cli import main
from clinical_ie.corpora import Demo
from clinical_ie.strategies.checkpoint import Checkpoint
from tests.integration.processes import same_scores
from tests.modules.tiny_training import DOSES, DRUGS, write_notes

CONFIGS = Path(__file__).parents[2] / "configs"
Arguments = Callable[..., list[str]]


def corpus(folder: Path, name: str, verb: str, types: tuple[str, str]) -> str:
    """A configuration of a corpus of doses and drugs, whatever these are called there."""
    write_notes(
        folder / name, 30, 3, lambda rank, place: (verb, DOSES[(rank + place) % 3], DRUGS[rank % 4]),
        lambda said: ([(kind, at) for phrase in said for kind, at in zip(types, (phrase.dose_at, phrase.drug_at), strict=True)], []),
    )  # fmt: skip
    given = {"root": str(folder / name), "corpus_name": name, "schema": {"entities": list(types)}}
    settings = {"data": {"corpora+": [{"class_path": "clinical_ie.corpora.BratFolder", "init_args": given}]}}
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    return str(folder / f"{name}.yaml")


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> str:
    return corpus(tmp_path_factory.mktemp("ward"), "ward", "Started", ("Dose", "Drug"))


def run_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "results.json").read_text(encoding="utf-8"))["run"]
    return found


def logged(folder: Path, name: str) -> list[float]:
    """All values of the scalars whose names begin so."""
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return [event.value for scalar in events.Tags()["scalars"] if scalar.startswith(name) for event in events.Scalars(scalar)]


def test_a_corpus_is_added(arguments: Arguments, trained_run: Path, ward: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = tmp_path / "run"
    given = arguments("fit", run, "-c", ward, f"--init_from={trained_run}", "--trainer.max_epochs=1", "--data.batch_budget=2048")
    assert main(given) == 0
    best = Checkpoint(trained_run / "checkpoints" / "best.ckpt")
    begun = run_of(run)["init_from"]
    assert (begun["fingerprint"], begun["step"]) == (run_of(trained_run)["fingerprint"], best.step)
    assert begun["taken"] == ["all that serves any corpus", *(f"head of demo/{layer}" for layer in Demo().schema.layers)]
    assert (begun["fresh"], begun["left"]) == (["head of ward/entities"], [])
    assert str(trained_run) not in (run / "results.json").read_text(encoding="utf-8")
    assert f"init_from: run {begun['fingerprint']}, step {best.step}, begins fresh: head of ward/entities" in caplog.text
    last = Checkpoint(run / "checkpoints" / "last.ckpt")
    assert (run_of(run)["epochs"], run_of(run)["resumed"], last.meta["run"]["resumed"]) == (1, 0, 0)
    assert last.step == run_of(run)["steps"] < best.step, "counted from 0"
    assert max(logged(run, "learning rate/")) > 1e-3
    scores = json.loads((run / "results.json").read_text(encoding="utf-8"))["splits"]["test"]
    assert set(scores) == {"demo", "ward"}
    # one of its corpora alone, and in another folder: what was scored is written down
    out = tmp_path / "out"
    config = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    config["data"]["corpora"] = config["data"]["corpora"][1:]
    (tmp_path / "ward_only.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    tested = ["test", "-c", str(tmp_path / "ward_only.yaml"), f"--run_dir={out}", f"--ckpt_path={run}/checkpoints/best.ckpt"]
    assert main(tested) == 0
    alone = json.loads((out / "results.json").read_text(encoding="utf-8"))
    same_scores(alone["splits"]["test"], {"ward": scores["ward"]})
    assert alone["run"]["checkpoints"] == {
        "test": {"fingerprint": run_of(run)["fingerprint"], "step": Checkpoint(run / "checkpoints" / "best.ckpt").step}
    }


def test_going_on_with_other_corpora_is_refused(
    arguments: Arguments, trained_run: Path, ward: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It used to train at a rate of 0."""
    assert main(arguments("fit", tmp_path / "run", "-c", ward, f"--ckpt_path={trained_run}/checkpoints/last.ckpt")) == 2
    said = capsys.readouterr().err
    assert "data.corpora.1.init_args.corpus_name: none -> ward" in said
    assert "--init_from=RUN begins it with the weights of this one" in said


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            ["--model.init_args.freeze=true"],
            "freeze was False, now it is True; --init_from takes over the weights of the same kind of model",
        ),
        (["--model.init_args.decoder=softmax"], "decoder was crf, now it is softmax; --init_from takes over"),
        (["--init_from=nowhere"], "nowhere: no such checkpoint"),
        (["--init_from={folder}"], "no such checkpoint; has this run been trained?"),
    ],
)
def test_what_does_not_fit_is_refused(
    more: list[str], said: str, arguments: Arguments, trained_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [option.format(folder=tmp_path) for option in more]
    assert main(arguments("fit", tmp_path / "run", f"--init_from={trained_run}", *given)) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_the_weights_are_the_others(arguments: Arguments, finished_run: Path, tmp_path: Path) -> None:
    """Without learning, the first checkpoint holds what the run began with; from there on it is a run of its own."""
    run = tmp_path / "run"
    still = ["--model.init_args.learning_rate=0", "--model.init_args.head_learning_rate=0", "--trainer.limit_train_batches=1"]
    more = ["--trainer.max_epochs=1", "--test_after_fit=false", "--model.init_args.weight_decay=0"]
    assert main(arguments("fit", run, f"--init_from={finished_run}/checkpoints/last.ckpt", *still, *more)) == 0
    one, two = (Checkpoint(folder / "checkpoints" / "last.ckpt").weights() for folder in (finished_run, run))
    assert one.keys() == two.keys()
    assert all(torch.equal(value, two[name]) for name, value in one.items())
    begun = run_of(run)["init_from"]
    shutil.rmtree(finished_run)
    assert main(["fit", "-c", str(run / "config.yaml"), f"--ckpt_path={run}/checkpoints/last.ckpt", "--trainer.max_epochs=2"]) == 0
    assert (run_of(run)["resumed"], run_of(run)["init_from"]) == (1, begun)
    assert run_of(run)["checkpoint_bytes"] == (run / "checkpoints" / "best.ckpt").stat().st_size


@pytest.mark.slow
@pytest.mark.parametrize("task", ["entity_tagging", "entity_reading", "entity_instruction"])
def test_few_notes_behind_many_tasks(task: str, ward: str, tiny_bert: str, tiny_llama: str, tmp_path: Path) -> None:
    """From two corpora onto a third with types of its own: it learns at the rate that is set, and is ahead of a run from nothing."""
    clinic = corpus(tmp_path, "clinic", "Began", ("Dose", "Drug"))
    new = corpus(tmp_path, "new", "Given", ("Frequency", "Medication"))
    generates = task == "entity_instruction"
    names = ("base", f"task/{task}", *(["peft/lora"] if generates else []), "strategy/single")
    chain = [part for name in names for part in ("-c", str(CONFIGS / f"{name}.yaml"))]
    chain += [f"--model.init_args.backbone={tiny_llama if generates else tiny_bert}", "--model.init_args.learning_rate=5e-3"]
    chain += ["--trainer.precision=32-true", "--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--data.batch_budget=1024"]
    chain += ["--trainer.log_every_n_steps=1", "--test_after_fit=false", "--data.tasks.init_args.window=512"]
    if generates:
        chain += ["--model.init_args.max_new_tokens_ratio=0", "--model.init_args.max_new_tokens_base=8", "--data.dev_documents=1"]
    many, few, fresh = (tmp_path / name for name in ("many", "few", "fresh"))
    assert main(["fit", *chain, "-c", ward, "-c", clinic, f"--run_dir={many}", "--trainer.max_epochs=4"]) == 0
    shots = ["fit", *chain, "-c", new, "--trainer.max_epochs=1"]
    assert main([*shots, f"--run_dir={few}", f"--init_from={many}"]) == 0
    assert main([*shots, f"--run_dir={fresh}"]) == 0
    assert max(logged(few, "learning rate/")) == pytest.approx(max(logged(fresh, "learning rate/")))
    assert max(logged(few, "learning rate/")) > 1e-4
    begun = run_of(few)["init_from"]
    assert begun["fresh"] == (["head of new/entities"] if task == "entity_tagging" else [])
    losses = {folder.name: logged(folder, "train/loss") for folder in (few, fresh)}
    assert losses["few"][-1] < losses["fresh"][-1], losses
    one, two = (Checkpoint(folder / "checkpoints" / "last.ckpt").weights() for folder in (many, few))
    assert any(not torch.equal(value, two[name]) for name, value in one.items() if name in two), "it has learned"
