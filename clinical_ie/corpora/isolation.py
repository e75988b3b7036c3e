"""Whether notes that are tested are among those that are trained on, under whatever name and in whatever corpus."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Generic, TypeVar

from clinical_ie.corpora.near_duplicates import near_duplicates, normalized
from clinical_ie.corpora.reading import CorpusReader
from clinical_ie.corpora.splits import Split
from clinical_ie.errors import SettingError, printable

THRESHOLD = 0.8
"""Similarity from which on two notes are near-duplicates, see `near_duplicates`."""
_SHOWN = 10
_PARTS: tuple[Split, ...] = ("dev", "test")
_Name = tuple[str, str]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Leak:
    """A document that is scored and the one most like it that is learned from; each by its corpus and id. `equal`: of the same text."""

    part: Split
    scored: _Name
    learned: _Name
    similarity: float
    equal: bool


@dataclass(frozen=True, slots=True)
class Isolation:
    """What a comparison has found.

    `scored` counts the documents of (part, corpus), `learned` those of a corpus that are learned from. `dropped` are ids that may
    no longer be learned from, by corpus; `leaks` what is left.
    """

    scored: Mapping[tuple[Split, str], int]
    learned: Mapping[str, int]
    leaks: tuple[Leak, ...]
    dropped: Mapping[str, list[str]]

    def counts(self, part: Split, corpus: str) -> tuple[int, int]:
        """How many of the documents have the text of one that is learned from, and how many others nearly so."""
        equal = [leak.equal for leak in self.leaks if leak.part == part and leak.scored[0] == corpus]
        return sum(equal), len(equal) - sum(equal)

    def to_dict(self) -> dict[str, Any]:
        """Plain counts and ids, for ``results.json``."""
        compared: dict[str, dict[str, Any]] = {}
        for (part, corpus), number in self.scored.items():
            equal, near = self.counts(part, corpus)
            compared.setdefault(part, {})[corpus] = {"documents": number, "equal": equal, "near": near}
        return {"threshold": THRESHOLD, "learned": dict(self.learned), "compared": compared, "dropped": dict(self.dropped)}


def isolate(readers: Mapping[str, CorpusReader], learned: Collection[str]) -> Isolation:
    """Compare all texts that are scored with all that are learned from.

    Args:
        readers: Corpus -> its reader, which has handed nothing out yet.
        learned: The corpora that models learn from; no documents of others are compared with.

    Returns:
        What was found, training documents dropped where the split says so.

    Raises:
        SettingError: A test text of a corpus that is held out would be learned from, and the split does not drop what repeats it.
    """
    split = next(iter(readers.values())).split
    scored, trained = _Texts[tuple[Split, _Name]](), _Texts[_Name]()
    tested = (
        ((part, (name, document.id)), document.text) for part, name in product(_PARTS, readers) for document in readers[name].peek(part)
    )
    learnable = (  # all that shots are chosen from, so that fewer shots stay among more whatever is dropped
        ((name, document.id), document.text)
        for name in learned
        for document in (readers[name].peek_learnable() if split.drop_duplicates else readers[name].peek("train"))
    )
    pairs = near_duplicates(scored.distinct(tested), trained.distinct(learnable), threshold=THRESHOLD)
    pairs.sort(key=lambda pair: (-pair.equal, -pair.similarity, pair.second))
    forbidden, repeated = set[_Name](), set[_Name]()
    for pair in pairs:
        if held_out := [name for part, name in scored.named[pair.first] if part == "test" and name[0] in split.held_out]:
            forbidden.update(held_out)
            repeated.update(trained.named[pair.second])
    if forbidden and not split.drop_duplicates:
        raise SettingError(_refusal(sorted(forbidden), sorted(repeated), readers))
    dropped = {corpus: sorted(name for of, name in repeated if of == corpus) for corpus in sorted({of for of, _ in repeated})}
    for corpus, names in dropped.items():
        readers[corpus].drop(names)
    left = {name: set(readers[name].ids()["train"]) for name in learned}
    leaks: dict[tuple[Split, _Name], Leak] = {}
    for pair in pairs:
        still = [name for name in trained.named[pair.second] if name[1] in left[name[0]]]
        for part, name in scored.named[pair.first] if still else ():
            leaks.setdefault((part, name), Leak(part, name, still[0], pair.similarity, pair.equal))
    return Isolation(
        Counter((part, name[0]) for names in scored.named for part, name in names),
        {name: len(ids) for name, ids in left.items()},
        tuple(leaks.values()),
        dropped,
    )


class _Texts(Generic[T]):
    """Which documents have each text: many may have one, such as a report that finds nothing, and are compared once."""

    def __init__(self) -> None:
        self.named: list[list[T]] = []
        self._places: dict[bytes, int] = {}

    def distinct(self, documents: Iterable[tuple[T, str]]) -> Iterator[str]:
        """The texts, each once; equal ones are one."""
        for name, text in documents:
            place = self._places.setdefault(hashlib.sha256(normalized(text).encode("utf-8", "surrogatepass")).digest(), len(self.named))
            if place == len(self.named):
                self.named.append([])
                yield text
            self.named[place].append(name)


def _refusal(tested: Sequence[_Name], learned: Sequence[_Name], readers: Mapping[str, CorpusReader]) -> str:
    parts = []
    for corpus in dict.fromkeys(corpus for corpus, _ in tested):
        names = [name for of, name in tested if of == corpus]
        parts.append(f"{len(names)} of {len(readers[corpus].ids()['test'])} of {corpus} ({listed(names)})")
    others = listed(f"{corpus}/{name}" for corpus, name in learned)
    return (
        f"data.split.held_out: test documents are, or nearly are (similarity {THRESHOLD} or more), ones that this run would learn from:"
        f" {', '.join(parts)}; they repeat {len(learned)} training documents ({others}). --data.split.drop_duplicates=true leaves those out"
        " of training and counts them in results.json"
    )


def listed(names: Iterable[str]) -> str:
    """The first of some ids, for a message."""
    shown = [printable(name) for name in names]
    return ", ".join(shown[:_SHOWN]) + (", ..." if len(shown) > _SHOWN else "")
