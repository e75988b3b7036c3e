"""Documents to tasks, and what a task cannot hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from clinical_ie.document import Document, Entity, Event, bare_role
from clinical_ie.formats.findings import Findings
from clinical_ie.formats.label_studio.labeling import ATTRIBUTE, CONTINUED, EVENT, FLAG, MENTIONS, TEXT, Labeling, argument_label
from clinical_ie.formats.losses import ROLE_NAMES, ROLE_NUMBERS, note_losses

DOCUMENT_ID = "document_id"
"""The field of a task's data that says which document it is."""
TO_TRIGGERS = "trigger references"
"""They come back as references to the events."""


def render(
    document: Document,
    labeling: Labeling | None = None,
    findings: Findings | None = None,
    path: Path | str = "",
    *,
    system: str = "clinical_ie",
) -> dict[str, Any]:
    """A task that shows a document's annotations as a prediction; `parse` reads it back.

    Confidences of mentions are scores of their regions, and their mean is the score of the prediction. Those of relations have no place.

    Args:
        document: What to render.
        labeling: Says which attributes are free text.
        findings: Collects what has no place in a task; strict when left out.
        path: Of the file that the task is for, for messages.
        system: The version of the model.

    Raises:
        FileFormatError: Something has no place, in strict mode.
    """
    findings = Findings() if findings is None else findings
    held, changed = _held(document)
    note_losses(document, held, changed, findings, path, "Label Studio")
    texts = frozenset() if labeling is None else labeling.texts
    prediction: dict[str, Any] = {"model_version": system, "result": _Regions(held).results(texts)}
    scores = [entity.confidence for entity in held.entities if entity.confidence is not None]
    if scores:
        prediction["score"] = fmean(scores)
    return {"data": {TEXT: document.text, DOCUMENT_ID: document.id}, "predictions": [prediction]}


class _Regions:
    """The regions of one document and what stands at them."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.taken = {entity.id for entity in document.entities}
        self.region = {entity.id: entity.id for entity in document.entities} | {event.id: event.trigger for event in document.events}
        self.spans = {entity.id: entity.span for entity in document.entities}

    def results(self, texts: Collection[str]) -> list[dict[str, Any]]:
        """Everything that stands in a prediction; order is that of the document."""
        document, found = self.document, list[dict[str, Any]]()
        for entity in document.entities:
            found += self._mention(entity)
        for event in document.events:
            found.append(self._at(event.trigger, EVENT, "choices", "choices", event.type))
        for attribute in document.attributes:
            region, name = self.region[attribute.target], ATTRIBUTE + attribute.type
            if attribute.type in texts and attribute.value is not None:
                found.append(self._at(region, name, "textarea", "text", attribute.value))
            else:
                found.append(self._at(region, name, "choices", "choices", FLAG if attribute.value is None else attribute.value))
        for relation in document.relations:
            found.append(_relation(self.region[relation.head], self.region[relation.tail], relation.type))
        for event in document.events:
            for role, target in event.arguments:
                found.append(_relation(event.trigger, self.region[target], argument_label(event.type, bare_role(role))))
        return found

    def _mention(self, entity: Entity) -> list[dict[str, Any]]:
        """A region for each fragment, and what holds them together."""
        found, links, last = [], [], ""
        for rank, (start, end) in enumerate(entity.span.fragments, 1):
            name = entity.id if rank == 1 else self._fresh(f"{entity.id}.{rank}")
            value = {"start": start, "end": end, "text": self.document.text[start:end], "labels": [entity.type]}
            region: dict[str, Any] = {
                "id": name,
                "from_name": MENTIONS,
                "to_name": TEXT,
                "type": "labels",
                "value": value,
                "origin": "prediction",
            }
            if entity.confidence is not None:
                region["score"] = entity.confidence
            found.append(region)
            if last:
                links.append(_relation(last, name, CONTINUED))
            last = name
        return found + links

    def _fresh(self, name: str) -> str:
        while name in self.taken:
            name += "_"
        self.taken.add(name)
        return name

    def _at(self, region: str, control: str, kind: str, key: str, value: str) -> dict[str, Any]:
        start, end = self.spans[region].fragments[0]
        place = {"start": start, "end": end, "text": self.document.text[start:end]}
        # the text of a region and that of a text area have one name
        return {"id": region, "from_name": control, "to_name": TEXT, "type": kind, "value": place | {key: [value]}}


def _relation(head: str, tail: str, label: str) -> dict[str, Any]:
    return {"type": "relation", "from_id": head, "to_id": tail, "direction": "right", "labels": [label]}


def _held(document: Document) -> tuple[Document, Counter[str]]:
    """What a task holds of a document, and how much of it comes back otherwise."""
    changed: Counter[str] = Counter()
    events: dict[str, Event] = {}
    for event in document.events:  # a region cannot tell two events apart
        events.setdefault(event.trigger, event)
    nodes = {entity.id for entity in document.entities} | {event.id for event in events.values()}
    kept = tuple(event.linking(nodes) for event in events.values())
    labels = {event.trigger: f"{event.type}: " for event in kept} | {event.id: f"{event.type}: " for event in kept}
    relations = tuple(
        relation
        for relation in document.relations
        if {relation.head, relation.tail} <= nodes
        and relation.type != CONTINUED
        and not _like_argument(relation.type, labels.get(relation.head))
    )
    attributes = tuple(
        attribute for attribute in document.attributes if attribute.target in nodes and attribute.value not in ("", FLAG) and attribute.type
    )
    changed[ROLE_NAMES] = sum(relation.roles != ("Arg1", "Arg2") for relation in relations)
    for event in kept:
        seen: Counter[str] = Counter()
        for role, target in event.arguments:
            seen[bare_role(role)] += 1
            changed[ROLE_NUMBERS] += role != numbered(bare_role(role), seen[bare_role(role)])
            changed[TO_TRIGGERS] += target in events
    changed[TO_TRIGGERS] += sum((relation.head in events) + (relation.tail in events) for relation in relations)
    changed[TO_TRIGGERS] += sum(attribute.target in events for attribute in attributes)
    held = replace(document, relations=relations, events=kept, attributes=attributes, equivalences=(), normalizations=(), comments=())
    return held, changed


def _like_argument(label: str, opening: str | None) -> bool:
    return opening is not None and label.startswith(opening)


def numbered(role: str, rank: int) -> str:
    """A role with the number that BRAT puts behind it from its second time on.

    Example:
        >>> numbered("Amount", 1), numbered("Amount", 2)
        ('Amount', 'Amount2')
    """
    return role if rank == 1 else f"{role}{rank}"
