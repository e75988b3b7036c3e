"""Collects a model's output for each example and assembles documents from them."""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal, cast

import lightning.pytorch as pl
import torch

from clinical_ie.data.datamodule import ExtractionDataModule
from clinical_ie.data.documents import Part
from clinical_ie.document import Document
from clinical_ie.errors import SettingError
from clinical_ie.modules.tuned_module import TunedModule

Stage = Literal["dev", "test", "predict"]
_STAGES: dict[str, Stage] = {"validate": "dev", "test": "test", "predict": "predict"}


class OutputCallback(pl.Callback):
    """Base of callbacks that need predicted documents.

    Outputs are gathered over ranks keyed by example id, so an example that a sampler gave to two ranks
    counts once.
    """

    def __init__(self) -> None:
        self._outputs: dict[str, Any] = {}
        self.outcomes: dict[str, Counter[str]] = {}

    def keep(self, outputs: Any) -> None:
        """Take in one batch's outputs."""
        self._outputs.update(outputs)

    def without_batches(self, trainer: pl.Trainer, stage: Stage) -> None:
        """What is to be done at the end of a stage whose documents have no examples."""

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Documents without examples have predictions too: nothing was found in them.

        Lightning calls no hook of a loop that has no batch, only this one. Examples are the same on all ranks, so all come here or none.
        """
        part = _STAGES.get(stage)
        if part is not None and not _data(trainer).examples.get(part):
            self.without_batches(trainer, part)

    def gathered(self, trainer: pl.Trainer) -> dict[str, Any]:
        """Outputs of all ranks; empties the store."""
        mine, self._outputs = self._outputs, {}
        if trainer.world_size == 1:
            return mine
        parts: list[dict[str, Any] | None] = [None] * trainer.world_size
        torch.distributed.all_gather_object(parts, mine)
        return {name: output for part in parts for name, output in (part or {}).items()}

    def predicted(self, trainer: pl.Trainer, part: Part) -> dict[str, list[Document]]:
        """Corpus -> predicted documents, in the order of the gold ones; empty while Lightning only tries a batch or two.

        Counts of outcomes (kept, discarded, ungrounded) are in `outcomes` afterwards.

        Raises:
            SettingError: Some windows were left out, so that documents would be half annotated.
        """
        self.keep(cast("TunedModule", trainer.lightning_module).remaining_outputs())
        outputs = self.gathered(trainer)
        if trainer.sanity_checking or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return {}
        data = _data(trainer)
        examples: dict[tuple[str, str], list[Any]] = {}
        for example in data.examples[part]:
            if example.id not in outputs:
                raise SettingError(f"{part}: no output for {example.id}; limit_*_batches would leave documents half annotated")
            examples.setdefault((example.corpus, example.document_id), []).append(example)
        self.outcomes = {corpus: Counter() for corpus in data.inputs[part]}
        return {
            corpus: [
                data.task.annotations(
                    document, examples.get((corpus, document.id), []), outputs, data.schema_of(corpus), self.outcomes[corpus]
                )
                for document in documents
            ]
            for corpus, documents in data.inputs[part].items()
        }


def _data(trainer: pl.Trainer) -> ExtractionDataModule:
    return cast("ExtractionDataModule", trainer.datamodule)  # type: ignore[attr-defined]
