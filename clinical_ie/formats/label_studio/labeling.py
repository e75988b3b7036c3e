"""The labeling interface: which types annotators can choose from, and where each kind of annotation stands."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from xml.sax.saxutils import quoteattr

from clinical_ie.document import Document, bare_role
from clinical_ie.schema import Schema

TEXT, MENTIONS, EVENT, ATTRIBUTE = "text", "mentions", "event", "attr_"
"""Names of controls; the last one stands before the type of an attribute."""
CONTINUED = "(continued)"
"""The relation from one fragment of a mention to the next."""
FLAG = "✓"
"""The choice that stands for an attribute without a value."""
_MOST_CHOICES = 30


def argument_label(event_type: str, role: str) -> str:
    """The relation that an argument of an event is.

    Example:
        >>> argument_label("Drug", "Amount")
        'Drug: Amount'
    """
    return f"{event_type}: {role}"


@dataclass(frozen=True, slots=True)
class Labeling:
    """The labels of a project.

    Attributes:
        types: Of mentions.
        events: Types of events.
        relations: Types of relations, and arguments as `argument_label` writes them.
        attributes: Type -> values to choose from, `FLAG` among them where it may have none; empty for free text.
    """

    types: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    relations: tuple[str, ...] = ()
    attributes: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @classmethod
    def of_schema(cls, schema: Schema) -> Labeling:
        """What a schema declares."""
        relations = []
        for relation in schema.relations:
            heads = relation.heads or schema.events
            relations += [argument_label(head, relation.name) for head in heads] if relation.argument else [relation.name]
        attributes = tuple((attribute.name, attribute.values or (FLAG,)) for attribute in schema.attributes)
        return cls(tuple(schema.entity_names), tuple(schema.events), tuple(dict.fromkeys(relations)), attributes)

    @classmethod
    def of_documents(cls, documents: Iterable[Document]) -> Labeling:
        """What stands in documents; attributes of many values are texts."""
        types: set[str] = set()
        events: set[str] = set()
        relations: set[str] = set()
        values: dict[str, set[str]] = {}
        for document in documents:
            types.update(entity.type for entity in document.entities)
            events.update(event.type for event in document.events)
            relations.update(relation.type for relation in document.relations)
            relations.update(argument_label(event.type, bare_role(role)) for event in document.events for role, _ in event.arguments)
            for attribute in document.attributes:
                values.setdefault(attribute.type, set()).add(FLAG if attribute.value is None else attribute.value)
        attributes = ((name, () if len(found) > _MOST_CHOICES else tuple(sorted(found))) for name, found in sorted(values.items()))
        return cls(tuple(sorted(types)), tuple(sorted(events)), tuple(sorted(relations)), tuple(attributes))

    @property
    def texts(self) -> frozenset[str]:
        """Types of attributes whose values are free text."""
        return frozenset(name for name, values in self.attributes if not values)

    def xml(self) -> str:
        """The labeling configuration of a project (Settings > Labeling Interface > Code)."""
        shown = 'perRegion="true" visibleWhen="region-selected"'
        lines = ["<View>", "  <Style>.htx-text { white-space: pre-wrap; }</Style>"]
        lines += [f'  <Labels name="{MENTIONS}" toName="{TEXT}">', *_values("Label", self.types), "  </Labels>"]
        relations = (*self.relations, CONTINUED)
        lines += ['  <Relations choice="multiple">', *_values("Relation", relations), "  </Relations>"]
        lines += [f'  <Text name="{TEXT}" value="${TEXT}" granularity="symbol"/>']
        if self.events:
            lines += [f'  <Choices name="{EVENT}" toName="{TEXT}" {shown}>', *_values("Choice", self.events), "  </Choices>"]
        for name, values in self.attributes:
            control = f"name={quoteattr(ATTRIBUTE + name)} toName={quoteattr(TEXT)} {shown}"
            lines.append(f"  <Header value={quoteattr(name)}/>")
            lines += [f"  <Choices {control}>", *_values("Choice", values), "  </Choices>"] if values else [f"  <TextArea {control}/>"]
        return "\n".join([*lines, "</View>", ""])


def _values(tag: str, values: Iterable[str]) -> list[str]:
    return [f"    <{tag} value={quoteattr(value)}/>" for value in values]
