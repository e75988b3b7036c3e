"""Named rule sets: how one gold document is held against one predicted document.

Three rule sets, each a class with the same three methods, so that a fourth is one class more.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import ClassVar

from clinical_ie.document import Document, Entity
from clinical_ie.errors import SettingError
from clinical_ie.scoring.counts import Counts, DocumentCounts, Mode, TypeCounts
from clinical_ie.scoring.matching import lenient_matching_size, lenient_partners, matching_size

Link = tuple[str, Entity, Entity]
"""Type, head and tail of a relation or of an event's argument."""


class RuleSet(ABC):
    """How documents are compared.

    `files` says which documents count: those on either side (``union``), those on both
    (``intersection``), or only equal sets (``equal``). `macro` says what the macro average is over.
    """

    name: ClassVar[str]
    files: ClassVar[str]
    macro: ClassVar[str]

    @abstractmethod
    def count(self, gold: Document, predicted: Document) -> DocumentCounts:
        """The counts of one document."""


class StrictOneToOne(RuleSet):
    """Ours, the default: every document counts, every annotation is matched once, the matching is maximal.

    Strict compares type and all fragments, lenient type and any shared character. Event
    arguments count as relations from the trigger, named by their role.
    """

    name = "strict-one-to-one"
    files = "union"
    macro = "types"

    def count(self, gold: Document, predicted: Document) -> DocumentCounts:
        """The counts of one document."""
        entities: dict[Mode, TypeCounts] = {
            "strict": _equal_keys(_entity_keys(gold.entities), _entity_keys(predicted.entities)),
            "lenient": self._lenient_entities(gold.entities, predicted.entities),
        }
        ours, theirs = _links(gold), _links(predicted)
        relations: dict[Mode, TypeCounts] = {
            "strict": _equal_keys(_link_keys(ours), _link_keys(theirs)),
            "lenient": self._lenient_links(gold, predicted, ours, theirs),
        }
        return DocumentCounts(gold.id, entities, relations)

    @staticmethod
    def _lenient_entities(gold: Sequence[Entity], predicted: Sequence[Entity]) -> TypeCounts:
        ours, theirs = _by_type(gold), _by_type(predicted)
        found: TypeCounts = {}
        for name in ours.keys() | theirs.keys():
            left = [entity.span for entity in ours.get(name, ())]
            right = [entity.span for entity in theirs.get(name, ())]
            tp = lenient_matching_size(left, right) if left and right else 0
            found[name] = Counts(tp, len(right) - tp, len(left) - tp)
        return found

    @staticmethod
    def _lenient_links(gold: Document, predicted: Document, ours: list[Link], theirs: list[Link]) -> TypeCounts:
        found: TypeCounts = {}
        partners = _link_partners(gold, predicted, ours, theirs, by_hull=False)
        rows: dict[str, list[list[int]]] = {}
        for (name, _, _), options in zip(theirs, partners, strict=True):
            rows.setdefault(name, []).append(options)
        totals = Counter(name for name, _, _ in ours)
        for name in totals.keys() | rows.keys():
            row = rows.get(name, [])
            tp = matching_size(row)
            found[name] = Counts(tp, len(row) - tp, totals[name] - tp)
        return found


class N2c22018(RuleSet):
    """The script of 2018 n2c2 Track 2, number by number.

    Mentions collapse to first start and last end. A predicted item that equals a gold item which an
    earlier one has matched is dropped, neither right nor wrong; one that equals several gold items
    is one true positive. Macro averages are over documents. Only documents on both sides count.
    """

    name = "n2c2-2018"
    files = "intersection"
    macro = "documents"

    def count(self, gold: Document, predicted: Document) -> DocumentCounts:
        """The counts of one document."""
        ours, theirs = _relations(gold), _relations(predicted)
        entities: dict[Mode, TypeCounts] = {
            "strict": _first_come_keys(_hull_keys(gold.entities), _hull_keys(predicted.entities)),
            "lenient": _first_come(
                [entity.type for entity in gold.entities],
                [entity.type for entity in predicted.entities],
                lenient_partners(predicted.entities, gold.entities, by_hull=True),
            ),
        }
        relations: dict[Mode, TypeCounts] = {
            "strict": _first_come_keys(_hull_link_keys(ours), _hull_link_keys(theirs)),
            "lenient": _first_come(
                [link[0] for link in ours],
                [link[0] for link in theirs],
                _link_partners(gold, predicted, ours, theirs, by_hull=True),
            ),
        }
        return DocumentCounts(gold.id, entities, relations)


