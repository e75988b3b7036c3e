"""Whether a corpus keeps its own rules: what ``corpus check`` looks at beyond the file syntax."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from clinical_ie.corpora.corpus import Corpus
from clinical_ie.corpora.hash_split import HashSplit
from clinical_ie.corpora.reading import CorpusReader
from clinical_ie.corpora.splits import Split
from clinical_ie.document import Document
from clinical_ie.formats.findings import Findings


def check(corpus: Corpus, findings: Findings, split: HashSplit | None = None) -> dict[Split, list[Document]]:
    """Read every part and note all problems in `findings`; the documents by part.

    Errors: broken records, types and values that the schema does not know, a document id in two
    splits. Warnings: arguments that the schema does not allow, mentions that begin or end with
    white space, duplicate mentions and relations, a text in two splits.
    """
    splits = CorpusReader(corpus, split, findings).read_all()
    for documents in splits.values():
        for document in documents:
            _Checker(corpus, document, findings).run()
    _check_splits(corpus, splits, findings)
    return splits


class _Checker:
    """Holds one document against its corpus' schema."""

    def __init__(self, corpus: Corpus, document: Document, findings: Findings) -> None:
        self.corpus, self.schema, self.document, self.findings = corpus, corpus.schema, document, findings

    def error(self, annotation_id: str, code: str, problem: str) -> None:
        remedy = "add it to the schema or mend the file"
        self.findings.error(*self.corpus.source(self.document.id, annotation_id), code, f"{annotation_id}: {problem}", remedy=remedy)

    def warning(self, annotation_id: str, code: str, problem: str) -> None:
        self.findings.warning(*self.corpus.source(self.document.id, annotation_id), code, f"{annotation_id}: {problem}")

    def run(self) -> None:
        text, names = self.document.text, set(self.schema.entity_names)
        mentions = self.document.joined().entities
        for entity in mentions:
            if entity.type not in names:
                self.error(entity.id, "unknown-entity-type", f"the schema does not know the type {entity.type}")
            if any(text[a].isspace() or text[b - 1].isspace() for a, b in entity.span.fragments):
                self.warning(entity.id, "white-space-at-end", f"{entity.start}-{entity.end} begins or ends with white space")
        self.duplicates("duplicate-mention", [(e.id, (e.type, e.span)) for e in mentions])
        self.duplicates("duplicate-relation", [(r.id, (r.type, r.head, r.tail)) for r in self.document.relations])
        self.links()
        self.attributes()

    def links(self) -> None:
        known = {relation.name for relation in self.schema.relations}
        for name, kind, head, tail in self.document.links():
            if kind not in known:
                self.error(name, "unknown-relation-type", f"the schema does not know the relation or role {kind}")
            elif not self.schema.allows(kind, head.type, tail.type):
                self.warning(name, "argument-not-allowed", f"the schema does not allow {kind} from {head.type} to {tail.type}")
        for event in self.document.events:
            if event.type not in self.schema.events:
                self.error(event.id, "unknown-event-type", f"{event.type} triggers no events in the schema")
        for group in self.document.equivalences:
            if group.type not in known:
                self.error("*", "unknown-relation-type", f"the schema does not know the group {group.type}")

    def attributes(self) -> None:
        types = {attribute.name: attribute for attribute in self.schema.attributes}
        anchors = self.document.anchors()
        for attribute in self.document.attributes:
            known = types.get(attribute.type)
            target = anchors.get(attribute.target)
            if known is None:
                self.error(attribute.id, "unknown-attribute-type", f"the schema does not know the attribute {attribute.type}")
            elif known.values and attribute.value not in known.values:
                self.error(attribute.id, "unknown-attribute-value", f"{attribute.type} takes {', '.join(known.values)}")
            elif known.targets and target is not None and target.type not in known.targets:
                self.warning(attribute.id, "argument-not-allowed", f"the schema does not allow {attribute.type} on {target.type}")

    def duplicates(self, code: str, rows: Sequence[tuple[str, tuple[object, ...]]]) -> None:
        first: dict[tuple[object, ...], str] = {}
        for name, key in rows:
            if first.setdefault(key, name) != name:
                self.warning(name, code, f"the same as {first[key]}")


def _check_splits(corpus: Corpus, splits: Mapping[Split, Sequence[Document]], findings: Findings) -> None:
    ids: dict[str, str] = {}
    texts: dict[str, tuple[str, str]] = {}
    for split, documents in splits.items():
        for document in documents:
            if document.id in ids:
                path = corpus.source(document.id)[0]
                findings.error(path, 0, "duplicate-document-id", f"also in {ids[document.id]}", remedy="rename one of them")
            other = texts.setdefault(document.text, (split, document.id))
            if other[0] != split:
                path = corpus.source(document.id)[0]
                findings.warning(path, 0, "text-in-two-splits", f"{split} has the same text as {other[0]}/{other[1]}")
            ids.setdefault(document.id, split)
