"""Sequence-labelling (BIO tagging) heads on one shared encoder: one for each layer of each corpus (multi-task learning).

A *unit* is what gets a tag: a word, or a part of one (see `clinical_ie.tasks.units`). A *layer* is a set of types with one tag sequence.

Shape legend: ``B`` rows, ``W`` units, ``H`` hidden.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Literal, cast

import torch
from torch import Tensor, nn

from clinical_ie.models.crf import LinearChainCRF
from clinical_ie.models.crf_decoding import best_paths, span_probabilities
from clinical_ie.models.head_names import module_name

TagDecoder = Literal["crf", "softmax"]


class TaggingHead(nn.Module):
    """The tagging head of one layer: emission scores and a linear-chain CRF."""

    def __init__(self, hidden: int, labels: Sequence[str], legal: Callable[[str, str], bool], decoder: TagDecoder) -> None:
        super().__init__()
        self.labels = list(labels)
        self.linear = nn.Linear(hidden, len(self.labels))
        nn.init.normal_(self.linear.weight, std=0.02)
        nn.init.zeros_(self.linear.bias)
        allowed = [[legal(before, after) for after in self.labels] for before in self.labels]
        self.crf = LinearChainCRF(allowed, learned=decoder == "crf")
        behind_outside = allowed[0]
        self.inside = [next((tag for tag, goes_on in enumerate(after) if goes_on and not behind_outside[tag]), 0) for after in allowed]
        """For each tag, the one that goes on with its mention; outside for outside."""
        self.begin = {inside: tag for tag, inside in enumerate(self.inside) if inside not in (0, tag)}
        """For each tag that goes on with a mention, the one that begins it."""

    def mentions(self, tags: Sequence[int]) -> list[tuple[int, int, int]]:
        """First unit, one past the last, and the tag that goes on with it, of each mention in a valid row of tags, in order."""
        found: list[tuple[int, int, int]] = []
        first, inside = 0, 0
        for place, tag in enumerate(tags):
            if tag == 0 or place == 0 or tag != inside:  # what goes on with nothing is valid at the beginning of a row alone
                if inside:
                    found.append((first, place, inside))
                first, inside = place, self.inside[tag]
        return [*found, (first, len(tags), inside)] if inside else found

    def runs(self, mentions: Sequence[Sequence[tuple[int, int, int]]]) -> list[tuple[int, int, int, int, int]]:
        """The runs of tags that mean the mentions of all rows, for `span_probabilities`.

        At the beginning of a row a mention may have begun before it, which is the same span there: two runs mean it.
        """
        return [
            (row, first, last, begin, inside)
            for row, found in enumerate(mentions)
            for first, last, inside in found
            for begin in ((self.begin[inside], inside) if first == 0 else (self.begin[inside],))
        ]

    def answers(
        self, tags: Sequence[Sequence[int]], mentions: Sequence[Sequence[tuple[int, int, int]]], sure: Sequence[float]
    ) -> Iterator[tuple[list[str], list[float]]]:
        """For each row its tags by name, and the probability of each of its mentions: that exactly this span has this type.

        Args:
            tags: Of all rows.
            mentions: As of `mentions`.
            sure: The probabilities of `runs`.
        """
        each = iter(sure)
        for path, found in zip(tags, mentions, strict=True):
            summed = [min(1.0, sum(next(each) for _ in range(2 if first == 0 else 1))) for first, _, _ in found]
            yield [self.labels[tag] for tag in path], summed


class TaggingHeads(nn.Module):
    """Heads of all layers of all corpora, by ``corpus/layer``.

    Args:
        hidden: Width of the encoder.
        labels: Corpus -> layer -> tags.
        legal: Whether a transition between two tags is valid.
        decoder: Linear-chain CRF, or softmax with the best valid tag sequence (constrained Viterbi).
        dropout: On the hidden states of units.
    """

    def __init__(
        self,
        hidden: int,
        labels: Mapping[str, Mapping[str, Sequence[str]]],
        legal: Callable[[str, str], bool],
        decoder: TagDecoder,
        dropout: float,
    ) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.layers = {corpus: tuple(layers) for corpus, layers in labels.items()}
        self.heads = nn.ModuleDict(
            {
                tag_key(corpus, layer): TaggingHead(hidden, tags, legal, decoder)
                for corpus, layers in labels.items()
                for layer, tags in layers.items()
            }
        )

    def head(self, corpus: str, layer: str) -> TaggingHead:
        """The head of a layer."""
        return cast("TaggingHead", self.heads[tag_key(corpus, layer)])

    def loss(self, units: Tensor, mask: Tensor, corpora: Sequence[str], tags: Mapping[str, Tensor]) -> Tensor:
        """Negative log-likelihood of all tag sequences, summed over units; of a unit with several layers it is the mean over them.

        So every unit weighs the same, in whichever corpus it is.

        Shape:
            - units: ``(B, W, H)``; mask: ``(B, W)``; corpora: ``B`` names.
            - tags: layer -> ``(B, W)``, rows of other corpora ignored.
        """
        units = self.dropout(units)
        total = units.new_zeros((), dtype=torch.float32)
        for corpus, rows in _by_corpus(self.layers, corpora, units.device).items():
            width = _width(mask, rows)
            for layer in self.layers[corpus]:
                head = self.head(corpus, layer)
                gold = tags[tag_key(corpus, layer)][rows] if len(rows) else mask[rows].long()
                loss = head.crf(head.linear(units[rows, :width]), gold[:, :width], mask[rows, :width])
                total = total + loss / len(self.layers[corpus])
        return total

    def decode(self, units: Tensor, mask: Tensor, corpora: Sequence[str]) -> list[dict[str, tuple[list[str], list[float]]]]:
        """Layer -> tags and the confidences of the mentions that they mean, for every row."""
        lengths = mask.sum(1).tolist()
        found: list[dict[str, tuple[list[str], list[float]]]] = [{} for _ in corpora]
        for corpus, rows in _by_corpus(self.layers, corpora, units.device).items():
            width = _width(mask, rows)
            heads = [self.head(corpus, layer) for layer in self.layers[corpus]]
            emissions, on = [head.linear(units[rows, :width]) for head in heads], mask[rows, :width]
            crfs, own = [head.crf for head in heads], rows.tolist()
            tags = [
                [path[: lengths[row]] for row, path in zip(own, paths.tolist(), strict=True)] for paths in best_paths(crfs, emissions, on)
            ]
            mentions = [[head.mentions(path) for path in paths] for head, paths in zip(heads, tags, strict=True)]
            runs = [head.runs(found) for head, found in zip(heads, mentions, strict=True)]
            sure = span_probabilities(crfs, emissions, on, runs)
            for place, layer in enumerate(self.layers[corpus]):
                answers = heads[place].answers(tags[place], mentions[place], sure[place])
                for row, answer in zip(own, answers, strict=True):
                    found[row][layer] = answer
        return found


def tag_key(corpus: str, layer: str) -> str:
    """The key of a head and its tags in modules and batches."""
    return module_name(f"{corpus}/{layer}")


def _by_corpus(known: Iterable[str], corpora: Sequence[str], device: torch.device) -> dict[str, Tensor]:
    """The rows of each known corpus, none where the batch has none of it.

    The heads of such a corpus are called all the same: every parameter needs a gradient on every rank, and where weights are sharded
    (ZeRO-3) a head that one rank calls is called by all, in the same order.
    """
    rows: dict[str, list[int]] = {corpus: [] for corpus in known}
    for row, corpus in enumerate(corpora):
        rows[corpus].append(row)
    return {corpus: torch.tensor(places, dtype=torch.long, device=device) for corpus, places in rows.items()}


def _width(mask: Tensor, rows: Tensor) -> int:
    """The units that a head looks at: without rows a single one, for a CRF takes a step for each."""
    return mask.shape[1] if len(rows) else 1
