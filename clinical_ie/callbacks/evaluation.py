"""Scores predicted documents against gold ones, for every kind of model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import cast

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.loggers import TensorBoardLogger

from clinical_ie.callbacks.confidences import Confidences, Errors
from clinical_ie.callbacks.metrics import AVERAGED, SCORED, TypeScore, monitored
from clinical_ie.callbacks.outputs import OutputCallback, Stage, gathered
from clinical_ie.data.datamodule import ExtractionDataModule
from clinical_ie.data.streaming import Key
from clinical_ie.document import Document
from clinical_ie.errors import SettingError, did_you_mean
from clinical_ie.modules.agreed_values import log_agreed
from clinical_ie.reports.confusion import confusion_counts, confusion_figure
from clinical_ie.reports.gold_survival import Survival, answered
from clinical_ie.reports.precision_recall import THRESHOLDS, ConfidenceCounts
from clinical_ie.reports.results import Results
from clinical_ie.scoring.intervals import check_samples
from clinical_ie.scoring.judged import judged
from clinical_ie.scoring.rule_set import RuleSet
from clinical_ie.scoring.rules import rule_set
from clinical_ie.scoring.score import Compared, compare, summed
from clinical_ie.scoring.strict_one_to_one import StrictOneToOne
from clinical_ie.scoring.strings import StringCounts
from clinical_ie.tasks.coverage import Coverage
from clinical_ie.tasks.task import Example, Source, SourceName


class Evaluation(OutputCallback):
    """Logs development scores after each validation and writes ``results.json`` after a test.

    ``dev/CORPUS/TASK/entities/...`` (or ``links`` or ``attributes``, whichever the task finds) holds precision, recall and F1, strict and
    lenient, over all types and for each. ``dev/entities/strict_f1`` and its like are means over the corpora and tasks whose development
    documents hold any, and that have a weight in `data.mixing`; ``dev/strict_f1`` is the mean over all of these.

    Args:
        run_dir: Where ``results.json`` goes; nothing is written without it.
        rules: Rule set of the test result, or corpus, task or ``CORPUS/TASK`` -> rule set (strict-one-to-one for those that it does not
            name, and of several names the narrowest counts, a task before a corpus); development scores are always strict-one-to-one.
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
        self.metrics: dict[SourceName, TypeScore] = {}
        self._compared: dict[SourceName, list[tuple[int, Compared]]] = {}
        self._strings: dict[SourceName, StringCounts] = {}
        self._confused: dict[SourceName, Counter[tuple[str, str]]] = {}
        self._sure: dict[SourceName, ConfidenceCounts] = {}
        self._survival: dict[SourceName, Survival] = {}
        self._confidences = Confidences()

    def rules(self, source: SourceName) -> RuleSet:
        """The rule set of a test result."""
        named = (self._rules[name] for name in (str(source), source.task, source.corpus) if name in self._rules)
        return next(named, self._others)

    def check(self, data: ExtractionDataModule) -> None:
        """Make sure that the rules count what each task finds in every corpus.

        Raises:
            SettingError: They would count nothing, so that a test could only end in zeros; or they are of something that is not there.
        """
        names = {*data.corpora, *data.tasks, *map(str, data.sources)}
        for name in sorted(set(self._rules) - names - set(data.corpora_left_out)):
            known = f"the corpora are {', '.join(sorted(data.corpora))}, the tasks {', '.join(data.tasks)}{did_you_mean(name, names)}"
            raise SettingError(f"evaluation.rules names {name!r}; {known}; name only those, or give one rule set (--evaluation.rules=NAME)")
        for source in data.sources:
            rules = self.rules(source)
            if reason := rules.unfit(data.schema_of(source.corpus), data.tasks[source.task].finds):
                remedy = f"give {StrictOneToOne.name}, or score the predictions under other rules with clinical-ie score"
                raise SettingError(f"evaluation.rules is {rules.name}, which counts nothing in corpus {source.corpus}: {reason}; {remedy}")

    def begin(self, trainer: pl.Trainer, stage: Stage) -> None:
        """Take earlier scores away, so that they are not taken for those of a test that failed."""
        data = cast("ExtractionDataModule", trainer.datamodule)  # type: ignore[attr-defined]
        self._compared = {source: [] for source in data.inputs.get(stage, {})}
        self._strings = {source: StringCounts() for source in self._compared}
        self._confused = {source: Counter() for source in self._compared}
        self._sure = {source: ConfidenceCounts(data.tasks[source.task].finds) for source in self._compared}
        self._survival = {source: Survival(Coverage(of=data.tasks[source.task].counted)) for source in self._compared}
        self._confidences.begin(self._compared)
        if stage == "dev":
            for source in self._compared:
                metric = self.metrics.setdefault(source, TypeScore(data.tasks[source.task].finds, data.schema_of(source.corpus)))
                metric.to(trainer.lightning_module.device).reset()
                metric.update()  # a rank may have no documents
        if self._is_written(trainer, stage):
            self._forget(trainer, stage)

    def take(self, trainer: pl.Trainer, stage: Stage, key: Key, predicted: Document, examples: Sequence[Example]) -> None:
        """Count what is right in a document, and what of its gold annotations comes back of gold outputs."""
        if stage == "predict":
            return
        data = cast("ExtractionDataModule", trainer.datamodule)  # type: ignore[attr-defined]
        gold = data.documents[stage][key.corpus][key.place]
        self._confidences.take(key.source, gold, predicted, given_mentions=data.tasks[key.task].needs_mentions)
        if stage == "dev":
            self.metrics[key.source].update(rule_set("strict-one-to-one").count(gold, predicted))
            if isinstance(trainer.logger, TensorBoardLogger):
                finds = data.tasks[key.task].finds
                if finds == "entities":
                    self._confused[key.source].update(confusion_counts([gold], [predicted]))
                self._sure[key.source].add(judged(gold, predicted), sum(one.kind == finds for one in judged(gold, gold)))
        if self._is_written(trainer, stage):
            self._compared[key.source].append((key.place, compare(gold, predicted, self.rules(key.source))))
            self._strings[key.source].add(gold, predicted, data.seen_strings.found or frozenset())
            if data.mentions is None:
                source = Source(key.corpus, data.schema_of(key.corpus), data.encoder)
                known = data.inputs[stage][key.source][key.place]
                self._survival[key.source].take(gold, answered(known, examples, data.tasks[key.task], source))

    def end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: Stage, outcomes: Mapping[SourceName, Counter[str]]) -> None:
        """Log and write the scores over all ranks."""
        if stage == "predict":
            return
        if stage == "dev":
            self._log(trainer, pl_module)
        errors = self._confidences.end(trainer, pl_module, stage)
        if self._is_written(trainer, stage):
            self._write(trainer, stage, outcomes, errors)
        self._compared, self._strings, self._confused, self._sure, self._survival = {}, {}, {}, {}, {}

    def _is_written(self, trainer: pl.Trainer, stage: Stage) -> bool:
        return self.run_dir is not None and (stage == "test" or (stage == "dev" and trainer.state.fn == "validate"))

    def _log(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        data = cast("ExtractionDataModule", trainer.datamodule)  # type: ignore[attr-defined]
        values: dict[str, float] = {}
        kinds = {source: SCORED[data.tasks[source.task].finds] for source in self._compared}
        drawn = gathered(trainer, (self._confused, self._sure))
        for source, kind in kinds.items():
            values |= {f"dev/{source}/{kind}/{name}": value for name, value in self.metrics[source].compute().items()}
            if kind == SCORED["entities"]:
                self._figure(trainer, source, sum((confused[source] for confused, _ in drawn), Counter()))
            self._curve(trainer, source, [sure[source] for _, sure in drawn])
        groups = {f"dev/{kind}": [source for source in kinds if kinds[source] == kind] for kind in kinds.values()} | {"dev": [*kinds]}
        for (mean, sources), name in product(groups.items(), AVERAGED):
            averaged = deciding(sources, data)
            values[f"{mean}/{name}"] = sum(values[f"dev/{source}/{kinds[source]}/{name}"] for source in averaged) / len(averaged)
        shown = {monitored(task.finds for task in data.tasks.values())}
        tensors = {name: torch.tensor(value, device=pl_module.device) for name, value in values.items()}
        log_agreed(pl_module, {name: value for name, value in tensors.items() if name not in shown})
        log_agreed(pl_module, {name: tensors[name] for name in shown}, prog_bar=True)

    def _forget(self, trainer: pl.Trainer, stage: Stage) -> None:
        """Take the earlier scores of these corpora and tasks away."""
        if not trainer.is_global_zero:
            return
        data = cast("ExtractionDataModule", trainer.datamodule)  # type: ignore[attr-defined]
        path = Path(str(self.run_dir)) / "results.json"
        results = Results.load(path)
        removed = [results.remove(stage, *source) for source in data.sources_of(stage)]
        if any(removed):
            results.write(path)

    def _figure(self, trainer: pl.Trainer, source: SourceName, confused: Counter[tuple[str, str]]) -> None:
        logger = trainer.logger
        if trainer.is_global_zero and isinstance(logger, TensorBoardLogger):
            figure = confusion_figure(confused, title=f"{source}, epoch {trainer.current_epoch}")
            logger.experiment.add_figure(f"dev/{source}/confusion", figure, trainer.global_step)

    def _curve(self, trainer: pl.Trainer, source: SourceName, parts: Sequence[ConfidenceCounts]) -> None:
        """Draw precision and recall at all thresholds, where a model says how sure it is of what it finds."""
        counts, logger = ConfidenceCounts(parts[0].kind), trainer.logger
        for part in parts:
            counts.update(part)
        if trainer.is_global_zero and isinstance(logger, TensorBoardLogger) and counts.found and counts.gold:
            curve = counts.curve()
            names = ("tp", "fp", "fp", "fn", "precision", "recall")  # nothing is a true negative; TensorBoard draws none
            rows = [np.zeros(THRESHOLDS) if place == 2 else np.array(curve[name]) for place, name in enumerate(names)]
            logger.experiment.add_pr_curve_raw(f"dev/{source}/precision and recall", *rows, trainer.global_step, THRESHOLDS)

    def _write(self, trainer: pl.Trainer, stage: Stage, outcomes: Mapping[SourceName, Counter[str]], errors: Errors) -> None:
        data = cast("ExtractionDataModule", trainer.datamodule)  # type: ignore[attr-defined]
        everything = gathered(trainer, (self._compared, self._strings, self._survival))
        if not trainer.is_global_zero:
            return
        path = Path(str(self.run_dir)) / "results.json"
        results = Results.load(path)
        for source in self._compared:
            compared = sorted((pair for theirs, _, _ in everything for pair in theirs[source]), key=lambda pair: pair[0])
            survival = Survival(data.coverage[stage][source])  # which has the reasons already, over all ranks
            strings = StringCounts()
            for _, their_strings, their_survival in everything:
                strings.update(their_strings[source])
                survival.add(their_survival[source])
            rules = self.rules(source)
            on_gold = data.mentions is None
            corpus = data.corpora[source.corpus]
            results.add(
                stage,
                *source,
                summed([one for _, one in compared], rules),
                finds=data.tasks[source.task].finds,
                coverage=data.coverage[stage][source].to_dict(rules.name) if on_gold else None,
                survival=survival.to_dict() if on_gold else None,
                left_out=data.left_out[stage, source.corpus],
                outcomes=outcomes[source],
                groups={document.id: corpus.group(document.id) for document in data.documents[stage][source.corpus]},
                strings=strings,
                calibration=errors[source],
                trained=data.seen_strings.found is not None,
                samples=self.interval_samples,
            )
        if data.sources_left_out:
            results.run["sources_left_out"] = {str(source): reason for source, reason in data.sources_left_out.items()}
        results.run["findings"] = dict(sorted(data.findings.counts().items()))
        results.write(path)


def deciding(sources: Sequence[SourceName], data: ExtractionDataModule) -> Sequence[SourceName]:
    """The sources whose development scores choose the best checkpoint.

    They hold gold annotations, as without them a score means nothing, and are learned from; where none does, all.
    """
    return [source for source in sources if data.mixing.weight(source) and data.coverage["dev"][source].gold] or sources
