"""Concepts, relations and assertions to documents."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from clinical_ie.document import Attribute, Document, Entity, Relation, Span
from clinical_ie.errors import InputError
from clinical_ie.formats.findings import Findings
from clinical_ie.formats.folders import Files, find_file, find_files, text_of
from clinical_ie.formats.i2b2.grid import ASSERTION, Grid

# The covered text may hold quotes and anything else, so what stands behind it is looked for from the right.
_CONCEPT = re.compile(r'c="(.*)" ([0-9]+):([0-9]+) ([0-9]+):([0-9]+)').fullmatch
_TYPE = re.compile(r'\|\|t="([^"]+)"\Z').search
_ASSERTION_VALUE = re.compile(r'\|\|t="([^"]+)"\|\|a="([^"]+)"\Z').search
_RELATION_TYPE = re.compile(r'\|\|r="([^"]+)"\|\|(?=c=")')
_DIGITS = 9
"""Of the longest number that may be a line or a token."""
_PLACE = 60
"""Characters that the longest place and a quote before it may have."""
_FOLDERS = {".con": ("concept", "concepts"), ".rel": ("rel", "rels"), ".ast": ("ast",)}
_EXPECTED = {
    ".con": 'c="text" 1:0 1:2||t="type"',
    ".ast": 'c="text" 1:0 1:2||t="problem"||a="present"',
    ".rel": 'c="text" 1:0 1:2||r="TrAP"||c="text" 1:4 1:4',
}
_RECORD = {".con": "concept", ".ast": "assertion", ".rel": "relation"}


def read(folder: Path | str, findings: Findings | None = None, *, texts: Path | None = None) -> list[Document]:
    """Documents of a folder, by name; ids are file names without ending.

    Args:
        folder: Where concepts, relations and assertions lie.
        findings: Collects what is wrong; strict when left out.
        texts: Where the texts lie, if not there too.

    Raises:
        InputError: No such folder, no text file, or no concept file.
        FileFormatError: A broken record, or a file that cannot be read or belongs to no text, in strict mode.
    """
    findings = Findings() if findings is None else findings
    findings.begin()
    root = Path(folder)
    base = texts or (root / "txt" if (root / "txt").is_dir() else root)
    found = find_files(root, (".txt", *_FOLDERS), findings)
    inside = "" if base == root else f"{base.relative_to(root).as_posix()}/" if base.is_relative_to(root) else None
    if inside is None:
        of_texts = find_files(base, (".txt",), findings)
    else:
        of_texts = {name.removeprefix(inside): paths for name, paths in found.items() if ".txt" in paths and name.startswith(inside)}
    if not of_texts:
        raise InputError(f"{texts or root}: no .txt file, neither here nor in a folder txt")
    documents: list[Document] = []
    used: set[str] = set()
    concepts = 0
    for name, paths in of_texts.items():
        beside = {ending: beside_text(name, root, base, ending) for ending in _FOLDERS}
        used.update(os.fspath(path) for path in beside.values() if path)
        if beside[".con"] is None:
            findings.warning(paths[".txt"], 0, "no-annotation-file", "no .con file for it: not read")
            continue
        concepts += 1
        if (text := text_of(paths[".txt"], findings)) is not None:
            documents.append(_Parser(name, text, beside, findings).document())
    if not concepts:
        raise InputError(f"{root}: no .con file, neither beside the texts nor in a folder concept")
    _count_unused(found, used, findings)
    return documents


def beside_text(name: str, root: Path, base: Path, ending: str) -> Path | None:
    """The ``.con``, ``.rel`` or ``.ast`` file of a text, in its folder or beside the text."""
    for folder in (*(root / inside for inside in _FOLDERS[ending]), base, root):
        if path := find_file(folder, name, ending):
            return path
    return None


def _count_unused(found: Files, used: set[str], findings: Findings) -> None:
    """Annotations that belong to no text would be lost."""
    for paths in found.values():
        for ending in _FOLDERS:
            if ending in paths and paths[ending] not in used:
                problem = "no .txt file for it, or another file of its kind is read"
                findings.error(paths[ending], 0, "no-text-file", problem, remedy="add the text file, or remove this one")


class _Parser:
    """The annotations of one text."""

    def __init__(self, name: str, text: str, beside: dict[str, Path | None], findings: Findings) -> None:
        self.name, self.text, self.beside, self.findings = name, text, beside, findings
        self.grid = Grid(text)
        self.entities: list[Entity] = []
        self.by_span: dict[Span, list[Entity]] = {}

    def document(self) -> Document:
        """The text with its concepts, and the assertions and relations between them."""
        self.concepts()
        attributes, relations = self.assertions(), self.relations()
        return Document(self.name, self.text, tuple(self.entities), tuple(relations), attributes=tuple(attributes))

    def concepts(self) -> None:
        """``.con``: mentions, numbered as they come."""
        for file, number, line in self.lines(".con"):
            if not (match := _TYPE(line)):
                self.malformed(file, number, ".con")
            elif span := self.located(file, number, line[: match.start()]):
                entity = Entity(f"T{len(self.entities) + 1}", match[1], span)
                self.entities.append(entity)
                self.by_span.setdefault(span, []).append(entity)

    def assertions(self) -> list[Attribute]:
        """``.ast``: a value for a concept of the same place and type."""
        attributes: list[Attribute] = []
        owners: dict[tuple[Span, str], str] = {}
        for entity in self.entities:
            owners.setdefault((entity.span, entity.type), entity.id)
        for file, number, line in self.lines(".ast"):
            if not (match := _ASSERTION_VALUE(line)):
                self.malformed(file, number, ".ast")
            elif span := self.located(file, number, line[: match.start()]):
                if owner := owners.get((span, match[1])):
                    attributes.append(Attribute(f"A{len(attributes) + 1}", ASSERTION, owner, match[2]))
                else:
                    self.findings.error(
                        file, number, "unknown-target", "no concept of its type at its place", remedy="add it to the .con file"
                    )
        return attributes

    def relations(self) -> list[Relation]:
        """``.rel``: pairs of concepts."""
        relations: list[Relation] = []
        for file, number, line in self.lines(".rel"):
            parted = self.parted(line)
            if parted is None:
                self.malformed(file, number, ".rel")
                continue
            first, kind, second = parted
            head, tail = self.located(file, number, first), self.located(file, number, second)
            if head and tail:
                if head in self.by_span and tail in self.by_span:
                    pair = self.by_span[head][0].id, self.by_span[tail][0].id
                    relations.append(Relation(f"R{len(relations) + 1}", kind, *pair))
                else:
                    self.findings.error(file, number, "unknown-target", "no concept at its place", remedy="add it to the .con file")
        return relations

    def parted(self, line: str) -> tuple[str, str, str] | None:
        """First concept, type and second concept of a relation; the last place where the line can be parted so."""
        for match in reversed(list(_RELATION_TYPE.finditer(line))):
            # the first concept ends with its position, whatever its covered text holds
            if line[max(0, match.start() - _PLACE) : match.start()].rpartition('" ')[2].replace(":", "").replace(" ", "").isdecimal():
                return line[: match.start()], match[1], line[match.end() :]
        return None

    def lines(self, ending: str) -> Iterator[tuple[Path, int, str]]:
        """The records of a file with their line numbers, without white space behind them."""
        file = self.beside[ending]
        text = text_of(file, self.findings) if file else None
        if file and text:
            lines = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")
            for number, line in enumerate(lines, 1):
                if stripped := line.rstrip():
                    yield file, number, stripped

    def located(self, file: Path, number: int, concept: str) -> Span | None:
        """The characters of ``c="text" line:token line:token``."""
        if not (match := _CONCEPT(concept)):
            self.malformed(file, number, file.suffix.lower())
            return None
        covered, *digits = match.groups()
        place = f"{digits[0]}:{digits[1]} {digits[2]}:{digits[3]}"
        ranks = None
        if max(map(len, digits)) <= _DIGITS:
            a, b, c, d = map(int, digits)
            ranks = self.grid.ranks((a, b), (c, d))
        else:
            place = "these numbers"
        if ranks is None:
            problem = f"there are no tokens at {place}"
            self.findings.error(file, number, "no-such-token", problem, expected="first and last token, line from 1, token from 0")
            return None
        if not self.grid.agrees(ranks, covered):
            message = f"covered text at {place} differs from the text file, which wins"
            remedy = "mend the record, or let the text file win (--lenient)"
            self.findings.warning(file, number, "covered-text-differs", message, remedy=remedy)
        return Span.of(self.grid.flat[ranks[0]][0], self.grid.flat[ranks[-1]][1])

    def malformed(self, file: Path, number: int, ending: str) -> None:
        """Note a line that is no record of its file."""
        problem = f"not {'an' if ending == '.ast' else 'a'} {_RECORD[ending]}"
        self.findings.error(file, number, "malformed-record", problem, expected=_EXPECTED[ending])
