"""FHIR R4: a transaction Bundle for each note, with an Observation for each mention.

A type of mention may be anything, so no resource of a clinical meaning (Condition, MedicationStatement) is made of it; who knows what a
type means can make one of the Observation, which holds all that was found:

====================  ====================================================================================================
``code``              the type; its system is `SYSTEM`
``valueString``       the mention as the note has it
``extension``         where it stands: HL7's ``derivation-reference`` for each fragment, its offset and length in Unicode code points of
                      the decoded attachment; confidence; events and links to other mentions, with theirs
``derivedFrom``       the note
``component``         attributes
``modifierExtension`` ``urn:clinical-ie:negated``, where the note denies it: who doesn't know it must not take the Observation for a finding
``status``            preliminary: nobody has looked at it; ``meta.security`` says AIAST, asserted by artificial intelligence
====================  ====================================================================================================

Ids are made of the note's id, type and place, so that a note that is sent again replaces its Observations.

Reference: https://hl7.org/fhir/R4/observation.html; http://hl7.org/fhir/StructureDefinition/derivation-reference; the pattern of modifier
extensions is that of Miller TA et al. The SMART Text2FHIR Pipeline (2023).
"""

from __future__ import annotations

import json
import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import IO, Any, ClassVar

from clinical_ie.document import Attribute, Document, Entity, bare_role
from clinical_ie.extraction.outputs.assertions import denied
from clinical_ie.extraction.outputs.rows import ranges
from clinical_ie.extraction.outputs.writer import PartWriter

