"""Few-shot demonstrations out of the shots of a run (in-context learning): which segments of those documents stand in a prompt."""

from __future__ import annotations

import math
import random
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from clinical_ie.document import Document, Fragment
from clinical_ie.errors import SettingError
from clinical_ie.tasks.gold_answers import shifted
from clinical_ie.tasks.segments import segments_of
from clinical_ie.tasks.task import SubwordEncoder

_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class ShotDemonstrations:
    """How demonstrations are chosen from the shots of a corpus that is held out, and from nothing else.

    Args:
        count: How many segments of them are shown.
        by: ``similarity`` shows those whose words are likest to those of the text that is asked about, the likest last, so that every
            text has a prompt of its own; ``random`` shows the same ones for all texts, which then share what is computed of them.

    Reference:
        Liu et al., "What makes good in-context examples for GPT-3?", DeeLIO 2022.
    """

    count: int
    by: Literal["similarity", "random"] = "similarity"

    def __post_init__(self) -> None:
        if self.count < 1:
            raise SettingError(f"shot_demonstrations.count is {self.count}; expected 1 or more, or leave shot_demonstrations out")


class ShotSegments:
    """Segments of shots, cut as prompts are; those without any mention only where there are no others.

    Args:
        documents: The shots of a corpus.
        encoder: Counts sub-words.
        longest: Most sub-words of a segment.
        draw: Puts them in the order in which they are chosen at random.
    """

    def __init__(self, documents: Iterable[Document], encoder: SubwordEncoder, longest: int, draw: random.Random) -> None:
        found = [
            (one.text, excerpt(one, cut, number)) for one in documents for number, cut in enumerate(segments_of(one.text, encoder, longest))
        ]
        found = [pair for pair in found if pair[1].entities] or found
        self._texts, self._segments = [text for text, _ in found], [segment for _, segment in found]
        self._order = draw.sample(range(len(found)), len(found))
        words = [_words(segment.text) for segment in self._segments]
        texts_with = Counter(word for counts in words for word in counts)
        self._rarity = {word: math.log((1 + len(words)) / (1 + number)) + 1 for word, number in texts_with.items()}
        self._vectors = [self._vector(counts) for counts in words]

    def choose(self, how: ShotDemonstrations, document: str, text: str) -> tuple[Document, ...]:
        """Segments to show before a text of a document, none of that very document.

        Args:
            how: How many, and by what.
            document: The whole text of the document that is asked about.
            text: The part of it that is.
        """
        order = [place for place in self._order if self._texts[place] != document]
        if how.by == "similarity":
            likeness = self.similarities(text)
            order.sort(key=lambda place: -likeness[place])  # stable: of equals the first at random
            order[how.count :] = []
            order.reverse()
        return tuple(self._segments[place] for place in order[: how.count])

    def similarities(self, text: str) -> list[float]:
        """Of a text and each segment: the cosine of their TF-IDF vectors, of the words that shots hold."""
        asked = self._vector(_words(text))
        return [math.fsum(weight * other[word] for word, weight in asked.items() if word in other) for other in self._vectors]

    def _vector(self, words: Counter[str]) -> dict[str, float]:
        """TF-IDF of the words that shots hold, of length 1; idf is ln((1 + n) / (1 + df)) + 1."""
        weights = {word: number * self._rarity[word] for word, number in words.items() if word in self._rarity}
        length = math.sqrt(sum(weight * weight for weight in weights.values()))
        return {word: weight / length for word, weight in weights.items()}


def excerpt(document: Document, segment: Fragment, number: int) -> Document:
    """A segment as a document of its own, with the mentions that lie in it, and the links and values between those."""
    first, last = segment
    inside = [entity for entity in document.joined().entities if first <= entity.start and entity.end <= last]
    entities = [replace(entity, span=shifted(entity.span, -first)) for entity in inside]
    nodes = {entity.id for entity in entities}
    nodes |= {event.id for event in document.events if event.trigger in nodes}
    return Document(
        f"{document.id}#{number}",
        document.text[first:last],
        tuple(entities),
        tuple(relation for relation in document.relations if {relation.head, relation.tail} <= nodes),
        tuple(event.linking(nodes) for event in document.events if event.id in nodes),
        tuple(attribute for attribute in document.attributes if attribute.target in nodes),
    )


def _words(text: str) -> Counter[str]:
    return Counter(_WORD.findall(text.casefold()))
