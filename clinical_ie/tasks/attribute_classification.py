"""Attributes as labels of mentions: negation, assertion, polarity, whatever a schema says of its mentions.

Each mention that may bear an attribute gets one of its values or none. A window is encoded once, with levitated markers for all its
mentions behind the text (`levitated_markers`), and everything that can be said of a mention is read off its markers.

References: Uzuner et al., 2010 i2b2/VA challenge on concepts, assertions, and relations (JAMIA 2011), for assertions as classes of
given concepts; Ye et al., Packed levitated marker (ACL 2022), for the markers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from clinical_ie.document import Document
from clinical_ie.schema import Schema
from clinical_ie.tasks.attributes import AttributeLabels, gold_classes, with_attributes
from clinical_ie.tasks.coverage import Coverage
from clinical_ie.tasks.levitated_markers import MarkedExample, marked_mentions, marked_window, owned_windows
from clinical_ie.tasks.task import DIRECTED_ATTENTION, SHARED_POSITIONS, Finds, Source, SubwordEncoder, Task

NOT_ASKED = -1
"""In place of a class: the type of the mention rules the attribute out."""

AttributeOutput = Mapping[int, Sequence[tuple[int, int, float | None]]]
"""Place of a mention among those that its example asks about -> attribute, class and its probability (None of gold); others left out."""


@dataclass(frozen=True, slots=True)
class AttributeExample(MarkedExample):
    """A window with marked mentions, those of them that it asks about, and the class of each attribute.

    Class 0 is none, class 1 the attribute's first value (or that a flag stands), and so on.
    """

    asked: tuple[int, ...]
    classes: tuple[tuple[int, ...], ...]

    @property
    def targets(self) -> int:
        """Decisions: an attribute of a mention."""
        return sum(one != NOT_ASKED for classes in self.classes for one in classes)


class AttributeClassification(Task[AttributeExample]):
    """Values of the attributes of given mentions.

    Args:
        window: Most sub-words of text in an input; levitated markers come on top.
        overlap: Sub-words of context on each side of a window.
    """

    name: ClassVar[str] = "attribute_classification"
    finds: ClassVar[Finds] = "attributes"
    needs_mentions: ClassVar[bool] = True

    def __init__(self, *, window: int = 256, overlap: int = 64) -> None:
        self.window, self.overlap = window, overlap

    @property
    def needs(self) -> Mapping[str, str]:
        """Markers that stand behind the text and are near their mentions all the same."""
        remedy = "take another encoder, such as model/minilm, or ask a decoder (-c task/attribute_instruction)"
        return dict.fromkeys((SHARED_POSITIONS, DIRECTED_ATTENTION), remedy)

    def examples(
        self, document: Document, source: Source, coverage: Coverage | None = None, *, training: bool = False
    ) -> list[AttributeExample]:
        """Windows with the mentions that they ask about."""
        coverage = Coverage() if coverage is None else coverage
        coverage.of = self.counted
        document, labels = document.joined(), AttributeLabels(source.schema)
        ids, offsets = source.encoder.encode(document.text)
        mentions = marked_mentions(document, source.schema, offsets)
        budget = self.window - len(source.encoder.prefix) - len(source.encoder.suffix)
        borne = {name: labels.borne_by(name) for name in source.schema.entity_names}
        asked = {
            place: (mention.first, mention.last)
            for place, mention in enumerate(mentions)
            if borne[mention.entity.type] and mention.last - mention.first <= budget
        }
        within = {mention.entity.id: "longer than a window" for mention in mentions}
        within |= dict.fromkeys((mentions[place].entity.id for place in asked), "")
        reasons = {entity.id: why for entity in document.entities if (why := within.get(entity.id, "no word in it"))}
        gold = gold_classes(document, labels, reasons, coverage)
        coverage.candidates += sum(len(borne[mentions[place].entity.type]) for place in asked)

        def classes(place: int) -> tuple[int, ...]:
            said, may = gold.get(mentions[place].entity.id, {}), borne[mentions[place].entity.type]
            return tuple(said.get(of, 0) if of in may else NOT_ASKED for of in range(len(labels.attributes)))

        found = []
        for number, cut, inside in owned_windows(document.text, offsets, budget, self.overlap, asked):
            window = marked_window(cut, ids, mentions, source.encoder)
            index = {place: rank for rank, place in enumerate(window.shown)}
            found.append(
                AttributeExample(
                    self.id_of(document, source, number),
                    document.id,
                    source.corpus,
                    self.name,
                    window.input_ids,
                    window.position_ids,
                    tuple(mentions[place].entity.id for place in window.shown),
                    tuple(mentions[place].type for place in window.shown),
                    window.marker_positions,
                    tuple(index[place] for place in inside),
                    tuple(classes(place) for place in inside),
                )
            )
        return found

    def gold_output(self, example: AttributeExample, encoder: SubwordEncoder) -> AttributeOutput:
        """The gold classes of each mention."""
        said = {
            place: [(of, chosen, None) for of, chosen in enumerate(classes) if chosen > 0] for place, classes in enumerate(example.classes)
        }
        return {place: named for place, named in said.items() if named}

    def annotations(
        self,
        document: Document,
        examples: Sequence[AttributeExample],
        outputs: Mapping[str, AttributeOutput],
        schema: Schema,
        outcomes: Counter[str] | None = None,
    ) -> Document:
        """The document's entities with their attributes."""
        labels = AttributeLabels(schema)
        said = [
            (example.mentions[example.asked[place]], of, chosen, probability)
            for example in examples
            for place, named in outputs[example.id].items()
            for of, chosen, probability in named
        ]
        return with_attributes(document, said, labels)
