"""Documents from a model's outputs: each is decoded once, on its rank, when the output of its last example arrives."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, cast

import lightning.pytorch as pl
import torch

from clinical_ie.data.datamodule import ExtractionDataModule
from clinical_ie.data.streaming import DocumentChunk, DocumentStream, Key
from clinical_ie.document import Document
from clinical_ie.errors import SettingError
from clinical_ie.modules.tuned_module import TunedModule
from clinical_ie.scoring.calibration import Temperatures, calibrated
from clinical_ie.tasks.attributes import joined_with
from clinical_ie.tasks.coverage import Coverage
from clinical_ie.tasks.task import Example, SourceName

Stage = Literal["dev", "test", "predict"]
T = TypeVar("T")


@dataclass(slots=True)
class _Waiting:
    """A document some of whose outputs are not there yet."""

    examples: Sequence[Example]
    outputs: dict[str, Any] = field(default_factory=dict)


class OutputCollector:
    """Predicted documents of one rank from outputs in any order; an output that comes twice counts once.

    Args:
        data: Documents and tasks.
        stage: Which of them.
        calibration: ``CORPUS/TASK`` -> temperatures of its confidences.
    """

    def __init__(self, data: ExtractionDataModule, stage: Stage, calibration: Mapping[str, Temperatures] | None = None) -> None:
        self._data, self._stage, self._calibration = data, stage, calibration or {}
        self._waiting: dict[Key, _Waiting] = {}
        self._owners: dict[str, Key] = {}
        self._seen = {source: bytearray(len(documents)) for source, documents in data.inputs[stage].items()}
        self.outcomes: dict[SourceName, Counter[str]] = {source: Counter() for source in data.inputs[stage]}
        self.coverage = {source: Coverage(of=data.tasks[source.task].counted) for source in data.inputs[stage]}
        self.decoded: list[tuple[Key, Document, Sequence[Example]]] = []

    def expect(self, chunk: DocumentChunk) -> None:
        """Expect outputs of these documents; those without examples are complete."""
        for source, coverage in chunk.coverage.items():
            self.coverage[source].add(coverage)
        for key, examples in chunk.documents:
            self._seen[key.source][key.place] = True
            if examples:
                self._waiting[key] = _Waiting(examples)
                self._owners |= dict.fromkeys((example.id for example in examples), key)
            else:
                self._decode(key, [], {})

    def take(self, outputs: Mapping[str, Any]) -> None:
        """Take in outputs: example id -> output."""
        for name, output in outputs.items():
            key = self._owners.pop(name, None)
            if key is None:
                continue
            waiting = self._waiting[key]
            waiting.outputs[name] = output
            if len(waiting.outputs) == len(waiting.examples):
                del self._waiting[key]
                self._decode(key, waiting.examples, waiting.outputs)

    def finish(self, stream: DocumentStream) -> str | None:
        """Decode the documents without examples that came with no batch.

        Args:
            stream: Of this rank's documents.

        Returns:
            The name of an example without an output, with which a document would be half annotated; None where all are there.
        """
        if self._owners:
            return next(iter(self._owners))
        for key in stream.mine:
            if not self._seen[key.source][key.place]:
                examples = stream.examples(key, self.coverage[key.source])
                if examples:
                    return examples[0].id
                self._decode(key, [], {})
        return None

    def _decode(self, key: Key, examples: Sequence[Example], outputs: Mapping[str, Any]) -> None:
        document, schema = self._data.inputs[self._stage][key.source][key.place], self._data.schema_of(key.corpus)
        task = self._data.tasks[key.task]
        predicted = task.annotations(document, examples, outputs, schema, self.outcomes[key.source])
        predicted = calibrated(predicted, self._calibration.get(str(key.source)))
        if task.finds == "attributes" and self._data.mentions is not None:
            predicted = joined_with(document, predicted)  # the links that come with the mentions are another model's, not gold
        self.decoded.append((key, predicted, examples))


class OutputCallback(pl.Callback):
    """Base of callbacks that need predicted documents.

    The first of them that a trainer has collects outputs into documents and gives each to all of them, once, on the rank that has it.
    """

    def __init__(self) -> None:
        self._collector: OutputCollector | None = None

    def begin(self, trainer: pl.Trainer, stage: Stage) -> None:
        """Get ready for the documents of a stage."""

    @abstractmethod
    def take(self, trainer: pl.Trainer, stage: Stage, key: Key, predicted: Document, examples: Sequence[Example]) -> None:
        """Take in a document of this rank, in any order, with the examples that it was predicted from."""

    @abstractmethod
    def end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: Stage, outcomes: Mapping[SourceName, Counter[str]]) -> None:
        """All documents have come on every rank; `outcomes` counts what became of the model's output, over all ranks."""

    def _leads(self, trainer: pl.Trainer) -> bool:
        return next(_consumers(trainer)) is self

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin to collect, but where Lightning only tries a batch or two."""
        stage = _stage(trainer)
        self._collector = None
        if self._leads(trainer) and not (trainer.sanity_checking or trainer.fast_dev_run):  # type: ignore[attr-defined]
            # while it learns, each validation calibrates anew
            known = {} if trainer.state.fn == "fit" else cast("TunedModule", pl_module).calibration
            self._collector = OutputCollector(_data(trainer), stage, known)
            for consumer in _consumers(trainer):
                consumer.begin(trainer, stage)

    on_test_start = on_predict_start = on_validation_start

    def on_validation_batch_end(  # noqa: D102 (Lightning's hook)
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if self._collector is not None:
            self._collector.expect(batch["chunk"])
            self._collector.take(outputs)
            self._give(trainer, self._collector)

    on_test_batch_end = on_predict_batch_end = on_validation_batch_end

    def _give(self, trainer: pl.Trainer, collector: OutputCollector) -> None:
        stage, decoded = _stage(trainer), collector.decoded
        collector.decoded = []
        for decoded_document in decoded:
            for consumer in _consumers(trainer):
                consumer.take(trainer, stage, *decoded_document)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Decode what is left and let the ranks' counts be added up.

        Raises:
            SettingError: A rank lacks an output.
        """
        if not self._leads(trainer):
            return
        remaining = cast("TunedModule", pl_module).remaining_outputs()
        collector, self._collector = self._collector, None
        if collector is None:
            return
        data, stage = _data(trainer), _stage(trainer)
        collector.take(remaining)
        missing = collector.finish(data.stream(stage))
        self._give(trainer, collector)
        outcomes: dict[SourceName, Counter[str]] = {source: Counter() for source in collector.outcomes}
        coverage = {source: Coverage(of=counted.of) for source, counted in collector.coverage.items()}
        for their_missing, their_outcomes, their_coverage in gathered(trainer, (missing, collector.outcomes, collector.coverage)):
            if their_missing is not None:  # every rank says so, or the others would wait for it
                raise SettingError(f"{stage}: no output for {their_missing}; limit_*_batches would leave documents half annotated")
            for source in outcomes:
                outcomes[source].update(their_outcomes[source])
                coverage[source].add(their_coverage[source])
        data.record_coverage(stage, coverage)
        for consumer in _consumers(trainer):
            consumer.end(trainer, pl_module, stage, outcomes)

    on_test_epoch_end = on_predict_epoch_end = on_validation_epoch_end


def _stage(trainer: pl.Trainer) -> Stage:
    return "test" if trainer.testing else "predict" if trainer.predicting else "dev"


def _consumers(trainer: pl.Trainer) -> Any:
    return (callback for callback in trainer.callbacks if isinstance(callback, OutputCallback))  # type: ignore[attr-defined]


def gathered(trainer: pl.Trainer, mine: T) -> list[T]:
    """What each rank gives, by rank; every rank must give something."""
    if trainer.world_size == 1:
        return [mine]
    parts: list[Any] = [None] * trainer.world_size
    torch.distributed.all_gather_object(parts, mine)
    return parts


def _data(trainer: pl.Trainer) -> ExtractionDataModule:
    return cast("ExtractionDataModule", trainer.datamodule)  # type: ignore[attr-defined]
