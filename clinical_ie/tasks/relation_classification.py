"""Relations and event arguments as labels of ordered pairs of mentions.

Candidates are all ordered pairs of mentions whose types may be linked and that lie within a distance of each other. Two
ways to show them to an encoder:

``shared``: a window is encoded once, with two levitated markers for each mention behind its text (`levitated_markers`), and every
pair of the window is read off the same pass.

``pair``: one pass for each candidate, with typed markers around its head and tail inside the text.

Reference: Zhong & Chen, A frustratingly easy approach for entity and relation extraction (NAACL 2021), for typed markers.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from clinical_ie.document import Document, Entity
from clinical_ie.errors import SettingError
from clinical_ie.schema import Schema
from clinical_ie.segmentation.sentences import sentences
from clinical_ie.segmentation.windows import starts_of
from clinical_ie.tasks.coverage import Coverage, count_links
from clinical_ie.tasks.levitated_markers import MARKERS, MarkedExample, MarkedMention, marked_mentions, marked_window, owned_windows
from clinical_ie.tasks.links import LinkLabels, linked
from clinical_ie.tasks.task import DIRECTED_ATTENTION, SHARED_POSITIONS, Finds, Source, SubwordEncoder, Task

Encoding = Literal["shared", "pair"]
Decision = Literal["multi_class", "multi_label", "binary"]
PairOutput = Mapping[int, Sequence[tuple[int, float, float | None]]]
"""Place of a pair in its example -> ranks, scores and probabilities of the labels found; pairs without any are left out."""


@dataclass(frozen=True, slots=True)
class PairExample(MarkedExample):
    """A window with marked mentions and the pairs to label."""

    pairs: tuple[tuple[int, int], ...]
    distances: tuple[tuple[int, int], ...]
    labels: tuple[tuple[int, ...], ...]

    @property
    def targets(self) -> int:
        """Pairs."""
        return len(self.pairs)


class RelationClassification(Task[PairExample]):
    """Labels of pairs of mentions.

    Args:
        encoding: One pass for a window with all its pairs, or one for each pair.
        decision: At most one label of all (``multi_class``), any number (``multi_label``), or related or not, where
            the types of the pair imply the label (``binary``).
        sentences: Greatest distance of head and tail in sentences (0: the same one); no limit when None.
        subwords: Greatest distance of their starts in sub-words; no limit when None.
        window: Most sub-words of text in an input; levitated markers come on top.
        overlap: Sub-words of context on each side of a window, under ``shared``.
        negatives: Share of unrelated pairs that training sees.
        seed: Of that choice; by default the run's (``seed_everything``).
    """

    name: ClassVar[str] = "relation_classification"
    finds: ClassVar[Finds] = "relations"
    needs_mentions: ClassVar[bool] = True

    def __init__(
        self,
        encoding: Encoding = "shared",
        decision: Decision = "multi_class",
        *,
        sentences: int | None = 1,
        subwords: int | None = None,
        window: int = 256,
        overlap: int = 64,
        negatives: float = 1.0,
        seed: int | None = None,
    ) -> None:
        if not 0 <= negatives <= 1:
            raise SettingError(f"negatives is {negatives}; expected a share between 0 and 1")
        self.encoding: Encoding = encoding
        self.decision: Decision = decision
        self.sentences, self.subwords, self.window, self.overlap = sentences, subwords, window, overlap
        self.negatives, self.seed = negatives, seed

    @property
    def needs(self) -> Mapping[str, str]:
        """Under ``shared``, markers that stand behind the text and are near their mentions all the same."""
        remedy = "set data.tasks.init_args.encoding to pair (-c task/relation_classification_pair)"
        return dict.fromkeys((SHARED_POSITIONS, DIRECTED_ATTENTION), remedy) if self.encoding == "shared" else {}

    def examples(
        self, document: Document, source: Source, coverage: Coverage | None = None, *, training: bool = False
    ) -> list[PairExample]:
        """Windows with their pairs, or one example for each pair."""
        coverage = Coverage() if coverage is None else coverage
        coverage.of = "links"
        document, labels = document.joined(), LinkLabels(source.schema)
        ids, offsets = source.encoder.encode(document.text)
        mentions = marked_mentions(document, source.schema, offsets)
        pairs = list(self._candidates(mentions, labels))
        budget = self.window - len(source.encoder.prefix) - len(source.encoder.suffix)
        if self.encoding == "pair":
            budget -= len(MARKERS)
        lost = {pair for pair in pairs if _extent(mentions, pair)[1] - _extent(mentions, pair)[0] > budget}
        pairs = [pair for pair in pairs if pair not in lost]
        gold = self._gold(document, mentions, set(pairs), lost, labels, coverage)
        coverage.candidates += len(pairs)
        if training and self.negatives < 1:
            draw = self.draw(document.id)
            pairs = [pair for pair in pairs if pair in gold or draw.random() < self.negatives]
        make = self._shared if self.encoding == "shared" else self._single
        return list(make(document, source, ids, offsets, mentions, pairs, gold, budget))

    def gold_output(self, example: PairExample, encoder: SubwordEncoder) -> PairOutput:
        """The gold labels of each pair, all of the same score."""
        return {place: [(rank, 1.0, None) for rank in ranks] for place, ranks in enumerate(example.labels) if ranks}

    def annotations(
        self,
        document: Document,
        examples: Sequence[PairExample],
        outputs: Mapping[str, PairOutput],
        schema: Schema,
        outcomes: Counter[str] | None = None,
    ) -> Document:
        """The document's entities with the links between them."""
        labels = LinkLabels(schema)
        found = []
        for example in examples:
            for place, named in outputs[example.id].items():
                head, tail = (example.mentions[index] for index in example.pairs[place])
                found += [(head, tail, labels.labels[rank], score, confidence) for rank, score, confidence in named]
        order = {entity.id: rank for rank, entity in enumerate(document.entities)}
        return linked(document, sorted(found, key=lambda link: (order[link[0]], order[link[1]], link[2].name)), schema)

    def _candidates(self, mentions: Sequence[MarkedMention], labels: LinkLabels) -> Iterator[tuple[int, int]]:
        for place, one in enumerate(mentions):
            for after in range(place + 1, len(mentions)):
                other = mentions[after]
                if self.sentences is not None and other.sentence - one.sentence > self.sentences:
                    break
                if self.subwords is not None and other.first - one.first > self.subwords:
                    break
                if labels.legal(one.entity.type, other.entity.type):
                    yield place, after
                if labels.legal(other.entity.type, one.entity.type):
                    yield after, place

    def _gold(
        self,
        document: Document,
        mentions: Sequence[MarkedMention],
        pairs: set[tuple[int, int]],
        lost: set[tuple[int, int]],
        labels: LinkLabels,
        coverage: Coverage,
    ) -> dict[tuple[int, int], list[int]]:
        """Pair -> ranks of its labels, as many as the decision can give."""
        place_of = {mention.entity.id: place for place, mention in enumerate(mentions)}
        gold: dict[tuple[int, int], list[int]] = {}
        implied: dict[tuple[int, int], int] = {}
        for head, tail, rank in labels.gold(document):
            coverage.gold += 1
            pair = place_of.get(head.id, -1), place_of.get(tail.id, -1)
            known = gold.get(pair, [])
            if rank is None:
                coverage.unrepresentable["the schema does not allow it"] += 1
            elif pair in lost:
                coverage.unrepresentable["no window holds both"] += 1
            elif pair not in pairs:
                coverage.unrepresentable["farther apart than the distance" if head.id != tail.id else "links a mention to itself"] += 1
            elif self.decision == "binary" and rank != labels.legal(head.type, tail.type)[0]:
                coverage.unrepresentable["not the label that the types imply"] += 1
                implied[pair] = labels.legal(head.type, tail.type)[0]
            elif rank in known:
                coverage.unrepresentable["annotated twice"] += 1
            elif known and self.decision != "multi_label":
                coverage.unrepresentable["second label of its pair"] += 1
            else:
                gold.setdefault(pair, []).append(rank)
        for pair, rank in implied.items():
            gold.setdefault(pair, [rank])

        def possible(head: Entity, tail: Entity, name: str) -> bool:
            if (place_of.get(head.id, -1), place_of.get(tail.id, -1)) not in pairs:
                return False
            if self.decision == "binary":
                return labels.labels[labels.legal(head.type, tail.type)[0]].relation == name
            return labels.allows(name, head.type, tail.type)

        count_links(coverage, document, possible, single_label=self.decision != "multi_label")
        return gold

    def _shared(
        self,
        document: Document,
        source: Source,
        ids: Sequence[int],
        offsets: Sequence[tuple[int, int]],
        mentions: Sequence[MarkedMention],
        pairs: Sequence[tuple[int, int]],
        gold: Mapping[tuple[int, int], list[int]],
        budget: int,
    ) -> Iterator[PairExample]:
        """One example for each window that owns a pair; the window with most context around a pair owns it."""
        asked = {pair: _extent(mentions, pair) for pair in pairs}
        for number, cut, inside in owned_windows(document.text, offsets, budget, self.overlap, asked):
            window = marked_window(cut, ids, mentions, source.encoder)
            index = {place: rank for rank, place in enumerate(window.shown)}
            yield PairExample(
                self.id_of(document, source, number),
                document.id,
                source.corpus,
                self.name,
                window.input_ids,
                window.position_ids,
                tuple(mentions[place].entity.id for place in window.shown),
                tuple(mentions[place].type for place in window.shown),
                window.marker_positions,
                tuple((index[head], index[tail]) for head, tail in inside),
                tuple(_distance(mentions, pair) for pair in inside),
                tuple(tuple(gold.get(pair, ())) for pair in inside),
            )

    def _single(
        self,
        document: Document,
        source: Source,
        ids: Sequence[int],
        offsets: Sequence[tuple[int, int]],
        mentions: Sequence[MarkedMention],
        pairs: Sequence[tuple[int, int]],
        gold: Mapping[tuple[int, int], list[int]],
        budget: int,
    ) -> Iterator[PairExample]:
        """One example for each pair: its sentences with the markers in the text, cut to the window around the pair."""
        sentence_firsts = starts_of([start for start, _ in sentences(document.text)], [start for start, _ in offsets])
        prefix, suffix = source.encoder.prefix, source.encoder.suffix
        for number, pair in enumerate(pairs):
            left, right = _extent(mentions, pair)
            place = bisect_right(sentence_firsts, left) - 1
            first = sentence_firsts[place] if place >= 0 else 0
            place = bisect_left(sentence_firsts, right)
            last = sentence_firsts[place] if place < len(sentence_firsts) else len(ids)
            if last - first > budget:
                first = max(first, left - (budget - (right - left)) // 2)
                last = min(last, first + budget)
            # what opens later stands closer to its mention, what closes later stands farther away
            inserted: list[tuple[int, int, int, int, int]] = []
            for role, mention in enumerate(mentions[index] for index in pair):
                inserted.append((mention.first, 1, -mention.last, role, 2 * role))
                inserted.append((mention.last, 0, -mention.first, -role, 2 * role + 1))
            row: list[int] = [*prefix]
            places = [0, 0, 0, 0]
            at = first
            for where, _, _, _, kind in sorted(inserted):
                row += ids[at:where]
                at = where
                places[kind] = len(row)
                row.append(-1 - len(MARKERS) * mentions[pair[kind // 2]].type - kind)
            row += [*ids[at:last], *suffix]
            yield PairExample(
                self.id_of(document, source, number),
                document.id,
                source.corpus,
                self.name,
                tuple(row),
                tuple(range(len(row))),
                tuple(mentions[index].entity.id for index in pair),
                tuple(mentions[index].type for index in pair),
                ((places[0], places[1]), (places[2], places[3])),
                ((0, 1),),
                (_distance(mentions, pair),),
                (tuple(gold.get(pair, ())),),
            )


def _extent(mentions: Sequence[MarkedMention], pair: tuple[int, int]) -> tuple[int, int]:
    one, other = mentions[pair[0]], mentions[pair[1]]
    return min(one.first, other.first), max(one.last, other.last)


def _distance(mentions: Sequence[MarkedMention], pair: tuple[int, int]) -> tuple[int, int]:
    """Signed distance of the tail from the head, in sub-words and in mentions."""
    head, tail = mentions[pair[0]], mentions[pair[1]]
    return tail.first - head.first, pair[1] - pair[0]
