"""OMOP CDM v5.4: a row of NOTE_NLP for each mention.

``lexical_variant`` is text of the note: that is what the table is for, and why its files are as worthy of protection as the notes. The
``snippet`` around it is left empty unless it is asked for.

Reference: https://ohdsi.github.io/CommonDataModel/cdm54.html#note_nlp
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Mapping
from typing import IO, ClassVar

from clinical_ie.document import Attribute, Document, Entity, bare_role
from clinical_ie.extraction.outputs.assertions import of_the_patient_now, when
from clinical_ie.extraction.outputs.csv_tables import write_rows
from clinical_ie.extraction.outputs.rows import ranges
from clinical_ie.extraction.outputs.writer import PartWriter

COLUMNS = (
    "note_nlp_id", "note_id", "section_concept_id", "snippet", "offset", "lexical_variant", "note_nlp_concept_id",
    "note_nlp_source_concept_id", "nlp_system", "nlp_date", "nlp_datetime", "term_exists", "term_temporal", "term_modifiers",
)  # fmt: skip
"""Of NOTE_NLP in CDM v5.4, in their order."""
_LONGEST, _LONGEST_MODIFIERS = 250, 2000
_ROWS_OF_A_PART = 1_000_000
_BESIDE = 100
_NO_CONCEPT = 0
_PLAIN = re.compile(r'[^,="\s]+(?: [^,="\s]+)*').fullmatch


class OmopNotes(PartWriter):
    """``note_nlp/part-*.csv``, and ``notes/part-*.csv``: which ``note_id`` each document has.

    A document id that is a number is the note's id; others get a number made of their hash, which takes a column of 64 bits. So does
    ``note_nlp_id`` (the part's number and the row's) behind part 2,147. The mention's type, span and confidence, attributes and linked
    mentions are modifiers. No concepts are assigned: their columns hold 0.
    """

    places: ClassVar[tuple[str, ...]] = ("note_nlp/part-", "notes/part-")
    ending: ClassVar[str] = ".csv"

    def begin(self, files: list[IO[bytes]]) -> None:
        """Start both tables."""
        self._rows, self._notes = files
        self._number = self.number * _ROWS_OF_A_PART
        write_rows(self._rows, [COLUMNS])
        write_rows(self._notes, [("note_id", "document")])

    def add(self, document: Document, meta: Mapping[str, str]) -> None:
        """Write the rows of a document."""
        name = note_id(document.id)
        write_rows(self._notes, [(name, document.id)])
        attributes: dict[str, list[Attribute]] = defaultdict(list)
        triggers = {event.id: event.trigger for event in document.events}
        for attribute in document.attributes:
            attributes[triggers.get(attribute.target, attribute.target)].append(attribute)
        linked = _linked(document)
        for entity in document.entities:
            self._number += 1
            found = attributes[entity.id]
            write_rows(
                self._rows,
                [
                    (
                        self._number,
                        name,
                        _NO_CONCEPT,
                        self._cut(_snippet(document.text, entity), "snippet") if self.origin.snippets else "",
                        entity.start,
                        self._cut(document.covered(entity.span), "lexical_variant"),
                        _NO_CONCEPT,
                        _NO_CONCEPT,
                        self.origin.system[:_LONGEST],
                        self.origin.time.date().isoformat(),
                        self.origin.time.replace(tzinfo=None).isoformat(" ", "seconds"),
                        "Y" if of_the_patient_now(found) else "N",
                        when(found),
                        self._modifiers(entity, found, linked.get(entity.id, [])),
                    )
                ],
            )

    def _cut(self, text: str, column: str) -> str:
        if len(text) > _LONGEST:
            self.counts[f"OMOP: {column} cut at {_LONGEST} characters"] += 1
        return text[:_LONGEST]

    def _modifiers(self, entity: Entity, attributes: list[Attribute], linked: list[tuple[str, str]]) -> str:
        """Names and values, ``,`` between them; values that would be mistaken for something else are JSON strings."""
        pairs = [("type", entity.type), ("span", ranges(entity.span))]
        if entity.confidence is not None:
            pairs.append(("confidence", f"{entity.confidence:.6g}"))
        pairs += [(attribute.type, "true" if attribute.value is None else attribute.value) for attribute in attributes]
        text = ""
        for name, value in pairs + linked:
            more = f"{',' if text else ''}{_plain(name)}={_plain(value)}"
            if len(text) + len(more) > _LONGEST_MODIFIERS:
                self.counts["OMOP: modifiers without room"] += 1
            else:
                text += more
        return text


def note_id(document_id: str) -> int:
    """The number of a note: its id where that is one, else 63 bits of the id's hash.

    Example:
        >>> note_id("4711"), note_id("ward/n1")
        (4711, 2693281629934595665)
    """
    if document_id.isascii() and document_id.isdecimal() and str(int(document_id)) == document_id and int(document_id) < 2**63:
        return int(document_id)
    return int.from_bytes(hashlib.sha256(document_id.encode("utf-8", "surrogatepass")).digest()[:8]) >> 1


def _linked(document: Document) -> dict[str, list[tuple[str, str]]]:
    """Mention -> type of the link and text of the mention at its other end, for both ends of each link."""
    found: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for _, kind, head, tail in document.links():
        found[head.id].append((bare_role(kind), document.covered(tail.span)))
        found[tail.id].append((bare_role(kind), document.covered(head.span)))
    return found


def _snippet(text: str, entity: Entity) -> str:
    beside = max(0, min(_BESIDE, (_LONGEST - (entity.end - entity.start)) // 2))
    return text[max(0, entity.start - beside) : entity.end + beside]


def _plain(text: str) -> str:
    return text if _PLAIN(text) else json.dumps(text, ensure_ascii=False)
