"""What ways of tuning cost: trained share, size of the model in a checkpoint, seconds per step, peak memory.

Every figure is of one epoch of tagging UW social history with MiniLM through the command line; the ways take turns, and the median of
the rounds is shown. `encoders.py peft` tells the quality. With ``--decoder`` it is SmolLM2 instructed on the same notes, one epoch and its
test, or a few steps of it without.

    python benchmarks/tuning_cost.py CORPORA_FOLDER [--decoder [--steps 8]]
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

WAYS = ("full", "lora", "dora", "ia3", "prefix_tuning", "prompt_tuning", "p_tuning", "prompt_tuning_unfrozen", "frozen")
DECODER_WAYS = ("full", "lora", "lora_study", "dora", "ia3", "prefix_tuning", "prompt_tuning", "p_tuning")


def cost(way: str, root: Path, folder: Path, *, decoder: bool, steps: int) -> dict[str, Any]:
    """What ``results.json`` says of a run of one epoch, or of a few steps, with the strict F1 of its test as ``f1`` if there was one."""
    if decoder:
        names = ("task/entity_instruction", "model/smollm2_135m", "experiment/uw_instruction", f"peft/{way}")
        more = ["--data.tasks.init_args.response=grouped"]
    else:
        names = ("task/entity_tagging", "model/minilm", f"peft/{way}", "data/uw_social_history")
        more = ["--data.batch_budget=2048"]
    command = [sys.executable, "-m", "clinical_ie", "fit"]
    command += [part for name in names for part in ("-c", name)]
    command += [f"--data.root={root}", f"--run_dir={folder}", "--trainer.max_epochs=1", *more]
    command += ["--trainer.limit_val_batches=0", "--trainer.enable_progress_bar=false", f"--trainer.max_steps={steps or -1}"]
    tests = decoder and not steps
    command += [] if tests else ["--test_after_fit=false"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    found: dict[str, Any] = results["run"]
    if tests:
        ((entry,),) = (tasks.values() for tasks in results["splits"]["test"].values())
        found["f1"] = entry["entities"]["strict"]["micro"]["f1"]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpora", type=Path)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--decoder", action="store_true")
    parser.add_argument("--steps", type=int, default=0, help="0 for one epoch")
    options = parser.parse_args()
    ways = DECODER_WAYS if options.decoder else WAYS
    rows: dict[str, list[dict[str, Any]]] = {way: [] for way in ways}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.rounds):
            for way in ways:
                root, run = options.corpora / "uw_social_history_mtsamples", Path(folder, f"{way}{number}")
                rows[way].append(cost(way, root, run, decoder=options.decoder, steps=options.steps))
    print("| way | strict F1 | trained, % | model in the checkpoint, MB | s/step | of full | peak memory, GB |\n" + "|---" * 7 + "|")
    steps = {way: statistics.median(row["training_seconds"] / row["steps"] for row in found) for way, found in rows.items()}
    for way, found in rows.items():
        share = 100 * found[0]["trainable_parameters"] / found[0]["parameters"]
        size = found[0]["checkpoint_model_bytes"] / 1e6
        memory = statistics.median(row["peak_memory_bytes"] for row in found) / 1e9
        quality = f"{statistics.mean(row['f1'] for row in found):.3f}" if "f1" in found[0] else ""
        print(f"| {way} | {quality} | {share:.2f} | {size:.1f} | {steps[way]:.2f} | {steps[way] / steps['full']:.2f} | {memory:.2f} |")


if __name__ == "__main__":
    main()
