"""What every rule set has: its name, which documents it counts, and how it counts one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from clinical_ie.document import Document
from clinical_ie.schema import Schema
from clinical_ie.scoring.counts import DocumentCounts, Kind


class RuleSet(ABC):
    """How documents are compared.

    `files` selects the documents that count: those on either side (``union``), those on both
    (``intersection``), or only equal sets (``equal``). `macro` is what the macro average is over, `kinds` what is counted.
    """

    name: ClassVar[str]
    files: ClassVar[str]
    macro: ClassVar[str]
    kinds: ClassVar[tuple[Kind, ...]] = ("entities", "relations")

    @abstractmethod
    def count(self, gold: Document, predicted: Document) -> DocumentCounts:
        """The counts of one document."""

    @classmethod
    def unfit(cls, schema: Schema, finds: Kind) -> str:
        """Why these rules count nothing of what a corpus with this schema holds; empty where they do.

        Args:
            schema: Types of the corpus.
            finds: What is to be scored.
        """
        return ""
