"""Two folders' worth of documents in, one result out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from clinical_ie.document import Document
from clinical_ie.errors import InputError, printable
from clinical_ie.formats.brat_literal import LiteralNote
from clinical_ie.scoring.counts import KINDS, MODES, Counts, DocumentCounts, DocumentRow, Kind, Mode, TypeCounts, by_type, total
from clinical_ie.scoring.n2c2 import N2c22018
from clinical_ie.scoring.rule_set import RuleSet

N = TypeVar("N", Document, LiteralNote, DocumentCounts)


@dataclass(slots=True)
class Score:
    """Counts of every document under one rule set, and the figures that follow.

    `missing` are gold documents without a prediction, `extra` predictions without gold; `files` says, as in the rule set, whether
    they count. `setting` is whether relations are predicted between gold or predicted entities (and attributes of them), `kinds` what
    the rules count.
    """

    rules: str
    macro_over: str
    documents: list[DocumentCounts]
    missing: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    setting: Literal["gold entities", "end to end"] = "end to end"
    files: str = "union"
    kinds: tuple[Kind, ...] = KINDS

    def types(self, kind: Kind, mode: Mode) -> TypeCounts:
        """Counts per type, over all documents."""
        return by_type(getattr(document, kind).get(mode, {}) for document in self.documents)

    def micro(self, kind: Kind, mode: Mode) -> Counts:
        """Counts over all documents and types."""
        return total(self.types(kind, mode).values())

    def per_document(self, kind: Kind, mode: Mode) -> list[Counts]:
        """Counts over all types, document by document."""
        return [total(getattr(document, kind).get(mode, {}).values()) for document in self.documents]

    def rows(self, kind: Kind, mode: Mode) -> dict[str, DocumentRow]:
        """Document -> its true positives, false positives and false negatives over all types."""
        names = [document.id for document in self.documents]
        return {name: (counts.tp, counts.fp, counts.fn) for name, counts in zip(names, self.per_document(kind, mode), strict=True)}

    def pair(self, other: Score, kind: Kind, mode: Mode) -> tuple[dict[str, DocumentRow], dict[str, DocumentRow]]:
        """`rows` of this system and of another one under the same rules, for the same documents.

        Where every document counts, one that a single system has, and that has no gold, is nothing for the other. Where only those
        on both sides count, only documents that both systems are scored on can be compared.
        """
        ours, theirs = self.rows(kind, mode), other.rows(kind, mode)
        names = list(ours | theirs) if self.files == "union" else [name for name in ours if name in theirs]
        return {name: ours.get(name, (0, 0, 0)) for name in names}, {name: theirs.get(name, (0, 0, 0)) for name in names}

    def macro(self, kind: Kind, mode: Mode) -> dict[str, float]:
        """Mean precision, recall and F1 over types or documents, as the rule set has it; 0 without any."""
        rows = list(self.types(kind, mode).values()) if self.macro_over == "types" else self.per_document(kind, mode)
        names: tuple[tuple[str, Callable[[Counts], float]], ...] = (
            ("precision", lambda row: row.precision),
            ("recall", lambda row: row.recall),
            ("f1", lambda row: row.f1),
        )
        return {name: sum(map(ratio, rows)) / len(rows) if rows else 0.0 for name, ratio in names}

    def events(self) -> list[dict[str, Any]]:
        """Rows of event rules: event, argument, subtype and their counts."""
        sums: dict[tuple[str, str, str], list[int]] = {}
        for document in self.documents:
            for key, counts in document.events.items():
                row = sums.setdefault(key, [0, 0, 0])
                for place, count in enumerate(counts):
                    row[place] += count
        names = ("event", "argument", "subtype", "gold", "predicted", "tp")
        return [dict(zip(names, (*key, *row), strict=True)) for key, row in sorted(sums.items())]

    def events_overall(self) -> Counts:
        """Micro counts over all rows."""
        rows = self.events()
        tp = sum(row["tp"] for row in rows)
        return Counts(tp, sum(row["predicted"] for row in rows) - tp, sum(row["gold"] for row in rows) - tp)

    def to_dict(self) -> dict[str, Any]:
        """The JSON that scripts depend on."""
        head = {"rules": self.rules, "documents": len(self.documents), "missing": len(self.missing)}
        if self.macro_over == "rows":
            rows = self.events()
            return {**head, "events": rows, "overall": self.events_overall().to_dict()}
        body: dict[str, Any] = {
            kind: {
                mode: {
                    "micro": self.micro(kind, mode).to_dict(),
                    "macro": self.macro(kind, mode),
                    "types": {name: counts.to_dict() for name, counts in self.types(kind, mode).items()},
                }
                for mode in MODES
            }
            for kind in self.kinds
        }
        documents = {"missing_ids": self.missing, "extra_ids": self.extra, "macro_over": self.macro_over}
        return {**head, **body, "relation_setting": self.setting, **documents}


@dataclass(frozen=True, slots=True)
class Compared:
    """What a predicted document contributes to a score: its counts, and whether its mentions are the gold ones."""

    counts: DocumentCounts
    on_gold: bool


def compare(gold: Document, predicted: Document, rules: RuleSet) -> Compared:
    """A predicted document held against the gold one."""
    same = gold.entities == predicted.entities or _mentions(gold) == _mentions(predicted)
    return Compared(rules.count(gold, predicted), same)


def summed(compared: Sequence[Compared], rules: RuleSet) -> Score:
    """The score of documents that have a prediction each.

    Raises:
        InputError: Two have the same id.
    """
    documents = [one.counts for one in compared]
    _by_id(documents, "gold")
    names = [document.id for document in documents]
    setting = _setting(all(one.on_gold for one in compared), names)
    return Score(rules.name, rules.macro, documents, setting=setting, files=rules.files, kinds=rules.kinds)


def score(
    gold: Iterable[Document], predicted: Iterable[Document], rules: RuleSet, *, written: Mapping[str, LiteralNote] | None = None
) -> Score:
    """Predicted documents held against gold documents of the same id.

    Args:
        gold: The truth.
        predicted: What a system found.
        rules: How documents are compared.
        written: What the files of the predicted documents state, where a lenient reader left something out of them: mentions and
            relations that a document cannot hold, such as those behind the end of its text, are wrong answers.

    Raises:
        InputError: A document id twice on one side; different sets of documents under rules that forbid it.
    """
    ours, theirs = _by_id(gold, "gold"), _by_id(predicted, "predicted")
    names, missing, extra = _paired(ours, theirs, rules)
    counted = []
    on_gold = True
    for name in names:
        one = ours.get(name) or Document(name, theirs[name].text)
        other = theirs.get(name) or Document(name, one.text)
        compared = compare(one, other, rules)
        counted.append(compared.counts)
        if written and name in written:
            _add_unreadable(counted[-1], other, written[name])
        on_gold = on_gold and compared.on_gold
    return Score(rules.name, rules.macro, counted, missing, extra, _setting(on_gold, names), rules.files, rules.kinds)


def _add_unreadable(counts: DocumentCounts, document: Document, written: LiteralNote) -> None:
    """Count what is written and not in the document as false positives."""
    pairs: tuple[tuple[dict[Mode, TypeCounts], Iterable[str], Iterable[str]], ...] = (
        (counts.entities, [mention[0] for mention in written.mentions], [entity.type for entity in document.entities]),
        (counts.relations, [link[0] for link in written.links], [relation.type for relation in document.relations]),
    )
    for modes, all_types, kept in pairs:
        for name, number in (Counter(all_types) - Counter(kept)).items():
            for types in modes.values():
                types.setdefault(name, Counts()).fp += number


def score_literally(gold: Iterable[LiteralNote], predicted: Iterable[LiteralNote], rules: N2c22018) -> Score:
    """As `score`, by what the files write rather than by documents.

    Raises:
        InputError: As for `score`.
    """
    ours, theirs = _by_id(gold, "gold"), _by_id(predicted, "predicted")
    names, missing, extra = _paired(ours, theirs, rules)
    counted = [rules.count_literally(ours[name], theirs[name]) for name in names]
    on_gold = all(set(ours[name].mentions) == set(theirs[name].mentions) for name in names)
    return Score(rules.name, rules.macro, counted, missing, extra, _setting(on_gold, names), rules.files, rules.kinds)


def _paired(ours: Collection[str], theirs: Collection[str], rules: RuleSet) -> tuple[list[str], list[str], list[str]]:
    """Ids that count, ids without prediction, ids without gold."""
    missing = [name for name in ours if name not in theirs]
    extra = [name for name in theirs if name not in ours]
    if rules.files == "equal" and (missing or extra):
        raise InputError(
            f"{rules.name} needs the same documents on both sides; {len(missing)} have no prediction"
            f" (first: {_first(missing)}), {len(extra)} have no gold (first: {_first(extra)})"
        )
    counted = [*ours, *extra] if rules.files == "union" else [name for name in ours if name in theirs]
    return counted, missing, extra


def _setting(on_gold: bool, names: Sequence[str]) -> Literal["gold entities", "end to end"]:
    return "gold entities" if on_gold and names else "end to end"


def _mentions(document: Document) -> set[tuple[str, Any]]:
    return {(entity.type, entity.span) for entity in document.joined().entities}


def _by_id(documents: Iterable[N], side: str) -> dict[str, N]:
    found: dict[str, N] = {}
    for document in documents:
        if document.id in found:
            raise InputError(f"two {side} documents have the id {printable(document.id)}")
        found[document.id] = document
    return found


def _first(names: Sequence[str]) -> str:
    return printable(names[0]) if names else "none"
