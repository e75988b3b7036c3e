"""Corpora to batches, for every model."""

from __future__ import annotations

import logging
import os
from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities import rank_zero_only
from torch.utils.data import DataLoader

from clinical_ie.compressed import CompressedSequence
from clinical_ie.corpora.corpus import Corpus
from clinical_ie.corpora.hash_split import HashSplit
from clinical_ie.data.chat_tokenizer import ChatTokenizer
from clinical_ie.data.collation import Batch, PlannedCollator, collator_for
from clinical_ie.data.documents import DocumentReader, Part
from clinical_ie.data.examples import Examples
from clinical_ie.data.plan import Plan, SharedPrefixes
from clinical_ie.data.sampler import PlanSampler, TrainingLoader
from clinical_ie.data.streaming import (
    ChunkCollator,
    DocumentChunk,
    DocumentStream,
    EvenBatches,
    ExampleSource,
    examples_of,
    made_examples,
    stored_examples,
)
from clinical_ie.data.tokenization import Subwords
from clinical_ie.document import Document
from clinical_ie.errors import SettingError
from clinical_ie.files import distinct
from clinical_ie.formats.findings import Findings
from clinical_ie.schema import Schema
from clinical_ie.tasks.coverage import Coverage
from clinical_ie.tasks.instruction import Instruction
from clinical_ie.tasks.links import LinkLabels
from clinical_ie.tasks.task import Example, Source, Task

_LOG = logging.getLogger(__name__)


