"""What each document of each corpus is for: training, development, test, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, Literal, TypeVar

from clinical_ie.corpora.corpus import Corpus
from clinical_ie.corpora.splits import SPLITS, Split, draw, position
from clinical_ie.errors import SettingError, did_you_mean
from clinical_ie.fields import Fields, MalformedDataError, integer, kind_of
from clinical_ie.formats.findings import Findings

Role = Literal["train", "dev", "test", "held-out"]
ROLES: tuple[Role, ...] = ("train", "dev", "test", "held-out")

T = TypeVar("T")
_Value = TypeVar("_Value", int, float)


class HashSplit:
    """The parts that owners name are what they are called; others are drawn from ``train`` by hash of groups (`splits.draw`).

    Of a corpus that is held out the test part is scored and nothing is trained on, `shots` documents aside.

    Args:
        dev_share: Expected share of groups (patients, articles or documents) for development where the owners name no part for it;
            for all corpora, or corpus -> share.
        test_share: Likewise for testing.
        seed: Another seed, another choice; for all corpora, or corpus -> seed. It is not that of the training.
        held_out: Corpora that models learn nothing from, so that their test part shows how a model does on a corpus that is new to it.
        shots: Documents for training of each corpus that is held out; fewer are always among more.
        shots_seed: Seed of the choice of shots.

    Raises:
        SettingError: Shares that leave nothing for training, or shots of no corpus.
    """

    def __init__(
        self,
        *,
        dev_share: float | dict[str, float] = 0.1,
        test_share: float | dict[str, float] = 0.2,
        seed: int | dict[str, int] = 13,
        held_out: list[str] | str | None = None,
        shots: int = 0,
        shots_seed: int = 0,
    ) -> None:
        self._dev, self._test = _by_corpus(dev_share, 0.1), _by_corpus(test_share, 0.2)
        self.seed_of = _by_corpus(seed, 13)
        self.held_out = frozenset([held_out] if isinstance(held_out, str) else held_out or ())
        self.shots, self.shots_seed = shots, shots_seed
        given = (dev_share, test_share, seed)
        self._named = {name for value in given if isinstance(value, dict) for name in value} | self.held_out
        if shots < 0 or (shots and not self.held_out):
            raise SettingError(f"data.split.shots is {shots}: they are documents of corpora that data.split.held_out names")
        for name in ("", *sorted(self._named)):
            self.shares(name)

    @classmethod
    def from_fields(cls, fields: Fields) -> HashSplit:
        """The split that a corpus' YAML description holds.

        Raises:
            MalformedDataError: An unknown key, or a value of another type.
            SettingError: Values that contradict each other.
        """
        fields.only(*_READ)
        return cls(**{key: read(fields, key) for key, read in _READ.items() if fields.data.get(key) is not None})

    def shares(self, corpus: str) -> dict[Split, float]:
        """Expected shares of ``dev`` and ``test`` where a corpus names no such part."""
        dev, test = self._dev(corpus), self._test(corpus)
        if not (dev >= 0 and test >= 0 and dev + test < 1):
            of = f" for {corpus}" if corpus else ""
            raise SettingError(
                f"data.split: dev_share is {dev} and test_share {test}{of}; expected shares of 0 or more that leave some for training"
            )
        return {"dev": dev, "test": test}

    def check(self, corpora: Collection[str], left_out: Collection[str] = ()) -> None:
        """Hold the names of corpora against those that there are.

        Args:
            corpora: Names of those that take part.
            left_out: Names that may stand for nothing.

        Raises:
            SettingError: A name of none of them, or all are held out and nothing is left to learn from.
        """
        for name in sorted(self._named - set(corpora) - set(left_out)):
            raise SettingError(f"data.split names {name!r}; the corpora are {', '.join(sorted(corpora))}{did_you_mean(name, corpora)}")
        if not any(self.teaches(name) for name in corpora):
            raise SettingError(f"data.split.held_out names all corpora ({', '.join(sorted(corpora))}): nothing is left to learn from")

    def teaches(self, corpus: str) -> bool:
        """Whether models learn from a corpus."""
        return corpus not in self.held_out or self.shots > 0

    def validates(self, corpus: str) -> bool:
        """Whether a corpus has a say in which checkpoint is best."""
        return corpus not in self.held_out

    def origin(self, corpus: Corpus, role: Split) -> tuple[Split, ...]:
        """The parts of the owners that documents of a role come from."""
        named = corpus.folders()
        if role == "dev" and not self.validates(corpus.name):
            return ()
        return (role if role in named else "train",)

    def draws(self, corpus: Corpus) -> tuple[Split, ...]:
        """The parts that the owners do not name, so that they are drawn."""
        named = corpus.folders()
        return tuple(split for split in SPLITS if split not in named)

    def roles(self, corpus: Corpus, part: Split, names: Sequence[str], findings: Findings) -> dict[Role, list[int]]:
        """Role -> places of documents, of all documents of a part of the owners, by their ids.

        Raises:
            SettingError: More shots than documents to learn from.
        """
        found: dict[Role, list[int]] = {role: [] for role in ROLES}
        found[part] = list(range(len(names)))
        missing = self.draws(corpus)
        if part == "train" and missing:
            shares = {split: share for split, share in self.shares(corpus.name).items() if split in missing}
            chosen = draw(map(corpus.group, names), self.seed_of(corpus.name), shares)
            for role in SPLITS:
                found[role] = [place for place, name in enumerate(names) if chosen[corpus.group(name)] == role]
            empty = [split for split, share in shares.items() if share > 0 and not found[split]]
            if empty and names:
                problem = f"no documents for {' and '.join(empty)}: {len(chosen)} group(s) of documents are too few to hold any out"
                findings.warning(corpus.root, 0, "split-without-documents", problem)
        if corpus.name in self.held_out:
            usable = found["train"]
            if part == "train" and self.shots > len(usable):
                raise SettingError(f"data.split.shots is {self.shots}, but {corpus.name} has {len(usable)} documents to learn from")
            found["train"] = choose(usable, self.shots, self.shots_seed, of=names.__getitem__)
            used = {*found["train"], *found["test"]}
            found["held-out"] = [place for place in range(len(names)) if place not in used]
            found["dev"] = []
        return found

    def sources(self, corpus: Corpus) -> dict[Split, str]:
        """Split -> where its documents come from, in words: folders or files, or a share that is drawn from ``train``."""
        folders, root, shares = corpus.folders(), corpus.root, self.shares(corpus.name)
        found: dict[Split, str] = {}
        for split in SPLITS:
            if split in folders:
                names = [path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path) for path in folders[split]]
                found[split] = ", ".join("all files" if name == "." else name for name in names)
            else:
                found[split] = f"{shares[split]:.0%} held out of train (data.split.seed {self.seed_of(corpus.name)})"
        if corpus.name in self.held_out:
            del found["dev"]
            found["train"] = f"{self.shots} shots of {found['train']}" if self.shots else "nothing (held out)"
        return found


def choose(things: Sequence[T], count: int, seed: int, *, of: Callable[[T], str]) -> list[T]:
    """So many of some things, in their order, by the hash of their names: fewer are among more, and one more thing replaces one at most.

    Args:
        things: To choose from.
        count: How many; all where there are no more.
        seed: Another seed, another choice.
        of: The name of a thing.
    """
    places = sorted(range(len(things)), key=lambda place: position(of(things[place]), seed), reverse=True)
    return [things[place] for place in sorted(places[:count])]


def _by_corpus(value: _Value | dict[str, _Value], default: _Value) -> Callable[[str], _Value]:
    """What holds for a corpus: one value for all, or its own with a default for others."""
    return (lambda corpus: value.get(corpus, default)) if isinstance(value, dict) else (lambda _: value)


def _share(value: object, place: str) -> float:
    if type(value) not in (int, float):
        raise MalformedDataError(place, f"found {kind_of(value)}", expected="a share such as 0.1")
    return float(value)  # type: ignore[arg-type]


def _each(read: Callable[[object, str], _Value]) -> Callable[[Fields, str], _Value | dict[str, _Value]]:
    """One value, or corpus -> value."""

    def found(fields: Fields, key: str) -> _Value | dict[str, _Value]:
        value, place = fields.get(key), fields.at(key)
        return {str(name): read(one, f"{place}.{name}") for name, one in value.items()} if isinstance(value, dict) else read(value, place)

    return found


_READ: dict[str, Callable[[Fields, str], Any]] = {
    "dev_share": _each(_share),
    "test_share": _each(_share),
    "seed": _each(integer),
    "held_out": Fields.strings,
    "shots": Fields.integer,
    "shots_seed": Fields.integer,
}
"""Argument -> how it is read from YAML."""
