"""A document, or a gold and a predicted one as one, as the rows that the page's JavaScript reads.

JavaScript counts UTF-16 units, where a character beyond U+FFFF has two; offsets are turned into those here.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from clinical_ie.document import Document, Entity
from clinical_ie.reports.outcomes import link_confidences
from clinical_ie.scoring.alignment import OUTCOMES, Alignment, Link, Pair

_PREDICTED, _GOLD, _BOTH = 0, 1, 2
"""Whose an annotation is; the same numbers stand in ``data.js``."""
PAGE_OUTCOMES: tuple[str, ...] = (*OUTCOMES, "")
"""Those of pages; the last stands for annotations that nothing is compared with."""
Summary = Counter[tuple[int, int, int]]
"""Type, outcome, confidence in percent (-1 where unknown) -> how often; all that filters need to know of a document."""


class Names:
    """Names as numbers, in the order in which they come."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self.places: dict[str, int] = {name: place for place, name in enumerate(dict.fromkeys(names))}

    def __getitem__(self, name: str) -> int:
        return self.places.setdefault(name, len(self.places))

    def __iter__(self) -> Any:
        return iter(self.places)


@dataclass(slots=True)
class Encoded:
    """What a page holds of a document: its text, its row among the annotations, and what the index says of it."""

    text: str
    row: list[Any]
    mentions: int = 0
    links: int = 0
    mention_summary: Summary = field(default_factory=Counter)
    link_summary: Summary = field(default_factory=Counter)


class DocumentEncoder:
    """Documents as rows, and the names of all types that they have."""

    def __init__(self, types: Iterable[str] = ()) -> None:
        self.types, self.link_types = Names(types), Names()

    def alone(self, document: Document) -> Encoded:
        """A document that nothing is compared with."""
        document = document.joined()
        links = tuple(document.links())
        nothing = Document(document.id, document.text)
        mentions = tuple(Pair("spurious", None, place) for place in range(len(document.entities)))
        pairs = tuple(Pair("spurious", None, place) for place in range(len(links)))
        return self._encoded(Alignment(nothing, document, (), links, mentions, pairs), None, compared=False, remark="")

    def compared(self, alignment: Alignment, seen: Collection[str] | None = None, remark: str = "") -> Encoded:
        """A gold and a predicted document.

        Args:
            alignment: Of the two.
            seen: Ids of gold mentions whose strings training has seen; None where that is not known.
            remark: What the page says of the document beside its length.
        """
        return self._encoded(alignment, seen, compared=True, remark=remark)

    def _encoded(self, alignment: Alignment, seen: Collection[str] | None, *, compared: bool, remark: str) -> Encoded:
        gold, predicted = alignment.gold, alignment.predicted
        encoded = Encoded(gold.text, [[], [], remark])
        units = utf16_offsets(gold.text)
        ours, theirs = _badges(gold), _badges(predicted)
        place_of: dict[tuple[int, int], int] = {}
        for pair in alignment.mentions:  # both sides of a correct mention are one, those of others two
            for side, place in _sides(pair):
                place_of[side, place] = len(encoded.row[0])
                entity = gold.entities[place] if side == _GOLD else predicted.entities[place]
                other = pair.predicted if side == _GOLD else pair.gold
                merged = pair.outcome == "correct"
                own, of_gold = (ours if side == _GOLD else theirs).get(entity.id, []), []
                confidence = entity.confidence if side == _PREDICTED else None
                if merged and pair.predicted is not None:
                    match = predicted.entities[pair.predicted]
                    own, of_gold, confidence = theirs.get(match.id, []), own, match.confidence
                    place_of[_PREDICTED, pair.predicted] = place_of[side, place]
                    of_gold = [] if of_gold == own else of_gold
                outcome = pair.outcome if compared else ""
                encoded.row[0].append(
                    [
                        _BOTH if merged else side,
                        self.types[entity.type],
                        [units(offset) for fragment in entity.span.fragments for offset in fragment],
                        outcome,
                        -1 if merged or other is None else (1 - side, other),  # a place below, once all are known
                        confidence,
                        entity.id,
                        own,
                        of_gold,
                        -1 if seen is None or side != _GOLD else int(entity.id in seen),
                    ]
                )
                if side == _GOLD or pair.gold is None:
                    percent = _percent(predicted.entities[pair.predicted].confidence if pair.predicted is not None else None)
                    encoded.mention_summary[self.types[entity.type], PAGE_OUTCOMES.index(outcome), percent] += 1
        for row in encoded.row[0]:
            row[4] = row[4] if row[4] == -1 else place_of[row[4]]
        encoded.mentions = len(encoded.row[0]) - sum(pair.outcome in OUTCOMES[1:4] for pair in alignment.mentions)
        self._add_links(encoded, alignment, place_of, compared=compared)
        return encoded

    def _add_links(self, encoded: Encoded, alignment: Alignment, place_of: Mapping[tuple[int, int], int], *, compared: bool) -> None:
        documents = {_GOLD: alignment.gold, _PREDICTED: alignment.predicted}
        links: dict[int, Sequence[Link]] = {_GOLD: alignment.gold_links, _PREDICTED: alignment.predicted_links}
        places = {side: {entity.id: place for place, entity in enumerate(document.entities)} for side, document in documents.items()}
        badges = {side: _badges(document, links=True) for side, document in documents.items()}
        confidences = link_confidences(alignment.predicted)
        for pair in alignment.links:
            merged = pair.outcome == "correct"
            confidence = None if pair.predicted is None else confidences[pair.predicted]
            outcome = pair.outcome if compared else ""
            for side, place in _sides(pair):
                name, kind, head, tail = links[side][place]
                ends = [place_of[side, places[side][entity.id]] for entity in (head, tail)]
                known = confidence if merged or side == _PREDICTED else None
                row = [_BOTH if merged else side, self.link_types[kind], *ends, outcome, -1, known, badges[side].get(name, [])]
                encoded.row[1].append(row)
                if side == _GOLD or pair.gold is None:
                    encoded.link_summary[self.link_types[kind], PAGE_OUTCOMES.index(outcome), _percent(confidence)] += 1
        encoded.links = encoded.link_summary.total()


