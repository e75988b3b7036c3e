"""2010 i2b2/VA: ``X.txt`` with concepts (``.con``), relations (``.rel``) and assertions (``.ast``).

Positions are ``line:token`` with lines from 1 and tokens from 0, tokens being what white space
separates. The files may lie beside each other or in ``txt``, ``concept``, ``rel`` and ``ast`` folders,
as the challenge ships them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from clinical_ie.document import Attribute, Document, Entity, Relation, Span
from clinical_ie.errors import InputError
from clinical_ie.files import distinct, place_of, read_text, write_text
from clinical_ie.formats.findings import Findings

ASSERTION = "assertion"
"""The attribute type of the assertion status of a problem (``.ast`` files)."""

_CONCEPT = r'c="(.*)" (\d+):(\d+) (\d+):(\d+)'
_CONCEPT_LINE = re.compile(rf'{_CONCEPT}\|\|t="([^"]*)"\s*').fullmatch
_ASSERTION_LINE = re.compile(rf'{_CONCEPT}\|\|t="([^"]*)"\|\|a="([^"]*)"\s*').fullmatch
_RELATION_LINE = re.compile(rf'{_CONCEPT}\|\|r="([^"]*)"\|\|{_CONCEPT}\s*').fullmatch
_TOKEN = re.compile(r"\S+")
_FOLDERS = {".txt": ("txt",), ".con": ("concept", "concepts"), ".rel": ("rel", "rels"), ".ast": ("ast",)}


class Grid:
    """The tokens of a text by line, both ways between ``line:token`` and characters."""

    def __init__(self, text: str) -> None:
        self.tokens: list[list[tuple[int, int]]] = []
        self.places: dict[int, tuple[int, int]] = {}
        self.ends: dict[int, tuple[int, int]] = {}
        position = 0
        for number, line in enumerate(text.split("\n"), 1):
            row = [(position + match.start(), position + match.end()) for match in _TOKEN.finditer(line)]
            for index, (start, end) in enumerate(row):
                self.places[start] = self.ends[end] = (number, index)
            self.tokens.append(row)
            position += len(line) + 1

    def span(self, first: tuple[int, int], last: tuple[int, int]) -> Span | None:
        """Characters from the first token to the last, both included; None where there is no such token."""
        try:
            if min(first[0], last[0]) < 1:
                return None
            return Span.of(self.tokens[first[0] - 1][first[1]][0], self.tokens[last[0] - 1][last[1]][1])
        except (IndexError, InputError):
            return None

    def position(self, span: Span) -> str | None:
        """``line:token line:token`` of a span; None where it does not begin and end with a token."""
        first, last = self.places.get(span.start), self.ends.get(span.end)
        if span.discontinuous or first is None or last is None:
            return None
        return f"{first[0]}:{first[1]} {last[0]}:{last[1]}"


def read(folder: Path | str, findings: Findings | None = None, *, texts: Path | None = None) -> list[Document]:
    """Documents of a folder, by name; ids are file names without ending.

    Args:
        folder: Where concepts, relations and assertions lie.
        findings: Collects what is wrong; strict when left out.
        texts: Where the texts lie, if not there too.

    Raises:
        InputError: No text file, or no concept file.
        FileFormatError: A broken record, in strict mode.
    """
    findings = Findings() if findings is None else findings
    root = Path(folder)
    base = texts or (root / "txt" if (root / "txt").is_dir() else root)
    files = sorted(base.rglob("*.txt"))
    if not files:
        raise InputError(f"{texts or root}: no .txt file, neither here nor in a folder txt")
    documents = []
    for path in files:
        name = path.relative_to(base).with_suffix("").as_posix()
        beside = {ending: beside_text(name, root, base, ending) for ending in (".con", ".rel", ".ast")}
        if beside[".con"] is None:
            findings.warning(path, 0, "no-annotation-file", "no .con file for it: not read")
            continue
        documents.append(_parse(name, path, beside, findings))
    if not documents:
        raise InputError(f"{root}: no .con file, neither beside the texts nor in a folder concept")
    return documents


def beside_text(name: str, root: Path, base: Path, ending: str) -> Path | None:
    """The ``.con``, ``.rel`` or ``.ast`` file of a text, in its folder or beside the text."""
    for folder in (*(root / inside for inside in _FOLDERS[ending]), base, root):
        if (candidate := folder / f"{name}{ending}").is_file():
            return candidate
    return None


def _parse(name: str, path: Path, beside: dict[str, Path | None], findings: Findings) -> Document:
    text = read_text(path)
    grid = Grid(text)
    entities: list[Entity] = []
    by_span: dict[Span, list[Entity]] = {}
    relations: list[Relation] = []
    attributes: list[Attribute] = []

    def located(file: Path, number: int, groups: tuple[str, ...]) -> Span | None:
        covered, *places = groups
        a, b, c, d = map(int, places)
        span = grid.span((a, b), (c, d))
        if span is None:
            findings.error(file, number, "no-such-token", f"there are no tokens {a}:{b} to {c}:{d}", expected="line from 1, token from 0")
        elif text[span.start : span.end].lower().split() != covered.lower().split():
            findings.warning(
                file, number, "covered-text-differs", f"covered text at {a}:{b} {c}:{d} differs from the text file, which wins"
            )
        return span

    def records(ending: str) -> Iterable[tuple[Path, int, str]]:
        if file := beside[ending]:
            for number, line in enumerate(read_text(file).replace("\r\n", "\n").split("\n"), 1):
                if line.strip():
                    yield file, number, line

    for file, number, line in records(".con"):
        if not (match := _CONCEPT_LINE(line)):
            findings.error(file, number, "malformed-record", "not a concept", expected='c="text" 1:0 1:2||t="type"')
        elif span := located(file, number, match.groups()[:5]):
            entity = Entity(f"T{len(entities) + 1}", match[6], span)
            entities.append(entity)
            by_span.setdefault(span, []).append(entity)
    for file, number, line in records(".ast"):
        if not (match := _ASSERTION_LINE(line)):
            expected = 'c="text" 1:0 1:2||t="problem"||a="present"'
            findings.error(file, number, "malformed-record", "not an assertion", expected=expected)
        elif span := located(file, number, match.groups()[:5]):
            owners = [entity for entity in by_span.get(span, ()) if entity.type == match[6]]
            if owners:
                attributes.append(Attribute(f"A{len(attributes) + 1}", ASSERTION, owners[0].id, match[7]))
            else:
                findings.error(file, number, "unknown-target", f"no {match[6]} concept at its place", remedy="add it to the .con file")
    for file, number, line in records(".rel"):
        if not (match := _RELATION_LINE(line)):
            expected = 'c="text" 1:0 1:2||r="TrAP"||c="text" 1:4 1:4'
            findings.error(file, number, "malformed-record", "not a relation", expected=expected)
            continue
        first, second = match.groups()[:5], match.groups()[6:]
        head, tail = located(file, number, first), located(file, number, second)
        if head and tail:
            if head in by_span and tail in by_span:
                pair = by_span[head][0].id, by_span[tail][0].id
                relations.append(Relation(f"R{len(relations) + 1}", match[6], *pair))
            else:
                findings.error(file, number, "unknown-target", "no concept at its place", remedy="add it to the .con file")
    return Document(name, text, tuple(entities), tuple(relations), attributes=tuple(attributes))


def write(documents: Iterable[Document], folder: Path | str, findings: Findings | None = None) -> None:
    """Texts, concepts, relations and assertions in the challenge's four folders.

    What the format cannot express (mentions that do not end with tokens, discontinuous ones, events,
    other attributes) is an error for each: raised in strict mode, left out and counted otherwise.

    Raises:
        FileFormatError: Something cannot be expressed, in strict mode.
    """
    findings = Findings() if findings is None else findings
    root = Path(folder)
    listed = list(documents)
    distinct((document.id for document in listed), folder)
    for document in listed:
        place_of(root, document.id)
        grid = Grid(document.text)
        first_there: dict[str, str] = {}
        said: dict[str, str] = {}
        types: dict[str, str] = {}
        concepts, relations, assertions = [], [], []
        target = root / "concept" / f"{document.id}.con"

        def refuse(what: str, target: Path = target) -> None:
            findings.error(target, 0, "unrepresentable", f"i2b2 files cannot hold {what}", remedy="convert to brat or jsonl")

        for entity in document.joined().entities:
            if position := grid.position(entity.span):
                covered = " ".join(document.covered(entity.span).lower().split())
                said[entity.id] = f'c="{covered}" {position}'
                types[entity.id] = entity.type
                first_there.setdefault(position, entity.id)
                concepts.append(f'{said[entity.id]}||t="{entity.type}"')
            else:
                refuse(f"mention {entity.id} at {entity.span.fragments}: it does not begin and end with tokens")
        for relation in document.relations:
            shadowed = [end for end in (relation.head, relation.tail) if end in said and end not in first_there.values()]
            if shadowed:
                refuse(f"relation {relation.id}: {shadowed[0]} shares its words with another concept, and relations do not name types")
            elif relation.head in said and relation.tail in said:
                relations.append(f'{said[relation.head]}||r="{relation.type}"||{said[relation.tail]}')
            else:
                refuse(f"relation {relation.id}")
        for attribute in document.attributes:
            if attribute.type == ASSERTION and attribute.target in said:
                assertions.append(f'{said[attribute.target]}||t="{types[attribute.target]}"||a="{attribute.value}"')
            else:
                refuse(f"attribute {attribute.id}")
        for event in document.events:
            refuse(f"event {event.id}")
        for rest in (*document.equivalences, *document.normalizations, *document.comments):
            refuse(f"what the annotators said beside it ({type(rest).__name__.lower()})")
        write_text(root / "txt" / f"{document.id}.txt", document.text)
        for folder_name, ending, rows in (("concept", "con", concepts), ("rel", "rel", relations), ("ast", "ast", assertions)):
            write_text(root / folder_name / f"{document.id}.{ending}", "".join(row + "\n" for row in rows))
