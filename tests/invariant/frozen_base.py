"""Adapters on a frozen base that is held in bfloat16 beside them, trained under each strategy in one pair of processes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch

from clinical_ie.models.base_dtype import BaseDtype
from tests.invariant.cells import Cell, Places, train

STRATEGIES = ("ddp", "zero1", "zero2", "zero3")
HELD: tuple[BaseDtype, ...] = ("float32", "bfloat16")
KINDS = ("tagger", "generator")


class _Held(pl.Callback):
    """Bytes of the weights that this rank holds, or of its shards, in training."""

    def __init__(self) -> None:
        self.frozen = 0
        self.trained: set[str] = set()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        for parameter in pl_module.parameters():
            shard: torch.Tensor = getattr(parameter, "ds_tensor", parameter)
            if parameter.requires_grad:
                self.trained.add(str(shard.dtype))
            else:
                self.frozen += shard.nbytes


def record(output: str, places: Places) -> None:
    """Strategy, model and type of the base -> losses, bytes of frozen weights, types of trained ones."""
    found: dict[str, Any] = {}
    for strategy in STRATEGIES:
        for kind in KINDS:
            for dtype in HELD:
                held = _Held()
                losses = train(Cell(kind, "lora", 1), strategy, places, held, precision="bf16-mixed", base_dtype=dtype).losses
                found[f"{strategy} {kind} {dtype}"] = [losses, held.frozen, sorted(held.trained)]
    if torch.distributed.get_rank() == 0:
        Path(output).write_text(json.dumps(found), encoding="utf-8")