def _sides(pair: Pair) -> list[tuple[int, int]]:
    """The gold and the predicted annotation of a pair; the gold one for both where they are equal."""
    found = [(_GOLD, pair.gold)] if pair.gold is not None else []
    if pair.predicted is not None and pair.outcome != "correct":
        found.append((_PREDICTED, pair.predicted))
    return found


def _percent(confidence: float | None) -> int:
    return -1 if confidence is None else round(100 * confidence)


def _badges(document: Document, *, links: bool = False) -> dict[str, list[list[str | None]]]:
    """Attributes, terminology entries and comments of mentions (those of events with their triggers), or of relations."""
    anchors: Mapping[str, Entity] = document.anchors()
    found: dict[str, list[list[str | None]]] = {}

    def add(target: str, name: str, value: str | None) -> None:
        if target in anchors and not links:
            found.setdefault(anchors[target].id, []).append([name, value])
        elif target not in anchors and links:
            found.setdefault(target, []).append([name, value])

    for attribute in document.attributes:
        add(attribute.target, attribute.type, attribute.value)
    for normalization in document.normalizations:
        add(normalization.target, normalization.type, normalization.entry)
    for comment in document.comments:
        add(comment.target, comment.type, comment.text)
    return found


def utf16_offsets(text: str) -> Callable[[int], int]:
    r"""From offsets in characters to offsets in UTF-16 units.

    Example:
        >>> units = utf16_offsets("a\U0001f600b")
        >>> units(1), units(2), units(3)
        (1, 3, 4)
    """
    wide = [place for place, sign in enumerate(text) if sign > "\uffff"] if not text.isascii() else []
    return lambda offset: offset + bisect_left(wide, offset)
