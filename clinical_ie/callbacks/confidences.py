"""How far confidences are off: calibration of a model on its development notes, and what it came to on others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import TensorBoardLogger

from clinical_ie.callbacks.outputs import Stage, gathered
from clinical_ie.document import Document
from clinical_ie.modules.agreed_values import log_agreed
from clinical_ie.modules.tuned_module import TunedModule
from clinical_ie.reports.reliability import reliability_figure
from clinical_ie.scoring.calibration import Pair, Temperature, described, tempered, to_plain
from clinical_ie.scoring.judged import judged
from clinical_ie.tasks.task import SourceName

Errors = dict[SourceName, dict[str, dict[str, Any]]]
"""Corpus and task -> kind of annotation -> what `described` gives."""


class Confidences:
    """Collects confidences and what is right of a pass over annotated notes.

    While a model is trained each validation learns temperatures for it, which go into the checkpoints that follow: so the best
    one holds those of its own weights. They are learned on the notes by which the best one is chosen, so that on the
    development part the error after calibration is flattering; the test part's is not.
    """

    def __init__(self) -> None:
        self._pairs: dict[SourceName, dict[str, list[Pair]]] = {}

    def begin(self, sources: Iterable[SourceName]) -> None:
        """Forget the pass before."""
        self._pairs = {source: {} for source in sources}

    def take(self, source: SourceName, gold: Document, predicted: Document, *, given_mentions: bool) -> None:
        """Take in a document of this rank, with mentions that were predicted or `given_mentions`, which say nothing of this model."""
        for one in judged(gold, predicted):
            if one.confidence is not None and not (given_mentions and one.kind == "entities"):
                self._pairs[source].setdefault(one.kind, []).append((one.confidence, one.right))

    def end(self, trainer: pl.Trainer, module: pl.LightningModule, stage: Stage) -> Errors:
        """Calibrate the model, while it is trained; say how far its confidences are off, over all ranks."""
        tuned, pairs = cast("TunedModule", module), self._over_ranks(trainer)
        self._pairs = {}
        learning = stage == "dev" and trainer.state.fn == "fit"
        if learning:
            tuned.calibration = {
                str(source): to_plain({kind: Temperature.of(found) for kind, found in kinds.items()}) for source, kinds in pairs.items()
            }
        errors: Errors = {source: {} for source in pairs}
        for source, kinds in pairs.items():
            for kind, found in kinds.items():
                known = tuned.calibration.get(str(source), {}).get(kind, {})
                temperature = float(known.get("temperature", 1.0))
                found = [(tempered(sure, temperature), right) for sure, right in found] if learning else found
                reason = known.get("reason", "" if known else "the checkpoint has no temperature of it")
                errors[source][kind] = described(found, temperature) | ({"not_calibrated": reason} if reason else {})
        if stage == "dev":
            _log(trainer, module, errors)
        return errors

    def _over_ranks(self, trainer: pl.Trainer) -> dict[SourceName, dict[str, list[Pair]]]:
        """In an order that does not depend on the ranks."""
        found: dict[SourceName, dict[str, list[Pair]]] = {source: {} for source in self._pairs}
        for theirs in gathered(trainer, self._pairs):
            for source, kinds in theirs.items():
                for kind, pairs in kinds.items():
                    found[source].setdefault(kind, []).extend(pairs)
        return {source: {kind: sorted(kinds[kind]) for kind in sorted(kinds)} for source, kinds in found.items()}


def _log(trainer: pl.Trainer, module: pl.LightningModule, errors: Errors) -> None:
    for source, kinds in errors.items():
        values = {f"dev/{source}/calibration/{kind}_{name}": one[name] for kind, one in kinds.items() for name in ("ece_before", "ece")}
        log_agreed(module, {name: torch.tensor(value, device=module.device) for name, value in values.items()})
        if kinds and trainer.is_global_zero and isinstance(trainer.logger, TensorBoardLogger):
            figure = reliability_figure(kinds, title=f"{source}, epoch {trainer.current_epoch}")
            trainer.logger.experiment.add_figure(f"dev/{source}/reliability", figure, trainer.global_step)
