"""What ways of tuning cost: trained share, size of the model in a checkpoint, seconds per step, peak memory.

Every figure is of one epoch of tagging UW social history with MiniLM through the command line; the ways take turns, and the median of
the rounds is shown. `encoders.py peft` tells the quality.

    python benchmarks/tuning_cost.py CORPORA_FOLDER
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[1]
WAYS = ("full", "lora", "dora", "ia3", "prefix_tuning", "prompt_tuning", "p_tuning", "prompt_tuning_unfrozen", "frozen")


def cost(way: str, root: Path, folder: Path) -> dict[str, Any]:
    """What ``results.json`` says of a run of one epoch."""
    names = ("base", "task/entity_tagging", "model/minilm", f"peft/{way}", "strategy/single", "data/uw_social_history")
    command = [sys.executable, "-m", "clinical_ie", "fit"]
    command += [part for name in names for part in ("-c", str(REPOSITORY / "configs" / f"{name}.yaml"))]
    command += [f"--data.corpora.init_args.root={root}", f"--run_dir={folder}", "--data.batch_budget=2048", "--trainer.max_epochs=1"]
    command += ["--test_after_fit=false", "--trainer.limit_val_batches=0", "--trainer.enable_progress_bar=false"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    found: dict[str, Any] = json.loads((folder / "results.json").read_text(encoding="utf-8"))["run"]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpora", type=Path)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    rows: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.rounds):
            for way in WAYS:
                rows[way].append(cost(way, options.corpora / "uw_social_history_mtsamples", Path(folder, f"{way}{number}")))
    print("| way | trained, % | model in the checkpoint, MB | s/step | of full | peak memory, GB |\n|---|---|---|---|---|---|")
    steps = {way: statistics.median(row["training_seconds"] / row["steps"] for row in found) for way, found in rows.items()}
    for way, found in rows.items():
        share = 100 * found[0]["trainable_parameters"] / found[0]["parameters"]
        size = found[0]["checkpoint_model_bytes"] / 1e6
        memory = statistics.median(row["peak_memory_bytes"] for row in found) / 1e9
        print(f"| {way} | {share:.2f} | {size:.1f} | {steps[way]:.2f} | {steps[way] / steps['full']:.2f} | {memory:.2f} |")


if __name__ == "__main__":
    main()
