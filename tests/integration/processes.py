"""The command line in processes of its own, one rank or several."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any


def command(*arguments: str, ranks: int) -> None:
    """Runs ``clinical-ie`` with so many ranks; what it said on failing is the assertion's message."""
    line = [sys.executable, "-m", "clinical_ie", *arguments, "--trainer.accelerator=cpu", f"--trainer.devices={ranks}"]
    line += ["--trainer.strategy=ddp"] * (ranks > 1)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(line, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-4000:]


def results(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "results.json").read_text(encoding="utf-8"))
    return found


def scored_by_ranks(subcommand: str, split: str, run: Path, folder: Path, *more: str) -> list[dict[str, Any]]:
    """What one rank and what two ranks find with the weights of a finished run of the demo corpus."""
    found = []
    for ranks in (1, 2):
        own = folder / f"run{ranks}"
        shutil.copytree(run / "checkpoints", own / "checkpoints")
        command(subcommand, "-c", str(run / "config.yaml"), f"--run_dir={own}", *more, ranks=ranks)
        found.append(results(own)["splits"][split]["demo"])
    return found
