"""BRAT standoff: ``X.txt`` beside ``X.ann``.

All record kinds are read and written: ``T`` (with fragments), ``E`` (roles with numbers),
``R``, ``A`` and ``M``, ``*``, ``N`` and ``#``. Text files are never newline-translated, so
offsets into CRLF texts hold. Where the covered text of a ``T`` record disagrees with the text
file, the offsets win and the disagreement is counted.

Reference: https://brat.nlplab.org/standoff.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from clinical_ie.document import (
    Attribute,
    Comment,
    Document,
    Entity,
    Equivalence,
    Event,
    Normalization,
    Relation,
    Span,
    next_id,
)
from clinical_ie.errors import DocumentError, InputError
from clinical_ie.files import distinct, place_of, write_text
from clinical_ie.formats.findings import Findings
from clinical_ie.formats.folders import find_files, text_of

_TEXT_BOUND = re.compile(r"(T\S+)\t(\S+) ([0-9]+) ([0-9]+)\t(.*)", re.DOTALL).fullmatch
_FRAGMENTS = re.compile(r"(T\S+)\t(\S+) ([0-9]+ [0-9]+(?:;[0-9]+ [0-9]+)*)(?:\t(.*))?", re.DOTALL).fullmatch
_RELATION = re.compile(r"(R\S+)\t(\S+) ([^\s:]+):(\S+) ([^\s:]+):(\S+)\s*").fullmatch
_EVENT = re.compile(r"(E\S+)\t([^\s:]+):(\S+)((?: +[^\s:]+:\S+)*)\s*").fullmatch
_ATTRIBUTE = re.compile(r"([AM]\S+)\t(\S+) (\S+)(?: (.+?))?\s*").fullmatch
_EQUIVALENCE = re.compile(r"\*\t(\S+)((?: \S+)+)\s*").fullmatch
_NORMALIZATION = re.compile(r"(N\S+)\t(\S+) (\S+) (\S+)(?:\t(.*))?").fullmatch
_COMMENT = re.compile(r"(#\S*)\t(\S+) (\S+)(?:\t(.*))?", re.DOTALL).fullmatch
_BLANKS = str.maketrans("\r\n", "  ")

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


def read(folder: Path | str, findings: Findings | None = None, *, texts: Mapping[str, str] | None = None) -> list[Document]:
    """Documents of a folder and its sub-folders, by path; the id is the path without its ending.

    Args:
        folder: Where the files lie.
        findings: Collects what is wrong; strict when left out.
        texts: Document id -> text, for folders of ``.ann`` files without ``.txt`` beside them
            (a system's output); files whose id is not among them need a text of their own.

    Raises:
        InputError: No such folder, or none of its files can be read as BRAT.
        FileFormatError: A broken record, in strict mode.
    """
    findings = Findings() if findings is None else findings
    findings.begin()
    files = find_files(folder, (".txt", ".ann"), findings)
    if not any(".ann" in paths for paths in files.values()):
        found = "no .ann file, only .txt files" if files else "neither a .txt nor an .ann file"
        raise InputError(f"{folder}: {found} in this folder; expected BRAT files (.txt beside .ann)")
    documents = []
    for name, paths in files.items():
        if ".ann" not in paths:
            if not name.rpartition("/")[2].upper().startswith(("README", "LICENSE")):
                findings.warning(paths[".txt"], 0, "no-annotation-file", "no .ann file beside it: not read")
            continue
        text: str | None
        if ".txt" in paths:
            text = text_of(paths[".txt"], findings)
        elif texts is not None and name in texts:
            text = texts[name]
        else:
            findings.error(paths[".ann"], 0, "no-text-file", "no .txt file beside it", remedy="add the text file")
            continue
        annotation = text_of(paths[".ann"], findings)
        if text is not None and annotation is not None:
            documents.append(parse(name, text, annotation, findings, path=paths[".ann"]))
    return documents


def parse(document_id: str, text: str, annotation: str, findings: Findings | None = None, *, path: str = "") -> Document:
    """One document from its text and its standoff records.

    Raises:
        FileFormatError: A broken record, in strict mode.
    """
    findings = Findings() if findings is None else findings
    path = path or f"{document_id}.ann"
    if "\r\n" in annotation:
        annotation = annotation.replace("\r\n", "\n")
    lines = annotation.split("\n")
    length = len(text)
    entities: list[Entity] = []
    relations: list[Relation] = []
    events: list[Event] = []
    attributes: list[Attribute] = []
    equivalences: list[Equivalence] = []
    normalizations: list[Normalization] = []
    comments: list[Comment] = []
    places: dict[str, int] = {}
    group_places: list[int] = []
    skip = 0

    def fresh(name: str, number: int) -> str:
        """The id itself, or a new one where it is taken."""
        if name in places:
            findings.error(path, number, "duplicate-id", f"id {name} is taken by line {places[name]}", remedy="renumber one of them")
            rank = 2
            while f"{name}_{rank}" in places:
                rank += 1
            name = f"{name}_{rank}"
        places[name] = number
        return name

    for number, line in enumerate(lines, 1):
        if number <= skip or not line or line.isspace():
            continue
        kind = line[0]
        if kind == "T":
            match = _TEXT_BOUND(line)
            if match:
                name, label, left, right, covered = match.groups()
                start, end = int(left), int(right)
                if start < end <= length:
                    if text[start:end] != covered:
                        skip = _continuation(text[start:end], covered, lines, number)
                        if not skip:
                            _compare(text[start:end], covered, findings, path, number, f"{start}-{end}")
                    if name in places:
                        name = fresh(name, number)
                    else:
                        places[name] = number
                    entities.append(Entity(name, label, Span(((start, end),))))
                    continue
            entity, skip = _fragmented(line, text, lines, number, findings, path)
            if entity:
                entities.append(Entity(fresh(entity.id, number), entity.type, entity.span))
        elif kind == "R" and (match := _RELATION(line)):
            name, label, role, head, other, tail = match.groups()
            if name in places:
                name = fresh(name, number)
            else:
                places[name] = number
            if role == "Arg1" and other == "Arg2":
                relations.append(Relation(name, label, head, tail))
            elif role == "Arg2" and other == "Arg1":
                relations.append(Relation(name, label, tail, head))
            else:
                relations.append(Relation(name, label, head, tail, (role, other)))
        elif kind == "E" and (match := _EVENT(line)):
            name, label, trigger, rest = match.groups()
            arguments = tuple([(role, target) for role, _, target in [part.partition(":") for part in rest.split()]])
            events.append(Event(fresh(name, number), label, trigger, arguments))
        elif kind in "AM" and (match := _ATTRIBUTE(line)):
            name, label, target, value = match.groups()
            attributes.append(Attribute(fresh(name, number), label, target, value))
        elif kind == "*" and (match := _EQUIVALENCE(line)):
            equivalences.append(Equivalence(match[1], tuple(match[2].split())))
            group_places.append(number)
        elif kind == "N" and (match := _NORMALIZATION(line)):
            normalizations.append(Normalization(fresh(match[1], number), match[2], match[3], match[4], match[5] or ""))
        elif kind == "#" and (match := _COMMENT(line)):
            comments.append(Comment(match[1], match[2], match[3], match[4] or ""))
        elif kind == "#":
            findings.warning(path, number, "file-comment", "a comment of the file, not of an annotation: not kept")
        else:
            findings.error(path, number, "malformed-record", "not a BRAT record", expected=_EXPECTED.get(kind, "T, E, R, A, M, *, N or #"))
    parts = (entities, relations, events, attributes, equivalences, normalizations, comments)
    try:
        return Document(document_id, text, *(tuple(part) for part in parts))  # type: ignore[arg-type]
    except DocumentError:
        _drop_dangling(relations, events, attributes, equivalences, normalizations, entities, places, group_places, findings, path)
        return Document(document_id, text, *(tuple(part) for part in parts))  # type: ignore[arg-type]


def _continuation(expected: str, covered: str, lines: list[str], number: int) -> int:
    """The last line of a record that goes on because its covered text holds line breaks; 0 if it does not."""
    expected = expected.replace("\r\n", "\n")
    if "\n" not in expected:
        return 0
    last = number
    while covered != expected and last < len(lines) and expected.startswith(covered + "\n"):
        covered += "\n" + lines[last]
        last += 1
    return last if covered == expected and last > number else 0


def _compare(expected: str, covered: str, findings: Findings, path: str, number: int, where: str) -> None:
    if expected.translate(_BLANKS) != covered.translate(_BLANKS) and expected.split() != covered.split():
        findings.warning(path, number, "covered-text-differs", f"covered text at {where} differs from the text file, which wins")


def _fragmented(line: str, text: str, lines: list[str], number: int, findings: Findings, path: str) -> tuple[Entity | None, int]:
    """A mention with several fragments, or one that needs mending; and the last line that belongs to it."""
    match = _FRAGMENTS(line)
    last = number
    if not match:
        findings.error(path, number, "malformed-record", "not a mention", expected=_EXPECTED["T"])
        return None, 0
    name, label, ranges, covered = match.groups()
    fragments = [(int(a), int(b)) for a, b in (part.split(" ") for part in ranges.split(";"))]
    if any(not start < end <= len(text) for start, end in fragments):
        problem = f"{name} {ranges} is empty or leaves the text of {len(text)} characters"
        findings.error(path, number, "offsets-outside-text", problem, expected="0 <= start < end <= length of the text")
        return None, 0
    if covered is None:
        findings.error(path, number, "no-covered-text", f"{name} has no covered text", expected=_EXPECTED["T"])
    else:
        joined = " ".join(text[start:end] for start, end in fragments)
        if joined != covered:
            if end_line := _continuation(joined, covered, lines, number):
                last, covered = end_line, joined
            _compare(joined, covered, findings, path, number, ranges)
    merged: list[tuple[int, int]] = []
    for start, end in sorted(fragments):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    if merged != fragments:
        findings.error(path, number, "fragments-out-of-order", f"{name} {ranges}: fragments overlap or are out of order")
    return Entity(name, label, Span(tuple(merged))), last


def _drop_dangling(
    relations: list[Relation],
    events: list[Event],
    attributes: list[Attribute],
    equivalences: list[Equivalence],
    normalizations: list[Normalization],
    entities: list[Entity],
    places: dict[str, int],
    group_places: list[int],
    findings: Findings,
    path: str,
) -> None:
    """Take out every reference to something that is not there, until none is left."""

    def missing(owner: str, target: str, number: int = 0) -> None:
        problem = f"{owner} refers to {target}, which does not exist"
        findings.error(path, number or places.get(owner, 0), "unknown-target", problem, remedy="add it or remove the reference")

    mentions = {entity.id for entity in entities}
    while True:  # an event that loses its trigger takes references to itself along
        nodes = mentions | {event.id for event in events}
        kept: list[Event] = []
        changed = False
        for event in events:
            if event.trigger not in mentions:
                missing(event.id, event.trigger)
                changed = True
                continue
            arguments = tuple(pair for pair in event.arguments if pair[1] in nodes)
            for _, target in event.arguments:
                if target not in nodes:
                    missing(event.id, target)
                    changed = True
            kept.append(Event(event.id, event.type, event.trigger, arguments))
        events[:] = kept
        if not changed:
            break
    for relation in relations:
        for target in {relation.head, relation.tail} - nodes:
            missing(relation.id, target)
    relations[:] = [relation for relation in relations if relation.head in nodes and relation.tail in nodes]
    known = nodes | {relation.id for relation in relations} | {attribute.id for attribute in attributes}
    for attribute in attributes:
        if attribute.target not in known:
            missing(attribute.id, attribute.target)
    attributes[:] = [attribute for attribute in attributes if attribute.target in known]
    for normalization in normalizations:
        if normalization.target not in known:
            missing(normalization.id, normalization.target)
    normalizations[:] = [entry for entry in normalizations if entry.target in known]
    for group, number in zip(equivalences, group_places, strict=True):
        for target in group.members:
            if target not in known:
                missing("a group", target, number)
    equivalences[:] = [group for group in equivalences if all(member in known for member in group.members)]


def render(document: Document) -> str:
    """The standoff records of a document; `parse` reads them back.

    Line breaks inside a mention or a note become blanks, as BRAT itself writes them; ids of other formats
    become BRAT's.
    """
    document = _with_brat_ids(document)
    out: list[str] = []
    text = document.text
    for entity in document.entities:
        fragments = entity.span.fragments
        ranges = ";".join([f"{start} {end}" for start, end in fragments])
        covered = " ".join([text[start:end] for start, end in fragments]).translate(_BLANKS)
        out.append(f"{entity.id}\t{entity.type} {ranges}\t{covered}")
    for event in document.events:
        arguments = "".join([f" {role}:{target}" for role, target in event.arguments])
        out.append(f"{event.id}\t{event.type}:{event.trigger}{arguments}")
    for relation in document.relations:
        out.append(f"{relation.id}\t{relation.type} {relation.roles[0]}:{relation.head} {relation.roles[1]}:{relation.tail}")
    for attribute in document.attributes:
        value = "" if attribute.value is None else f" {attribute.value}"
        out.append(f"{attribute.id}\t{attribute.type} {attribute.target}{value}")
    for group in document.equivalences:
        out.append(f"*\t{group.type} {' '.join(group.members)}")
    for entry in document.normalizations:
        out.append(f"{entry.id}\t{entry.type} {entry.target} {entry.entry}\t{entry.text.translate(_BLANKS)}")
    for comment in document.comments:
        out.append(f"{comment.id}\t{comment.type} {comment.target}\t{comment.text.translate(_BLANKS)}")
    return "\n".join(out) + "\n" if out else ""


def _with_brat_ids(document: Document) -> Document:
    """The document itself, or one whose ids begin as BRAT wants them, references included."""
    kinds = (("T", document.entities), ("E", document.events), ("R", document.relations), ("A", document.attributes))
    taken = {item.id for _, items in kinds for item in items}
    renamed: dict[str, str] = {}
    for prefix, items in (*kinds, ("N", document.normalizations)):
        for item in items:
            right = item.id[:1] == prefix or (prefix == "A" and item.id[:1] == "M")
            if len(item.id) < 2 or not right or not item.id.isascii() or any(sign.isspace() for sign in item.id):
                renamed[item.id] = next_id(prefix, [*taken, *renamed.values()])
    if not renamed:
        return document

    def new(name: str) -> str:
        return renamed.get(name, name)

    return Document(
        document.id,
        document.text,
        tuple(Entity(new(e.id), e.type, e.span) for e in document.entities),
        tuple(Relation(new(r.id), r.type, new(r.head), new(r.tail), r.roles) for r in document.relations),
        tuple(Event(new(e.id), e.type, new(e.trigger), tuple((role, new(to)) for role, to in e.arguments)) for e in document.events),
        tuple(Attribute(new(a.id), a.type, new(a.target), a.value) for a in document.attributes),
        tuple(Equivalence(g.type, tuple(new(member) for member in g.members)) for g in document.equivalences),
        tuple(Normalization(new(n.id), n.type, new(n.target), n.entry, n.text) for n in document.normalizations),
        tuple(
            Comment(c.id if c.id.startswith("#") else f"#{rank}", c.type, new(c.target), c.text)
            for rank, c in enumerate(document.comments, 1)
        ),
    )


def write(documents: Iterable[Document], folder: Path | str) -> None:
    """A ``.txt`` and an ``.ann`` file for every document, sub-folders as their ids say.

    Raises:
        InputError: Two documents with one id, or an id that leads out of the folder.
    """
    listed = list(documents)
    distinct((document.id for document in listed), folder)
    places = [place_of(folder, document.id) for document in listed]
    for document, place in zip(listed, places, strict=True):
        write_text(f"{place}.txt", document.text)
        write_text(f"{place}.ann", render(document))
