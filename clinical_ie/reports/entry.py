"""One score in ``results.json``, typed: of a split, a corpus and a task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from clinical_ie.fields import Fields, MalformedDataError, elements, integer, kind_of, string
from clinical_ie.scoring.counts import KINDS, MODES, Counts, DocumentRow, Kind, Mode, TypeCounts

if TYPE_CHECKING:
    from clinical_ie.scoring.intervals import Interval

T = TypeVar("T")
RATIOS = ("precision", "recall", "f1")


@dataclass(frozen=True, slots=True)
class Averages:
    """Scores of a kind under a mode: over all annotations, the mean over types or documents, and of each type."""

    micro: Counts
    macro: dict[str, float]
    types: TypeCounts

    @classmethod
    def read(cls, value: object, place: str) -> Averages:
        """From what `to_dict` gives."""
        fields = Fields(value, place)
        return cls(
            counts(fields.get("micro"), fields.at("micro")),
            mapping(fields.get("macro"), fields.at("macro"), number),
            mapping(fields.get("types"), fields.at("types"), counts),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        types = {name: one.to_dict() for name, one in self.types.items()}
        return {"micro": self.micro.to_dict(), "macro": dict(self.macro), "types": types}


@dataclass(frozen=True, slots=True)
class Found:
    """How many of some gold mentions were found, with type and offsets; the recall of none is 0."""

    gold: int
    tp: int

    @classmethod
    def read(cls, value: object, place: str) -> Found:
        """From what `to_dict` gives."""
        fields = Fields(value, place)
        fields.only("gold", "tp", "recall")
        return cls(fields.integer("gold"), fields.integer("tp"))

    @property
    def recall(self) -> float:
        """Share of them."""
        return self.tp / self.gold if self.gold else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"gold": self.gold, "tp": self.tp, "recall": self.recall}


@dataclass(slots=True)
class Entry:
    """Scores of a model's predictions for one task on one part of a corpus, and all that a table says of them.

    `scores` holds mentions, links and attributes, `events` and `overall` the rows of event rules. `intervals`,
    `smallest_visible_difference` and `per_document` have keys such as ``entities/strict``; `groups` is the cluster (patient, else the
    document itself) of each document. `strings`, `seen` and `unseen` are those of `StringCounts`; `coverage`, `left_out_by_flat_view` and
    `outcomes` say what was lost on the way, `survival` what a perfect model could reach, `calibration` how far confidences are off, for
    each kind of annotation. What a file does not say is empty, or None.
    """

    rules: str
    documents: int
    finds: Kind
    missing: int = 0
    relation_setting: str | None = None
    macro_over: str | None = None
    missing_ids: list[str] = field(default_factory=list)
    extra_ids: list[str] = field(default_factory=list)
    scores: dict[Kind, dict[Mode, Averages]] = field(default_factory=dict)
    events: list[dict[str, Any]] | None = None
    overall: Counts | None = None
    intervals: dict[str, Interval] = field(default_factory=dict)
    smallest_visible_difference: dict[str, float] = field(default_factory=dict)
    per_document: dict[str, dict[str, DocumentRow]] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)
    strings: dict[Kind, Counts] = field(default_factory=dict)
    seen: Found | None = None
    unseen: Found | None = None
    outcomes: dict[str, int] = field(default_factory=dict)
    coverage: dict[str, Any] | None = None
    left_out_by_flat_view: dict[str, int] = field(default_factory=dict)
    survival: dict[str, Any] | None = None
    calibration: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def kinds(self) -> list[Kind]:
        """What the scores say something of: gold mentions held against themselves do not, and neither a tagger's relations.

        End to end, all that the stages before may have found stands in the same documents; of attributes' documents, where it is there.
        """
        wanted = (
            KINDS[: KINDS.index(self.finds) + 1] if self.finds != "entities" and self.relation_setting == "end to end" else (self.finds,)
        )
        return [kind for kind in wanted if kind in self.scores and (kind != "relations" or self.finds == kind or self._holds(kind))]

    def _holds(self, kind: Kind) -> bool:
        """Whether anything of a kind was predicted."""
        counts = self.scores[kind]["strict"].micro
        return counts.tp + counts.fp > 0

    @classmethod
    def read(cls, value: object, place: str) -> Entry:
        """From what `to_dict` gives.

        Raises:
            MalformedDataError: A key is missing or unknown, or its value is of the wrong type.
        """
        fields = Fields(value, place)
        fields.only(*(name for name in cls.__slots__ if name != "scores"), *KINDS)
        finds = fields.string("finds")
        if finds not in KINDS:
            raise MalformedDataError(fields.at("finds"), "found an unknown kind", expected=f"one of {', '.join(KINDS)}")

        def table(name: str, read: Callable[[object, str], T]) -> dict[str, T]:
            return mapping(fields.get(name), fields.at(name), read) if name in fields else {}

        def optional(name: str, read: Callable[[object, str], T]) -> T | None:
            return read(fields.get(name), fields.at(name)) if fields.data.get(name) is not None else None

        def averages(kind: str) -> dict[Mode, Averages]:
            modes = Fields(fields.get(kind), fields.at(kind))
            return {mode: Averages.read(modes.get(mode), modes.at(mode)) for mode in MODES}

        strings = table("strings", counts)
        return cls(
            fields.string("rules"),
            fields.integer("documents"),
            next(kind for kind in KINDS if kind == finds),
            fields.integer("missing") if "missing" in fields else 0,
            optional("relation_setting", string),
            optional("macro_over", string),
            fields.strings("missing_ids"),
            fields.strings("extra_ids"),
            {kind: averages(kind) for kind in KINDS if kind in fields},
            optional("events", rows),
            optional("overall", counts),
            table("intervals", interval),
            table("smallest_visible_difference", number),
            table("per_document", lambda value, place: mapping(value, place, document_row)),
            table("groups", string),
            {kind: strings[kind] for kind in KINDS if kind in strings},
            optional("seen", Found.read),
            optional("unseen", Found.read),
            table("outcomes", integer),
            optional("coverage", anything),
            table("left_out_by_flat_view", integer),
            optional("survival", anything),
            table("calibration", anything),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        ends = {"seen": self.seen, "unseen": self.unseen, "overall": self.overall}
        return {
            "rules": self.rules,
            "documents": self.documents,
            "missing": self.missing,
            **({"events": self.events} if self.events is not None else {}),
            **{kind: {mode: one.to_dict() for mode, one in modes.items()} for kind, modes in self.scores.items()},
            **{name: one.to_dict() for name, one in ends.items() if one is not None},
            "relation_setting": self.relation_setting,
            "missing_ids": self.missing_ids,
            "extra_ids": self.extra_ids,
            "macro_over": self.macro_over,
            "finds": self.finds,
            "coverage": self.coverage,
            "left_out_by_flat_view": self.left_out_by_flat_view,
            "outcomes": self.outcomes,
            "intervals": {name: one.to_dict() for name, one in self.intervals.items()},
            "smallest_visible_difference": self.smallest_visible_difference,
            "strings": {kind: one.to_dict() for kind, one in self.strings.items()},
            **({"survival": self.survival} if self.survival is not None else {}),
            **({"calibration": self.calibration} if self.calibration else {}),
            "groups": self.groups,
            "per_document": {name: {document: list(row) for document, row in of.items()} for name, of in self.per_document.items()},
        }


def number(value: object, place: str) -> float:
    """A number.

    Raises:
        MalformedDataError: It is something else.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise MalformedDataError(place, f"found {kind_of(value)}", expected="a number")
    return float(value)


