"""Which weights of a checkpoint a model takes, where heads and rows of weights belong to corpora: they are known by what they mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from clinical_ie.errors import SettingError


@dataclass(frozen=True, slots=True)
class Head:
    """What a head scores: a corpus, perhaps a layer of it, and the labels of its outputs in their order."""

    name: str
    corpus: str
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CorpusWeights:
    """The weights of a model that belong to corpora; all others serve any corpus.

    Args:
        heads: The beginning of the names of a head's weights -> what it scores.
        rows: The name of a table of weights -> (corpus, type or part of it) of each of its rows.
    """

    heads: Mapping[str, Head] = field(default_factory=dict)
    rows: Mapping[str, Sequence[tuple[str, str]]] = field(default_factory=dict)

    def head_of(self, name: str) -> str | None:
        """The beginning of a weight's name that is a head's; None for a weight that serves any corpus."""
        return next((prefix for prefix in self.heads if name.startswith(prefix)), None)

    @property
    def corpora(self) -> set[str]:
        """Corpora that some of the weights belong to."""
        return {head.corpus for head in self.heads.values()} | {corpus for rows in self.rows.values() for corpus, _ in rows}


@dataclass(frozen=True, slots=True)
class Taken:
    """What of a checkpoint a model took, in words."""

    taken: list[str]
    fresh: list[str]
    left: list[str]


def check_same(own: CorpusWeights, theirs: CorpusWeights) -> None:
    """Make sure that a run can go on: the same heads and rows in the same order, or its optimizer's state would be that of others.

    Raises:
        SettingError: They belong to other corpora, types or layers.
    """
    if (own.heads, list(own.heads), own.rows) != (theirs.heads, list(theirs.heads), theirs.rows):
        raise SettingError(
            f"the checkpoint was trained for {_described(theirs)}, but the data has {_described(own)}; a run goes on with the corpora that"
            " it began with; --init_from begins a new run from its weights"
        )


def check_known(own: CorpusWeights, theirs: CorpusWeights) -> None:
    """Make sure that a checkpoint has all that a model needs for its corpora; what it has for others does not matter.

    Raises:
        SettingError: It does not know a corpus, or knows it by other types; names it.
    """
    if unknown := sorted(own.corpora - theirs.corpora):
        raise SettingError(
            f"the checkpoint was trained for {', '.join(sorted(theirs.corpora))} and has no weights for {', '.join(unknown)}; leave"
            f" {'it' if len(unknown) == 1 else 'them'} out, or train on {'it' if len(unknown) == 1 else 'them'} (--init_from takes over"
            " what fits)"
        )
    for prefix, head in own.heads.items():
        known = theirs.heads.get(prefix)
        if known != head:
            before = "nothing" if known is None else f"{list(known.labels)}"
            raise SettingError(f"{head.name} was trained for {before}, but the data has {list(head.labels)}; use the run's own config.yaml")
    for name, rows in own.rows.items():
        if strange := [row for row in rows if row not in set(theirs.rows.get(name, ()))]:
            raise SettingError(f"{strange[0][0]} was trained without the type {strange[0][1]}; use the run's own config.yaml")


def check_shapes(own: CorpusWeights, theirs: CorpusWeights, mine: Mapping[str, Sequence[int]], held: Mapping[str, Sequence[int]]) -> None:
    """Hold names and shapes of weights against each other, but for those of heads that not both have.

    Args:
        own: Of the model.
        theirs: Of the checkpoint.
        mine: Name -> shape of the weights that the model wants from a checkpoint.
        held: Name -> shape of those that the checkpoint holds.

    Raises:
        SettingError: Names or shapes differ.
    """
    shared = {prefix for prefix, head in own.heads.items() if theirs.heads.get(prefix) == head}
    ours, others = (
        {name for name in names if (prefix := known.head_of(name)) is None or prefix in shared}
        for names, known in ((mine, own), (held, theirs))
    )
    if ours != others:
        differing = sorted(ours ^ others)
        raise SettingError(
            f"the checkpoint was trained with other heads, adapters or frozen parts ({len(differing)} names differ, such as"
            f" {differing[0]}); use the run's own config.yaml"
        )
    shapes = [
        f"{name} {tuple(held[name])} -> {tuple(mine[name])}"
        for name in sorted(ours)
        if tuple(held[name])[name in own.rows :] != tuple(mine[name])[name in own.rows :]  # of tables the number of rows may differ
    ]
    if shapes:
        raise SettingError(
            f"the checkpoint was trained with heads or a backbone of another size ({len(shapes)} weights, such as {shapes[0]});"
            " use the run's own config.yaml"
        )


def matched(
    own: CorpusWeights, theirs: CorpusWeights, mine: Mapping[str, Tensor], held: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], Taken]:
    """The weights that a model begins with: the checkpoint's where they mean the same, else its own; and which those are.

    Args:
        own: Of the model.
        theirs: Of the checkpoint.
        mine: The model's fresh weights that the checkpoint may replace.
        held: The checkpoint's.
    """
    state: dict[str, Tensor] = {}
    for name, fresh in mine.items():
        prefix = own.head_of(name)
        if prefix is not None:
            state[name] = held[name] if theirs.heads.get(prefix) == own.heads[prefix] else fresh
        elif name in own.rows:
            state[name] = _rows(own.rows[name], theirs.rows.get(name, ()), fresh, held[name])
        else:
            state[name] = held[name]
    kept = [prefix for prefix, head in own.heads.items() if theirs.heads.get(prefix) == head]
    ours, before = _all_rows(own), _all_rows(theirs)
    return state, Taken(
        [
            "all that serves any corpus",
            *(f"head of {own.heads[prefix].name}" for prefix in kept),
            *_markers([row for row in ours if row in before]),
        ],
        [
            *(f"head of {head.name}" for prefix, head in own.heads.items() if prefix not in kept),
            *_markers([row for row in ours if row not in before]),
        ],
        [
            *(f"head of {head.name}" for prefix, head in theirs.heads.items() if prefix not in kept),
            *_markers([row for row in before if row not in ours]),
        ],
    )


def _rows(rows: Sequence[tuple[str, str]], known: Sequence[tuple[str, str]], fresh: Tensor, held: Tensor) -> Tensor:
    places = {row: place for place, row in enumerate(known)}
    # a fresh row is looked at only where it is wanted: of a model whose weights are sharded by now none is
    return torch.stack([held[places[row]].to(fresh.dtype) if row in places else fresh[place] for place, row in enumerate(rows)])


def _all_rows(weights: CorpusWeights) -> list[tuple[str, str]]:
    return [row for rows in weights.rows.values() for row in rows]


def _markers(rows: Sequence[tuple[str, str]]) -> list[str]:
    """Rows by corpus, counted."""
    counts: dict[str, int] = {}
    for corpus, _ in rows:
        counts[corpus] = counts.get(corpus, 0) + 1
    return [f"{count} marker embeddings of {corpus}" for corpus, count in counts.items()]


def _described(weights: CorpusWeights) -> dict[str, Any]:
    return {head.name: list(head.labels) for head in weights.heads.values()} or {"rows": _all_rows(weights)}
