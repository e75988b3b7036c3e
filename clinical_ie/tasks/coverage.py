"""What of a corpus' annotations a task can express: what gold outputs lack and why, and the ceiling of recall by rule set.

What gold outputs lack is not lost under every rule set. Where hulls are compared, a contiguous answer matches a discontinuous mention;
of mentions that exclude each other, a model may find others than those it was taught. So ceilings are upper bounds over all outputs.
They are of strict matches: leniently, anything that touches a mention may match it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from clinical_ie.document import Document, Entity, Fragment, Span
from clinical_ie.tasks.units import units_of, words_of

HULLS = {"strict-one-to-one": False, "n2c2-2018": True}
"""Rule sets with a ceiling, and whether they compare hulls, first start to last end. The rows of ``shac-2022`` are counted otherwise."""

Target = tuple[str, Span]
"""What a strict match needs: type and span."""


@dataclass(slots=True)
class Coverage:
    """What examples can express of a corpus, and why not the rest.

    `of` is what is counted: mentions, links (relations and event arguments), or attributes of mentions. `unrepresentable` counts by
    reason what gold outputs lack. `reachable` is, for each rule set, how many of its `countable` gold annotations some output can match
    strictly. `candidates` are the places where a model is asked. `unknown_words` of the `words` hold a sub-word that the tokenizer does
    not know, and `obscured` mentions touch one of them. `not_of_mentions` are attributes of relations or of other attributes, which are
    neither predicted nor scored.
    """

    of: str = "mentions"
    gold: int = 0
    unrepresentable: Counter[str] = field(default_factory=Counter)
    candidates: int = 0
    reachable: Counter[str] = field(default_factory=Counter)
    countable: Counter[str] = field(default_factory=Counter)
    words: int = 0
    unknown_words: int = 0
    obscured: int = 0
    not_of_mentions: int = 0

    def add(self, other: Coverage) -> None:
        """Take in what was counted elsewhere of other documents."""
        self.gold += other.gold
        self.candidates += other.candidates
        for mine, theirs in (
            (self.unrepresentable, other.unrepresentable),
            (self.reachable, other.reachable),
            (self.countable, other.countable),
        ):
            mine.update(theirs)
        self.words += other.words
        self.unknown_words += other.unknown_words
        self.obscured += other.obscured
        self.not_of_mentions += other.not_of_mentions

    @property
    def recall_ceiling(self) -> float:
        """The ceiling under our own rules."""
        return self.ceiling("strict-one-to-one") or 0.0

    def ceiling(self, rules: str) -> float | None:
        """The strict recall that no output exceeds; 1 where there is nothing to find, None for rules that have no such ceiling."""
        if rules not in HULLS or (self.of == "attributes" and HULLS[rules]):  # the script of 2018 does not look at attributes
            return None
        return self.reachable[rules] / self.countable[rules] if self.countable[rules] else 1.0

    @property
    def remarks(self) -> list[str]:
        """What a log says of losses: counts and reasons, never text."""
        found = []
        if lost := sum(self.unrepresentable.values()):
            reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(self.unrepresentable.items()))
            hulls = self.ceiling("n2c2-2018")
            differs = hulls is not None and f"{hulls:.3f}" != f"{self.recall_ceiling:.3f}"
            other = f" ({hulls:.3f} under n2c2-2018)" if differs else ""
            found.append(f"{lost} of them cannot be expressed ({reasons}), strict recall can reach {self.recall_ceiling:.3f}{other}")
        if self.unknown_words:
            mentions = f", {self.obscured:,} mentions hold one" if self.gold else ""
            found.append(f"{self.unknown_words:,} of {self.words:,} words are unknown to the tokenizer{mentions}")
        if self.candidates:
            found.append(f"{self.candidates:,} {'attributes asked for' if self.of == 'attributes' else 'candidate pairs'}")
        if self.not_of_mentions:
            found.append(f"{self.not_of_mentions:,} more are not of mentions, and neither predicted nor scored")
        return found

    def to_dict(self, rules: str = "strict-one-to-one") -> dict[str, Any]:
        """Plain counts, with the ceiling under a rule set."""
        reasons = dict(sorted(self.unrepresentable.items()))
        found = {"of": self.of, "gold": self.gold, "unrepresentable": reasons, "recall_ceiling": self.ceiling(rules)}
        if self.candidates:
            found["candidates"] = self.candidates
        if self.not_of_mentions:
            found["not_of_mentions"] = self.not_of_mentions
        if self.unknown_words:
            found |= {"words": self.words, "unknown_words": self.unknown_words, "mentions_with_unknown_words": self.obscured}
        return found


def target(entity: Entity, hulls: bool) -> Target:
    """Type and span of a joined mention as a rule set compares them."""
    return entity.type, Span.of(entity.start, entity.end) if hulls and entity.span.discontinuous else entity.span


def count_mentions(coverage: Coverage, entities: Iterable[Entity], possible: Callable[[list[Target]], int]) -> None:
    """Add the mentions of a joined document.

    Args:
        coverage: Where to.
        entities: Gold mentions of the types that are looked for.
        possible: How many of different targets one output can hold at most.
    """
    listed = list(entities)
    for rules, hulls in HULLS.items():
        coverage.countable[rules] += len(listed)
        coverage.reachable[rules] += possible(list(dict.fromkeys(target(entity, hulls) for entity in listed)))


def count_links(
    coverage: Coverage, document: Document, possible: Callable[[Entity, Entity, str], bool], *, single_label: bool = False
) -> None:
    """Add the links of a joined document.

    Args:
        coverage: Where to.
        document: Mentions and links.
        possible: Whether an output can link two mentions, as the rules compare them, by a relation or role.
        single_label: Whether it can do so once for each pair only.
    """
    links = [(name, head, tail) for _, name, head, tail in document.links()]
    anchors = document.anchors()
    relations = [(relation.type, anchors[relation.head], anchors[relation.tail]) for relation in document.relations]
    for rules, hulls in HULLS.items():
        counted = relations if hulls else links  # the script of 2018 does not look at events
        coverage.countable[rules] += len(counted)
        same: dict[Target, list[Entity]] = {}
        for entity in document.entities:
            key = target(entity, hulls)
            same.setdefault(key, []).append(Entity(entity.id, *key))
        gold: dict[tuple[Target, Target], Counter[str]] = {}
        for name, head, tail in counted:
            gold.setdefault((target(head, hulls), target(tail, hulls)), Counter())[name] += 1
        for (one, other), names in gold.items():
            pairs = [(head, tail) for head in same[one] for tail in same[other]]
            ways = {name: [pair for pair in pairs if possible(*pair, name)] for name in names}
            found = sum(min(count, len(ways[name]), 1 if hulls else count) for name, count in names.items())
            different = {(head.id, tail.id) for rows in ways.values() for head, tail in rows}
            coverage.reachable[rules] += min(found, len(different)) if single_label else found


def count_words(coverage: Coverage, document: Document, ids: Sequence[int], offsets: Sequence[Fragment], unknown_id: int) -> None:
    """Add words (of letters or digits) that a tokenizer does not know, and the mentions that touch one: a model can't read those."""
    units, _, unit_of = units_of(document.text, offsets)
    words = [document.text[start].isalpha() or document.text[start].isdecimal() for start, _ in units]
    unknown = sorted({unit for unit, token in zip(unit_of, ids, strict=True) if token == unknown_id and unit < len(units) and words[unit]})
    coverage.words += sum(words)
    coverage.unknown_words += len(unknown)
    for entity in document.entities if unknown else ():
        first, last = words_of(entity.span, units) or (0, 0)
        near = unknown[bisect_left(unknown, first) : bisect_left(unknown, last)]
        coverage.obscured += any(entity.span.overlaps(Span.of(*units[place])) for place in near)


def most_disjoint(ranges: Iterable[Fragment]) -> int:
    """How many ranges can be chosen at most so that no two overlap: by ascending end.

    Example:
        >>> most_disjoint([(0, 9), (0, 2), (2, 4), (3, 8)])
        2
    """
    chosen, reach = 0, 0
    for start, end in sorted(ranges, key=lambda pair: pair[1]):
        if start >= reach:
            chosen, reach = chosen + 1, end
    return chosen
