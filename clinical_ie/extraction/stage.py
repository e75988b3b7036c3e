"""One model and one of its tasks: documents in, documents with what the model found out."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from lightning.fabric.utilities import move_data_to_device

from clinical_ie.data.collation import collator_for
from clinical_ie.data.padding import Batch
from clinical_ie.data.streaming import batches, chunks
from clinical_ie.document import Document
from clinical_ie.modules.instruction_generator import InstructionGenerator
from clinical_ie.modules.tuned_module import TunedModule
from clinical_ie.scoring.calibration import calibrated
from clinical_ie.tasks.attributes import joined_with
from clinical_ie.tasks.task import Example, Source, SourceName, Task


@dataclass
class Stage:
    """A model that is asked by a task, as `clinical-ie predict` asks it: examples in chunks, batches of like length, outputs, annotations.

    Attributes:
        model: On its device, in evaluation mode.
        task: How it is asked.
        source: The corpus whose types it finds, and its tokenizer.
        bf16: Whether it computes in bfloat16 (autocast).
        batch_budget: Most sub-words of a batch, padding included.
        outcomes: What became of the model's output, above all what could not be kept, counted.
    """

    model: TunedModule
    task: Task[Any]
    source: Source
    bf16: bool
    batch_budget: int
    outcomes: Counter[str] = field(default_factory=Counter)
    _numbers: Iterator[int] = field(default_factory=itertools.count, init=False, repr=False)

    def __post_init__(self) -> None:
        pad_id: int = getattr(self.source.encoder, "pad_id", 0)
        self._collate: Callable[[Sequence[Any]], Batch] = collator_for([self.task], pad_id, self.model.schemas)
        self._shares_prefixes = isinstance(self.model, InstructionGenerator)

    def annotate(self, documents: Iterable[Document]) -> Iterator[Document]:
        """Documents with what the model found in them, in their order; no more are held than are looked ahead over."""
        found = ((document, self._examples(document)) for document in documents)
        for chunk in chunks(found, self.batch_budget, shared_prefixes=self._shares_prefixes):
            outputs = self.outputs([example for _, examples in chunk for example in examples])
            for document, examples in chunk:
                own = {example.id: outputs[example.id] for example in examples}
                predicted = self.task.annotations(document, examples, own, self.source.schema, self.outcomes)
                predicted = calibrated(predicted, self.model.calibration.get(str(SourceName(self.source.corpus, self.task.name))))
                # of what the stages before found, links stay beside attributes
                yield joined_with(document, predicted) if self.task.finds == "attributes" else predicted

    @torch.inference_mode()
    def outputs(self, examples: Sequence[Example]) -> dict[str, Any]:
        """Example id -> output of the model."""
        found: dict[str, Any] = {}
        with self._precision():
            for number, batch in enumerate(batches(examples, self.batch_budget, shared_prefixes=self._shares_prefixes)):
                found |= self.model.predict_step(move_data_to_device(self._collate(batch), self.model.device), number)
            found |= self.model.remaining_outputs()
        return found

    def _examples(self, document: Document) -> list[Any]:
        # Outputs come back under ids of examples, which tell apart documents of different ids only: here two may have the same.
        number = next(self._numbers)
        examples = self.task.examples(document, self.source)  # without counts of what gold they can express: there is none
        return [replace(example, id=f"{number}/{example.id}") for example in examples]

    def _precision(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.model.device.type, torch.bfloat16) if self.bf16 else nullcontext()
