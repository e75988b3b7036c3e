"""Attribute classification heads: values of the attributes of mentions, from the hidden states of their markers.

Reference: Ye et al., Packed levitated marker (ACL 2022), for the markers.

Shape legend: ``B`` rows, ``L`` sub-words and markers, ``H`` hidden, ``M`` mentions of the batch, ``N`` mentions that are asked about,
``A`` attributes, ``K`` classes of all attributes, none of each included.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from clinical_ie.models.pair_heads import focused


class AttributeHead(nn.Module):
    """Scores of the classes of all attributes of a corpus for each mention.

    One or two layers on ``[CLS]`` and the mention's two markers.

    Args:
        hidden: Width of the encoder.
        sizes: Classes of each attribute, none included.
        width: Of the hidden layer; none when 0.
        dropout: On the encoder's vectors and on the hidden layer.
    """

    def __init__(self, hidden: int, sizes: Sequence[int], width: int, dropout: float) -> None:
        super().__init__()
        self.sizes = list(sizes)
        columns = sum(self.sizes)
        self.dropout = nn.Dropout(dropout)
        self.input = nn.Linear(3 * hidden, width or columns)
        self.output = nn.Linear(width, columns) if width else None
        for linear in (self.input, self.output):
            if linear is not None:
                nn.init.normal_(linear.weight, std=0.02)
                nn.init.zeros_(linear.bias)

    def forward(self, hidden: Tensor, marker_positions: Tensor, rows: Tensor) -> Tensor:
        """Logits, the classes of one attribute behind those of the other.

        Shape:
            - hidden: ``(B, L, H)``; marker_positions: ``(N, 2)``; rows: ``(N,)``, the row of each mention.
            - result: ``(N, K)``
        """
        mentions = torch.cat([hidden[rows, 0], hidden[rows.unsqueeze(1), marker_positions].flatten(1)], 1)
        total = self.input(self.dropout(mentions))
        if self.output is not None:
            total = self.output(self.dropout(nn.functional.gelu(total)))
        found: Tensor = total.float()
        return found


def attribute_loss(
    scores: Tensor, classes: Tensor, sizes: Sequence[int], *, weights: Tensor | None = None, focal_gamma: float = 0.0
) -> Tensor:
    """Cross-entropy of every decision, 0 where the type of a mention rules its attribute out.

    Args:
        scores: From `AttributeHead`.
        classes: Gold; below 0 where nothing is asked.
        sizes: Classes of each attribute.
        weights: Class weights.
        focal_gamma: Focusing parameter of focal loss; 0 is plain cross-entropy.

    Shape:
        - scores: ``(N, K)``; weights: ``(K,)``; classes, result: ``(N, A)``
    """
    weights = scores.new_ones(scores.shape[1]) if weights is None else weights
    losses = []
    for own, weight, gold in zip(torch.split(scores, list(sizes), 1), torch.split(weights, list(sizes)), classes.unbind(1), strict=True):
        target = gold.clamp_min(0)
        loss = weight[target] * focused(nn.functional.cross_entropy(own, target, reduction="none"), focal_gamma)
        losses.append(torch.where(gold < 0, 0.0, loss))
    return torch.stack(losses, 1)


def attribute_classes(scores: Tensor, asked: Tensor, sizes: Sequence[int]) -> list[list[tuple[int, int, float]]]:
    """Attribute, likeliest class and its probability, of every mention, where that is not none and the type of the mention allows it.

    Shape:
        - scores: ``(N, K)``; asked: ``(N, A)``
    """
    found: list[list[tuple[int, int, float]]] = [[] for _ in range(len(scores))]
    for place, own in enumerate(torch.split(scores, list(sizes), 1)):
        probability, chosen = own.softmax(1).max(1)
        said = asked[:, place] & (chosen > 0)
        for mention in said.nonzero().flatten().tolist():
            found[mention].append((place, int(chosen[mention]), float(probability[mention])))
    return found
