"""Ids as BRAT wants them: a letter for the kind, and something behind it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from clinical_ie.document import Attribute, Comment, Document, Entity, Equivalence, Normalization, Relation, next_id

_FITS = {kind: re.compile(rf"[{kind}][!-~]+").fullmatch for kind in ("T", "E", "R", "AM", "N")}
_COMMENT = re.compile(r"#[!-~]*").fullmatch


class _Named(Protocol):
    @property
    def id(self) -> str: ...


def with_brat_ids(document: Document) -> Document:
    """The document itself, or one whose ids begin as BRAT wants them, references included.

    Ids of normalizations are a name space of their own in a `Document`; here they become distinct.
    """
    kinds: tuple[tuple[str, Sequence[_Named]], ...] = (
        ("T", document.entities), ("E", document.events), ("R", document.relations), ("AM", document.attributes),
    )  # fmt: skip
    taken = {item.id for _, items in kinds for item in items}
    renamed: dict[str, str] = {}
    for kind, items in kinds:
        if odd := [item.id for item in items if not _FITS[kind](item.id)]:
            renamed.update(zip(odd, _numbered(kind[0], taken, len(odd)), strict=True))
    entries: list[str] = [entry.id for entry in document.normalizations]
    given: set[str] = set()
    odd_entries = []
    for rank, name in enumerate(entries):
        if not _FITS["N"](name) or name in given:
            odd_entries.append(rank)
        given.add(name)
    for rank, name in zip(odd_entries, _numbered("N", {*taken, *entries}, len(odd_entries)), strict=True):
        entries[rank] = name
    odd_comments = any(not _COMMENT(comment.id) for comment in document.comments)
    if not renamed and not odd_entries and not odd_comments:
        return document
    of_entries = {entry.id: name for entry, name in zip(document.normalizations, entries, strict=True)}

    def new(name: str) -> str:
        return renamed.get(name, name)

    def of_comment(name: str) -> str:
        return new(name) if name in taken else of_entries.get(name, name)

    return Document(
        document.id,
        document.text,
        tuple(Entity(new(e.id), e.type, e.span, e.confidence) for e in document.entities),
        tuple(Relation(new(r.id), r.type, new(r.head), new(r.tail), r.roles, r.confidence) for r in document.relations),
        tuple(
            replace(e, id=new(e.id), trigger=new(e.trigger), arguments=tuple((role, new(to)) for role, to in e.arguments))
            for e in document.events
        ),
        tuple(Attribute(new(a.id), a.type, new(a.target), a.value, a.confidence) for a in document.attributes),
        tuple(Equivalence(g.type, tuple(new(member) for member in g.members)) for g in document.equivalences),
        tuple(
            Normalization(name, n.type, new(n.target), n.entry, n.text) for name, n in zip(entries, document.normalizations, strict=True)
        ),
        tuple(
            Comment(c.id if _COMMENT(c.id) else f"#{rank}", c.type, of_comment(c.target), c.text)
            for rank, c in enumerate(document.comments, 1)
        ),
    )


def _numbered(prefix: str, taken: set[str], count: int) -> list[str]:
    """So many free ids, counting on from the highest in use."""
    first = int(next_id(prefix, taken)[len(prefix) :]) if count else 0
    return [f"{prefix}{first + rank}" for rank in range(count)]
