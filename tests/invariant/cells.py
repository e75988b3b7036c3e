"""Cells of the matrix of strategies: a model x a way of tuning x accumulation, trained for some optimizer steps, with its losses.

Two ranks that accumulate N batches and one process that accumulates 2 N take the same batches of the plan into a step, and a loss is a mean
over all targets of its step. So the losses are those of one process, whatever the strategy shares out. Dropout is off, for ranks draw
masks of their own. Two corpora are mixed, and a batch may hold one of them only, so that ranks differ in the heads that they need; an
epoch does not end with a whole step.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers.logger import DummyLogger
from peft import LoraConfig, PeftConfig, PrefixTuningConfig, PromptTuningConfig

from clinical_ie.errors import ClinicalIEError
from clinical_ie.strategies import sharding, zero  # noqa: F401 (register their names)
from tests.modules.step_gradients import KINDS, made

RANKS = 2
STEPS = 6
TRAJECTORIES = Path(__file__).with_name("trajectories.json")
"""Losses of one process by cell: ``python -m tests.invariant.trajectories`` writes them."""

_TASK: Any = "FEATURE_EXTRACTION"
TUNINGS: dict[str, PeftConfig | None] = {
    "full": None,
    "lora": LoraConfig(task_type=_TASK, r=2, target_modules="all-linear"),
    "prefix": PrefixTuningConfig(task_type=_TASK, num_virtual_tokens=4),
    "prompt": PromptTuningConfig(task_type=_TASK, num_virtual_tokens=4),
}
_CLIPS = {
    "tagger": (2.13, 1.41, 1.41, 1.38),
    "relations": (0.8, 1.0, 1.0, 1.1),
    "reader": (1.1, 0.5, 0.5, 0.5),
    "generator": (5, 2.7, 0.043, 0.04),
}
CLIPS = {(kind, tuning): clip for kind in KINDS for tuning, clip in zip(TUNINGS, _CLIPS[kind], strict=True)}
"""Norms to which gradients are clipped. Adam makes the same steps of gradients that are all twice as large, which happens where batches or
ranks are counted wrongly; it does not where some steps are clipped and others are not."""


class Cell(NamedTuple):
    """What is trained, and how many batches each of two ranks accumulates."""

    kind: str
    tuning: str
    accumulated: int

    def __str__(self) -> str:
        return f"{self.kind}, {self.tuning}, {self.accumulated}"


CELLS = [Cell(kind, tuning, accumulated) for kind in KINDS for tuning in TUNINGS for accumulated in (1, 2)]


class Places(NamedTuple):
    """Folders that all processes read."""

    notes: str
    encoder: str
    decoder: str


class Trajectory(NamedTuple):
    """The losses of a cell's steps as a user sees them, and, of one process, the norms of their gradients."""

    losses: list[float]
    norms: list[float]


class _Watch(pl.Callback):
    def __init__(self) -> None:
        self.norms: list[float] = []

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Any) -> None:
        gradients = [parameter.grad for parameter in pl_module.parameters() if parameter.grad is not None]
        self.norms.append(round(float(torch.nn.utils.get_total_norm(gradients)), 4))


class _Logged(DummyLogger):
    def __init__(self) -> None:
        super().__init__()
        self.losses: list[float] = []

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        if "train/loss" in metrics:
            self.losses.append(round(metrics["train/loss"], 6))


def train(
    cell: Cell, strategy: str, places: Places, *more: pl.Callback, precision: Any = "32-true", base_dtype: Any = "auto"
) -> Trajectory:
    """A cell's steps, on one process where the strategy is ``auto`` and on two ranks elsewhere; no losses on the second rank.

    Optimizer, layer-wise rates, warm-up and decay, and gradient clipping are on.
    """
    warnings.filterwarnings("ignore", message="The '.*dataloader' does not have many workers|Found .* module.s. in eval mode")
    pl.seed_everything(0, verbose=False)
    ranks = 1 if strategy == "auto" else RANKS
    data, module, backbone = made(cell.kind, *places)
    rates = {"learning_rate": 1e-3, "head_learning_rate": 5e-3, "adapter_learning_rate": 1e-2, "layer_decay": 0.9}
    model = module(
        backbone, data.schemas, peft=TUNINGS[cell.tuning], dropout=0.0, backbone_dropout=0.0, warmup_share=0.3, base_dtype=base_dtype,
        **rates,  # type: ignore[arg-type]
    )  # fmt: skip
    logged, watch = _Logged(), _Watch()
    trainer = pl.Trainer(
        accelerator="cpu", devices=ranks, strategy=strategy, max_steps=STEPS, log_every_n_steps=1, logger=logged,
        gradient_clip_val=CLIPS[cell.kind, cell.tuning], accumulate_grad_batches=cell.accumulated * RANKS // ranks,
        enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False, use_distributed_sampler=False,
        limit_val_batches=0, callbacks=[*more, *([watch] if ranks == 1 else [])], precision=precision,
    )  # fmt: skip
    trainer.fit(model, data)
    assert trainer.global_step == STEPS
    return Trajectory(logged.losses, watch.norms)


def record(strategy: str, output: str, cells: list[Cell], places: Places) -> None:
    """Train all cells in this process, one after another; the first rank writes cell -> losses, or what it was refused with."""
    found: dict[str, Any] = {}
    for cell in cells:
        try:
            found[str(cell)] = train(cell, strategy, places).losses
        except ClinicalIEError as error:
            found[str(cell)] = str(error)
    if not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0:
        Path(output).write_text(json.dumps(found), encoding="utf-8")
