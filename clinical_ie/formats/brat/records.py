"""Standoff records to documents."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from clinical_ie.document import (
    Attribute,
    Comment,
    Document,
    Entity,
    Equivalence,
    Event,
    Fragment,
    Normalization,
    Relation,
    Span,
    overlaps_joined,
)
from clinical_ie.errors import DocumentError
from clinical_ie.formats.brat.covered_text import last_line, lines_of
from clinical_ie.formats.brat.dangling import Records, drop_dangling
from clinical_ie.formats.brat.offsets import CHARACTERS, Positions, checked_rule, numbers
from clinical_ie.formats.findings import Findings

# Every pattern has one way to match: none of them tries a line again from another place.
_TEXT_BOUND = re.compile(r"(T\S+)\t(\S+) ([0-9]{1,18}) ([0-9]{1,18})\t(.*)", re.DOTALL).fullmatch
_FRAGMENTS = re.compile(r"(T\S+)\t(\S+) ([0-9]+ [0-9]+(?:;[0-9]+ [0-9]+)*)(?:\t(.*))?", re.DOTALL).fullmatch
_RELATION = re.compile(r"(R\S+)\t(\S+) ([^\s:]+):(\S+) ([^\s:]+):(\S+)").fullmatch
_EVENT = re.compile(r"(E\S+)\t([^\s:]+):(\S+)((?: +[^\s:]+:\S+)*)").fullmatch
_ATTRIBUTE = re.compile(r"([AM]\S+)\t(\S+) (\S+)(?: (.*))?", re.DOTALL).fullmatch
_EQUIVALENCE = re.compile(r"\*\t(\S+)((?: \S+)+)").fullmatch
_NORMALIZATION = re.compile(r"(N\S+)\t(\S+) (\S+) ([^\s\t][^\t]*)(?:\t(.*))?", re.DOTALL).fullmatch
_COMMENT = re.compile(r"(#\S*)\t(\S+) (\S+)(?:\t(.*))?", re.DOTALL).fullmatch
_ID = re.compile(r"[TREAMN#*][0-9][0-9_.-]{0,30}").fullmatch
_SHOWN_RANGES = 60
WITNESS_REMEDY = "mend the record, or let the text file win (--lenient)"

_EXPECTED = {
    "T": "'T1<tab>Type start end[;start end]<tab>covered text'",
    "E": "'E1<tab>Type:T1 Role:T2 ...'",
    "R": "'R1<tab>Type Arg1:T1 Arg2:T2'",
    "A": "'A1<tab>Type T1 [value]'",
    "M": "'M1<tab>Type T1'",
    "*": "'*<tab>Type T1 T2 ...'",
    "N": "'N1<tab>Reference T1 TERMINOLOGY:ENTRY<tab>text'",
    "#": "'#1<tab>AnnotatorNotes T1<tab>note'",
}


def parse(
    document_id: str, text: str, annotation: str, findings: Findings | None = None, *, path: str = "", offsets: str = CHARACTERS
) -> Document:
    """One document from its text and its standoff records.

    Args:
        document_id: Its id.
        text: Its text.
        annotation: What the ``.ann`` file holds.
        findings: Collects what is wrong; strict when left out.
        path: Of the ``.ann`` file, for messages.
        offsets: What the file's offsets count, one of `offsets.RULES`.

    Raises:
        FileFormatError: A broken record, or offsets that count otherwise, in strict mode.
    """
    findings = Findings() if findings is None else findings
    path = path or f"{document_id}.ann"
    lines = lines_of(annotation)
    offsets = checked_rule(text, lines, offsets, findings, path)
    return _Parser(document_id, text, lines, findings, path, Positions(text, offsets)).document()


class _Parser:
    """The records of one file, line by line."""

    def __init__(self, document_id: str, text: str, lines: list[str], findings: Findings, path: str, positions: Positions) -> None:
        self.document_id, self.text, self.lines, self.findings, self.path = document_id, text, lines, findings, path
        self.positions = positions
        self.records = Records()
        self.ranks: dict[str, int] = {}

    def document(self) -> Document:
        """The document of the records, without dangling references."""
        records, places = self.records, self.records.places
        text, lines, length = self.text, self.lines, len(self.text)
        plain = self.positions.table is None
        last = 0
        for number, line in enumerate(lines, 1):
            if number <= last or not line or line.isspace():
                continue
            kind = line[0]
            if kind == "T":
                match = _TEXT_BOUND(line) if plain else None
                if match:
                    name, label, left, right, covered = match.groups()
                    start, end = int(left), int(right)
                    if start < end <= length:
                        if end - start != len(covered) or not text.startswith(covered, start):
                            last = self.witness(((start, end),), covered, number)
                        if name in places:
                            name = self.fresh(name, number)
                        else:
                            places[name] = number
                        records.entities.append(Entity(name, label, Span(((start, end),))))
                        continue
                last = self.mention(line, number)
            elif kind == "R" and (match := _RELATION(line.rstrip())):
                name, label, role, head, other, tail = match.groups()
                if name in places:
                    name = self.fresh(name, number)
                else:
                    places[name] = number
                if role == "Arg1" and other == "Arg2":
                    records.relations.append(Relation(name, label, head, tail))
                elif role == "Arg2" and other == "Arg1":
                    records.relations.append(Relation(name, label, tail, head))
                else:
                    records.relations.append(Relation(name, label, head, tail, (role, other)))
            else:
                self.other(kind, line, number)
        try:
            return records.document(self.document_id, text)
        except DocumentError:
            drop_dangling(records, self.missing)
            return records.document(self.document_id, text)

    def other(self, kind: str, line: str, number: int) -> None:
        """Any record but mentions and relations."""
        records, stripped = self.records, line.rstrip()
        if kind == "E" and (match := _EVENT(stripped)):
            name, label, trigger, rest = match.groups()
            arguments = tuple([(role, target) for role, _, target in [part.partition(":") for part in rest.split()]])
            records.events.append(Event(self.fresh(name, number), label, trigger, arguments))
        elif kind in "AM" and (match := _ATTRIBUTE(stripped)):
            name, label, target, value = match.groups()
            records.attributes.append(Attribute(self.fresh(name, number), label, target, value))
        elif kind == "*" and (match := _EQUIVALENCE(stripped)):
            records.equivalences.append(Equivalence(match[1], tuple(match[2].split())))
            records.group_places.append(number)
        elif kind == "N" and (match := _NORMALIZATION(line)):
            name, label, target, entry, covered = match.groups()
            entry = entry.rstrip()
            name = self.fresh(name, number)
            if any(sign.isspace() for sign in entry):
                self.findings.warning(self.path, number, "blank-in-entry", f"{shown(name)}: the entry has a blank in it, which is kept")
            records.normalizations.append(Normalization(name, label, target, entry, covered or ""))
        elif kind == "#" and (match := _COMMENT(line)):
            records.comments.append(Comment(match[1], match[2], match[3], match[4] or ""))
        elif kind == "#":
            self.findings.warning(self.path, number, "file-comment", "a comment of the file, not of an annotation: not kept")
        else:
            expected = _EXPECTED.get(kind, "T, E, R, A, M, *, N or #")
            self.findings.error(self.path, number, "malformed-record", f"not a BRAT record{_blank_in_type(kind, line)}", expected=expected)

    def mention(self, line: str, number: int) -> int:
        """Note a mention with several fragments, or one that needs mending; the last line that belongs to it."""
        match = _FRAGMENTS(line)
        if not match:
            problem = f"not a mention{_blank_in_type('T', line)}"
            self.findings.error(self.path, number, "malformed-record", problem, expected=_EXPECTED["T"])
            return 0
        name, label, ranges, covered = match.groups()
        given = numbers(ranges)
        fragments = self.positions.fragments(given) if given else None
        where = f"{shown(name)} {_shown_ranges(ranges)}"
        if not fragments:
            problem = f"{where} is empty or leaves the text of {len(self.text)} characters"
            self.findings.error(self.path, number, "offsets-outside-text", problem, expected="0 <= start < end <= length of the text")
            return 0
        last = number
        if covered is None:
            self.findings.error(self.path, number, "no-covered-text", f"{where} has no covered text", expected=_EXPECTED["T"])
        else:
            last = self.witness(fragments, covered, number)
        merged = self.in_order(fragments, where, number)
        self.records.entities.append(Entity(self.fresh(name, number), label, Span(merged)))
        return last

    def witness(self, fragments: Sequence[Fragment], covered: str, number: int) -> int:
        """Hold a mention against its covered text; the last line of that."""
        last = last_line(self.text, fragments, covered, self.lines, number)
        if not last:
            where = _shown_ranges(";".join(f"{start} {end}" for start, end in fragments[:8]))
            message = f"covered text at {where.replace(' ', '-')} differs from the text file, which wins"
            self.findings.warning(self.path, number, "covered-text-differs", message, remedy=WITNESS_REMEDY)
        return last

    def in_order(self, fragments: list[Fragment], where: str, number: int) -> tuple[Fragment, ...]:
        """Fragments in the order of the text, those that overlap as one: every character of the mention is beyond doubt."""
        merged = overlaps_joined(fragments)
        if len(merged) < len(fragments):
            code, what = "fragments-overlap", "overlap; joined"
        elif merged != fragments:
            code, what = "fragments-out-of-order", "are out of order; sorted"
        elif any(one[1] == other[0] for one, other in pairwise(merged)):
            code, what = "fragments-touch", "touch each other; kept"
        else:
            return tuple(merged)
        self.findings.warning(self.path, number, code, f"{where}: fragments {what}")
        return tuple(merged)

    def fresh(self, name: str, number: int) -> str:
        """The id itself, or a new one where it is taken."""
        places = self.records.places
        if name in places:
            problem = f"id {shown(name)} is taken by line {places[name]}"
            self.findings.error(self.path, number, "duplicate-id", problem, remedy="renumber one of them")
            rank = self.ranks.get(name, 2)
            while f"{name}_{rank}" in places:
                rank += 1
            self.ranks[name] = rank + 1
            name = f"{name}_{rank}"
        places[name] = number
        return name

    def missing(self, owner: str, target: str, number: int) -> None:
        """Note a reference to something that is not there."""
        problem = f"{shown(owner)} refers to {shown(target)}, which does not exist or cannot stand there"
        self.findings.error(self.path, number, "unknown-target", problem, remedy="add it or remove the reference")


def shown(name: str) -> str:
    """An id in a message; what does not look like one may be of the note, and is not shown."""
    return name if name == "a group" or _ID(name) else f"(an id of {len(name)} characters)"


def _shown_ranges(ranges: str) -> str:
    """Offsets in a message, the first of them where there are many."""
    if len(ranges) <= _SHOWN_RANGES:
        return ranges
    return f"{ranges[:_SHOWN_RANGES].rpartition(';')[0]}..." if ";" in ranges[:_SHOWN_RANGES] else "(a very long number)"


def _blank_in_type(kind: str, line: str) -> str:
    """What to add to the message of a record that would be one without a blank in its type."""
    words = line.partition("\t")[2].partition("\t")[0].split(" ")
    if kind == "T":
        named = [word for word in words if any(map(str.isalpha, word))]
        blank = len(named) > 1 and words[-1].isdecimal()
    else:
        first = next((place for place, word in enumerate(words) if ":" in word), 0)
        blank = kind in ("E", "R") and first > (0 if kind == "E" else 1)
    return " (a type has no blank in it)" if blank else ""
