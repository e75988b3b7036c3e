"""Documents to concepts, relations and assertions, and what those cannot hold."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from clinical_ie.document import Document, Entity
from clinical_ie.errors import printable
from clinical_ie.files import distinct, place_of, storable, write_text
from clinical_ie.formats.findings import Findings
from clinical_ie.formats.i2b2.grid import ASSERTION, Grid
from clinical_ie.formats.losses import ROLE_NAMES

_NOT_IN_NAMES = re.compile(r'["\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]')


def write(documents: Iterable[Document], folder: Path | str, findings: Findings | None = None) -> None:
    """Texts, concepts, relations and assertions in the challenge's four folders.

    What the format cannot express (mentions that do not end with tokens, discontinuous ones, events,
    other attributes) is an error for each: raised in strict mode, left out and counted otherwise. A quote or a line end in
    a name becomes ``_`` in lenient mode, counted too.

    Raises:
        InputError: Two documents with one id, or an id that cannot be a file name inside the folder.
        FileFormatError: Something cannot be expressed, in strict mode.
    """
    findings = Findings() if findings is None else findings
    root = Path(folder)
    listed = list(documents)
    distinct((document.id for document in listed), folder)
    files: list[tuple[Path, str]] = []
    for document in listed:  # all before the first is written: what is refused leaves no half folder
        target = place_of(root / "concept", document.id, ".con")
        if not storable(document.text):
            problem = f"document {document.id}: its text has NUL characters or halves of surrogate pairs, which no text file holds"
            findings.error(target, 0, "unrepresentable", problem, remedy="remove them where the text comes from")
            findings.losses["documents"] += 1
            continue
        rows = _Rows(document, findings, target)
        rows.mentions()
        rows.relations()
        rows.attributes()
        rows.others()
        files.append((place_of(root / "txt", document.id, ".txt"), document.text))
        for name, ending, lines in (("concept", ".con", rows.con), ("rel", ".rel", rows.rel), ("ast", ".ast", rows.ast)):
            files.append((place_of(root / name, document.id, ending), "".join([f"{line}\n" for line in lines])))
    for path, text in files:
        write_text(path, text)


class _Rows:
    """The lines of one document's three files."""

    def __init__(self, document: Document, findings: Findings, target: Path) -> None:
        self.document, self.findings, self.target = document, findings, target
        self.con: list[str] = []
        self.rel: list[str] = []
        self.ast: list[str] = []
        self.written: dict[str, str] = {}
        """Entity -> covered text and place as the files hold them."""
        self.found_by_relations: set[str] = set()
        """The first entity of every place: the one that a reader takes a relation to be about."""
        self.found_by_assertions: dict[str, str] = {}
        """The first entity of every place and type -> its type as it is written."""

    def mentions(self) -> None:
        """``.con``: mentions from token to token, joined where only a line end parts them."""
        grid = Grid(self.document.text)
        places: set[str] = set()
        typed: set[tuple[str, str]] = set()
        for entity in self.document.joined().entities:
            position = grid.position(entity.span)
            if position is None:
                self.refuse(f"mention {_shown(entity.id)} at {entity.start}-{entity.end}: {_reason(entity)}", "mentions")
                continue
            covered = " ".join(self.document.covered(entity.span).lower().split())
            kind = self.name(entity.type, f"the type of {_shown(entity.id)}")
            self.written[entity.id] = f'c="{covered}" {position}'
            self.con.append(f'{self.written[entity.id]}||t="{kind}"')
            if position not in places:
                places.add(position)
                self.found_by_relations.add(entity.id)
            if (position, kind) not in typed:
                typed.add((position, kind))
                self.found_by_assertions[entity.id] = kind

    def relations(self) -> None:
        """``.rel``: a line names the places of two mentions, not their types."""
        for relation in self.document.relations:
            ends, name = (relation.head, relation.tail), _shown(relation.id)
            if shadowed := [end for end in ends if end in self.written and end not in self.found_by_relations]:
                shared = f"{_shown(shadowed[0])} shares its words with another concept, and relations do not name types"
                self.refuse(f"relation {name}: {shared}", "relations")
            elif not all(end in self.written for end in ends):
                self.refuse(f"relation {name}: one of its ends is no mention in these files", "relations")
            else:
                kind = self.name(relation.type, f"the type of {name}")
                self.rel.append(f'{self.written[relation.head]}||r="{kind}"||{self.written[relation.tail]}')
                if relation.roles != ("Arg1", "Arg2"):
                    self.refuse(f"the roles of relation {name}", ROLE_NAMES)

    def attributes(self) -> None:
        """``.ast``: the assertion of a mention."""
        for attribute in self.document.attributes:
            if attribute.type != ASSERTION or attribute.value is None or attribute.target not in self.found_by_assertions:
                self.refuse(f"attribute {_shown(attribute.id)}", "attributes")
            else:
                value = self.name(attribute.value, f"the value of {_shown(attribute.id)}")
                place, kind = self.written[attribute.target], self.found_by_assertions[attribute.target]
                self.ast.append(f'{place}||t="{kind}"||a="{value}"')

    def others(self) -> None:
        """What has no file, each for itself."""
        for event in self.document.events:
            self.refuse(f"event {_shown(event.id)}", "events")
            self.findings.losses.update("event arguments" for _ in event.arguments)
        for rank, _ in enumerate(self.document.equivalences, 1):
            self.refuse(f"group {rank}", "groups")
        for normalization in self.document.normalizations:
            self.refuse(f"normalization {_shown(normalization.id)}", "normalizations")
        for comment in self.document.comments:
            self.refuse(f"comment {_shown(comment.id)}", "comments")

    def name(self, name: str, owner: str) -> str:
        """A type or value as it can stand between quotes."""
        if name and not _NOT_IN_NAMES.search(name):
            return name
        reason = "holds a quote, a line end or a control character" if name else "is empty"
        problem = f"document {self.document.id}: {owner} {reason}"
        self.findings.error(
            self.target, 0, "name-replaced", problem, remedy="rename it, or let such characters be replaced by _ (--lenient)"
        )
        return _NOT_IN_NAMES.sub("_", name) or "_"

    def refuse(self, what: str, kind: str) -> None:
        """Note something that these files have no place for, and count its kind."""
        problem = f"document {self.document.id}: i2b2 files cannot hold {what}"
        self.findings.error(self.target, 0, "unrepresentable", problem, remedy="convert to brat or jsonl, or leave it out (--lenient)")
        self.findings.losses[kind] += 1


def _shown(name: str) -> str:
    return printable(name)[:40]


def _reason(entity: Entity) -> str:
    return "it has gaps" if entity.span.discontinuous else "it does not begin and end with tokens"
