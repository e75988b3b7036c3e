"""The contract between documents and models."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, NamedTuple, Protocol, TypeVar, runtime_checkable

from clinical_ie.document import Document, Fragment
from clinical_ie.schema import Schema
from clinical_ie.scoring.counts import Kind
from clinical_ie.tasks.coverage import Coverage


class SubwordEncoder(Protocol):
    """A tokenizer seen from the text side."""

    @property
    def prefix(self) -> list[int]:
        """Ids that open every input."""

    @property
    def suffix(self) -> list[int]:
        """Ids that close every input."""

    def encode(self, text: str) -> tuple[list[int], list[Fragment]]:
        """Sub-word ids of a text, without special ones, and the characters that each covers."""


@runtime_checkable
class ChatEncoder(SubwordEncoder, Protocol):
    """The tokenizer of a decoder, which applies its chat template.

    A prompt is a prefix that many texts share (so that it is computed once) and a suffix with one text; their ids are concatenated.
    """

    def prompt_prefix(self, system: str, instruction: str) -> list[int]:
        """The system's turn and the beginning of the user's."""

    def prompt_suffix(self, text: str, answer: str) -> list[int]:
        """The rest of the user's turn, which may hold anything without being taken for special tokens, up to where the model answers.

        `answer` is the word that announces the answer where a model has no turns of its own.
        """

    def response(self, text: str) -> list[int]:
        """The model's turn with what ends it."""

    def decode(self, ids: list[int]) -> str:
        """The text of a response, special tokens left out."""


class SourceName(NamedTuple):
    """A corpus and a task: what examples are of, written ``CORPUS/TASK``."""

    corpus: str
    task: str

    def __str__(self) -> str:
        return f"{self.corpus}/{self.task}"


@dataclass(frozen=True, slots=True)
class Source:
    """Where examples come from: a corpus' name and schema, and the tokenizer of the model."""

    corpus: str
    schema: Schema
    encoder: SubwordEncoder


@dataclass(frozen=True, slots=True)
class Example:
    """One input of a model. `length` is what it costs in sub-words."""

    id: str
    document_id: str
    corpus: str
    task: str
    input_ids: tuple[int, ...]

    common: ClassVar[tuple[str, ...]] = ("corpus", "task")
    """Fields of which all examples together have a few values only."""

    @property
    def source(self) -> SourceName:
        """What it is of."""
        return SourceName(self.corpus, self.task)

    @property
    def length(self) -> int:
        """Sub-words, special ones included."""
        return len(self.input_ids)

    @property
    def targets(self) -> int:
        """What a model learns from it, counted in the terms of its loss."""
        raise NotImplementedError


SHARED_POSITIONS = "tokens that share a position"
DIRECTED_ATTENTION = "attention that each token directs for itself"
"""What a task may need of an encoder beside words in a row, as messages call it."""

E = TypeVar("E", bound=Example)
Finds = Kind
Output = Any
"""A module's output for one example, in plain Python: tag strings, relation labels, completion text."""


class Task(ABC, Generic[E]):
    """Makes examples of documents and annotations of outputs; both sides of a task stand in one class.

    `name` is what results, files and settings call it. `finds` is what a model of this task is chosen by. A task that `needs_mentions`
    starts from documents whose entities are known: gold ones, or those that another model has found.
    """

    name: ClassVar[str]
    finds: ClassVar[Finds] = "entities"
    needs_mentions: ClassVar[bool] = False
    window: int
    seed: int | None = None
    """Of random choices; None until a run says its own (`seed_everything`), which counts as 0."""

    def draw(self, *of: str) -> random.Random:
        """Random numbers for a choice of this name."""
        return random.Random("/".join((str(self.seed or 0), *of)))

    @property
    def counted(self) -> str:
        """What `Coverage` is of."""
        return {"entities": "mentions", "relations": "links", "attributes": "attributes"}[self.finds]

    def id_of(self, document: Document, source: Source, number: object) -> str:
        """The id of an example, which no other has where documents have ids of their own."""
        return f"{SourceName(source.corpus, self.name)}/{document.id}#{number}"

    @property
    def needs(self) -> Mapping[str, str]:
        """What its inputs need of an encoder beside words in a row -> what to do where an encoder lacks it."""
        return {}

    @abstractmethod
    def examples(self, document: Document, source: Source, coverage: Coverage | None = None, *, training: bool = False) -> list[E]:
        """The inputs that a document gives, with gold answers.

        Args:
            document: A text with what is known of it.
            source: Corpus, schema and tokenizer.
            coverage: Counts what cannot be expressed.
            training: Whether the examples are for training, so that some negatives may be left out.
        """

    @abstractmethod
    def gold_output(self, example: E, encoder: SubwordEncoder) -> Output:
        """What a model that has learnt an example to the letter puts out for it.

        Args:
            example: With its gold answers.
            encoder: The tokenizer that it was made with.
        """

    @abstractmethod
    def annotations(
        self,
        document: Document,
        examples: Sequence[E],
        outputs: Mapping[str, Output],
        schema: Schema,
        outcomes: Counter[str] | None = None,
    ) -> Document:
        """A new document with what the model found in `document`.

        Args:
            document: Its id and text are used, and its entities where the task needs mentions; nothing else.
            examples: What `examples` gave for it.
            outputs: Example id -> output.
            schema: That of its corpus.
            outcomes: Counts what became of the model's output, above all what could not be kept.
        """
