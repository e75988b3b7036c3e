"""Attributes by instruction: what holds of mentions that the prompt numbers, a line of the answer for each attribute and value."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from clinical_ie.document import Document, Span
from clinical_ie.errors import SettingError
from clinical_ie.schema import Schema
from clinical_ie.tasks.attributes import AttributeLabels, gold_classes, with_attributes
from clinical_ie.tasks.coverage import Coverage
from clinical_ie.tasks.instruction import Instruction, ResponseName
from clinical_ie.tasks.task import Finds


class AttributeInstruction(Instruction):
    """Negation, assertion, polarity and the like of given mentions: ``>POLARITY=NEG``, then the numbers of mentions.

    An attribute is asked and answered as a link from its mention to itself, so that prompts, grammars and parsing are those of links.
    Of two values of one attribute for a mention, which the grammar allows, the first stands.

    Args:
        response: As of `Instruction`; a syntax of lines.
        options: Those of `Instruction`.
    """

    name: ClassVar[str] = "attribute_instruction"
    kind: ClassVar[Literal["entities", "relations", "joint", "attributes"]] = "attributes"
    finds: ClassVar[Finds] = "attributes"
    needs_mentions: ClassVar[bool] = True

    def __init__(self, response: ResponseName = "grouped", **options: Any) -> None:
        super().__init__(response, **options)
        if self.response.grammar is None:
            raise SettingError(f"attributes are answered in lines, and {response} is none of their syntaxes; take grouped")
        if self.prompt_template.attributes is None:
            template = self.prompt_template.name
            raise SettingError(f"prompt template {template} has no words for attributes; add `attributes` as in templates/unified.yaml")

    def _gold(
        self, document: Document, schema: Schema, owner: Mapping[str, int | None], coverage: Coverage
    ) -> list[tuple[int, str, str, int]]:
        labels = AttributeLabels(schema)
        reasons = {
            entity.id: "the mention crosses the end of a segment" if entity.id in owner else "no word in it"
            for entity in document.entities
            if owner.get(entity.id) is None
        }
        gold = gold_classes(document, labels, reasons, coverage)
        return [
            (at, name, name, labels.rank_of(place, chosen))
            for name, said in gold.items()
            for place, chosen in sorted(said.items())
            if (at := owner[name]) is not None
        ]

    def _linked(
        self,
        document: Document,
        links: Sequence[tuple[tuple[str, Span] | str, tuple[str, Span] | str, int, float | None]],
        schema: Schema,
        outcomes: Counter[str],
    ) -> Document:
        labels = AttributeLabels(schema)
        types = {entity.id: entity.type for entity in document.entities}
        found: dict[tuple[str, int], tuple[int, float | None]] = {}
        for mention, _, rank, sure in links:
            place, chosen = labels.class_at(rank)
            assert isinstance(mention, str)
            if place not in labels.borne_by(types[mention]):
                outcomes["attributes that the schema does not allow"] += 1
            elif (mention, place) in found:
                outcomes["second values of a mention"] += 1
            else:
                found[mention, place] = chosen, sure
        return with_attributes(document, [(mention, place, chosen, sure) for (mention, place), (chosen, sure) in found.items()], labels)
