"""Errors counted by kind and type, boundaries, strings seen in training, length and section."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from clinical_ie.reports.outcomes import OutcomeRow
from clinical_ie.scoring.alignment import ERRORS, OUTCOMES

LENGTHS = ("1 word", "2 words", "3 words", "4 to 5 words", "6 to 10 words", "more than 10 words")
_MOST = 25
"""Confusions and strings that a table shows."""
_LENGTH_ENDS = (1, 2, 3, 5, 10)

MISSING, EXTRA = "no prediction", "no gold document"

Groups = dict[str, Counter[str]]
"""Name of a group -> outcome -> how often."""


@dataclass(frozen=True, slots=True)
class ErrorTable:
    """A table of errors: the first column names a group, the others hold numbers or, empty, none."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str | int, ...]]
    note: str = ""


@dataclass(slots=True)
class ErrorCounts:
    """Counts over documents; rows of documents are added one by one.

    `missing` are gold documents that have no prediction, all of whose annotations are missed; `extra` predicted ones without gold, all of
    whose annotations are spurious, as the rules of scoring have it. `links_apart` are gold links that are not compared, because the
    predictions hold mentions alone.
    """

    documents: int = 0
    missing: int = 0
    extra: int = 0
    links_apart: int = 0
    types: Groups = field(default_factory=dict)
    links: Groups = field(default_factory=dict)
    attributes: Groups = field(default_factory=dict)
    lengths: Groups = field(default_factory=dict)
    sections: Groups = field(default_factory=dict)
    seen: Groups = field(default_factory=dict)
    boundaries: Counter[tuple[str, str]] = field(default_factory=Counter)
    confusions: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    ends: Counter[bool] = field(default_factory=Counter)
    texts: Counter[tuple[str, str, str]] = field(default_factory=Counter)

    def add_document(self, remark: str = "") -> None:
        """Count a document, which one of the sides may lack (`MISSING`, `EXTRA`)."""
        self.documents += 1
        self.missing += remark == MISSING
        self.extra += remark == EXTRA

    def add(self, row: OutcomeRow) -> None:
        """Count a mention or a link."""
        mention = row.of == "mention"
        _count({"mention": self.types, "link": self.links, "attribute": self.attributes}[row.of], row.type, row.outcome)
        if row.gold_type and row.predicted_type and row.gold_type != row.predicted_type:
            self.confusions[row.of, row.gold_type, row.predicted_type] += 1
        if row.ends_found is not None:
            self.ends[row.ends_found] += 1
        if not mention:
            return
        _count(self.lengths, _length(row.words), row.outcome)
        _count(self.sections, row.section, row.outcome)
        if row.seen is not None:
            _count(self.seen, "seen in training" if row.seen else "not seen in training", row.outcome)
        if row.start:
            self.boundaries[row.start, row.end] += 1
        if row.text and row.outcome != "correct":
            self.texts[row.outcome, row.type, row.text] += 1

    def tables(self) -> list[ErrorTable]:
        """All that there is something to say of."""
        by_length = {name: self.lengths[name] for name in LENGTHS if name in self.lengths}
        found = [
            _grouped("Mentions by type", "mention", dict(sorted(self.types.items())), total=True),
            _grouped("Links by type", "link", dict(sorted(self.links.items())), total=True, note=self._ends()),
            _grouped("Attributes of mentions", "attribute", self._compared_attributes(), total=True, note=_OF_ATTRIBUTES),
            self._boundaries(),
            self._confusions(),
            _grouped("Mentions by whether training has seen their string", "gold string", dict(sorted(self.seen.items(), reverse=True))),
            _grouped("Mentions by length", "length", by_length, note="Of gold mentions; spurious ones by their own length."),
            _grouped("Mentions by section", "section", dict(sorted(self.sections.items(), key=lambda item: -item[1].total()))),
            self._texts(),
        ]
        return [table for table in found if table.rows]

    @property
    def attributes_apart(self) -> int:
        """Gold attributes that are not compared, because the predictions hold none at all."""
        return 0 if self._compared_attributes() else sum(counts.total() for counts in self.attributes.values())

    def _compared_attributes(self) -> Groups:
        predicted = any(counts.total() > counts["missed"] for counts in self.attributes.values())
        return dict(sorted(self.attributes.items())) if predicted else {}

    def _ends(self) -> str:
        if not self.ends:
            return ""
        return f"Of {self.ends.total():,} missed links, {self.ends[False]:,} lack a mention that was not found with its type."

    def _boundaries(self) -> ErrorTable:
        words = {"earlier": 0, "same": 1, "later": 2}
        rows: list[tuple[str | int, ...]] = [
            (f"begins {_IN_WORDS[start]}, ends {_IN_WORDS[end]}", _size(words[end] - words[start], start), count)
            for (start, end), count in self.boundaries.most_common()
        ]
        return ErrorTable("Boundaries that differ", ("predicted mention", "it is", "mentions"), rows)

    def _confusions(self) -> ErrorTable:
        rows: list[tuple[str | int, ...]] = [
            (f"{gold} → {predicted}", of, count) for (of, gold, predicted), count in self.confusions.most_common(_MOST)
        ]
        left = len(self.confusions) - len(rows)
        note = f"{left} rarer ones are left out here; all are in the rows of --csv." if left else ""
        return ErrorTable("Most frequent confusions of types", ("gold → predicted", "of", "times"), rows, note)

    def _texts(self) -> ErrorTable:
        common = self.texts.most_common(_MOST)
        rows: list[tuple[str | int, ...]] = [(text, name, outcome, count) for (outcome, name, text), count in common]
        return ErrorTable("Strings most often wrong", ("string", "type", "error", "times"), rows)


_OF_ATTRIBUTES = "Boundary: at a mention that is not gold's; type: another value."
_IN_WORDS = {"earlier": "earlier", "same": "where gold does", "later": "later"}


def _count(groups: Groups, name: str, outcome: str) -> None:
    groups.setdefault(name, Counter())[outcome] += 1


def _size(longer: int, start: str) -> str:
    if longer:
        return "longer" if longer > 0 else "shorter"
    return "of other fragments" if start == "same" else "moved"


def _length(words: int) -> str:
    return LENGTHS[next((place for place, most in enumerate(_LENGTH_ENDS) if words <= most), len(LENGTHS) - 1)]


def _grouped(title: str, name: str, groups: Groups, *, total: bool = False, note: str = "") -> ErrorTable:
    rows = [_row(group, counts) for group, counts in groups.items()]
    if total and len(rows) > 1:
        rows.append(_row("all", sum(groups.values(), Counter())))
    return ErrorTable(title, (name, "gold", "correct", *ERRORS, "precision", "recall", "F1"), rows, note)


def _row(name: str, counts: Counter[str]) -> tuple[str | int, ...]:
    correct = counts["correct"]
    gold, predicted = counts.total() - counts["spurious"], counts.total() - counts["missed"]
    precision, recall = (f"{correct / sum_:.3f}" if sum_ else "" for sum_ in (predicted, gold))
    f1 = f"{2 * correct / (gold + predicted):.3f}" if gold + predicted else ""
    return (name, gold, *(counts[outcome] for outcome in OUTCOMES), precision, recall, f1)
