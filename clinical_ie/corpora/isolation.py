"""Whether notes that are tested are among those that are trained on, under whatever name and in whatever corpus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from clinical_ie.corpora.near_duplicates import near_duplicates
from clinical_ie.corpora.reading import CorpusReader
from clinical_ie.corpora.splits import Split
from clinical_ie.errors import SettingError, printable

THRESHOLD = 0.8
"""Similarity from which on two notes are near-duplicates, see `near_duplicates`."""
_SHOWN = 10
_PARTS: tuple[Split, ...] = ("dev", "test")
_Name = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Leak:
    """A document that is scored and one that is learned from, of one text or nearly so; each by its corpus and id."""

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
        leaks = [leak for leak in self.leaks if leak.part == part and leak.scored[0] == corpus]
        equal = {leak.scored for leak in leaks if leak.equal}
        return len(equal), len({leak.scored for leak in leaks} - equal)

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
    scored: list[tuple[Split, _Name]] = []
    trained: list[_Name] = []

    def tested() -> Iterator[str]:
        """Texts, one after the other, with the place of each written down: no document is unpacked twice."""
        for part, name in product(_PARTS, readers):
            for document in readers[name].peek(part):
                scored.append((part, (name, document.id)))
                yield document.text

    def learnable() -> Iterator[str]:
        for name in learned:
            # of all that shots are chosen from, so that fewer shots stay among more whatever is dropped
            for document in readers[name].peek_learnable() if split.drop_duplicates else readers[name].peek("train"):
                trained.append((name, document.id))
                yield document.text

    pairs = near_duplicates(tested(), learnable(), threshold=THRESHOLD)
    leaks = [Leak(*scored[pair.first], trained[pair.second], pair.similarity, pair.equal) for pair in pairs]
    forbidden = [leak for leak in leaks if leak.part == "test" and leak.scored[0] in split.held_out]
    repeated = sorted({leak.learned for leak in forbidden})
    if forbidden and not split.drop_duplicates:
        raise SettingError(_refusal(forbidden, repeated, readers))
    dropped = {corpus: [name for of, name in repeated if of == corpus] for corpus in dict.fromkeys(of for of, _ in repeated)}
    for corpus, names in dropped.items():
        readers[corpus].drop(names)
    left = {name: set(readers[name].ids()["train"]) for name in learned}
    return Isolation(
        Counter((part, corpus) for part, (corpus, _) in scored),
        {name: len(ids) for name, ids in left.items()},
        tuple(leak for leak in leaks if leak.learned[1] in left[leak.learned[0]]),
        dropped,
    )


def _refusal(leaks: list[Leak], learned: Collection[_Name], readers: Mapping[str, CorpusReader]) -> str:
    corpora = dict.fromkeys(leak.scored[0] for leak in leaks)
    parts = []
    for corpus in corpora:
        tested = dict.fromkeys(leak.scored[1] for leak in leaks if leak.scored[0] == corpus)
        parts.append(f"{len(tested)} of {len(readers[corpus].ids()['test'])} of {corpus} ({_listed(tested)})")
    others = _listed(f"{corpus}/{name}" for corpus, name in learned)
    return (
        f"data.split.held_out: test documents are, or nearly are (similarity {THRESHOLD} or more), ones that this run would learn from:"
        f" {', '.join(parts)}; they repeat {len(learned)} training documents ({others}). --data.split.drop_duplicates=true leaves those out"
        " of training and counts them in results.json"
    )


def _listed(names: Iterable[str]) -> str:
    shown = [printable(name) for name in names]
    return ", ".join(shown[:_SHOWN]) + (", ..." if len(shown) > _SHOWN else "")
