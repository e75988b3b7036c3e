"""The contract between documents and models."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from clinical_ie.document import Document, Fragment
from clinical_ie.schema import Schema


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
    input_ids: tuple[int, ...]

    @property
    def length(self) -> int:
        """Sub-words, special ones included."""
        return len(self.input_ids)


@dataclass(slots=True)
class Coverage:
    """How many gold annotations examples can express, and why not the others."""

    mentions: int = 0
    unrepresentable: Counter[str] = field(default_factory=Counter)

    @property
    def recall_ceiling(self) -> float:
        """The best recall that a perfect model can reach; 1 where there is nothing to find."""
        return 1 - sum(self.unrepresentable.values()) / self.mentions if self.mentions else 1.0

    def to_dict(self) -> dict[str, Any]:
        """Plain counts."""
        reasons = dict(sorted(self.unrepresentable.items()))
        return {"mentions": self.mentions, "unrepresentable": reasons, "recall_ceiling": self.recall_ceiling}


E = TypeVar("E", bound=Example)
Output = Any
"""What a module says of one example, in plain Python: tag strings, relation labels, response text."""


class Task(ABC, Generic[E]):
    """Makes examples of documents and annotations of outputs; both sides of a task stand in one class."""

    @abstractmethod
    def examples(self, document: Document, source: Source, coverage: Coverage | None = None) -> list[E]:
        """The inputs that a document gives, with gold answers; `coverage` counts what cannot be expressed."""

    @abstractmethod
    def annotations(self, document: Document, examples: Sequence[E], outputs: Mapping[str, Output]) -> Document:
        """A new document with what the model found in the text of `document`.

        Args:
            document: Only its id and text are used.
            examples: What `examples` gave for it.
            outputs: Example id -> output.
        """
