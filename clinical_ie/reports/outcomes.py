"""What became of each annotation, as rows without note text: for tables, for pages, and for analyses of one's own."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from clinical_ie.document import Attribute, Document, Entity
from clinical_ie.reports.attribute_outcomes import attribute_pairs
from clinical_ie.scoring.alignment import Alignment, Link, Outcome, Pair
from clinical_ie.scoring.strings import normalised
from clinical_ie.segmentation.sections import Sections


@dataclass(frozen=True, slots=True)
class OutcomeRow:
    """A mention, a link or an attribute of one document, gold or predicted or both.

    The type of an attribute is its label (``POLARITY=NEG``). Offsets are fragments such as ``3-8;12-15``, of a link those of its head and
    its tail. `words` counts the words of the gold mention, of a spurious one its own; `seen` says whether training has seen the string of
    a gold mention, None where that is not known. `start` and `end` say where a predicted mention with other boundaries begins and ends
    (``earlier``, ``same``, ``later``). `ends_found` says of a missed link whether both its mentions were found.
    """

    document: str
    of: str
    outcome: Outcome
    gold_id: str = ""
    gold_type: str = ""
    gold_offsets: str = ""
    predicted_id: str = ""
    predicted_type: str = ""
    predicted_offsets: str = ""
    confidence: float | None = None
    section: str = ""
    words: int = 0
    seen: bool | None = None
    start: str = ""
    end: str = ""
    ends_found: bool | None = None
    text: str = ""

    @property
    def type(self) -> str:
        """The gold type; of what is spurious the predicted one."""
        return self.gold_type or self.predicted_type


def outcome_rows(alignment: Alignment, seen: Collection[str] | None = None, *, texts: bool = False) -> Iterator[OutcomeRow]:
    """All mentions, links and attributes of mentions of a document.

    Args:
        alignment: Of the document.
        seen: Ids of the gold mentions whose strings training has seen; None where that is not known.
        texts: Whether rows hold the words of mentions (notes are patients').
    """
    sections = Sections.of(alignment.gold.text)
    for pair in alignment.mentions:
        yield _mention_row(alignment, pair, sections, seen, texts)
    found = {pair.gold for pair in alignment.mentions if pair.outcome in ("correct", "boundary")}
    found_ids = {alignment.gold.entities[place].id for place in found if place is not None}
    confidences = link_confidences(alignment.predicted)
    for pair in alignment.links:
        yield _link_row(alignment, pair, sections, found_ids, confidences, texts)
    for outcome, ours, theirs in attribute_pairs(alignment):
        yield _attribute_row(alignment, outcome, ours, theirs, sections, texts)


def link_confidences(document: Document) -> list[float | None]:
    """The confidence of every link, in the order of `Document.links`."""
    found = [relation.confidence for relation in document.relations]
    for event in document.events:
        found += event.argument_confidences or [None] * len(event.arguments)
    return found


def _mention_row(alignment: Alignment, pair: Pair, sections: Sections, seen: Collection[str] | None, texts: bool) -> OutcomeRow:
    gold = None if pair.gold is None else alignment.gold.entities[pair.gold]
    predicted = None if pair.predicted is None else alignment.predicted.entities[pair.predicted]
    entity = gold or predicted
    assert entity is not None
    words = normalised(alignment.gold, entity)
    moved = gold and predicted and gold.span != predicted.span
    return OutcomeRow(
        document=alignment.gold.id,
        of="mention",
        outcome=pair.outcome,
        gold_id=gold.id if gold else "",
        gold_type=gold.type if gold else "",
        gold_offsets=_offsets(gold) if gold else "",
        predicted_id=predicted.id if predicted else "",
        predicted_type=predicted.type if predicted else "",
        predicted_offsets=_offsets(predicted) if predicted else "",
        confidence=predicted.confidence if predicted else None,
        section=sections.at(entity.start),
        words=len(words.split()),
        seen=gold.id in seen if gold and seen is not None else None,
        start=_moved(predicted.start, gold.start) if gold and predicted and moved else "",
        end=_moved(predicted.end, gold.end) if gold and predicted and moved else "",
        text=words if texts else "",
    )


def _link_row(
    alignment: Alignment, pair: Pair, sections: Sections, found: Collection[str], confidences: Sequence[float | None], texts: bool
) -> OutcomeRow:
    gold = None if pair.gold is None else alignment.gold_links[pair.gold]
    predicted = None if pair.predicted is None else alignment.predicted_links[pair.predicted]
    link = gold or predicted
    assert link is not None
    _, _, head, tail = link
    return OutcomeRow(
        document=alignment.gold.id,
        of="link",
        outcome=pair.outcome,
        gold_id=gold[0] if gold else "",
        gold_type=gold[1] if gold else "",
        gold_offsets=_link_offsets(gold) if gold else "",
        predicted_id=predicted[0] if predicted else "",
        predicted_type=predicted[1] if predicted else "",
        predicted_offsets=_link_offsets(predicted) if predicted else "",
        confidence=None if pair.predicted is None else confidences[pair.predicted],
        section=sections.at(head.start),
        ends_found=head.id in found and tail.id in found if pair.outcome == "missed" else None,
        text=f"{normalised(alignment.gold, head)} -> {normalised(alignment.gold, tail)}" if texts else "",
    )


def _attribute_row(
    alignment: Alignment,
    outcome: Outcome,
    gold: tuple[Attribute, Entity] | None,
    predicted: tuple[Attribute, Entity] | None,
    sections: Sections,
    texts: bool,
) -> OutcomeRow:
    either = gold or predicted
    assert either is not None
    return OutcomeRow(
        document=alignment.gold.id,
        of="attribute",
        outcome=outcome,
        gold_id=gold[0].id if gold else "",
        gold_type=gold[0].label if gold else "",
        gold_offsets=_offsets(gold[1]) if gold else "",
        predicted_id=predicted[0].id if predicted else "",
        predicted_type=predicted[0].label if predicted else "",
        predicted_offsets=_offsets(predicted[1]) if predicted else "",
        confidence=predicted[0].confidence if predicted else None,
        section=sections.at(either[1].start),
        text=normalised(alignment.gold, either[1]) if texts else "",
    )


def _offsets(entity: Entity) -> str:
    return ";".join(f"{start}-{end}" for start, end in entity.span.fragments)


def _link_offsets(link: Link) -> str:
    return f"{_offsets(link[2])} {_offsets(link[3])}"


def _moved(predicted: int, gold: int) -> str:
    return "same" if predicted == gold else "earlier" if predicted < gold else "later"
