"""Writes predicted documents as files."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import cast

import lightning.pytorch as pl

from clinical_ie.callbacks.outputs import OutputCallback, Stage, gathered
from clinical_ie.data.datamodule import ExtractionDataModule
from clinical_ie.data.streaming import Key
from clinical_ie.document import Document
from clinical_ie.errors import InputError, SettingError
from clinical_ie.reports.prediction_folder import EARLIER, PredictionFolder, PredictionPart, Written, folder_of
from clinical_ie.tasks.task import Example, SourceName

_LOG = logging.getLogger(__name__)


class PredictionWriter(OutputCallback):
    """Writes ``predictions/SPLIT/CORPUS/*.{txt,ann}``, ``CORPUS.jsonl`` and the page ``CORPUS.html`` after a test or predict run.

    Gold and which of its strings training has seen lie beside them after a test (``CORPUS.gold.jsonl``, ``CORPUS.seen.json``). Those of a
    run of several tasks lie in ``predictions/SPLIT/TASK``.

    Args:
        run_dir: The run's folder; nothing is written without it.
        output: The folder of what ``predict`` writes; ``predictions/predict`` of the run when None.
    """

    def __init__(self, run_dir: str | None = None, output: str | None = None) -> None:
        super().__init__()
        self.run_dir, self.output = run_dir, output
        self.written: dict[str, list[Written]] = {}
        """Task -> what was written of each corpus."""
        self._begun: dict[str, PredictionFolder] = {}
        self._parts: dict[str, PredictionPart] = {}

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Make sure, before a model begins, that no annotations of other texts would be deleted.

        Raises:
            SettingError: They would, or the folder lies among the texts.
        """
        if self.run_dir is None:
            return
        data = cast("ExtractionDataModule", trainer.datamodule)  # type: ignore[attr-defined]
        targets = self._folders(trainer, "predict" if stage == "predict" else "test")
        if stage != "predict":
            return
        for target in targets.values():
            if data.texts is not None and target.folder.resolve().is_relative_to(Path(data.texts).resolve()):
                raise SettingError(
                    f"{target.folder} lies in {data.texts}, among the notes that are read; give another folder with --output"
                )
        _on_first_rank(trainer, targets, lambda target: target.refuse_others(data.documents["predict"]))

    def begin(self, trainer: pl.Trainer, stage: Stage) -> None:
        """Move an earlier answer out of the way; every rank writes its documents beside it."""
        if self.run_dir is None or stage == "dev":
            return
        targets = self._folders(trainer, stage)
        _on_first_rank(trainer, targets, PredictionFolder.set_aside)
        self._begun = targets
        self._parts = {task: target.part(trainer.global_rank) for task, target in targets.items()}

    def take(self, trainer: pl.Trainer, stage: Stage, key: Key, predicted: Document, examples: Sequence[Example]) -> None:
        """Write a document."""
        if self._parts:
            self._parts[key.task].add(key.corpus, key.place, predicted)

    def end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: Stage, outcomes: Mapping[SourceName, Counter[str]]) -> None:
        """Make an answer of what all ranks have written."""
        if not self._parts:
            return
        parts = gathered(trainer, {task: part.close() for task, part in self._parts.items()})
        if trainer.is_global_zero:
            data = cast("ExtractionDataModule", trainer.datamodule)  # type: ignore[attr-defined]
            gold = data.documents[stage] if stage != "predict" else None
            trained = data.seen_strings.found if gold is not None else None
            for task, target in self._begun.items():
                self.written[task] = target.finish([part[task] for part in parts], gold, title=stage, trained=trained)
        self._begun, self._parts = {}, {}

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Say that nothing was written, and where an earlier answer is."""
        for part in self._parts.values():
            part.close()
        for target in self._begun.values() if trainer.is_global_zero else ():
            target.give_up()
            earlier = target.folder / EARLIER
            kept = f"; what was there lies in {earlier}" if earlier.exists() else ""
            _LOG.info(f"stopped: nothing was written to {target.folder}{kept}")
        self._begun, self._parts = {}, {}

    def _folders(self, trainer: pl.Trainer, stage: Stage) -> dict[str, PredictionFolder]:
        """Task -> where its predictions go, of those that documents of a stage are asked by."""
        data = cast("ExtractionDataModule", trainer.datamodule)  # type: ignore[attr-defined]
        whole = Path(self.output) if stage == "predict" and self.output else Path(str(self.run_dir)) / "predictions" / stage
        corpora: dict[str, list[str]] = {}
        for corpus, task in data.sources_of(stage):
            corpora.setdefault(task, []).append(corpus)
        return {task: PredictionFolder(folder_of(whole, task, data.tasks), names) for task, names in corpora.items()}


def _on_first_rank(trainer: pl.Trainer, targets: Mapping[str, PredictionFolder], act: Callable[[PredictionFolder], None]) -> None:
    """Act on each folder on the first rank, for which the others wait; what it refuses all refuse, or they would wait for ever.

    Raises:
        SettingError: It refused.
    """
    problem = None
    if trainer.is_global_zero:
        try:
            for target in targets.values():
                act(target)
        except InputError as error:
            problem = str(error)
    problem = trainer.strategy.broadcast(problem)
    if problem is not None:
        raise SettingError(problem)
