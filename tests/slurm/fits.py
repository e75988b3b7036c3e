"""What jobs on the cluster run, and what they leave."""

from __future__ import annotations

import shlex
import sys
import time
from pathlib import Path

import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

TWO_NODES = ("--nodes=2", "--ntasks-per-node=1")


def fit_line(backbone: str, notes: str, run_dir: Path, *more: str, nodes: int = 2, strategy: str = "ddp") -> str:
    """A line of a job script: the tiny tagger on two nodes, three epochs of nine steps."""
    words = [sys.executable, "-m", "clinical_ie", "fit"]
    words += [part for name in ("task/entity_tagging", "data/demo", f"strategy/{strategy}") for part in ("-c", name)]
    words += [f"--data.corpora.init_args.root={notes}", f"--model.init_args.backbone={backbone}", f"--run_dir={run_dir}"]
    words += ["--data.batch_budget=512", "--data.tasks.init_args.window=96", "--data.tasks.init_args.overlap=16"]
    words += ["--model.init_args.learning_rate=5e-3", "--model.init_args.head_learning_rate=2e-2", "--trainer.precision=32-true"]
    words += ["--trainer.accelerator=cpu", f"--trainer.num_nodes={nodes}", "--trainer.devices=1", "--trainer.max_epochs=3"]
    words += ["--trainer.log_every_n_steps=1"]
    return "srun --kill-on-bad-exit=1 " + shlex.join([*words, *more])


def wait_for(log: Path, text: str, seconds: float = 240) -> None:
    """Until a job has printed something."""
    end = time.monotonic() + seconds
    while text not in (said := log.read_text(encoding="utf-8") if log.exists() else ""):
        assert time.monotonic() < end, f"no {text!r} in {said[-4000:]}"
        time.sleep(0.05)


def same_weights(one: Path, two: Path) -> bool:
    """Whether two runs ended in the same weights, to the bit, the best and the last."""
    for name in ("best.ckpt", "last.ckpt"):
        first, second = (torch.load(run / "checkpoints" / name, weights_only=True)["state_dict"] for run in (one, two))
        if first.keys() != second.keys() or not all(torch.equal(first[key], second[key]) for key in first):
            return False
    return True


def losses(run: Path) -> list[tuple[int, float]]:
    """Step and training loss as TensorBoard shows them: all parts of a run as one curve."""
    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars("train/loss")]
