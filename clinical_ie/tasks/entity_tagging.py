"""Mentions as BIO tags on words (`clinical_ie.tasks.units`), one row of tags for each layer of the schema."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from clinical_ie.document import Document, Entity, Fragment, Span
from clinical_ie.schema import Schema
from clinical_ie.segmentation.sentences import cut_points
from clinical_ie.segmentation.windows import starts_of, windows
from clinical_ie.tasks import bio
from clinical_ie.tasks.coverage import Coverage, Target, count_mentions, most_disjoint
from clinical_ie.tasks.task import Example, Source, SubwordEncoder, Task
from clinical_ie.tasks.units import inexact, unit_range, units_of, words_of


@dataclass(frozen=True, slots=True)
class TagOutput:
    """Tags of a window: layer -> one tag for each unit; and the confidence of each mention that they mean, as `bio.decode` finds them.

    A confidence is the probability that exactly this span is tagged with this type. A layer without any is of gold tags.
    """

    tags: Mapping[str, Sequence[str]]
    confidences: Mapping[str, Sequence[float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TaggingExample(Example):
    """A window of a note.

    `units` are the characters of each unit, `positions` the sub-word that stands for it in
    `input_ids`, `owned` the units whose mentions this window may report, `tags` the gold rows.
    """

    units: tuple[Fragment, ...]
    positions: tuple[int, ...]
    owned: tuple[int, int]
    tags: dict[str, list[str]]

    @property
    def targets(self) -> int:
        """Units; what their tags in several layers teach is a mean."""
        return len(self.positions)


class EntityTagging(Task[TaggingExample]):
    """Sequence tagging with windows.

    Args:
        window: Most sub-words of an input, special ones included.
        overlap: Sub-words of context on each side of a window; mentions longer than that may be cut
            and are counted.
    """

    name: ClassVar[str] = "entity_tagging"

    def __init__(self, window: int = 256, overlap: int = 16) -> None:
        self.window, self.overlap = window, overlap

    def examples(
        self, document: Document, source: Source, coverage: Coverage | None = None, *, training: bool = False
    ) -> list[TaggingExample]:
        """The windows of a document with its gold tags."""
        document, encoder = document.joined(), source.encoder
        ids, offsets = encoder.encode(document.text)
        units, firsts, unit_of = units_of(document.text, offsets)
        budget = self.window - len(encoder.prefix) - len(encoder.suffix)
        preferred = starts_of(cut_points(document.text), [start for start, _ in offsets])
        cuts = windows(len(ids), budget, self.overlap, preferred)
        reach = [len(units)] * len(units)
        for cut in cuts:
            left, right = unit_range(unit_of, firsts, cut.core_first, cut.core_last)
            reach[left:right] = [unit_range(unit_of, firsts, cut.first, cut.last)[1]] * (right - left)
        rows = self._rows(document, source, units, reach, coverage)
        found = []
        for number, cut in enumerate(cuts):
            left, right = unit_range(unit_of, firsts, cut.first, cut.last)
            core = unit_range(unit_of, firsts, cut.core_first, cut.core_last)
            if left == right:
                continue  # nothing but white space
            shift = len(encoder.prefix) - cut.first
            tags = {
                layer: bio.encode([(name, a - left, b - left) for name, a, b in row if b > left and a < right], right - left)
                for layer, row in rows.items()
            }
            found.append(
                TaggingExample(
                    self.id_of(document, source, number),
                    document.id,
                    source.corpus,
                    self.name,
                    (*encoder.prefix, *ids[cut.first : cut.last], *encoder.suffix),
                    tuple(units[left:right]),
                    tuple(first + shift for first in firsts[left:right]),
                    (core[0] - left, core[1] - left),
                    tags,
                )
            )
        return found

    def gold_output(self, example: TaggingExample, encoder: SubwordEncoder) -> TagOutput:
        """The gold rows of tags."""
        return TagOutput(example.tags)

    def annotations(
        self,
        document: Document,
        examples: Sequence[TaggingExample],
        outputs: Mapping[str, TagOutput],
        schema: Schema,
        outcomes: Counter[str] | None = None,
    ) -> Document:
        """A document with the mentions that each window owns, with the confidence of that window."""
        spans: dict[tuple[str, int, int], float | None] = {}
        ends: dict[str, int] = {}
        for example in examples:
            first_owned, last_owned = example.owned
            output = outputs[example.id]
            for layer, row in output.tags.items():
                mentions = bio.decode(row)
                confidences = output.confidences.get(layer, [None] * len(mentions))
                for (name, first, last), confidence in zip(mentions, confidences, strict=True):
                    start, end = example.units[first][0], example.units[last - 1][1]
                    # Behind a seam the window before may have reported a mention that reaches this far; a layer stays flat.
                    if first_owned <= first < last_owned and start >= ends.get(layer, 0):
                        spans[name, start, end] = confidence
                        ends[layer] = end
        ordered = sorted(spans, key=lambda mention: (mention[1], -mention[2], mention[0]))
        entities = [
            Entity(f"T{rank}", name, Span.of(start, end), spans[name, start, end]) for rank, (name, start, end) in enumerate(ordered, 1)
        ]
        return Document(document.id, document.text, tuple(entities))

    def _rows(
        self,
        document: Document,
        source: Source,
        units: Sequence[Fragment],
        reach: Sequence[int],
        coverage: Coverage | None,
    ) -> dict[str, list[bio.Mention]]:
        """Layer -> mentions by unit that do not overlap; what cannot be expressed is counted, each mention once.

        `reach` is, for every unit, one past the last unit that the window which owns it can see.
        """
        coverage = Coverage() if coverage is None else coverage
        layer_of = {entity.name: entity.layer for entity in source.schema.entities}
        rows: dict[str, list[bio.Mention]] = {layer: [] for layer in source.schema.layers}
        ends = dict.fromkeys(rows, 0)
        seen: set[Target] = set()
        mentions = [entity for entity in document.entities if entity.type in layer_of]
        coverage.gold += len(mentions)
        for entity in sorted(mentions, key=lambda entity: (entity.start, -entity.end)):
            layer = layer_of[entity.type]
            found = words_of(entity.span, units)
            reason = "discontinuous" if entity.span.discontinuous else None
            if reason is None and found is None:
                reason = "no word in it"
            elif reason is None and found is not None:
                first, last = found
                key = entity.type, entity.span
                reason = inexact(document.text, entity.span, units[first], units[last - 1])
                if reason is None and last > reach[first]:
                    reason = "longer than the overlap of windows"
                if first >= ends[layer]:  # what is not exact is tagged all the same, as its whole words
                    rows[layer].append((entity.type, first, last))
                    ends[layer] = last
                elif reason is None and key in seen:
                    reason = "annotated twice"
                elif reason is None and rows[layer][-1] != (entity.type, first, last):  # one that is not exact may be tagged as these words
                    reason = "overlaps another in its layer"
                seen.add(key)
            if reason is not None:
                coverage.unrepresentable[reason] += 1
        count_mentions(coverage, mentions, lambda targets: self._most(targets, layer_of, units, reach))
        return rows

    @staticmethod
    def _most(targets: Sequence[Target], layer_of: Mapping[str, str], units: Sequence[Fragment], reach: Sequence[int]) -> int:
        """How many of these mentions tags can give exactly: whole words inside a window, and none that overlap in a layer."""
        ranges: dict[str, list[Fragment]] = {}
        for name, span in targets:
            found = words_of(span, units)
            if span.discontinuous or found is None:
                continue
            first, last = found
            if (units[first][0], units[last - 1][1]) == (span.start, span.end) and last <= reach[first]:
                ranges.setdefault(layer_of[name], []).append(found)
        return sum(map(most_disjoint, ranges.values()))
