"""Two processes score what one process scores."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml


@pytest.mark.distributed
@pytest.mark.timeout(240)
def test_two_ranks_score_what_one_scores(finished_run: Path, tmp_path: Path) -> None:
    found = {}
    for devices in (1, 2):
        run = tmp_path / f"run{devices}"
        shutil.copytree(finished_run / "checkpoints", run / "checkpoints")
        command = [sys.executable, "-m", "clinical_ie", "validate", "-c", str(finished_run / "config.yaml"), f"--run_dir={run}"]
        command += ["--data.eval_batch_budget=200", "--trainer.accelerator=cpu", f"--trainer.devices={devices}"]
        command += [] if devices == 1 else ["--trainer.strategy=ddp"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == 0, done.stderr[-4000:]
        found[devices] = json.loads((run / "results.json").read_text(encoding="utf-8"))["splits"]["dev"]["demo"]
    assert found[1]["documents"] == found[2]["documents"] == 6
    assert found[1] == found[2]


@pytest.mark.distributed
@pytest.mark.timeout(240)
def test_two_ranks_train(finished_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = [sys.executable, "-m", "clinical_ie", "fit", "-c", str(finished_run / "config.yaml"), f"--run_dir={run}"]
    command += ["--trainer.accelerator=cpu", "--trainer.devices=2", "--trainer.strategy=ddp", "--trainer.max_epochs=2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    results = json.loads((run / "results.json").read_text(encoding="utf-8"))
    assert results["run"]["devices"] == 2
    assert results["splits"]["test"]["demo"]["documents"] == 6


@pytest.mark.distributed
@pytest.mark.timeout(240)
def test_two_ranks_train_on_two_corpora(finished_run: Path, small_corpus: str, tmp_path: Path) -> None:
    """Batches of one rank may hold one corpus only; the heads of the other must not stop the run."""
    from clinical_ie.formats import brat, jsonl

    brat.write(jsonl.read(Path(small_corpus) / "train.jsonl"), tmp_path / "notes")
    other = tmp_path / "other.yaml"
    corpus = {"root": str(tmp_path / "notes"), "corpus_name": "other", "schema": {"entities": ["Drug"]}, "entity_types": ["Drug"]}
    entry = {"class_path": "clinical_ie.corpora.BratFolder", "init_args": corpus}
    other.write_text(yaml.safe_dump({"data": {"corpora+": [entry], "batch_budget": 128}}), encoding="utf-8")
    run = tmp_path / "run"
    command = [sys.executable, "-m", "clinical_ie", "fit", "-c", str(finished_run / "config.yaml"), "-c", str(other), f"--run_dir={run}"]
    command += ["--trainer.accelerator=cpu", "--trainer.devices=2", "--trainer.strategy=ddp", "--trainer.max_epochs=1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    results = json.loads((run / "results.json").read_text(encoding="utf-8"))
    assert set(results["splits"]["test"]) == {"demo", "other"}
