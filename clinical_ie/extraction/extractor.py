"""A trained model in a few words of Python: texts in, documents out.

Example:
    >>> from clinical_ie import load
    >>> extractor = load("runs/x")  # doctest: +SKIP
    >>> for document in extractor.stream(["Started aspirin daily.", "No known allergies."]):  # doctest: +SKIP
    ...     for mention in document.entities:
    ...         print(mention.type, mention.start, mention.end, mention.confidence)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from clinical_ie.document import Document
from clinical_ie.errors import printable
from clinical_ie.extraction.inputs import Note
from clinical_ie.schema import Schema

if TYPE_CHECKING:
    from clinical_ie.extraction.stage import Stage


class Extractor:
    """Finds in texts what its model has learned to find; `clinical_ie.load` makes it.

    Args:
        stages: A model that finds mentions, and perhaps one that links them.
        name: What it is called in messages: its folder.
    """

    def __init__(self, stages: Sequence[Stage], name: str) -> None:
        self.stages, self.name = tuple(stages), name

    def __call__(self, text: str, id: str = "note") -> Document:
        """The document of one text.

        Args:
            text: The note.
            id: What the document is called.
        """
        (document,) = self.annotate([Document(id, text)])
        return document

    def stream(self, notes: Iterable[str | Note | tuple[str, str]]) -> Iterator[Document]:
        """A document for each note, in their order, as they come; memory does not depend on how many there are.

        Args:
            notes: Texts, ids with texts, or what `clinical_ie.extraction.inputs.read` gives. A text alone is called ``note1`` and
                so on by its place.
        """
        return self.annotate(_document(note, place) for place, note in enumerate(notes, 1))

    def annotate(self, documents: Iterable[Document]) -> Iterator[Document]:
        """The same of documents: their ids and texts are used, and nothing else."""
        found: Iterable[Document] = (Document(document.id, document.text) for document in documents)
        for stage in self.stages:
            found = stage.annotate(found)
        return iter(found)

    @property
    def schema(self) -> Schema:
        """What can be found: that of the last model, whose links join the mentions of the first."""
        return self.stages[-1].source.schema

    @property
    def outcomes(self) -> Counter[str]:
        """What became of the models' outputs, above all what could not be kept, counted since it was loaded."""
        return sum((stage.outcomes for stage in self.stages), Counter[str]())

    def __repr__(self) -> str:
        tasks = " and ".join(stage.task.name for stage in self.stages)
        return f"<Extractor of {printable(self.name)}: {tasks}>"


def _document(note: str | Note | tuple[str, str], place: int) -> Document:
    if isinstance(note, str):
        return Document(f"note{place}", note)
    return Document(note.id, note.text) if isinstance(note, Note) else Document(*note)
