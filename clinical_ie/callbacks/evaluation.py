"""Scores predicted documents against gold ones, for every kind of model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import TensorBoardLogger

from clinical_ie.callbacks.metrics import SCORED, TypeScore, monitored
from clinical_ie.callbacks.outputs import OutputCallback, Stage, gathered
from clinical_ie.data.datamodule import ExtractionDataModule
from clinical_ie.data.streaming import Key
from clinical_ie.document import Document
from clinical_ie.errors import SettingError, did_you_mean
from clinical_ie.reports.confusion import confusion_counts, confusion_figure
from clinical_ie.reports.results import Results
from clinical_ie.scoring.intervals import check_samples
from clinical_ie.scoring.rule_set import RuleSet
from clinical_ie.scoring.rules import rule_set
from clinical_ie.scoring.score import Compared, compare, summed
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
        self._compared: dict[str, list[tuple[int, Compared]]] = {}
        self._confused: dict[str, Counter[tuple[str, str]]] = {}

    def rules(self, corpus: str) -> RuleSet:
        """The rule set of a corpus' test result."""
        return self._rules.get(corpus, self._others)

    def check(self, data: ExtractionDataModule) -> None:
        """Make sure that the rules count what the task finds in every corpus.

        Raises:
            SettingError: They would count nothing, so that a test could only end in zeros; or they are those of a corpus that is not there.
        """
        for name in sorted(set(self._rules) - set(data.corpora) - set(data.corpora_left_out)):
            known = f"the corpora are {', '.join(sorted(data.corpora))}{did_you_mean(name, data.corpora)}"
            raise SettingError(f"evaluation.rules names {name!r}; {known}; name only those, or give one rule set (--evaluation.rules=NAME)")
        for name, corpus in data.corpora.items():
            rules = self.rules(name)
            if reason := rules.unfit(corpus.schema, data.task.finds):
                remedy = f"give {StrictOneToOne.name}, or score the predictions under other rules with clinical-ie score"
                raise SettingError(f"evaluation.rules is {rules.name}, which counts nothing in corpus {name}: {reason}; {remedy}")

    def begin(self, trainer: pl.Trainer, stage: Stage) -> None:
        """Take earlier scores away, so that they are not taken for those of a test that failed."""
        data = cast("ExtractionDataModule", trainer.datamodule)  # type: ignore[attr-defined]
        self._compared = {corpus: [] for corpus in data.documents.get(stage, {})}
        self._confused = {corpus: Counter() for corpus in self._compared}
        if stage == "dev":
            for corpus in self._compared:
                metric = self.metrics.setdefault(corpus, TypeScore(data.task.finds, data.schema_of(corpus)))
                metric.to(trainer.lightning_module.device).reset()
                metric.update()  # a rank may have no documents
        if self._is_written(trainer, stage):
            self._forget(trainer, stage)

    def take(self, trainer: pl.Trainer, stage: Stage, key: Key, predicted: Document) -> None:
        """Count what is right in a document."""
        if stage == "predict":
            return
        data = cast("ExtractionDataModule", trainer.datamodule)  # type: ignore[attr-defined]
        corpus, place = key
        gold = data.documents[stage][corpus][place]
        if stage == "dev":
            self.metrics[corpus].update(rule_set("strict-one-to-one").count(gold, predicted))
            if data.task.finds == "entities" and isinstance(trainer.logger, TensorBoardLogger):
                self._confused[corpus].update(confusion_counts([gold], [predicted]))
        if self._is_written(trainer, stage):
            self._compared[corpus].append((place, compare(gold, predicted, self.rules(corpus))))

    def end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: Stage, outcomes: Mapping[str, Counter[str]]) -> None:
        """Log and write the scores over all ranks."""
        if stage == "dev":
            self._log(trainer, pl_module)
        if self._is_written(trainer, stage):
            self._write(trainer, stage, outcomes)
        self._compared, self._confused = {}, {}

    def _is_written(self, trainer: pl.Trainer, stage: Stage) -> bool:
        return self.run_dir is not None and (stage == "test" or (stage == "dev" and trainer.state.fn == "validate"))

    def _log(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        data = cast("ExtractionDataModule", trainer.datamodule)  # type: ignore[attr-defined]
        values: dict[str, float] = {}
        scored = SCORED[data.task.finds]
        confused = gathered(trainer, self._confused)
        for corpus in self._compared:
            values |= {f"dev/{corpus}/{scored}/{name}": value for name, value in self.metrics[corpus].compute().items()}
            if data.task.finds == "entities":
                self._figure(trainer, corpus, sum((theirs[corpus] for theirs in confused), Counter()))
        # without gold annotations a score means nothing
        averaged = [corpus for corpus in self._compared if data.coverage["dev"][corpus].gold] or list(self._compared)
        for name in ("strict_f1", "strict_precision", "strict_recall", "lenient_f1"):
            values[f"dev/{scored}/{name}"] = sum(values[f"dev/{corpus}/{scored}/{name}"] for corpus in averaged) / len(averaged)
        shown = {monitored(data.task.finds)}
        tensors = {name: torch.tensor(value, device=pl_module.device) for name, value in values.items()}
        pl_module.log_dict({name: value for name, value in tensors.items() if name not in shown}, rank_zero_only=False)
        pl_module.log_dict({name: tensors[name] for name in shown}, prog_bar=True)

    def _forget(self, trainer: pl.Trainer, stage: Stage) -> None:
        """Take the earlier scores of these corpora away."""
        if not trainer.is_global_zero:
            return
        data = cast("ExtractionDataModule", trainer.datamodule)  # type: ignore[attr-defined]
        path = Path(str(self.run_dir)) / "results.json"
        results = Results.load(path)
        scored = results.splits.get(stage, {})
        left = {corpus: entry for corpus, entry in scored.items() if corpus not in data.corpora}
        if len(left) < len(scored):
            results.splits = {name: entry for name, entry in (results.splits | {stage: left}).items() if entry}
            results.write(path)

    def _figure(self, trainer: pl.Trainer, corpus: str, confused: Counter[tuple[str, str]]) -> None:
        logger = trainer.logger
        if trainer.is_global_zero and isinstance(logger, TensorBoardLogger):
            figure = confusion_figure(confused, title=f"{corpus}, epoch {trainer.current_epoch}")
            logger.experiment.add_figure(f"dev/{corpus}/confusion", figure, trainer.global_step)

    def _write(self, trainer: pl.Trainer, stage: Stage, outcomes: Mapping[str, Counter[str]]) -> None:
        data = cast("ExtractionDataModule", trainer.datamodule)  # type: ignore[attr-defined]
        all_compared = gathered(trainer, self._compared)
        if not trainer.is_global_zero:
            return
        path = Path(str(self.run_dir)) / "results.json"
        results = Results.load(path)
        for corpus in self._compared:
            compared = sorted((pair for theirs in all_compared for pair in theirs[corpus]), key=lambda pair: pair[0])
            result = summed([one for _, one in compared], self.rules(corpus))
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
                outcomes=outcomes[corpus],
                samples=self.interval_samples,
            )
        if data.corpora_left_out:
            results.run["corpora_left_out"] = data.corpora_left_out
        results.run["findings"] = dict(sorted(data.findings.counts().items()))
        results.write(path)
