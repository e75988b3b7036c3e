"""Predicted documents as files: BRAT folders for people, JSON lines for programs."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, cast

import lightning.pytorch as pl

from clinical_ie.callbacks.outputs import OutputCallback, Stage
from clinical_ie.data.datamodule import ExtractionDataModule
from clinical_ie.formats import brat, jsonl
from clinical_ie.reports.annotated_html import write_page


class PredictionWriter(OutputCallback):
    """Writes ``predictions/SPLIT/CORPUS/*.{txt,ann}``, ``CORPUS.jsonl`` and the page ``CORPUS.html`` after a test or predict run.

    Args:
        run_dir: The run's folder; nothing is written without it.
    """

    def __init__(self, run_dir: str | None = None) -> None:
        super().__init__()
        self.run_dir = run_dir

    def on_test_batch_end(  # noqa: D102 (Lightning's hook)
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self.keep(outputs)

    def on_predict_batch_end(  # noqa: D102 (Lightning's hook)
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self.keep(outputs)

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: D102
        self._write(trainer, "test")

    def on_predict_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: D102
        self._write(trainer, "predict")

    def _write(self, trainer: pl.Trainer, stage: Stage) -> None:
        predicted = self.predicted(trainer, stage)
        if not trainer.is_global_zero or self.run_dir is None:
            return
        data = cast("ExtractionDataModule", trainer.datamodule)  # type: ignore[attr-defined]
        folder = Path(self.run_dir) / "predictions" / stage
        for corpus, documents in predicted.items():
            partial = folder / f".{corpus}.partial"
            shutil.rmtree(partial, ignore_errors=True)
            brat.write(documents, partial)
            shutil.rmtree(folder / corpus, ignore_errors=True)  # notes of an earlier prediction do not stay among these
            partial.rename(folder / corpus)
            jsonl.write(documents, folder / f"{corpus}.jsonl")
            gold = data.documents[stage][corpus] if stage != "predict" else None
            write_page(folder / f"{corpus}.html", f"{corpus}, {stage}", documents, gold)
