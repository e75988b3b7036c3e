"""What a format cannot hold, counted by kind of annotation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from clinical_ie.document import Attribute, Document, Entity, Event, Relation
from clinical_ie.errors import printable, shown
from clinical_ie.formats.findings import Findings

ROLE_NAMES = "relation role names"
ROLE_NUMBERS = "event role numbers"


def counted(document: Document) -> Counter[str]:
    """Annotations of a document by kind."""
    return Counter(
        {
            "mentions": len(document.entities),
            "relations": len(document.relations),
            "events": len(document.events),
            "event arguments": sum(len(event.arguments) for event in document.events),
            "attributes": len(document.attributes),
            "groups": len(document.equivalences),
            "normalizations": len(document.normalizations),
            "comments": len(document.comments),
        }
    )


def note_losses(given: Document, held: Document, changed: Counter[str], findings: Findings, path: Path | str, name: str) -> None:
    """Note what of a document a format does not hold.

    Args:
        given: The document.
        held: What the format holds of it.
        changed: Kind -> how many parts are kept under another name.
        findings: Collects the losses; the first document that loses anything stops a strict writer.
        path: The file that is written.
        name: The format.

    Raises:
        FileFormatError: Something is lost, in strict mode.
    """
    losses = counted(given) - counted(held) + changed
    if losses:
        kept = {item.id for item in _with_ids(held)}
        first = next((item.id for item in _with_ids(given) if item.id not in kept), None)
        which = f" (such as {shown(first)})" if first else ""
        problem = f"document {printable(given.id)[:100]}: {in_words(losses)}{which} have no place in {name}"
        remedy = "convert to brat or jsonl, or leave them out and count them (--lenient)"
        findings.error(path, 0, "unrepresentable", problem, remedy=remedy)
        findings.losses.update(losses)


def _with_ids(document: Document) -> Iterator[Entity | Relation | Event | Attribute]:
    yield from document.entities
    yield from document.relations
    yield from document.events
    yield from document.attributes


def in_words(losses: Counter[str]) -> str:
    """Numbers and kinds, in the order in which they were first counted.

    Example:
        >>> in_words(Counter({"mentions": 66818, "relations": 1}))
        '66,818 mentions, 1 relation'
    """
    return ", ".join(f"{count:,} {kind if count != 1 else kind.removesuffix('s')}" for kind, count in losses.items() if count)
