"""Two processes score what one process scores."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


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
        assert done.returncode == 0, done.stderr[-2000:]
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
    assert done.returncode == 0, done.stderr[-2000:]
    results = json.loads((run / "results.json").read_text(encoding="utf-8"))
    assert results["run"]["devices"] == 2
    assert results["splits"]["test"]["demo"]["documents"] == 6
