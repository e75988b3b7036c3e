"""What a corpus holds, in numbers."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from clinical_ie.document import Document
from clinical_ie.schema import Schema
from clinical_ie.segmentation.sentences import sentences

_TOKEN = re.compile(r"\w+|[^\w\s]")
QUANTILES = (0.0, 0.25, 0.5, 0.75, 0.95, 1.0)


@dataclass(slots=True)
class Statistics:
    """Counts of one split. Tokens are words and single punctuation marks."""

    documents: int = 0
    lengths: list[int] = field(default_factory=list)
    entities: Counter[str] = field(default_factory=Counter)
    relations: Counter[str] = field(default_factory=Counter)
    events: int = 0
    attributes: int = 0
    nested: int = 0
    crossing: int = 0
    same_span: int = 0
    discontinuous: int = 0
    cross_sentence: int = 0
    overlapping_in_layer: int = 0

    @property
    def tokens(self) -> int:
        """All tokens."""
        return sum(self.lengths)

    def length_quantiles(self) -> list[int]:
        """Document lengths in tokens at `QUANTILES`, by nearest rank; zeros without documents."""
        ordered = sorted(self.lengths)
        return [ordered[round(share * (len(ordered) - 1))] if ordered else 0 for share in QUANTILES]


def describe(documents: Sequence[Document], schema: Schema) -> Statistics:
    """Statistics of documents: nested mentions lie inside another, crossing ones overlap it partly."""
    found = Statistics(documents=len(documents))
    layers = {entity.name: entity.layer for entity in schema.entities}
    for document in documents:
        found.lengths.append(len(_TOKEN.findall(document.text)))
        found.entities.update(entity.type for entity in document.entities)
        found.events += len(document.events)
        found.attributes += len(document.attributes)
        found.discontinuous += sum(entity.span.discontinuous for entity in document.joined().entities)
        _overlaps(document.joined(), layers, found)
        starts = [start for start, _ in sentences(document.text)]
        sentence_of = {entity.id: _before(starts, entity.start) for entity in document.entities}
        for _, name, head, tail in document.links():
            found.relations[name] += 1
            found.cross_sentence += sentence_of[head.id] != sentence_of[tail.id]
    return found


def _overlaps(document: Document, layers: dict[str, str], found: Statistics) -> None:
    ordered = sorted(document.entities, key=lambda entity: (entity.start, -entity.end))
    nested, crossing, same, in_layer = set(), set(), set(), set()
    for place, outer in enumerate(ordered):
        for following in range(place + 1, len(ordered)):
            inner = ordered[following]
            if inner.start >= outer.end:
                break
            if not outer.span.overlaps(inner.span):
                continue
            if (outer.start, outer.end) == (inner.start, inner.end):
                same.add(inner.id)
            elif inner.end <= outer.end:
                nested.add(inner.id)
            else:
                crossing.add(inner.id)
            if layers.get(outer.type) == layers.get(inner.type):
                in_layer.add(inner.id)
    found.nested += len(nested)
    found.crossing += len(crossing)
    found.same_span += len(same)
    found.overlapping_in_layer += len(in_layer)


def _before(starts: list[int], position: int) -> int:
    return bisect_right(starts, position)