SYSTEM = "urn:clinical-ie:type"
_PLACE = "http://hl7.org/fhir/StructureDefinition/derivation-reference"
_CONFIDENCE, _EVENT, _LINK, _NEGATED = (f"urn:clinical-ie:{name}" for name in ("confidence", "event", "link", "negated"))
_BY_MACHINE = {"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "AIAST"}
_IDS = uuid.uuid5(uuid.NAMESPACE_URL, SYSTEM)


class FhirBundles(PartWriter):
    """NDJSON, a Bundle a line; to send one is to POST its line to the server's base address."""

    ending: ClassVar[str] = ".ndjson"

    def begin(self, files: list[IO[bytes]]) -> None:
        """Start a file."""
        (self._file,) = files

    def add(self, document: Document, meta: Mapping[str, str]) -> None:
        """Write a line."""
        self._file.write(json.dumps(self._bundle(document, meta), ensure_ascii=False).encode() + b"\n")

    def _bundle(self, document: Document, meta: Mapping[str, str]) -> dict[str, Any]:
        resources = _Observations(document, meta, self.origin.system, self.origin.time.isoformat(timespec="seconds")).resources()
        entries = [
            {
                "fullUrl": f"urn:uuid:{resource['id']}",
                "resource": resource,
                "request": {"method": "PUT", "url": f"Observation/{resource['id']}"},
            }
            for resource in resources
        ]
        bundle: dict[str, Any] = {"resourceType": "Bundle", "id": _id(document.id), "type": "transaction"}
        return bundle | ({"entry": entries} if entries else {})


class _Observations:
    def __init__(self, document: Document, meta: Mapping[str, str], system: str, issued: str) -> None:
        self.document, self.meta, self.system, self.issued = document, meta, system, issued
        self.note = _note(document.id, meta)
        self.ids: dict[str, str] = {}
        taken: set[str] = set()
        for entity in document.entities:
            name = f"{document.id}\0{entity.type}\0{ranges(entity.span)}"
            while (made := _id(name)) in taken:
                name += "\0"
            taken.add(made)
            self.ids[entity.id] = made
        self.triggers = {event.id: event.trigger for event in document.events}
        self.attributes: dict[str, list[Attribute]] = defaultdict(list)
        for attribute in document.attributes:
            self.attributes[self.triggers.get(attribute.target, attribute.target)].append(attribute)
        self.links: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for mention, extension in self._links():
            self.links[mention].append(extension)

    def resources(self) -> list[dict[str, Any]]:
        """One for each mention."""
        return [self._observation(entity) for entity in self.document.entities]

    def _observation(self, entity: Entity) -> dict[str, Any]:
        attributes = self.attributes[entity.id]
        extensions = [self._place(start, end) for start, end in entity.span.fragments]
        if entity.confidence is not None:
            extensions.append({"url": _CONFIDENCE, "valueDecimal": entity.confidence})
        resource: dict[str, Any] = {
            "resourceType": "Observation",
            "id": self.ids[entity.id],
            "meta": {"security": [_BY_MACHINE]},
            "extension": extensions + self.links[entity.id],
        }
        if denied(attributes):
            resource["modifierExtension"] = [{"url": _NEGATED, "valueBoolean": True}]
        resource |= {"status": "preliminary", "code": _code(entity.type)}
        for key in ("subject", "encounter"):
            if key in self.meta:
                resource[key] = {"reference": self.meta[key]}
        resource |= {"issued": self.issued, "valueString": self.document.covered(entity.span), "device": {"display": self.system}}
        resource["derivedFrom"] = [self.note]
        if attributes:
            resource["component"] = [_component(attribute) for attribute in attributes]
        return resource

    def _place(self, start: int, end: int) -> dict[str, Any]:
        inner = [
            {"url": "reference", "valueReference": self.note},
            {"url": "offset", "valueInteger": start},
            {"url": "length", "valueInteger": end - start},
        ]
        return {"extension": inner, "url": _PLACE}

    def _links(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """A mention and what it is told of a relation or an event."""
        anchors = self.document.anchors()
        for relation in self.document.relations:
            head, tail = anchors[relation.head].id, anchors[relation.tail].id
            yield head, self._link(_LINK, relation.type, relation.confidence, tail)
        for event in self.document.events:
            yield event.trigger, self._link(_EVENT, event.type, event.confidence)
            confidences = event.argument_confidences or (None,) * len(event.arguments)
            for (role, target), confidence in zip(event.arguments, confidences, strict=True):
                yield event.trigger, self._link(_LINK, bare_role(role), confidence, anchors[target].id, event.type)

    def _link(self, url: str, kind: str, confidence: float | None, target: str | None = None, event: str | None = None) -> dict[str, Any]:
        inner: list[dict[str, Any]] = [{"url": "type", "valueString": _string(kind)}]
        if event is not None:
            inner.append({"url": "event", "valueString": _string(event)})
        if target is not None:
            inner.append({"url": "target", "valueReference": {"reference": f"Observation/{self.ids[target]}"}})
        if confidence is not None:
            inner.append({"url": "confidence", "valueDecimal": confidence})
        return {"extension": inner, "url": url}


def _note(document_id: str, meta: Mapping[str, str]) -> dict[str, Any]:
    """A reference to the resource that the note came from; to a note from elsewhere by its id, which a server need not know."""
    if "source" in meta:
        return {"reference": meta["source"]}
    return {"type": "DocumentReference", "identifier": {"value": document_id}}


def _component(attribute: Attribute) -> dict[str, Any]:
    value = {"valueBoolean": True} if attribute.value is None else {"valueString": _string(attribute.value)}
    confidence = {} if attribute.confidence is None else {"extension": [{"url": _CONFIDENCE, "valueDecimal": attribute.confidence}]}
    return {**confidence, "code": _code(attribute.type), **value}


def _code(name: str) -> dict[str, Any]:
    """A type as a code, which has single blanks only, and none at its ends."""
    return {"coding": [{"system": SYSTEM, "code": _string(" ".join(name.split()))}], "text": _string(name)}


def _string(text: str) -> str:
    """A string of FHIR, which is never empty."""
    return text or "_"


def _id(name: str) -> str:
    return str(uuid.uuid5(_IDS, name))
