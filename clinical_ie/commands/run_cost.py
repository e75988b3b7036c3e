"""What a training run cost and on what it ran, for ``results.json``."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import lightning.pytorch as pl
import torch
import transformers

from clinical_ie.callbacks.mixture import Mixture
from clinical_ie.callbacks.run_record import RunRecord
from clinical_ie.callbacks.throughput import Throughput
from clinical_ie.commands.code_version import code_version
from clinical_ie.commands.run_directory import RunDirectory
from clinical_ie.models.sharded_weights import whole_shape
from clinical_ie.strategies.checkpoint import Checkpoint

if TYPE_CHECKING:
    from clinical_ie.data.datamodule import ExtractionDataModule
    from clinical_ie.modules.tuned_module import TunedModule


def run_cost(
    trainer: pl.Trainer, model: pl.LightningModule, throughput: Throughput, record: RunRecord, mixture: Mixture, run: RunDirectory
) -> dict[str, Any]:
    """Steps, seconds, sub-words, parameters, machine, versions and fingerprints of a run that has ended."""
    best, tuned = Checkpoint(run.best()), cast("TunedModule", model)
    data = cast("ExtractionDataModule", trainer.datamodule)  # type: ignore[attr-defined]
    return {
        "model": _base_name(tuned.backbone_name),
        "tuning": tuned.way_of_tuning,
        "held_out": sorted(data.split.held_out),
        "epochs": data.sampler.epoch + bool(data.sampler.done),  # begun; Lightning counts none where only a validation was left
        "steps": trainer.global_step,
        "resumed": record.resumed,
        "changes": record.changes,
        "seconds": round(record.seconds, 2),
        "training_subwords": throughput.all_ranks_real,
        "training_seconds": round(throughput.total_seconds, 3),
        "subwords_per_second": round(throughput.all_ranks_real / throughput.total_seconds, 1) if throughput.total_seconds else None,
        "parameters": sum(whole_shape(parameter).numel() for parameter in model.parameters()),
        "trainable_parameters": sum(whole_shape(parameter).numel() for parameter in model.parameters() if parameter.requires_grad),
        "checkpoint_model_bytes": best.model_bytes,
        "checkpoint_bytes": best.size,
        "peak_memory_bytes": _peak_memory(),
        "precision": str(trainer.precision),
        "devices": trainer.world_size,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores"
        + (f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""),
        "versions": versions(),
        "fingerprint": record.fingerprint,
        "init_from": record.init_from,
        "mixing": mixture.record(trainer),
        "data": record.data,
        "coverage": {part: {str(source): found.to_dict() for source, found in counted.items()} for part, counted in data.coverage.items()},
        "findings": dict(sorted(data.findings.counts().items())),
        "commit": _commit(),
    }


def _base_name(name: str) -> str:
    """A base as tables show it: its hub name, or the last part of a path, which says nothing of the machine."""
    return Path(name).name if Path(name).exists() else name


def versions() -> dict[str, str | None]:
    """What computes: this package by its commit and its source files, and the libraries whose numbers it uses."""
    return {
        "clinical_ie": version("clinical_ie"),
        "code": code_version(),
        "torch": str(torch.__version__),
        "lightning": version("lightning"),
        "transformers": transformers.__version__,
        "peft": version("peft"),
        "python": platform.python_version(),
    }


def _commit() -> str | None:
    """The commit of the code, where it is a checkout."""
    found = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return found.stdout.strip() or None


def _peak_memory() -> int:
    """Most bytes that this process has held: on the GPU where there is one, else resident."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
