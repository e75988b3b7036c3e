"""Writes predicted documents as files."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

import lightning.pytorch as pl

from clinical_ie.callbacks.outputs import OutputCallback, Stage, gathered
from clinical_ie.data.datamodule import ExtractionDataModule
from clinical_ie.data.streaming import Key
from clinical_ie.document import Document
from clinical_ie.errors import InputError, SettingError
from clinical_ie.reports.prediction_folder import EARLIER, PredictionFolder, PredictionPart, Written

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
        self._part: PredictionPart | None = None

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
        _on_first_rank(trainer, lambda: target.refuse_others(data.inputs["predict"]))

    def begin(self, trainer: pl.Trainer, stage: Stage) -> None:
        """Move an earlier answer out of the way; every rank writes its documents beside it."""
        if self.run_dir is None or stage == "dev":
            return
        target = self._folder(trainer, stage)
        _on_first_rank(trainer, target.set_aside)
        self._begun, self._part = target, target.part(trainer.global_rank)

    def take(self, trainer: pl.Trainer, stage: Stage, key: Key, predicted: Document) -> None:
        """Write a document."""
        if self._part is not None:
            self._part.add(*key, predicted)

    def end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: Stage, outcomes: Mapping[str, Counter[str]]) -> None:
        """Make an answer of what all ranks have written."""
        if self._begun is None or self._part is None:
            return
        parts = gathered(trainer, self._part.close())
        if trainer.is_global_zero:
            data = cast("ExtractionDataModule", trainer.datamodule)  # type: ignore[attr-defined]
            self.written = self._begun.finish(parts, data.documents[stage] if stage != "predict" else None, title=stage)
        self._begun = self._part = None

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Say that nothing was written, and where an earlier answer is."""
        if self._part is not None:
            self._part.close()
        if self._begun is not None and trainer.is_global_zero:
            self._begun.give_up()
            earlier = self._begun.folder / EARLIER
            kept = f"; what was there lies in {earlier}" if earlier.exists() else ""
            _LOG.info(f"stopped: nothing was written to {self._begun.folder}{kept}")
        self._begun = self._part = None

    def _folder(self, trainer: pl.Trainer, stage: Stage) -> PredictionFolder:
        data = cast("ExtractionDataModule", trainer.datamodule)  # type: ignore[attr-defined]
        own = self.output if stage == "predict" else None
        return PredictionFolder(own or Path(str(self.run_dir)) / "predictions" / stage, list(data.corpora))


def _on_first_rank(trainer: pl.Trainer, act: Callable[[], None]) -> None:
    """Act on the first rank, for which the others wait; what it refuses all refuse, or they would wait for ever.

    Raises:
        SettingError: It refused.
    """
    problem = None
    if trainer.is_global_zero:
        try:
            act()
        except InputError as error:
            problem = str(error)
    problem = trainer.strategy.broadcast(problem)
    if problem is not None:
        raise SettingError(problem)