def rule_set(name: str) -> RuleSet:
    """A rule set by its name.

    Raises:
        SettingError: There is none of that name.
    """
    from clinical_ie.scoring.shac import Shac2022

    known: dict[str, type[RuleSet]] = {kind.name: kind for kind in (StrictOneToOne, N2c22018, Shac2022)}
    if name not in known:
        raise SettingError(f"no rule set {name!r}; known are {', '.join(known)}")
    return known[name]()


def _by_type(entities: Iterable[Entity]) -> dict[str, list[Entity]]:
    found: dict[str, list[Entity]] = {}
    for entity in entities:
        found.setdefault(entity.type, []).append(entity)
    return found


def _relations(document: Document) -> list[Link]:
    """Relations only, without event arguments."""
    anchors = document.anchors()
    return [(relation.type, anchors[relation.head], anchors[relation.tail]) for relation in document.relations]


def _links(document: Document) -> list[Link]:
    return [(name, head, tail) for _, name, head, tail in document.links()]


def _entity_keys(entities: Iterable[Entity]) -> list[tuple[str, Hashable]]:
    return [(entity.type, entity.span.fragments) for entity in entities]


def _hull_keys(entities: Iterable[Entity]) -> list[tuple[str, Hashable]]:
    return [(entity.type, (entity.start, entity.end)) for entity in entities]


def _link_keys(links: Iterable[Link]) -> list[tuple[str, Hashable]]:
    return [(name, (head.type, head.span.fragments, tail.type, tail.span.fragments)) for name, head, tail in links]


def _hull_link_keys(links: Iterable[Link]) -> list[tuple[str, Hashable]]:
    return [(name, (head.type, head.start, head.end, tail.type, tail.start, tail.end)) for name, head, tail in links]


def _equal_keys(gold: list[tuple[str, Hashable]], predicted: list[tuple[str, Hashable]]) -> TypeCounts:
    """Counts where only equal keys match, each once."""
    found: TypeCounts = {}
    ours, theirs = Counter(gold), Counter(predicted)
    for key, count in ours.items():
        counts = found.setdefault(key[0], Counts())
        hits = min(count, theirs.get(key, 0))
        counts.tp += hits
        counts.fn += count - hits
    for key, count in theirs.items():
        surplus = count - ours.get(key, 0)
        if surplus > 0:
            found.setdefault(key[0], Counts()).fp += surplus
    return found


def _first_come_keys(gold: list[tuple[str, Hashable]], predicted: list[tuple[str, Hashable]]) -> TypeCounts:
    """`_first_come` where only equal keys match, without looking at pairs."""
    found: TypeCounts = {}
    ours = set(gold)
    for key in gold:
        found.setdefault(key[0], Counts()).fn += 1
    for key in predicted:
        if key not in ours:
            found.setdefault(key[0], Counts()).fp += 1
    for key in ours.intersection(predicted):
        found[key[0]].tp += 1
        found[key[0]].fn -= 1
    return found


def _first_come(gold: list[str], predicted: list[str], partners: list[list[int]]) -> TypeCounts:
    """Counts of the 2018 script: predicted items in file order, with the gold items that each equals."""
    found: TypeCounts = {}
    matched: set[int] = set()
    for name in gold:
        found.setdefault(name, Counts()).fn += 1
    for name, options in zip(predicted, partners, strict=True):
        counts = found.setdefault(name, Counts())
        if not options:
            counts.fp += 1
            continue
        if not any(option in matched for option in options):
            counts.tp += 1
            counts.fn -= 1
        matched.update(options)
    return found


def _link_partners(gold: Document, predicted: Document, ours: Sequence[Link], theirs: Sequence[Link], *, by_hull: bool) -> list[list[int]]:
    """For every predicted link, the gold links of its type whose both ends overlap its own."""
    if not theirs:
        return []
    places: Mapping[str, int] = {entity.id: index for index, entity in enumerate(predicted.entities)}
    rows = lenient_partners(predicted.entities, gold.entities, by_hull=by_hull)
    ids = [entity.id for entity in gold.entities]
    index: dict[tuple[str, str, str], list[int]] = {}
    for place, (name, head, tail) in enumerate(ours):
        index.setdefault((name, head.id, tail.id), []).append(place)
    found = []
    for name, head, tail in theirs:
        options: list[int] = []
        for first in rows[places[head.id]]:
            for second in rows[places[tail.id]]:
                if (name, ids[first], ids[second]) in index:
                    options += index[name, ids[first], ids[second]]
        found.append(sorted(options))
    return found