def mapping(value: object, place: str, read: Callable[[object, str], T]) -> dict[str, T]:
    """A mapping of names to values of one sort."""
    fields = Fields(value, place)
    return {name: read(one, fields.at(name)) for name, one in fields.data.items()}


def anything(value: object, place: str) -> dict[str, Any]:
    """A mapping of any values."""
    return Fields(value, place).data


def rows(value: object, place: str) -> list[dict[str, Any]]:
    """A list of mappings."""
    return [anything(one, f"{place}[{number}]") for number, one in enumerate(elements(value, place))]


def counts(value: object, place: str) -> Counts:
    """Counts, of what `Counts.to_dict` gives; ratios follow from them."""
    fields = Fields(value, place)
    fields.only(*RATIOS, "tp", "fp", "fn")
    return Counts(*(fields.integer(name) for name in ("tp", "fp", "fn")))


def document_row(value: object, place: str) -> DocumentRow:
    """Counts of a document."""
    tp, fp, fn = (integer(one, place) for one in elements(value, place, 3))
    return tp, fp, fn


def interval(value: object, place: str) -> Interval:
    """An interval."""
    from clinical_ie.scoring.intervals import Interval, Method  # with numpy, which much that imports this module does not need

    fields = Fields(value, place)
    fields.only(*Interval._fields)
    low, high, level = (number(fields.get(name), fields.at(name)) for name in ("low", "high", "level"))
    found: Mapping[str, Method] = {method: method for method in get_args(Method)}
    if (name := fields.string("method")) not in found:
        raise MalformedDataError(fields.at("method"), "found an unknown method", expected=f"one of {', '.join(found)}")
    return Interval(low, high, level, found[name], fields.integer("clusters"), fields.integer("samples"))
