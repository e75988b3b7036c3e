"""Writes predicted documents as files."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, cast

import lightning.pytorch as pl

from clinical_ie.callbacks.outputs import OutputCallback, Stage
from clinical_ie.data.datamodule import ExtractionDataModule
from clinical_ie.errors import InputError, SettingError
from clinical_ie.reports.prediction_folder import EARLIER, PredictionFolder, Written

_LOG = logging.getLogger(__name__)


class PredictionWriter(OutputCallback):
    """Writes ``predictions/SPLIT/CORPUS/*.{txt,ann}``, ``CORPUS.jsonl`` and the page ``CORPUS.html`` after a test or predict run.

    Args:
        run_dir: The run's folder; nothing is written without it.
        output: The folder of what ``predict`` writes; ``predictions/predict`` of the run when None.
    """

    def __init__(self, run_dir: str | None = None, output: str | None = None) -> None:
        super().__init__()
        self.run_dir, self.output = run_dir, output
        self.written: list[Written] = []
        self._begun: PredictionFolder | None = None

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Make sure, before a model begins, that no annotations of other texts would be deleted.

        Raises:
            SettingError: They would, or the folder lies among the texts.
        """
        if self.run_dir is None:
            return
        data = cast("ExtractionDataModule", trainer.datamodule)  # type: ignore[attr-defined]
        target = self._folder(trainer, "predict" if stage == "predict" else "test")
        if stage != "predict":
            return
        if data.texts is not None and target.folder.resolve().is_relative_to(Path(data.texts).resolve()):
            raise SettingError(f"{target.folder} lies in {data.texts}, among the notes that are read; give another folder with --output")
        problem = None
        if trainer.is_global_zero:
            try:
                target.refuse_others(data.inputs["predict"])
            except InputError as error:
                problem = str(error)
        problem = trainer.strategy.broadcast(problem)  # the others would wait for the first rank for ever
        if problem is not None:
            raise SettingError(problem)

    def on_test_batch_end(  # noqa: D102 (Lightning's hook)
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self.keep(outputs)

    def on_predict_batch_end(  # noqa: D102 (Lightning's hook)
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self.keep(outputs)

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: D102
        self._begin(trainer, "test")

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: D102
        self._begin(trainer, "predict")

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: D102
        self._write(trainer, "test")

    def on_predict_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: D102
        self._write(trainer, "predict")

    def without_batches(self, trainer: pl.Trainer, stage: Stage) -> None:
        """Write documents without examples, unannotated."""
        if stage != "dev":
            self._write(trainer, stage)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Say that nothing was written, and where an earlier answer is."""
        if self._begun is not None:
            earlier = self._begun.folder / EARLIER
            kept = f"; what was there lies in {earlier}" if earlier.exists() else ""
            _LOG.info(f"stopped: nothing was written to {self._begun.folder}{kept}")

    def _folder(self, trainer: pl.Trainer, stage: Stage) -> PredictionFolder:
        data = cast("ExtractionDataModule", trainer.datamodule)  # type: ignore[attr-defined]
        own = self.output if stage == "predict" else None
        return PredictionFolder(own or Path(str(self.run_dir)) / "predictions" / stage, list(data.corpora))

    def _begin(self, trainer: pl.Trainer, stage: Stage) -> None:
        if trainer.is_global_zero and self.run_dir is not None and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            self._begun = self._folder(trainer, stage)
            self._begun.set_aside()

    def _write(self, trainer: pl.Trainer, stage: Stage) -> None:
        predicted = self.predicted(trainer, stage)
        if not trainer.is_global_zero or self.run_dir is None or not predicted:
            return
        data = cast("ExtractionDataModule", trainer.datamodule)  # type: ignore[attr-defined]
        gold = data.documents[stage] if stage != "predict" else None
        self.written = self._folder(trainer, stage).write(predicted, gold, title=stage)
        self._begun = None
