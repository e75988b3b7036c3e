"""The rules of 2018 n2c2 Track 2 (adverse drug events and medication)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from clinical_ie.document import Document
from clinical_ie.formats.brat_literal import LiteralNote, Mention
from clinical_ie.schema import Schema
from clinical_ie.scoring.counts import Counts, DocumentCounts, Kind, Mode, TypeCounts
from clinical_ie.scoring.matching import LinkKey, MentionKey, link_partners, overlapping_keys
from clinical_ie.scoring.rule_set import RuleSet

K = TypeVar("K", MentionKey, LinkKey)


class N2c22018(RuleSet):
    """The script of 2018 n2c2 Track 2, number by number.

    Mentions collapse to first start and last end. A predicted item that equals a gold item which an
    earlier one has matched is dropped, neither right nor wrong; one that equals several gold items
    is one true positive. Macro averages are over documents. Only documents on both sides count.
    Events are ignored.
    """

    name = "n2c2-2018"
    files = "intersection"
    macro = "documents"

    @classmethod
    def unfit(cls, schema: Schema, finds: Kind) -> str:
        """Why these rules count nothing: all links are arguments of events, or attributes are wanted."""
        if finds == "attributes":
            return "the task finds attributes, and these rules count mentions and relations"
        if finds == "relations" and schema.relations and all(relation.argument for relation in schema.relations):
            return "all its links are arguments of events, and these rules count relations"
        return ""

    def count(self, gold: Document, predicted: Document) -> DocumentCounts:
        """The counts of one document."""
        return self.count_literally(LiteralNote.of(gold), LiteralNote.of(predicted))

    def count_literally(self, gold: LiteralNote, predicted: LiteralNote) -> DocumentCounts:
        """The counts of one note by what is written about it, offsets that no text has included."""
        ours, our_links = _keys(gold)
        theirs, their_links = _keys(predicted)
        overlaps = overlapping_keys(theirs, ours)
        entities: dict[Mode, TypeCounts] = {
            "strict": _first_come(ours, theirs, _themselves(ours)),
            "lenient": _first_come(ours, theirs, overlaps),
        }
        relations: dict[Mode, TypeCounts] = {
            "strict": _first_come(our_links, their_links, _themselves(our_links)),
            "lenient": _first_come(our_links, their_links, link_partners(overlaps, our_links, their_links)),
        }
        return DocumentCounts(gold.id, entities, relations)


def _keys(note: LiteralNote) -> tuple[list[MentionKey], list[LinkKey]]:
    """Mentions and relations in the order of the file."""
    keys: dict[Mention, MentionKey] = {mention: (mention[0], (mention[1:],)) for mention in note.mentions}
    return [keys[mention] for mention in note.mentions], [(kind, keys[head], keys[tail]) for kind, head, tail in note.links]


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
