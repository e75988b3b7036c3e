"""Corpora to batches, for every model."""

from __future__ import annotations

import os
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, cast

import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader

from clinical_ie.compressed import CompressedSequence
from clinical_ie.corpora.corpus import Corpus
from clinical_ie.corpora.hash_split import HashSplit
from clinical_ie.data.chat_tokenizer import ChatTokenizer
from clinical_ie.data.collation import PlannedCollator, collator_for
from clinical_ie.data.data_log import DataLog
from clinical_ie.data.documents import DocumentReader, Part
from clinical_ie.data.examples import Examples
from clinical_ie.data.mixing import Mixing
from clinical_ie.data.padding import Batch
from clinical_ie.data.plan import Plan, SharedPrefixes
from clinical_ie.data.sampler import PlanSampler, TrainingLoader
from clinical_ie.data.seen_strings import SeenStrings
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
from clinical_ie.tasks.nothing_to_find import ASKS, LEARNED, nothing_to_find
from clinical_ie.tasks.task import Example, Source, SourceName, Task


class ExtractionDataModule(pl.LightningDataModule):
    """Documents of one or more corpora as examples of one or more tasks, in batches of a budget of sub-words.

    Every task asks for every corpus; one that only links mentions leaves out those whose schema declares no relations. To predict, and
    to test with `mentions`, tasks that need mentions are asked with `mentions` only, and others without.

    Args:
        corpora: Where documents come from. Each keeps its schema, and the model a head for each.
        tasks: The tasks of the model, of different names.
        split: What each document is for: training, development or test; corpora that are held out.
        mixing: How many examples an epoch has of each corpus and task; by default every example once.
        tokenizer: Hub name or folder; the command line links it to the model's backbone.
        batch_budget: Sub-words of a training batch, padding included; batches of a shuffled epoch may exceed it by a few per
            cent, so that every epoch has the same number of steps.
        eval_batch_budget: Most sub-words of a batch elsewhere; of an instruction, those behind the shared prefix.
        seed: Order of training batches; by default the run's (``seed_everything``).
        texts: A folder of ``.txt`` files for ``predict``, or one such file; without it, predictions are made for the test split.
        mentions: Where tasks need mentions, those that another model found, for ``test`` and ``predict``: a folder of its
            predictions, with ``CORPUS.jsonl`` or BRAT files in ``CORPUS``. Without it gold mentions are taken.
        workers: Processes that make batches; 0 makes them in the main process, which is fastest for short notes.
        packing: Sequence packing: training instructions share a row with others of the same prefix, which is there once; else a row each.
        dev_documents: Most documents of each corpus that a validation during training looks at, by hash of
            their names; all when None.
        test_documents: Likewise of a test; or corpus -> how many, all of corpora that are not named.
        distinct_names: Rename types whose names mean something else in other corpora, as each corpus declares (`Corpus.meanings`), whether
            or not those are there: a run of one corpus has the names of a run of many.
        lenient: Mend and count broken records instead of stopping at the first.
    """

    def __init__(
        self,
        corpora: list[Corpus],
        tasks: list[Task],  # type: ignore[type-arg]
        tokenizer: str,
        *,
        split: HashSplit | None = None,
        mixing: Mixing | None = None,
        batch_budget: int = 2048,
        eval_batch_budget: int = 8192,
        seed: int | None = None,
        texts: str | None = None,
        mentions: str | None = None,
        workers: int = 0,
        packing: bool = True,
        dev_documents: int | None = None,
        test_documents: int | dict[str, int] | None = None,
        distinct_names: bool = False,
        lenient: bool = False,
    ) -> None:
        super().__init__()
        for corpus in corpora if distinct_names else ():
            corpus.rename_declared()
        for what, names in (("corpora", [corpus.name for corpus in corpora]), ("tasks", [task.name for task in tasks])):
            if not names or len(set(names)) != len(names):
                raise SettingError(f"data.{what} has {', '.join(names) or f'no {what}'}; expected one or more with different names")
        self.tasks: dict[str, Task[Any]] = {task.name: task for task in tasks}
        pairs = {SourceName(corpus.name, task.name): nothing_to_find(task, corpus.schema) for corpus in corpora for task in tasks}
        self.sources = [source for source, without in pairs.items() if not without]
        self.sources_left_out = {source: f"its schema declares no {without}" for source, without in pairs.items() if without}
        for name, task in self.tasks.items():
            if not any(source.task == name for source in self.sources):
                without = next(found for source, found in pairs.items() if source.task == name)
                raise SettingError(
                    f"{type(task).__name__} {ASKS[task.finds]}, but the schema of no corpus declares {without}"
                    f" ({', '.join(corpus.name for corpus in corpora)}); give one that does"
                    + (", or a task that finds mentions" if without != "entities" else "")
                )
        taking_part = {source.corpus for source in self.sources}
        self.corpora = {corpus.name: corpus for corpus in corpora if corpus.name in taking_part}
        self.corpora_left_out = [corpus.name for corpus in corpora if corpus.name not in taking_part]
        self.tokenizer = tokenizer
        self.batch_budget, self.eval_batch_budget = batch_budget, eval_batch_budget
        self.seed, self.texts, self.mentions, self.workers = seed, texts, mentions, workers
        self.packing, self.dev_documents, self.test_documents = packing, dev_documents, test_documents
        self.documents: dict[Part, dict[str, CompressedSequence[Document]]] = {}
        self.inputs: dict[Part, dict[SourceName, CompressedSequence[Document]]] = {}
        self.examples: dict[Part, Examples] = {}
        self._ends: dict[Part, dict[SourceName, Sequence[int]]] = {}
        self.coverage: dict[Part, dict[SourceName, Coverage]] = {}
        self.findings = Findings(strict=not lenient)
        self.split = HashSplit() if split is None else split
        self.mixing = Mixing() if mixing is None else mixing
        self.reader = DocumentReader(
            self.corpora.values(),
            self.split,
            tasks,
            self.findings,
            texts=texts,
            mentions=mentions,
            most_documents=self.mixing.most_documents,
        )
        self._encoder: Subwords | None = None
        self.data_log = DataLog(self.findings, {name: type(task).__name__ for name, task in self.tasks.items()})
        self._sampler: PlanSampler | None = None
        self._resumed: dict[str, Any] | None = None
        self.left_out: dict[tuple[Part, str], dict[str, int]] = {}
        self.seen_strings = SeenStrings(self._learned, self.data_log.unread_training)

    @property
    def schemas(self) -> dict[str, dict[str, Any]]:
        """Corpus that models learn from -> its schema as plain data; the command line links it to the model."""
        return {name: corpus.schema.to_dict() for name, corpus in self.corpora_of("train").items()}

    def sources_of(self, part: Part) -> list[SourceName]:
        """What a part has examples of: of corpora that are held out none to train on and to validate, and see `asks`."""
        say = {"train": self.split.teaches, "dev": self.split.validates}.get(part)
        return [source for source in self.sources if self.asks(source.task, part) and (say is None or say(*source))]

    def corpora_of(self, part: Part) -> dict[str, Corpus]:
        """The corpora that have a say in a part."""
        return {source.corpus: self.corpora[source.corpus] for source in self.sources_of(part)}

    def most(self, corpus: str, part: Part) -> int | None:
        """How many documents of a part are used at most; all where nothing is said."""
        most = {"dev": self.dev_documents if self._fitting else None, "test": self.test_documents}.get(part)
        return most.get(corpus) if isinstance(most, dict) else most

    def asks(self, task: str, part: Part) -> bool:
        """Whether documents of a part are asked by a task.

        All are where mentions are gold. Texts have none; with `mentions` only tasks that need them have something to do.
        """
        if part == "predict" or (part == "test" and self.mentions is not None):
            return self.tasks[task].needs_mentions == (self.mentions is not None)
        return True

    @property
    def generates(self) -> bool:
        """Whether the tasks are instructions, for decoders."""
        return all(isinstance(task, Instruction) for task in self.tasks.values())

    @property
    def encoder(self) -> Subwords:
        """The tokenizer, loaded when it is first needed."""
        if self._encoder is None:
            self._encoder = (ChatTokenizer if self.generates else Subwords)(self.tokenizer)
        return self._encoder

    def follow_seed(self, seed: int) -> None:
        """Take the run's seed for the order of training and the tasks' choices, where they have none of their own."""
        self.seed = seed if self.seed is None else self.seed
        for task in self.tasks.values():
            task.seed = seed if task.seed is None else task.seed

    def setup(self, stage: str) -> None:
        """Read what a stage needs, once; examples of training and development are made, those of others batch by batch."""
        needed: dict[str, tuple[Part, ...]] = {"fit": ("train", "dev"), "validate": ("dev",), "test": ("test",), "predict": ("predict",)}
        if not self.documents:
            self.data_log.left_out(self.sources_left_out, self.corpora_left_out)
            self._offer_shots()
        for part in needed[stage]:
            if part not in self.documents:
                self._prepare(part)

    def _offer_shots(self) -> None:
        """Name the shots of corpora that are held out to the tasks whose prompts show some."""
        showing = [task for task in self.tasks.values() if isinstance(task, Instruction) and task.demonstrations.shots]
        for name, corpus in self.corpora.items() if showing and self.split.shots else ():
            if name in self.split.held_out:
                shots = self.reader.shots(corpus)
                for task in showing:
                    task.demonstrations.offer(name, shots)

    def _prepare(self, part: Part) -> None:
        if part == "predict" and not any(self.asks(name, part) for name in self.tasks):
            kinds = " and ".join(type(task).__name__ for task in self.tasks.values())
            raise SettingError(
                f"{kinds} needs mentions to start from: give --data.mentions, the predictions of an entity model (RUN/predictions/predict)"
            )
        self.data_log.not_asked(part, [name for name in self.tasks if not self.asks(name, part)], with_mentions=self.mentions is not None)
        self.documents[part], self.inputs[part], self.coverage[part] = {}, {}, {}
        for name, corpus in self.corpora_of(part).items():
            before = Counter(corpus.view.left_out)
            documents = CompressedSequence(self.reader.read(corpus, part, self.most(name, part)))
            distinct((document.id for document in documents), name)
            self.left_out[part, name] = dict(Counter(corpus.view.left_out) - before)
            self.documents[part][name] = documents
            with_mentions: Sequence[Document] = self.reader.inputs(corpus, part, documents)
            if with_mentions is not documents:
                with_mentions = CompressedSequence(with_mentions)
            for source in self.sources_of(part):
                if source.corpus == name:
                    task = self.tasks[source.task]
                    self.inputs[part][source] = with_mentions if task.needs_mentions else documents
                    self.coverage[part][source] = Coverage(of=task.counted)
        if part in ("train", "dev"):
            self.examples[part] = self.make_examples(part)
            self._tell(part)
        else:
            self.data_log.documents(part, self.documents[part])
            for source, texts in self.inputs[part].items():  # what no example can be made with is said before a model begins
                next((text for text in texts if self.tasks[source.task].examples(text, self._source(source.corpus))), None)
        needed = part != "dev" or self._validating
        number = sum(len(documents) for documents in self.documents[part].values())
        if needed and not number:
            split = "test" if part == "predict" else part
            raise SettingError(f"{part}: no documents in the {split} split of {', '.join(self.corpora)}")
        taught = dict.fromkeys(source.task for source in self._ends[part]) if part == "train" else ()  # others are held out
        for name in taught:
            task = self.tasks[name]
            if not any(ends[-1] > ends[0] for source, ends in self._ends[part].items() if source.task == name):
                raise SettingError(
                    f"train: {number} documents of {', '.join(self.corpora)}, but {type(task).__name__} can learn from none of them;"
                    f" do they hold {LEARNED[task.finds]}?"
                )

    def _learned(self) -> list[Iterable[Document]]:
        corpora = self.corpora_of("train")
        return [self.documents.get("train", {}).get(name) or self.reader.read(corpus, "train") for name, corpus in corpora.items()]

    def _source(self, corpus: str) -> Source:
        return Source(corpus, self.corpora[corpus].schema, self.encoder)

    def make_examples(self, part: Part) -> Examples:
        """All examples of a part; what they can express is counted."""
        examples = Examples()
        self._ends[part] = {}
        for name, documents in self.inputs[part].items():
            task, source = self.tasks[name.task], self._source(name.corpus)
            coverage = Coverage(of=task.counted)
            self._ends[part][name] = ends = array("q", [len(examples)])
            for document in documents:
                examples.extend(examples_of(task, document, source, coverage, training=part == "train"))
                ends.append(len(examples))
            self.coverage[part][name] = coverage
        return examples

    def record_coverage(self, part: Part, coverage: dict[SourceName, Coverage]) -> None:
        """Take in what examples that were made batch by batch can express, over all ranks."""
        if part in ("test", "predict"):
            self.coverage[part] = coverage
            self._tell(part)

    def _tell(self, part: Part) -> None:
        gold = part != "predict" and (self.mentions is None or part != "test")
        self.data_log.coverage(part, self.documents[part], self.coverage[part], gold=gold)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Shuffled batches; goes on where an interrupted run stopped.

        Raises:
            SettingError: No epoch would have enough batches to come to a validation, or the batches are not those of the checkpoint.
        """
        trainer, examples, packed = self.trainer, self.examples["train"], self.generates and self.packing
        prefixes = SharedPrefixes(*examples.prefixes()) if packed else None
        plan = Plan(
            examples.lengths,
            examples.targets,
            examples.sources,
            self.batch_budget,
            shuffle=True,
            seed=self.seed or 0,
            prefixes=prefixes,
            mixing=self.mixing,
        )
        self.data_log.mixture(plan)
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
            loader.check_interval(trainer)
        return loader

    @property
    def sampler(self) -> PlanSampler:
        """That of the training batches."""
        assert self._sampler is not None
        return self._sampler

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
            sources = {corpus: self._source(corpus) for corpus in self.documents[part]}
            source = partial(made_examples, self.tasks, sources, self.inputs[part])
        return DocumentStream(
            {name: len(documents) for name, documents in self.inputs[part].items()},
            source,
            self.eval_batch_budget,
            shared_prefixes=self.generates,
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
        return collator_for(self.tasks.values(), self.encoder.pad_id, schemas, training=training, packed=self.packing)

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
