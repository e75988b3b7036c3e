"""Corpora to batches, for every model."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities import rank_zero_only
from torch.utils.data import DataLoader

from clinical_ie.corpora.corpus import Corpus
from clinical_ie.data.batching import BudgetBatchSampler, packed_batches
from clinical_ie.data.chat_tokenizer import ChatTokenizer
from clinical_ie.data.collation import Batch, collator_for
from clinical_ie.data.documents import DocumentReader, Part
from clinical_ie.data.examples import Examples
from clinical_ie.data.packed import Packed
from clinical_ie.data.tokenization import Subwords
from clinical_ie.document import Document
from clinical_ie.errors import SettingError
from clinical_ie.formats.findings import Findings
from clinical_ie.schema import Schema
from clinical_ie.tasks.coverage import Coverage, count_words
from clinical_ie.tasks.instruction import Instruction
from clinical_ie.tasks.task import Source, Task

_LOG = logging.getLogger(__name__)


class ExtractionDataModule(pl.LightningDataModule):
    """Documents of one or more corpora as examples of a task, in batches of a budget of sub-words.

    Args:
        corpora: Where documents come from. Each keeps its schema, and the model a head for each.
        task: The task of the model.
        tokenizer: Hub name or folder; the command line links it to the model's backbone.
        batch_budget: Sub-words of a training batch, padding included; batches of a shuffled epoch may exceed it by a few per
            cent, so that every epoch has the same number of steps.
        eval_batch_budget: Most sub-words of a batch elsewhere; of an instruction, those behind the shared prefix.
        seed: Order of training batches.
        texts: A folder of ``.txt`` files for ``predict``, or one such file; without it, predictions are made for the test split.
        mentions: Where a task needs mentions, those that another model found, for ``test`` and ``predict``: a folder of its
            predictions, with ``CORPUS.jsonl`` or BRAT files in ``CORPUS``. Without it gold mentions are taken.
        workers: Processes that make batches; 0 makes them in the main process, which is fastest for short notes.
        packing: Sequence packing: training instructions share a row with others of the same prefix, which is there once; else a row each.
        dev_documents: Most documents of each corpus that a validation during training looks at, a fixed random choice; all when None.
        lenient: Mend and count broken records instead of stopping at the first.
    """

    def __init__(
        self,
        corpora: list[Corpus],
        task: Task,  # type: ignore[type-arg]
        tokenizer: str,
        *,
        batch_budget: int = 2048,
        eval_batch_budget: int = 8192,
        seed: int = 0,
        texts: str | None = None,
        mentions: str | None = None,
        workers: int = 0,
        packing: bool = True,
        dev_documents: int | None = None,
        lenient: bool = False,
    ) -> None:
        super().__init__()
        names = [corpus.name for corpus in corpora]
        if not names or len(set(names)) != len(names):
            raise SettingError(f"data.corpora has {names or 'no corpora'}; expected one or more with different names")
        self.corpora = {corpus.name: corpus for corpus in corpora}
        self.task, self.tokenizer = task, tokenizer
        self.batch_budget, self.eval_batch_budget = batch_budget, eval_batch_budget
        self.seed, self.texts, self.mentions, self.workers = seed, texts, mentions, workers
        self.packing, self.dev_documents = packing, dev_documents
        self.documents: dict[Part, dict[str, Packed[Document]]] = {}
        self.inputs: dict[Part, dict[str, Packed[Document]]] = {}
        self.examples: dict[Part, Examples] = {}
        self.coverage: dict[Part, dict[str, Coverage]] = {}
        self.findings = Findings(strict=not lenient)
        self._reader = DocumentReader(task, self.findings, texts=texts, mentions=mentions, seed=seed)
        self._encoder: Subwords | None = None
        self._reported: Counter[str] = Counter()
        self.left_out: dict[tuple[Part, str], dict[str, int]] = {}

    @property
    def schemas(self) -> dict[str, dict[str, Any]]:
        """Corpus -> its schema as plain data; the command line links it to the model."""
        return {name: corpus.schema.to_dict() for name, corpus in self.corpora.items()}

    @property
    def encoder(self) -> Subwords:
        """The tokenizer, loaded when it is first needed."""
        if self._encoder is None:
            self._encoder = (ChatTokenizer if isinstance(self.task, Instruction) else Subwords)(self.tokenizer)
        return self._encoder

    def setup(self, stage: str) -> None:
        """Read and tokenise what a stage needs, once."""
        needed: dict[str, tuple[Part, ...]] = {"fit": ("train", "dev"), "validate": ("dev",), "test": ("test",), "predict": ("predict",)}
        for part in needed[stage]:
            if part not in self.examples:
                self._prepare(part)

    def _prepare(self, part: Part) -> None:
        self.documents[part], self.inputs[part], self.coverage[part] = {}, {}, {}
        self.examples[part] = examples = Examples()
        most = self.dev_documents if part == "dev" and self._fitting else None
        for name, corpus in self.corpora.items():
            before = Counter(corpus.view.left_out)
            documents = self._reader.read(corpus, part, most)
            self.left_out[part, name] = dict(Counter(corpus.view.left_out) - before)
            source = Source(name, corpus.schema, self.encoder)
            coverage = Coverage(of="links" if self.task.finds == "relations" else "mentions")
            inputs = self._reader.inputs(corpus, part, documents)
            self.documents[part][name] = self.inputs[part][name] = Packed(documents)
            if inputs is not documents:
                self.inputs[part][name] = Packed(inputs)
            self.coverage[part][name] = coverage
            for document in inputs:
                if self.encoder.unknown_id is not None:
                    count_words(coverage, document, *self.encoder.encode(document.text), self.encoder.unknown_id)
                examples.extend(self.task.examples(document, source, coverage, training=part == "train"))
        self._tell(part)
        needed = part != "dev" or (self.trainer is not None and self.trainer.state.fn == "validate")
        number = sum(len(documents) for documents in self.documents[part].values())
        if needed and not number:
            split = "test" if part == "predict" else part
            raise SettingError(f"{part}: no documents in the {split} split of {', '.join(self.corpora)}")
        if part == "train" and not self.examples[part]:
            kind = type(self.task).__name__
            raise SettingError(
                f"train: {number} documents of {', '.join(self.corpora)}, but {kind} can learn from none of them;"
                f" do they hold {'mentions that the schema lets be joined' if self.task.finds == 'relations' else 'any text'}?"
            )

    @rank_zero_only
    def _tell(self, part: Part) -> None:
        """Say what was read, what was mended and what no tag can express: counts, never text."""
        for name, coverage in self.coverage[part].items():
            if part == "predict" or (self.mentions is not None and part == "test"):
                coverage = Coverage(words=coverage.words, unknown_words=coverage.unknown_words, obscured=coverage.obscured)
                _LOG.info("; ".join([f"{part}: {name}, {len(self.documents[part][name])} documents", *coverage.remarks]))
                continue
            what = f"{part}: {name}, {len(self.documents[part][name])} documents, {coverage.gold} {coverage.of}"
            _LOG.info(what + (", " + "; ".join(coverage.remarks) if coverage.remarks else ""))
        counts = self.findings.counts()
        for code, count in sorted((counts - self._reported).items()):
            _LOG.info(f"{part}: {count} x {code} while reading")
        self._reported = counts

    def train_dataloader(self) -> DataLoader[Batch]:
        """Shuffled batches; goes on where an interrupted run stopped.

        Raises:
            SettingError: No epoch would have enough batches to come to a validation.
        """
        loader = self._loader("train", shuffle=True)
        if self.trainer is not None:
            _check_interval(self.trainer, len(loader))
        return loader

    def val_dataloader(self) -> DataLoader[Batch] | list[Any]:
        """Development batches; none where a corpus is split without a development part, or where its documents have no examples."""
        return self._loader("dev", shuffle=False) if self.examples["dev"] else []

    def test_dataloader(self) -> DataLoader[Batch] | list[Any]:
        """Test batches; none where the documents have no examples."""
        return self._loader("test", shuffle=False) if self.examples["test"] else []

    def predict_dataloader(self) -> DataLoader[Batch] | list[Any]:
        """Batches without gold; none where the documents have no examples."""
        return self._loader("predict", shuffle=False) if self.examples["predict"] else []

    def _loader(self, part: Part, *, shuffle: bool) -> DataLoader[Batch]:
        rank, ranks = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        examples = self.examples[part]
        lengths = examples.lengths
        budget = self.batch_budget if shuffle else self.eval_batch_budget
        progress = self._progress if shuffle else lambda: (0, 0)
        batches, targets = None, None
        if isinstance(self.task, Instruction):
            if shuffle:
                targets = examples.targets
                batches = _packing(examples) if self.packing else None
            else:
                lengths = examples.input_lengths  # prefixes are shared
        sampler = BudgetBatchSampler(
            lengths,
            budget,
            shuffle=shuffle,
            seed=self.seed,
            rank=rank,
            ranks=ranks,
            progress=progress,
            batches=batches,
            targets=targets,
            accumulated=self.trainer.accumulate_grad_batches if self.trainer else 1,
            limit=lambda: self.trainer.num_training_batches if self.trainer else float("inf"),
        )
        schemas = {name: corpus.schema for name, corpus in self.corpora.items()}
        return DataLoader(
            examples,
            batch_sampler=sampler,
            collate_fn=collator_for(self.task, self.encoder.pad_id, schemas, packed=shuffle and self.packing),
            num_workers=min(self.workers, os.cpu_count() or 1),
            # a generator of its own, or every pass would draw from the global one and a resumed run would differ
            generator=torch.Generator().manual_seed(self.seed),
        )

    def _progress(self) -> tuple[int, int]:
        """The epoch, and how many of its batches a resumed run has behind it."""
        if self.trainer is None or not self.trainer.training:
            return 0, 0
        loop = self.trainer.fit_loop
        return self.trainer.current_epoch, loop.epoch_loop.batch_progress.current.ready

    @property
    def _fitting(self) -> bool:
        return self.trainer is not None and self.trainer.state.fn == "fit"

    def schema_of(self, corpus: str) -> Schema:
        """The schema of a corpus by name."""
        return self.corpora[corpus].schema


def _check_interval(trainer: pl.Trainer, batches: int) -> None:
    """Hold the batches between two validations against those of an epoch, which nobody knows before the data are read."""
    interval, limit = trainer.val_check_interval, trainer.limit_train_batches
    number = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
    if isinstance(interval, int) and interval > number and trainer.check_val_every_n_epoch is not None and trainer.limit_val_batches:
        raise SettingError(
            f"trainer.val_check_interval is {interval}, but an epoch has {number} batches; give fewer or a share of an epoch such as 0.5,"
            " or trainer.check_val_every_n_epoch: null, which counts batches over epochs"
        )


def _packing(examples: Examples) -> Callable[[int, float, int | str], list[list[int]]]:
    """What packs examples into rows that hold their shared prefixes once."""
    shared, prefix_lengths = examples.prefixes()
    own = [length - prefix_lengths[prefix] for length, prefix in zip(examples.lengths, shared, strict=True)]
    return lambda budget, _, seed: packed_batches(own, shared, prefix_lengths, budget, seed=seed)