class ExtractionDataModule(pl.LightningDataModule):
    """Documents of one or more corpora as examples of a task, in batches of a budget of sub-words.

    Args:
        corpora: Where documents come from. Each keeps its schema, and the model a head for each. A task that only links mentions leaves
            out those whose schema declares no relations.
        task: The task of the model.
        split: What each document is for: training, development or test; corpora that are held out.
        tokenizer: Hub name or folder; the command line links it to the model's backbone.
        batch_budget: Sub-words of a training batch, padding included; batches of a shuffled epoch may exceed it by a few per
            cent, so that every epoch has the same number of steps.
        eval_batch_budget: Most sub-words of a batch elsewhere; of an instruction, those behind the shared prefix.
        seed: Order of training batches; by default the run's (``seed_everything``).
        texts: A folder of ``.txt`` files for ``predict``, or one such file; without it, predictions are made for the test split.
        mentions: Where a task needs mentions, those that another model found, for ``test`` and ``predict``: a folder of its
            predictions, with ``CORPUS.jsonl`` or BRAT files in ``CORPUS``. Without it gold mentions are taken.
        workers: Processes that make batches; 0 makes them in the main process, which is fastest for short notes.
        packing: Sequence packing: training instructions share a row with others of the same prefix, which is there once; else a row each.
        dev_documents: Most documents of each corpus that a validation during training looks at, by hash of
            their names; all when None.
        lenient: Mend and count broken records instead of stopping at the first.
    """

    def __init__(
        self,
        corpora: list[Corpus],
        task: Task,  # type: ignore[type-arg]
        tokenizer: str,
        *,
        split: HashSplit | None = None,
        batch_budget: int = 2048,
        eval_batch_budget: int = 8192,
        seed: int | None = None,
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
        self.corpora = {corpus.name: corpus for corpus in corpora if not _without_links(task, corpus)}
        self.corpora_left_out = {name: "its schema declares no relations" for name in names if name not in self.corpora}
        if not self.corpora:
            raise SettingError(
                f"{type(task).__name__} links mentions, but the schema of no corpus declares relations ({', '.join(names)}); give one that"
                " does, or a task that finds mentions"
            )
        self.task, self.tokenizer = task, tokenizer
        self.batch_budget, self.eval_batch_budget = batch_budget, eval_batch_budget
        self.seed, self.texts, self.mentions, self.workers = seed, texts, mentions, workers
        self.packing, self.dev_documents = packing, dev_documents
        self.documents: dict[Part, dict[str, CompressedSequence[Document]]] = {}
        self.inputs: dict[Part, dict[str, CompressedSequence[Document]]] = {}
        self.examples: dict[Part, Examples] = {}
        self._ends: dict[Part, dict[str, Sequence[int]]] = {}
        self.coverage: dict[Part, dict[str, Coverage]] = {}
        self.findings = Findings(strict=not lenient)
        self.split = HashSplit() if split is None else split
        self.reader = DocumentReader(self.corpora.values(), self.split, task, self.findings, texts=texts, mentions=mentions)
        self._encoder: Subwords | None = None
        self._reported: Counter[str] = Counter()
        self._sampler: PlanSampler | None = None
        self._resumed: dict[str, Any] | None = None
        self.left_out: dict[tuple[Part, str], dict[str, int]] = {}

    @property
    def schemas(self) -> dict[str, dict[str, Any]]:
        """Corpus that models learn from -> its schema as plain data; the command line links it to the model."""
        return {name: corpus.schema.to_dict() for name, corpus in self.corpora_of("train").items()}

    def corpora_of(self, part: Part) -> dict[str, Corpus]:
        """The corpora that have a say in a part: those held out have none in training and development."""
        say = {"train": self.split.teaches, "dev": self.split.validates}.get(part)
        return {name: corpus for name, corpus in self.corpora.items() if say is None or say(name)}

    @property
    def encoder(self) -> Subwords:
        """The tokenizer, loaded when it is first needed."""
        if self._encoder is None:
            self._encoder = (ChatTokenizer if isinstance(self.task, Instruction) else Subwords)(self.tokenizer)
        return self._encoder

    def follow_seed(self, seed: int) -> None:
        """Take the run's seed for the order of training and the task's choices, where they have none of their own."""
        self.seed = seed if self.seed is None else self.seed
        self.task.seed = seed if self.task.seed is None else self.task.seed

    def setup(self, stage: str) -> None:
        """Read what a stage needs, once; examples of training and development are made, those of others batch by batch."""
        needed: dict[str, tuple[Part, ...]] = {"fit": ("train", "dev"), "validate": ("dev",), "test": ("test",), "predict": ("predict",)}
        if not self.documents:
            self._tell_left_out()
        for part in needed[stage]:
            if part not in self.documents:
                self._prepare(part)

    def _prepare(self, part: Part) -> None:
        self.documents[part], self.inputs[part], self.coverage[part] = {}, {}, {}
        most = self.dev_documents if part == "dev" and self._fitting else None
        for name, corpus in self.corpora_of(part).items():
            before = Counter(corpus.view.left_out)
            documents = CompressedSequence(self.reader.read(corpus, part, most))
            distinct((document.id for document in documents), name)
            self.left_out[part, name] = dict(Counter(corpus.view.left_out) - before)
            inputs: Sequence[Document] = self.reader.inputs(corpus, part, documents)
            self.documents[part][name] = documents
            self.inputs[part][name] = documents if inputs is documents else CompressedSequence(inputs)
            self.coverage[part][name] = Coverage(of=self.counted)
        if part in ("train", "dev"):
            self.examples[part] = self.make_examples(part)
            self._tell(part)
        else:
            self._tell_documents(part)
            for name, texts in self.inputs[part].items():  # what no example can be made with is said before a model begins
                next((text for text in texts if self.task.examples(text, self._source(name))), None)
        needed = part != "dev" or self._validating
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

    def _source(self, corpus: str) -> Source:
        return Source(corpus, self.corpora[corpus].schema, self.encoder)

    def make_examples(self, part: Part) -> Examples:
        """All examples of a part; what they can express is counted."""
        examples = Examples()
        self._ends[part] = {}
        for name, documents in self.inputs[part].items():
            source, coverage = self._source(name), Coverage(of=self.counted)
            self._ends[part][name] = ends = array("q", [len(examples)])
            for document in documents:
                examples.extend(examples_of(self.task, document, source, coverage, training=part == "train"))
                ends.append(len(examples))
            self.coverage[part][name] = coverage
        return examples

    @property
    def counted(self) -> str:
        """What `coverage` is of."""
        return "links" if self.task.finds == "relations" else "mentions"

    def record_coverage(self, part: Part, coverage: dict[str, Coverage]) -> None:
        """Take in what examples that were made batch by batch can express, over all ranks."""
        if part in ("test", "predict"):
            self.coverage[part] = coverage
            self._tell(part)

    @rank_zero_only
    def _tell_documents(self, part: Part) -> None:
        for name, documents in self.documents[part].items():
            _LOG.info(f"{part}: {name}, {len(documents)} documents")
        self._tell_findings(part)

    @rank_zero_only
    def _tell_left_out(self) -> None:
        for name, reason in self.corpora_left_out.items():
            _LOG.warning(f"{name} is left out of this run: {reason}, and {type(self.task).__name__} does nothing but link mentions")

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
        self._tell_findings(part)

    def _tell_findings(self, part: Part) -> None:
        counts = self.findings.counts()
        for code, count in sorted((counts - self._reported).items()):
            _LOG.info(f"{part}: {count} x {code} while reading")
        self._reported = counts

    def train_dataloader(self) -> DataLoader[Batch]:
        """Shuffled batches; goes on where an interrupted run stopped.

        Raises:
            SettingError: No epoch would have enough batches to come to a validation, or the batches are not those of the checkpoint.
        """
        trainer, examples, packed = self.trainer, self.examples["train"], isinstance(self.task, Instruction) and self.packing
        prefixes = SharedPrefixes(*examples.prefixes()) if packed else None
        plan = Plan(
            examples.lengths, examples.targets, examples.corpora, self.batch_budget, shuffle=True, seed=self.seed or 0, prefixes=prefixes
        )
        self._sampler = PlanSampler(
            plan,
            rank=trainer.global_rank if trainer else 0,
            ranks=trainer.world_size if trainer else 1,
            accumulated=lambda: trainer.accumulate_grad_batches if trainer else 1,
            limit=lambda: trainer.num_training_batches if trainer else float("inf"),
        )
        loader = TrainingLoader(
            examples, sampler=self._sampler, collate_fn=PlannedCollator(self._collator(training=True)), **self._loader_options
        )
        if self._resumed is not None:
            self._sampler.load_state_dict(self._resumed)
            self._resumed = None
        if trainer is not None:
            _check_interval(trainer, len(loader))
        return loader

    def val_dataloader(self) -> EvenBatches | list[Any]:
        """Development batches; none where a corpus is split without a development part, or where its documents have no examples."""
        return self._evaluation_loader("dev") if self.examples["dev"] or self._validating else []

    def test_dataloader(self) -> EvenBatches:
        """Test batches."""
        return self._evaluation_loader("test")

    def predict_dataloader(self) -> EvenBatches:
        """Batches without gold."""
        return self._evaluation_loader("predict")

    def stream(self, part: Part) -> DocumentStream:
        """Documents of this rank in batches."""
        source: ExampleSource
        if part == "dev":
            source = partial(stored_examples, self.examples[part], self._ends[part])
        else:
            source = partial(made_examples, self.task, {name: self._source(name) for name in self.inputs[part]}, self.inputs[part])
        return DocumentStream(
            {name: len(documents) for name, documents in self.inputs[part].items()},
            source,
            self.eval_batch_budget,
            shared_prefixes=isinstance(self.task, Instruction),
            rank=self.trainer.global_rank if self.trainer else 0,
            ranks=self.trainer.world_size if self.trainer else 1,
        )

    def _evaluation_loader(self, part: Part) -> EvenBatches:
        stream, trainer, collate = self.stream(part), self.trainer, ChunkCollator(self._collator())
        return EvenBatches(
            DataLoader(stream, collate_fn=cast("Callable[[Any], Batch]", collate), **self._loader_options),
            lambda: collate(cast("tuple[list[Example], DocumentChunk]", stream.dummy_batch())),
            lambda wish: trainer.strategy.reduce_boolean_decision(wish, all=False) if trainer else wish,
        )

    def _collator(self, *, training: bool = False) -> Callable[[Sequence[Any]], Batch]:
        schemas = {name: corpus.schema for name, corpus in self.corpora.items()}
        return collator_for(self.task, self.encoder.pad_id, schemas, training=training, packed=self.packing)

    @property
    def _loader_options(self) -> dict[str, Any]:
        return {
            "batch_size": None,  # what is iterated over gives whole batches
            "num_workers": min(self.workers, os.cpu_count() or 1),
            # a generator of its own, or every pass would draw from the global one and a resumed run would differ
            "generator": torch.Generator().manual_seed(self.seed or 0),
        }

    def state_dict(self) -> dict[str, Any]:
        """Where in the plan of its batches training is."""
        return {} if self._sampler is None else {"train": self._sampler.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the order of training where a checkpoint left it."""
        if self._fitting:
            self._resumed = state_dict["train"]

    @property
    def _fitting(self) -> bool:
        return self.trainer is not None and self.trainer.state.fn == "fit"

    @property
    def _validating(self) -> bool:
        return self.trainer is not None and self.trainer.state.fn == "validate"

    def schema_of(self, corpus: str) -> Schema:
        """The schema of a corpus by name."""
        return self.corpora[corpus].schema


def _without_links(task: Task, corpus: Corpus) -> bool:  # type: ignore[type-arg]
    """Whether a task only links mentions, and a corpus' schema declares nothing to link them with."""
    return task.needs_mentions and task.finds == "relations" and not len(LinkLabels(corpus.schema))


def _check_interval(trainer: pl.Trainer, batches: int) -> None:
    """Hold the batches between two validations against those of an epoch, which nobody knows before the data are read."""
    interval, limit = trainer.val_check_interval, trainer.limit_train_batches
    number = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
    if isinstance(interval, int) and interval > number and trainer.check_val_every_n_epoch is not None and trainer.limit_val_batches:
        raise SettingError(
            f"trainer.val_check_interval is {interval}, but an epoch has {number} batches; give fewer or a share of an epoch such as 0.5,"
            " or trainer.check_val_every_n_epoch: null, which counts batches over epochs"
        )
