"""Named rule sets: how one gold document is held against one predicted document.

Three rule sets, each a class with the same three methods, so that a fourth is one class more.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, TypeVar

from clinical_ie.document import Document, Entity, Span
from clinical_ie.errors import SettingError
from clinical_ie.scoring.counts import Counts, DocumentCounts, Mode, TypeCounts
from clinical_ie.scoring.matching import MentionKey, lenient_matching_size, matching_size, overlapping_keys

LinkKey = tuple[str, MentionKey, MentionKey]
"""Type, head and tail of a relation or of an event's argument."""
K = TypeVar("K", MentionKey, LinkKey)


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
        ours, theirs = _mention_keys(gold), _mention_keys(predicted)
        our_links = [(name, _key(head), _key(tail)) for _, name, head, tail in gold.links()]
        their_links = [(name, _key(head), _key(tail)) for _, name, head, tail in predicted.links()]
        entities: dict[Mode, TypeCounts] = {"strict": _equal_keys(ours, theirs), "lenient": self._lenient_mentions(gold, predicted)}
        relations: dict[Mode, TypeCounts] = {
            "strict": _equal_keys(our_links, their_links),
            "lenient": self._lenient_links(ours, theirs, our_links, their_links),
        }
        return DocumentCounts(gold.id, entities, relations)

    @staticmethod
    def _lenient_mentions(gold: Document, predicted: Document) -> TypeCounts:
        ours, theirs = _by_type(gold.entities), _by_type(predicted.entities)
        found: TypeCounts = {}
        for name in ours.keys() | theirs.keys():
            left, right = ours.get(name, []), theirs.get(name, [])
            tp = lenient_matching_size(left, right) if left and right else 0
            found[name] = Counts(tp, len(right) - tp, len(left) - tp)
        return found

    @staticmethod
    def _lenient_links(
        ours: list[MentionKey], theirs: list[MentionKey], our_links: list[LinkKey], their_links: list[LinkKey]
    ) -> TypeCounts:
        places: dict[LinkKey, list[int]] = {}
        for place, link in enumerate(our_links):
            places.setdefault(link, []).append(place)
        partners = _link_partners(overlapping_keys(theirs, ours), our_links, their_links)
        rows: dict[str, list[list[int]]] = {}
        for link in their_links:
            rows.setdefault(link[0], []).append([place for option in partners[link] for place in places[option]])
        totals = Counter(link[0] for link in our_links)
        found: TypeCounts = {}
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
        ours, theirs = [_hull(entity) for entity in gold.entities], [_hull(entity) for entity in predicted.entities]
        our_links, their_links = _hull_links(gold), _hull_links(predicted)
        overlaps = overlapping_keys(theirs, ours)
        entities: dict[Mode, TypeCounts] = {
            "strict": _first_come(ours, theirs, _themselves(ours)),
            "lenient": _first_come(ours, theirs, overlaps),
        }
        relations: dict[Mode, TypeCounts] = {
            "strict": _first_come(our_links, their_links, _themselves(our_links)),
            "lenient": _first_come(our_links, their_links, _link_partners(overlaps, our_links, their_links)),
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


def _key(entity: Entity) -> MentionKey:
    return entity.type, entity.span.fragments


def _hull(entity: Entity) -> MentionKey:
    fragments = entity.span.fragments
    return entity.type, fragments if len(fragments) == 1 else ((fragments[0][0], fragments[-1][1]),)


def _mention_keys(document: Document) -> list[MentionKey]:
    return [(entity.type, entity.span.fragments) for entity in document.entities]


def _hull_links(document: Document) -> list[LinkKey]:
    """Relations only, without event arguments."""
    anchors = document.anchors()
    return [(relation.type, _hull(anchors[relation.head]), _hull(anchors[relation.tail])) for relation in document.relations]


def _by_type(entities: Iterable[Entity]) -> dict[str, list[Span]]:
    found: dict[str, list[Span]] = {}
    for entity in entities:
        found.setdefault(entity.type, []).append(entity.span)
    return found


def _equal_keys(gold: Sequence[K], predicted: Sequence[K]) -> TypeCounts:
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


def _first_come(gold: Sequence[K], predicted: Sequence[K], partners: Mapping[K, Sequence[K]]) -> TypeCounts:
    """Counts of the 2018 script: predicted items in file order, with the gold items that each equals.

    Equal gold items are matched together, so it is enough to remember which keys are.
    """
    found: TypeCounts = {}
    matched: set[K] = set()
    for key in gold:
        found.setdefault(key[0], Counts()).fn += 1
    for key in predicted:
        options = partners.get(key)
        if not options:
            found.setdefault(key[0], Counts()).fp += 1
            continue
        if not any(option in matched for option in options):
            found[key[0]].tp += 1
            found[key[0]].fn -= 1
        matched.update(options)
    return found


def _themselves(keys: Iterable[K]) -> dict[K, tuple[K]]:
    return {key: (key,) for key in keys}


def _link_partners(
    overlaps: Mapping[MentionKey, Sequence[MentionKey]], gold: Sequence[LinkKey], predicted: Sequence[LinkKey]
) -> dict[LinkKey, list[LinkKey]]:
    """For every distinct predicted link, the gold links of its type whose both ends overlap its own."""
    known = set(gold)
    found: dict[LinkKey, list[LinkKey]] = {}
    for link in predicted:
        if link not in found:
            name, head, tail = link
            found[link] = [option for first in overlaps[head] for second in overlaps[tail] if (option := (name, first, second)) in known]
    return found
