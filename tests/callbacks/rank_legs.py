"""Part of a run on some processes, with a checkpoint at every step and a list of what each process was taught."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from clinical_ie.callbacks.mixture import Mixture
from clinical_ie.callbacks.random_state import RandomState
from clinical_ie.callbacks.run_record import RunRecord
from clinical_ie.corpora import Demo
from clinical_ie.data.datamodule import ExtractionDataModule
from clinical_ie.modules import EncoderTagger
from clinical_ie.tasks import EntityTagging


class Taught(pl.Callback):
    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int) -> None:
        names = batch["example_ids"] if batch["batch_targets"] else []
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        self.rows.append({"epoch": trainer.current_epoch, "step": trainer.global_step, "names": names, "rate": rate})


def train(folder: str, corpus: str, backbone: str, ranks: int, checkpoint: str | None) -> None:
    """Two epochs, or what is left of them; two batches make a step."""
    warnings.filterwarnings("ignore", message="The 'train_dataloader' does not have many workers|Found .* module.s. in eval mode")
    warnings.filterwarnings("ignore", message="You're resuming from a checkpoint that ended before|The dirpath has changed")
    pl.seed_everything(0, verbose=False)
    data = ExtractionDataModule([Demo(corpus)], [EntityTagging(48, 8)], backbone, batch_budget=200)
    taught, mixture, path = Taught(), Mixture(), Path(folder)
    steps = ModelCheckpoint(path / "steps", "{step}", every_n_train_steps=1, save_top_k=-1)
    trainer = pl.Trainer(
        accelerator="cpu", devices=ranks, strategy="ddp" if ranks > 1 else "auto", max_epochs=2, accumulate_grad_batches=2, logger=False,
        enable_progress_bar=False, enable_model_summary=False, use_distributed_sampler=False, limit_val_batches=0, default_root_dir=folder,
        callbacks=[RunRecord({}, {}, []), RandomState(), mixture, taught, steps],
    )  # fmt: skip
    trainer.fit(EncoderTagger(backbone, data.schemas, warmup_share=0.0), data, ckpt_path=checkpoint, weights_only=True)
    (path / f"mixing{trainer.global_rank}.json").write_text(json.dumps(mixture.record(trainer)), encoding="utf-8")
    (path / f"taught{trainer.global_rank}.json").write_text(json.dumps(taught.rows), encoding="utf-8")
    torch.save(trainer.lightning_module.state_dict(), path / f"weights{trainer.global_rank}.pt")
