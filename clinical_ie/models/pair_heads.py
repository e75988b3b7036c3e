"""Relation classification heads: labels of ordered pairs of mentions, from the hidden states of their entity markers.

References: Baldini Soares et al., Matching the blanks (ACL 2019), for entity markers; Ye et al., Packed levitated marker (ACL 2022), for
markers that share positions with the text; Lin et al., Focal loss for dense object detection (ICCV 2017).

Shape legend: ``B`` rows, ``L`` sub-words and markers, ``H`` hidden, ``M`` mentions of the batch, ``P`` pairs, ``K`` labels,
``D`` width of the head.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

Pooling = Literal["cls", "starts", "ends"]
_BUCKETS = 8
_FORBIDDEN = -1e4


class PairHead(nn.Module):
    """Scores of all labels of a corpus for each pair.

    A linear layer on the concatenated vectors (the study's head), or a hidden layer between. Either way the layer on
    the concatenation is a sum of one product for each of its parts, so it is computed once for a mention and not again for each
    of its pairs.

    Args:
        hidden: Width of the encoder.
        labels: Labels of the corpus; column 0 of the result is "unrelated".
        legal: ``legal[i][j]`` are the ranks of the labels that the schema allows for a pair of entity types ``i``, ``j``.
        pooling: ``[CLS]`` alone, with the start markers, or with the end markers too.
        width: Of the hidden layer; none when 0.
        dropout: On the encoder's vectors and on the hidden layer.
    """

    legal: Tensor

    def __init__(
        self, hidden: int, labels: Sequence[str], legal: Sequence[Sequence[Sequence[int]]], pooling: Pooling, width: int, dropout: float
    ) -> None:
        super().__init__()
        self.labels = list(labels)
        self.parts = {"cls": 0, "starts": 1, "ends": 2}[pooling]
        columns = len(self.labels) + 1
        mask = torch.zeros(len(legal), len(legal), columns, dtype=torch.bool)
        mask[..., 0] = True
        for i, row in enumerate(legal):
            for j, ranks in enumerate(row):
                mask[i, j, [rank + 1 for rank in ranks]] = True
        self.register_buffer("legal", mask, persistent=False)
        wide = width or columns
        self.dropout = nn.Dropout(dropout)
        self.cls = nn.Linear(hidden, wide)
        self.head = nn.Linear(hidden * self.parts, wide, bias=False) if self.parts else None
        self.tail = nn.Linear(hidden * self.parts, wide, bias=False) if self.parts else None
        self.subword_distance = nn.Embedding(2 * _BUCKETS + 1, wide)
        self.mention_distance = nn.Embedding(2 * _BUCKETS + 1, wide)
        self.output = nn.Linear(wide, columns) if width else None
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
        for linear in (self.cls, self.output):
            if linear is not None:
                nn.init.zeros_(linear.bias)

    def forward(self, hidden: Tensor, marker_positions: Tensor, rows: Tensor, types: Tensor, pairs: Tensor, distances: Tensor) -> Tensor:
        """Logits, very low for labels that the types rule out.

        Shape:
            - hidden: ``(B, L, H)``; rows: ``(M,)``, the row of each mention; marks: ``(M, 2)``, its two markers.
            - types: ``(M,)``; pairs: ``(P, 2)``, mentions; distances: ``(P, 2)``, in sub-words and in mentions.
            - result: ``(P, K + 1)``
        """
        head, tail = pairs.unbind(1)
        total = self.cls(self.dropout(hidden[:, 0]))[rows[head]]
        total = total + self.subword_distance(bucket(distances[:, 0])) + self.mention_distance(bucket(distances[:, 1]))
        if self.head is not None and self.tail is not None:
            mentions = self.dropout(hidden[rows.unsqueeze(1), marker_positions[:, : self.parts]].flatten(1))
            total = total + self.head(mentions)[head] + self.tail(mentions)[tail]
        if self.output is not None:
            total = self.output(self.dropout(nn.functional.gelu(total)))
        found: Tensor = total.float().masked_fill(~self.legal[types[head], types[tail]], _FORBIDDEN)
        return found


def bucket(distance: Tensor) -> Tensor:
    """Signed log-scale distance buckets: 0, 1, 2-3, 4-7, ... and the same to the left.

    Example:
        >>> bucket(torch.tensor([0, 1, 2, 3, 4, -1, -500])).tolist()
        [8, 9, 10, 10, 11, 7, 0]
    """
    size = torch.floor(torch.log2(distance.abs().clamp_min(1).double())).long() + 1
    return distance.sign() * size.clamp_max(_BUCKETS) + _BUCKETS


def pair_loss(
    scores: Tensor, labels: Tensor, legal: Tensor, decision: str, *, weights: Tensor | None = None, focal_gamma: float = 0.0
) -> Tensor:
    """Loss of every pair.

    Args:
        scores: From `PairHead`.
        labels: Gold, without column 0.
        legal: Mask of labels that the types allow, column 0 included.
        decision: ``multi_class`` is cross-entropy over all columns, ``multi_label`` binary cross-entropy over each legal label,
            ``binary`` that of being related at all, from column 0 alone.
        weights: Class weights, one for each column.
        focal_gamma: Focusing parameter of focal loss; 0 is plain cross-entropy.

    Shape:
        - scores, legal: ``(P, K + 1)``; labels: ``(P, K)``; result: ``(P,)``

    Reference: focal loss as in Lin et al., Focal loss for dense object detection (ICCV 2017), without their alpha.
    """
    weights = scores.new_ones(scores.shape[1]) if weights is None else weights
    related = labels.any(1)
    if decision == "multi_class":
        target = torch.where(related, labels.float().argmax(1) + 1, 0)
        loss = nn.functional.cross_entropy(scores, target, reduction="none")
        factor = weights[target]
        return factor * focused(loss, focal_gamma)
    if decision == "binary":
        loss = nn.functional.binary_cross_entropy_with_logits(-scores[:, 0], related.float(), reduction="none")
        column = torch.where(related, labels.float().argmax(1) + 1, 0)
        return weights[column] * focused(loss, focal_gamma)
    loss = nn.functional.binary_cross_entropy_with_logits(scores[:, 1:], labels.float(), reduction="none")
    factors = torch.where(labels, weights[1:], weights[0]) * legal[:, 1:]
    return (factors * focused(loss, focal_gamma)).sum(1)


def focused(loss: Tensor, gamma: float) -> Tensor:
    """Focal loss from cross-entropy: what is nearly right already counts less; the same loss where `gamma` is 0."""
    return loss if gamma == 0 else (-torch.expm1(-loss)).clamp_min(1e-8) ** gamma * loss


class PairLabel(NamedTuple):
    """A predicted label of a pair: its rank, its logit (against being unrelated), its probability."""

    rank: int
    score: float
    probability: float


def pair_labels(scores: Tensor, legal: Tensor, decision: str) -> list[list[PairLabel]]:
    """The predicted labels of each pair.

    Their probability is the softmax over the labels that the types allow and being unrelated, or, where a label is decided alone, its
    sigmoid. Under ``binary`` it is the first label that the types allow.
    """
    scores = scores.float()
    if decision == "multi_class":
        best = scores.argmax(1, keepdim=True)
        found = torch.cat([best, scores.gather(1, best) - scores[:, :1], scores.softmax(1).gather(1, best)], 1).tolist()
        return [[PairLabel(int(label) - 1, score, sure)] if label else [] for label, score, sure in found]
    if decision == "binary":
        first = legal[:, 1:].float().argmax(1)
        rows = zip(first.tolist(), (-scores[:, 0]).tolist(), (-scores[:, 0]).sigmoid().tolist(), strict=True)
        return [[PairLabel(label, score, sure)] if score > 0 else [] for label, score, sure in rows]
    labels: list[list[PairLabel]] = [[] for _ in range(scores.shape[0])]
    positive = scores[:, 1:] > 0
    values = scores[:, 1:][positive]
    for (pair, label), score, sure in zip(positive.nonzero().tolist(), values.tolist(), values.sigmoid().tolist(), strict=True):
        labels[pair].append(PairLabel(label, score, sure))
    return labels
