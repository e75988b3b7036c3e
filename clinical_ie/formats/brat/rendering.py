"""Documents to standoff records, and what BRAT cannot hold."""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path

from clinical_ie.document import Document, Equivalence, Relation
from clinical_ie.errors import printable
from clinical_ie.formats.brat.identifiers import with_brat_ids
from clinical_ie.formats.findings import Findings

_LINE_ENDS = str.maketrans("\r\n", "  ")
_CONTROL = r"\x00-\x1f\x7f-\x9f\ud800-\udfff"
_NOT_IN_NAMES = re.compile(rf"[\s{_CONTROL}]")
_NOT_IN_ROLES = re.compile(rf"[\s:{_CONTROL}]")
_NOT_IN_VALUES = re.compile(rf"[{_CONTROL}]|\A\s|\s\Z")
_NOT_IN_TEXTS = re.compile(r"[\x00\ud800-\udfff]")


def render(document: Document, findings: Findings | None = None, path: Path | str = "") -> str:
    """The standoff records of a document; `parse` reads them back.

    Line breaks inside a mention or a note become blanks, as BRAT itself writes them; ids of other formats
    become BRAT's. Types and roles with white space, roles and types of events with a colon, and values and entries with
    control characters, line ends or blanks at an end would be read as something else: each is an error in strict mode. In
    lenient mode such characters become ``_``, and every annotation is counted.

    Args:
        document: What to render.
        findings: Collects what BRAT cannot hold; strict when left out.
        path: Of the file that the records are for, for messages.

    Raises:
        FileFormatError: BRAT cannot hold something, in strict mode.
    """
    findings = Findings() if findings is None else findings
    given, document = document, with_brat_ids(document)
    fitting = _Fitting(given, document, findings, path or f"{document.id}.ann")
    out: list[str] = []
    text = document.text
    for entity in document.entities:
        fragments = entity.span.fragments
        ranges = ";".join([f"{start} {end}" for start, end in fragments])
        covered = " ".join([text[start:end] for start, end in fragments]).translate(_LINE_ENDS)
        out.append(f"{entity.id}\t{fitting.name(entity.type, entity.id)} {ranges}\t{covered}")
    for event in document.events:
        arguments = "".join([f" {fitting.role(role, event.id)}:{target}" for role, target in event.arguments])
        out.append(f"{event.id}\t{fitting.role(event.type, event.id, 'type')}:{event.trigger}{arguments}")
    for relation in document.relations:
        one, other = fitting.roles(relation)
        out.append(f"{relation.id}\t{fitting.name(relation.type, relation.id)} {one}:{relation.head} {other}:{relation.tail}")
    for attribute in document.attributes:
        value = "" if attribute.value is None else f" {fitting.value(attribute.value, attribute.id)}"
        out.append(f"{attribute.id}\t{fitting.name(attribute.type, attribute.id)} {attribute.target}{value}")
    for group in document.equivalences:
        if fitting.has_members(group):
            out.append(f"*\t{fitting.name(group.type, 'a group')} {' '.join(group.members)}")
    for entry in document.normalizations:
        name, target = fitting.name(entry.type, entry.id), f"{entry.target} {fitting.value(entry.entry, entry.id, 'entry')}"
        out.append(f"{entry.id}\t{name} {target}\t{fitting.text(entry.text, entry.id)}")
    for comment in document.comments:
        name, target = fitting.name(comment.type, comment.id), fitting.name(comment.target, comment.id, "target")
        out.append(f"{comment.id}\t{name} {target}\t{fitting.text(comment.text, comment.id)}")
    return "\n".join(out) + "\n" if out else ""


class _Fitting:
    """Names and values as BRAT can hold them: refused in strict mode, replaced and counted in lenient mode."""

    def __init__(self, given: Document, written: Document, findings: Findings, path: Path | str) -> None:
        self.given, self.written, self.findings, self.path = given, written, findings, path

    @cached_property
    def given_ids(self) -> dict[str, str]:
        """Id as it is written -> id as the document has it."""
        kinds = ("entities", "events", "relations", "attributes", "normalizations", "comments")
        rows = ((getattr(self.written, kind), getattr(self.given, kind)) for kind in kinds)
        return {new.id: old.id for written, given in rows for new, old in zip(written, given, strict=True)}

    def name(self, name: str, owner: str, what: str = "type") -> str:
        """A type, or whatever else one blank ends."""
        return name if name and not _NOT_IN_NAMES.search(name) else self._mended(name, _NOT_IN_NAMES, owner, what, "white space")

    def role(self, name: str, owner: str, what: str = "role") -> str:
        """A role or the type of an event, which a colon ends."""
        fits = name and not _NOT_IN_ROLES.search(name)
        return name if fits else self._mended(name, _NOT_IN_ROLES, owner, what, "white space or a colon")

    def value(self, value: str, owner: str, what: str = "value") -> str:
        """What the end of the line or a tab ends."""
        fits = value and not _NOT_IN_VALUES.search(value)
        return value if fits else self._mended(value, _NOT_IN_VALUES, owner, what, "a tab, a line end or a blank at its end")

    def text(self, text: str, owner: str) -> str:
        """A note, with blanks for line ends."""
        text = text.translate(_LINE_ENDS)
        return self._mended(text, _NOT_IN_TEXTS, owner, "text", "such characters") if _NOT_IN_TEXTS.search(text) else text

    def roles(self, relation: Relation) -> tuple[str, str]:
        """Both roles of a relation; Arg2 before Arg1 means to a reader that head and tail changed places."""
        if relation.roles == ("Arg2", "Arg1"):
            self._refuse(f"the roles of {relation.id} are Arg2 and Arg1, which would exchange its head and its tail")
            return "Arg1", "Arg2"
        return self.role(relation.roles[0], relation.id), self.role(relation.roles[1], relation.id)

    def has_members(self, group: Equivalence) -> bool:
        """Whether a group can be written at all."""
        if not group.members:
            problem = f"document {self.given.id}: a group has no members, which BRAT cannot hold"
            self.findings.error(self.path, 0, "unrepresentable", problem, remedy="remove it, or leave it out (--lenient)")
            self.findings.losses["groups"] += 1
        return bool(group.members)

    def _mended(self, text: str, pattern: re.Pattern[str], owner: str, what: str, reason: str) -> str:
        owner = printable(self.given_ids.get(owner, owner))[:40]
        self._refuse(f"the {what} of {owner} {f'holds {reason}, or a control character' if text else 'is empty'}")
        return pattern.sub("_", text) or "_"

    def _refuse(self, problem: str) -> None:
        remedy = "rename it, or let such characters be replaced by _ (--lenient)"
        self.findings.error(self.path, 0, "name-replaced", f"document {self.given.id}: {problem}, which BRAT cannot hold", remedy=remedy)
