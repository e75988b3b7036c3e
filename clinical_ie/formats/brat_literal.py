"""Mentions and relations of BRAT files exactly as the files write them, for scorers that count what is written.

`brat.read` checks records against the text and mends them; a `Document` cannot hold what contradicts its text. The script of
2018 n2c2 Track 2 looks at no text: a mention behind the end of the note, or one whose end lies before its start, is a mention
that equals no other. This reader keeps such records, and counts them:

- blanks before a record are skipped;
- a mention stands for its first and its last number, also where fragments are out of order;
- of records with the same id the last one counts, in the place of the first;
- the arguments of a relation are those in first and second place, whatever their names.

The text file is optional. Events serve only to find the trigger that a relation's argument stands for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from clinical_ie.document import Document
from clinical_ie.errors import InputError, printable
from clinical_ie.formats.brat.offsets import CHARACTERS, Positions, check_rule, checked_rule
from clinical_ie.formats.findings import Findings
from clinical_ie.formats.folders import find_files, text_of

Mention = tuple[str, int, int]
"""Type, first number and last number."""
Link = tuple[str, Mention, Mention]
"""Type, first argument and second argument."""

_NUMBER = r"-?[0-9]{1,18}"  # more digits are no offset of any file
_MENTION = re.compile(rf"(T\S*)\t(\S+) +({_NUMBER} {_NUMBER}(?:;{_NUMBER} {_NUMBER})*)(?:\t(.*))?").fullmatch
_RELATION = re.compile(r"(R\S*)\t(\S+) +[^\s:]+:(\S+) +[^\s:]+:(\S+)").fullmatch
_EVENT = re.compile(r"(E\S*)\t[^\s:]+:(\S+)(?:\s.*)?").fullmatch
_LINE_END = re.compile(r"\r\n|\r|\n")
_OTHER_RECORDS = ("A", "M", "*", "N", "#")


@dataclass(frozen=True, slots=True)
class LiteralNote:
    """What is written about one note; `text` is None where none is known."""

    id: str
    text: str | None
    mentions: tuple[Mention, ...] = ()
    links: tuple[Link, ...] = ()

    @classmethod
    def of(cls, document: Document) -> LiteralNote:
        """The mentions and relations of a document."""
        mentions = {one.id: (one.type, one.span.fragments[0][0], one.span.fragments[-1][1]) for one in document.entities}
        nodes = mentions | {event.id: mentions[event.trigger] for event in document.events}
        links = tuple([(link.type, nodes[link.head], nodes[link.tail]) for link in document.relations])
        return cls(document.id, document.text, tuple(mentions.values()), links)


def read(
    folder: Path | str, findings: Findings | None = None, *, texts: Mapping[str, str] | None = None, offsets: str = CHARACTERS
) -> list[LiteralNote]:
    """The notes of a folder and its sub-folders, by path; the id is the path of the ``.ann`` file without its ending.

    Args:
        folder: Where the files lie.
        findings: Counts what is wrong or odd; strict when left out.
        texts: Note id -> text, for ``.ann`` files without ``.txt`` beside them.
        offsets: What the offsets of the files count (see `clinical_ie.formats.brat.read`); of use only where there is a text.

    Raises:
        SettingError: Another word for what offsets count.
        InputError: No such folder, or no ``.ann`` file in it.
        FileFormatError: A line that is no record, or a relation of something that is not there, in strict mode.
    """
    check_rule(offsets)
    findings = Findings() if findings is None else findings
    findings.begin()
    files = {name: paths for name, paths in find_files(folder, (".ann", ".txt"), findings).items() if ".ann" in paths}
    if not files:
        raise InputError(f"{printable(folder)}: no .ann file; expected BRAT files (.ann, with or without .txt beside them)")
    notes = []
    for name, paths in files.items():
        text = text_of(paths[".txt"], findings) if ".txt" in paths else (texts or {}).get(name)
        annotation = text_of(paths[".ann"], findings)
        if annotation is not None:
            notes.append(parse(name, text, annotation, findings, path=paths[".ann"], offsets=offsets))
    return notes


def parse(
    name: str, text: str | None, annotation: str, findings: Findings | None = None, *, path: str = "", offsets: str = CHARACTERS
) -> LiteralNote:
    """One note from its records.

    Raises:
        FileFormatError: As for `read`.
    """
    findings = Findings() if findings is None else findings
    path = path or f"{name}.ann"
    lines = _LINE_END.split(annotation.removeprefix("\ufeff"))
    positions = None if text is None else Positions(text, checked_rule(text, lines, offsets, findings, path))
    mentions: dict[str, Mention] = {}
    relations: dict[str, tuple[int, str, str, str]] = {}
    triggers: dict[str, str] = {}
    open_characters = 0  # of a covered text that goes on in the next line
    for number, line in enumerate(lines, 1):
        record = line.strip()
        if not record:
            continue
        if record[0] == "T" and (match := _MENTION(record)):
            identifier, kind, ranges, covered = match.groups()
            if identifier in mentions:
                findings.warning(path, number, "duplicate-id", "an id that an earlier mention has: the last one counts")
            numbers = [int(part) for part in ranges.replace(";", " ").split(" ")]
            if positions is not None:
                numbers = [positions.character(offset) for offset in numbers]
            start, end = numbers[0], numbers[-1]
            mentions[identifier] = (kind, start, end)
            _count_oddities(numbers, text, findings, path, number)
            if covered is None:
                findings.error(path, number, "no-covered-text", "a mention without covered text", expected="a tab and the text behind it")
            open_characters = end - start - len(covered or "")
        elif record[0] == "R" and (match := _RELATION(record)):
            if match[1] in relations:
                findings.warning(path, number, "duplicate-id", "an id that an earlier relation has: the last one counts")
            relations[match[1]] = (number, match[2], match[3], match[4])
        elif record[0] == "E" and (match := _EVENT(record)):
            triggers[match[1]] = match[2]
            findings.warning(path, number, "event-not-counted", "an event, which only gives its trigger to relations")
        elif "\t" not in record and open_characters > 0:
            open_characters -= len(line) + 1
        elif not record.startswith(_OTHER_RECORDS):
            expected = "'T1<tab>Type start end<tab>covered text' or 'R1<tab>Type Arg1:T1 Arg2:T2'"
            findings.error(path, number, "malformed-record", "not a BRAT record", expected=expected)
    links = []
    for number, kind, *targets in relations.values():
        ends = [mentions.get(triggers.get(target, target)) for target in targets]
        if ends[0] is not None and ends[1] is not None:
            links.append((kind, ends[0], ends[1]))
        else:
            problem = "the relation refers to a mention that does not exist"
            findings.error(path, number, "unknown-target", problem, remedy="add it or remove the reference")
    return LiteralNote(name, text, tuple(mentions.values()), tuple(links))


def _count_oddities(numbers: list[int], text: str | None, findings: Findings, path: str, line: int) -> None:
    """Count what no `Document` could hold."""
    if sorted(numbers) != numbers:
        findings.warning(path, line, "fragments-out-of-order", "numbers out of order: the first and the last one count")
    if numbers[0] < 0 or numbers[-1] <= numbers[0] or (text is not None and max(numbers) > len(text)):
        findings.warning(path, line, "offsets-outside-text", "the mention is empty or leaves the text: it counts as it is written")
