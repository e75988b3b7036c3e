"""Scores predicted documents against gold ones, for every kind of model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import TensorBoardLogger

from clinical_ie.callbacks.metrics import SCORED, TypeScore, monitored
from clinical_ie.callbacks.outputs import OutputCallback, Stage
from clinical_ie.data.datamodule import ExtractionDataModule
from clinical_ie.document import Document
from clinical_ie.errors import SettingError, did_you_mean
from clinical_ie.reports.confusion import confusion_figure
from clinical_ie.reports.results import Results
from clinical_ie.scoring.counts import Kind
from clinical_ie.scoring.rule_set import RuleSet
from clinical_ie.scoring.rules import rule_set
from clinical_ie.scoring.score import score
from clinical_ie.scoring.significance import check_samples
from clinical_ie.scoring.strict_one_to_one import StrictOneToOne


class Evaluation(OutputCallback):
    """Logs development scores after each validation and writes ``results.json`` after a test.

    ``dev/entities/strict_f1`` or ``dev/links/strict_f1``, whichever the task finds, is the mean over the corpora whose development
    documents hold any; ``dev/CORPUS/entities/...`` (or ``links``) holds precision, recall and F1, strict and lenient, over all types
    and for each.

    Args:
        run_dir: Where ``results.json`` goes; nothing is written without it.
        rules: Rule set of the test result, or corpus -> rule set (strict-one-to-one for those that it does not name); development
            scores are always strict-one-to-one.
        interval_samples: Bootstrap samples of the test result's confidence intervals, from 2 to a million; 0 for none.

    Raises:
        SettingError: There are no such rules, or so many samples.
    """

    def __init__(self, run_dir: str | None = None, rules: dict[str, str] | str = StrictOneToOne.name, interval_samples: int = 1000) -> None:
        super().__init__()
        check_samples(interval_samples, "evaluation.interval_samples")
        self.run_dir, self.interval_samples = run_dir, interval_samples
        self._rules = {name: rule_set(rules[name]) for name in rules} if isinstance(rules, dict) else {}
        self._others = rule_set(StrictOneToOne.name if isinstance(rules, dict) else rules)
        self.metrics: dict[str, TypeScore] = {}

    def rules(self, corpus: str) -> RuleSet:
        """The rule set of a corpus' test result."""
        return self._rules.get(corpus, self._others)

    def check(self, data: ExtractionDataModule) -> None:
        """Make sure that the rules count what the task finds in every corpus.

        Raises:
            SettingError: They would count nothing, so that a test could only end in zeros; or they are those of a corpus that is not there.
        """
        for name in sorted(set(self._rules) - set(data.corpora) - set(data.corpora_left_out)):
            near = did_you_mean(name, data.corpora)
            raise SettingError(f"evaluation.rules names {name!r}{near}; the corpora are {', '.join(sorted(data.corpora))}")
        for name, corpus in data.corpora.items():
            rules = self.rules(name)
            if reason := rules.unfit(corpus.schema, data.task.finds):
                remedy = f"give {StrictOneToOne.name}, or score the predictions under other rules with clinical-ie score"
                raise SettingError(f"evaluation.rules is {rules.name}, which counts nothing in corpus {name}: {reason}; {remedy}")

    def on_validation_batch_end(  # noqa: D102 (Lightning's hook)
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self.keep(outputs)

    def on_test_batch_end(  # noqa: D102 (Lightning's hook)
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self.keep(outputs)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: D102
        predicted = self.predicted(trainer, "dev")
        if not predicted:
            return
        data = cast("ExtractionDataModule", trainer.datamodule)  # type: ignore[attr-defined]
        values: dict[str, float] = {}
        scored = SCORED[data.task.finds]
        for corpus, documents in predicted.items():
            gold = data.documents["dev"][corpus]
            metric = self.metrics.setdefault(corpus, TypeScore(data.task.finds, data.schema_of(corpus))).to(pl_module.device)
            metric.reset()
            rules = rule_set("strict-one-to-one")
            mine = list(zip(gold, documents, strict=True))[trainer.global_rank :: trainer.world_size]
            metric.update(*(rules.count(one, other) for one, other in mine))
            values |= {f"dev/{corpus}/{scored}/{name}": value for name, value in metric.compute().items()}
            if data.task.finds == "entities":
                self._figure(trainer, corpus, gold, documents)
        averaged = [corpus for corpus in predicted if _has_some(data.documents["dev"][corpus], data.task.finds)] or list(predicted)
        for name in ("strict_f1", "strict_precision", "strict_recall", "lenient_f1"):
            values[f"dev/{scored}/{name}"] = sum(values[f"dev/{corpus}/{scored}/{name}"] for corpus in averaged) / len(averaged)
        shown = {monitored(data.task.finds)}
        tensors = {name: torch.tensor(value, device=pl_module.device) for name, value in values.items()}
        pl_module.log_dict({name: value for name, value in tensors.items() if name not in shown}, rank_zero_only=False)
        pl_module.log_dict({name: tensors[name] for name in shown}, prog_bar=True)
        if trainer.state.fn == "validate":
            self._write(trainer, "dev", predicted)

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: D102
        self._write(trainer, "test", self.predicted(trainer, "test"))

    def without_batches(self, trainer: pl.Trainer, stage: Stage) -> None:
        """Score documents without examples: all their gold annotations are false negatives."""
        if stage != "predict":
            self._write(trainer, stage, self.predicted(trainer, stage))

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: D102
        self._forget(trainer, "test")

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: D102
        if trainer.state.fn == "validate":
            self._forget(trainer, "dev")

    def _forget(self, trainer: pl.Trainer, stage: Stage) -> None:
        """Take the earlier scores of these corpora away, so that they are not taken for those of a test that failed."""
        if not trainer.is_global_zero or self.run_dir is None or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        data = cast("ExtractionDataModule", trainer.datamodule)  # type: ignore[attr-defined]
        path = Path(self.run_dir) / "results.json"
        results = Results.load(path)
        scored = results.splits.get(stage, {})
        left = {corpus: entry for corpus, entry in scored.items() if corpus not in data.corpora}
        if len(left) < len(scored):
            results.splits = {name: entry for name, entry in (results.splits | {stage: left}).items() if entry}
            results.write(path)

    def _figure(self, trainer: pl.Trainer, corpus: str, gold: Sequence[Document], predicted: list[Document]) -> None:
        logger = trainer.logger
        if trainer.is_global_zero and isinstance(logger, TensorBoardLogger):
            figure = confusion_figure(gold, predicted, title=f"{corpus}, epoch {trainer.current_epoch}")
            logger.experiment.add_figure(f"dev/{corpus}/confusion", figure, trainer.global_step)

    def _write(self, trainer: pl.Trainer, stage: Stage, predicted: dict[str, list[Document]]) -> None:
        data = cast("ExtractionDataModule", trainer.datamodule)  # type: ignore[attr-defined]
        if not trainer.is_global_zero or self.run_dir is None or not predicted:
            return
        path = Path(self.run_dir) / "results.json"
        results = Results.load(path)
        for corpus, documents in predicted.items():
            result = score(data.documents[stage][corpus], documents, self.rules(corpus))
            on_gold = data.mentions is None
            coverage = data.coverage[stage][corpus].to_dict(self.rules(corpus).name) if on_gold else None
            left_out = data.left_out[stage, corpus]
            results.add(
                stage,
                corpus,
                result,
                finds=data.task.finds,
                coverage=coverage,
                left_out=left_out,
                outcomes=self.outcomes[corpus],
                samples=self.interval_samples,
            )
        if data.corpora_left_out:
            results.run["corpora_left_out"] = data.corpora_left_out
        results.run["findings"] = dict(sorted(data.findings.counts().items()))
        results.write(path)


def _has_some(documents: Sequence[Document], kind: Kind) -> bool:
    """Whether there are gold annotations, without which a score means nothing."""
    return any(any(True for _ in document.links()) if kind == "relations" else document.entities for document in documents)
