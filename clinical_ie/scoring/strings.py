"""Scores without offsets, and of strings that training has seen or not."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from clinical_ie.document import Document, Entity
from clinical_ie.scoring.counts import KINDS, Counts, Kind

_BYTES = 8
"""Of a digest: among a million strings, two are taken for one with a probability of 3e-8."""


def normalised(document: Document, entity: Entity) -> str:
    r"""The words of a mention, case-folded, with one blank in place of any white space and between fragments.

    Example:
        >>> from clinical_ie.document import Span
        >>> normalised(Document("a", "Chest\n pain"), Entity("T1", "Problem", Span.of(0, 11)))
        'chest pain'
    """
    return " ".join(" ".join(document.text[start:end] for start, end in entity.span.fragments).casefold().split())


def digests(documents: Iterable[Document]) -> frozenset[bytes]:
    """What stands for the strings of all mentions of documents, so that no text has to be kept."""
    return frozenset(_digest(normalised(document, entity)) for document in documents for entity in document.entities)


def seen_mentions(document: Document, trained: Collection[bytes]) -> list[str]:
    """Ids of the mentions whose strings are among `digests` of the training documents."""
    document = document.joined()
    return [entity.id for entity in document.entities if _digest(normalised(document, entity)) in trained]


@dataclass(slots=True)
class StringCounts:
    """Counts over documents that can be added up.

    `found` counts the sets of a document's types and strings, whatever their offsets: (type, string) of mentions, (type, head's string,
    tail's string) of links, (type and value, type and string of the mention) of attributes. `seen` and `unseen` are gold mentions by
    whether training documents hold a mention with their string, of any type: all, and those that were found with type and offsets.
    """

    found: dict[Kind, Counts] = field(default_factory=lambda: {kind: Counts() for kind in KINDS})
    seen: list[int] = field(default_factory=lambda: [0, 0])
    unseen: list[int] = field(default_factory=lambda: [0, 0])

    def add(self, gold: Document, predicted: Document, trained: Collection[bytes]) -> None:
        """Count a document.

        Args:
            gold: The truth.
            predicted: What a system found.
            trained: `digests` of the training documents.
        """
        gold, predicted = gold.joined(), predicted.joined()
        for kind, ours, theirs in (
            ("entities", _mentions(gold), _mentions(predicted)),
            ("relations", _links(gold), _links(predicted)),
            ("attributes", _attributes(gold), _attributes(predicted)),
        ):
            hits = len(ours & theirs)
            self.found[kind] += Counts(hits, len(theirs) - hits, len(ours) - hits)  # type: ignore[index]
        left = Counter((entity.type, entity.span) for entity in predicted.entities)
        for entity in gold.entities:
            side = self.seen if _digest(normalised(gold, entity)) in trained else self.unseen
            key = entity.type, entity.span
            side[0] += 1
            if left[key]:
                left[key] -= 1
                side[1] += 1

    def update(self, other: StringCounts) -> None:
        """Add the counts of other documents."""
        for kind in KINDS:
            self.found[kind] += other.found[kind]
        for side, theirs in ((self.seen, other.seen), (self.unseen, other.unseen)):
            side[:] = [mine + more for mine, more in zip(side, theirs, strict=True)]


def _digest(string: str) -> bytes:
    return hashlib.blake2b(string.encode("utf-8", "surrogatepass"), digest_size=_BYTES).digest()


def _mentions(document: Document) -> set[tuple[str, ...]]:
    return {(entity.type, normalised(document, entity)) for entity in document.entities}


def _links(document: Document) -> set[tuple[str, ...]]:
    return {(name, normalised(document, head), normalised(document, tail)) for _, name, head, tail in document.links()}


def _attributes(document: Document) -> set[tuple[str, ...]]:
    return {(one.label, mention.type, normalised(document, mention)) for one, mention in document.mention_attributes()}
