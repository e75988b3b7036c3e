"""What each document of each corpus is for: training, development, test, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Literal, TypeVar

from clinical_ie.corpora.corpus import Corpus
from clinical_ie.corpora.shots import choose, stratified
from clinical_ie.corpora.splits import SPLITS, Split, draw, draw_fold
from clinical_ie.errors import SettingError, did_you_mean
from clinical_ie.fields import Fields, MalformedDataError, integer, kind_of
from clinical_ie.formats.findings import Findings

Role = Literal["train", "dev", "test", "held-out"]
ROLES: tuple[Role, ...] = ("train", "dev", "test", "held-out")

_Value = TypeVar("_Value", int, float)


class HashSplit:
    """The parts that owners name are what they are called; others are drawn from ``train`` by hash of groups (`splits.draw`).

    Of a source (a corpus, a task of it) that is held out the test part is scored and nothing is trained on, `shots` documents aside.

    With `folds`, a corpus' groups are dealt into so many folds by hash (cross-validation): one of them is tested, and the others
    are trained on but for `dev_share` of their groups. The owners' train and dev parts are pooled for that; their test part is left
    alone, so that it stays unseen by whoever chooses by the folds, unless `pool_test` says that it joins.

    Args:
        dev_share: Expected share of groups (patients, articles or documents) for development where the owners name no part for it;
            for all corpora, or corpus -> share. Of folds, the share of the groups that are not tested.
        test_share: Likewise for testing; folds have their own.
        seed: Another seed, another choice; for all corpora, or corpus -> seed. It is not that of the training.
        held_out: Corpora, tasks, or tasks of one corpus (``CORPUS/TASK``) that models learn nothing from, so that their test part shows
            how a model does on what is new to it.
        shots: Documents for training of each corpus that is held out; fewer are always among more.
        shots_seed: Seed of the choice of shots.
        shots_by: ``stratified`` takes documents with the rarest types first (`shots.stratified`), ``random`` any.
        folds: How many folds there are, 2 or more; None for parts instead of folds.
        fold: Which of them is tested, from 0.
        pool_test: Deal the owners' test part into folds too.
        drop_duplicates: Leave training documents out whose text is, or nearly is, a test text of a corpus that is held out; otherwise
            the run is refused (see `isolation`).

    Raises:
        SettingError: Shares that leave nothing for training, shots of no corpus, or a fold that there is not.
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
        shots_by: Literal["stratified", "random"] = "stratified",
        folds: int | None = None,
        fold: int = 0,
        pool_test: bool = False,
        drop_duplicates: bool = False,
    ) -> None:
        self._dev, self._test = _by_corpus(dev_share, 0.1), _by_corpus(test_share, 0.2)
        self.seed_of = _by_corpus(seed, 13)
        self.held_out = frozenset([held_out] if isinstance(held_out, str) else held_out or ())
        self.shots, self.shots_seed, self.shots_by = shots, shots_seed, shots_by
        self.folds, self.fold, self.pool_test = folds, fold, pool_test
        self.drop_duplicates = drop_duplicates
        given = (dev_share, test_share, seed)
        self._named = {name for value in given if isinstance(value, dict) for name in value}
        if shots < 0 or (shots and not self.held_out):
            raise SettingError(f"data.split.shots is {shots}: they are documents of corpora that data.split.held_out names")
        if shots_by not in ("stratified", "random"):  # a YAML description may say anything
            raise SettingError(f"data.split.shots_by is {shots_by!r}; expected stratified or random")
        if (folds is not None and folds < 2) or not 0 <= fold < (folds or 1):
            raise SettingError(f"data.split.folds is {folds} and fold {fold}; expected 2 folds or more, and a fold from 0 to folds - 1")
        if pool_test and folds is None:
            raise SettingError("data.split.pool_test deals the owners' test part into folds; give data.split.folds, or leave it out")
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
        """Expected shares of ``dev`` and ``test`` where a corpus names no such part; of ``dev`` alone where there are folds."""
        dev, test = self._dev(corpus), self._test(corpus)
        if not (dev >= 0 and test >= 0 and dev + test < 1):
            of = f" for {corpus}" if corpus else ""
            raise SettingError(
                f"data.split: dev_share is {dev} and test_share {test}{of}; expected shares of 0 or more that leave some for training"
            )
        return {"dev": dev, "test": test} if self.folds is None else {"dev": dev}

    def check(self, corpora: Collection[str], left_out: Collection[str] = (), tasks: Collection[str] = ()) -> None:
        """Hold the names of corpora and tasks against those that there are.

        Args:
            corpora: Names of those that take part.
            left_out: Names that may stand for nothing.
            tasks: Names of the tasks of the run.

        Raises:
            SettingError: A name of none of them, shots of a task, or all are held out and nothing is left to learn from.
        """
        sources = [f"{corpus}/{task}" for corpus in corpora for task in tasks]
        ignored = {*left_out, *(f"{corpus}/{task}" for corpus in left_out for task in tasks)}
        for names, known in ((self._named, {*corpora}), (self.held_out, {*corpora, *tasks, *sources})):
            for name in sorted(names - known - ignored):
                others = f", the tasks {', '.join(sorted(tasks))}" if names is self.held_out and tasks else ""
                raise SettingError(
                    f"data.split names {name!r}; the corpora are {', '.join(sorted(corpora))}{others}{did_you_mean(name, known)}"
                )
        if self.shots and (strange := sorted(self.held_out - {*corpora, *left_out})):
            raise SettingError(
                f"data.split.shots is {self.shots}, but data.split.held_out names {', '.join(strange)}: shots are documents of corpora that"
                " are held out for all tasks; name corpora only, or leave shots out"
            )
        if not any(self.teaches(corpus, task) for corpus in corpora for task in tasks or (None,)):
            held = ", ".join(sorted(self.held_out))
            what = "names all corpora" if self.held_out >= {*corpora} else "leaves no task of any corpus"
            raise SettingError(f"data.split.held_out {what} ({held}): nothing is left to learn from")

    def teaches(self, corpus: str, task: str | None = None) -> bool:
        """Whether models learn from a corpus, or from it for a task."""
        return self.validates(corpus, task) or (corpus in self.held_out and self.shots > 0)

    def validates(self, corpus: str, task: str | None = None) -> bool:
        """Whether a corpus, or it for a task, has a say in which checkpoint is best."""
        return self.held_out.isdisjoint((corpus,) if task is None else (corpus, task, f"{corpus}/{task}"))

    def pools(self, corpus: Corpus) -> list[tuple[Split, ...]]:
        """The parts of the owners, those together whose documents are shared out together."""
        named = corpus.folders()
        pooled: tuple[Split, ...] = tuple(part for part in SPLITS if part in named and (part != "test" or self.pool_test))
        if self.folds is None or len(pooled) == 1:
            return [(part,) for part in SPLITS if part in named]
        return [pooled, *((part,) for part in SPLITS if part in named and part not in pooled)]

    def origin(self, corpus: Corpus, role: Split) -> list[tuple[Split, ...]]:
        """The pools that documents of a role come from."""
        if role == "dev" and not self.validates(corpus.name):
            return []
        part = role if role in corpus.folders() and self.folds is None else "train"
        return [pool for pool in self.pools(corpus) if part in pool]

    def draws(self, corpus: Corpus) -> tuple[Split, ...]:
        """The parts that the owners do not name, so that they are drawn."""
        named = corpus.folders()
        return tuple(split for split in SPLITS if split not in named or self.folds is not None)

    def roles(
        self,
        corpus: Corpus,
        pool: tuple[Split, ...],
        names: Sequence[str],
        types: Callable[[int], Collection[str]],
        findings: Findings,
        dropped: Collection[str] = (),
    ) -> dict[Role, list[int]]:
        """Role -> places of documents, of all documents of a pool, by their ids.

        Args:
            corpus: Whose documents.
            pool: The parts of the owners that hold them.
            names: Their ids.
            types: Place of a document -> types of its mentions, for shots that are stratified.
            findings: Takes what is odd.
            dropped: Ids of documents that may not be learned from.

        Raises:
            SettingError: More shots than documents to learn from.
        """
        found: dict[Role, list[int]] = {role: [] for role in ROLES}
        drawn = "train" in pool and bool(self.draws(corpus))
        if drawn:
            chosen = self._chosen(corpus, map(corpus.group, names))
            for role in SPLITS:
                found[role] = [place for place, name in enumerate(names) if chosen[corpus.group(name)] == role]
            wanted = [split for split, share in self._drawn(corpus).items() if share > 0]
            if names and (empty := [split for split in wanted if not found[split]]):
                problem = f"no documents for {' and '.join(empty)}: {len(chosen)} group(s) of documents are too few to hold any out"
                findings.warning(corpus.root, 0, "split-without-documents", problem)
        else:
            found["held-out" if self.folds is not None else pool[0]] = list(range(len(names)))
        found["held-out"] += [place for place in found["train"] if names[place] in dropped]
        found["train"] = [place for place in found["train"] if names[place] not in dropped]
        if corpus.name in self.held_out:
            usable = found["train"]
            if "train" in pool and self.shots > len(usable):
                raise SettingError(f"data.split.shots is {self.shots}, but {corpus.name} has {len(usable)} documents to learn from")
            found["train"] = self._shots(usable, names, types)
            used = {*found["train"], *found["test"]}
            found["held-out"] = [place for place in range(len(names)) if place not in used]
            found["dev"] = []
        return found

    def _drawn(self, corpus: Corpus) -> dict[Split, float]:
        """The parts that are drawn, with their expected shares."""
        if self.folds is not None:
            return {"test": 1 / self.folds, **self.shares(corpus.name)}
        missing = self.draws(corpus)
        return {split: share for split, share in self.shares(corpus.name).items() if split in missing}

    def _chosen(self, corpus: Corpus, groups: Iterable[str]) -> dict[str, Split]:
        """Group -> its split, where the owners do not say."""
        seed = self.seed_of(corpus.name)
        if self.folds is None:
            return draw(groups, seed, self._drawn(corpus))
        return draw_fold(groups, seed, self.shares(corpus.name)["dev"], self.folds, self.fold)

    def _shots(self, usable: Sequence[int], names: Sequence[str], types: Callable[[int], Collection[str]]) -> list[int]:
        if self.shots_by == "random" or not self.shots:
            return choose(usable, self.shots, self.shots_seed, of=names.__getitem__)
        ordered = stratified({names[place]: types(place) for place in usable}, self.shots_seed)
        places = {names[place]: place for place in usable}
        return sorted(places[name] for name in ordered[: self.shots])

    def sources(self, corpus: Corpus) -> dict[Split, str]:
        """Split -> where its documents come from, in words: folders or files, or a share that is drawn from ``train``."""
        folders, root, shares = corpus.folders(), corpus.root, self.shares(corpus.name)
        seed = f"data.split.seed {self.seed_of(corpus.name)}"
        found: dict[Split, str] = {}
        for split in SPLITS:
            if self.folds is not None:
                others = f"the other {self.folds - 1} folds"
                fold = f"fold {self.fold} of {self.folds} of {' and '.join(self.pools(corpus)[0])} ({seed})"
                found[split] = {"train": others, "dev": f"{shares['dev']:.0%} of {others}", "test": fold}[split]
            elif split in folders:
                names = [path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path) for path in folders[split]]
                found[split] = ", ".join("all files" if name == "." else name for name in names)
            else:
                found[split] = f"{shares[split]:.0%} held out of train ({seed})"
        if corpus.name in self.held_out:
            del found["dev"]
            found["train"] = f"{self.shots} shots ({self.shots_by}) of {found['train']}" if self.shots else "nothing (held out)"
        return found


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
    "shots_by": Fields.string,
    "folds": Fields.integer,
    "fold": Fields.integer,
    "pool_test": lambda fields, key: fields.flag_or(key, False),
    "drop_duplicates": lambda fields, key: fields.flag_or(key, False),
}
"""Argument -> how it is read from YAML."""
