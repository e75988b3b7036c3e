"""Scores, losses and labels of pairs, against a plain computation."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from clinical_ie.models.pair_heads import PairHead, Pooling, bucket, pair_labels, pair_loss

HIDDEN, LABELS = 6, ["a", "b", "c"]
LEGAL = [[(0, 1, 2), (1,)], [(), (2, 0)]]
"""Types of head and tail -> ranks of labels."""


def case(seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    draw = random.Random(seed)
    rows = sorted(draw.randrange(3) for _ in range(7))
    pairs = [(i, j) for i in range(7) for j in range(7) if i != j and rows[i] == rows[j]]
    return {
        "hidden": torch.randn(3, 10, HIDDEN, generator=generator),
        "marker_positions": torch.tensor([[draw.randrange(10), draw.randrange(10)] for _ in rows]),
        "rows": torch.tensor(rows),
        "types": torch.tensor([draw.randrange(2) for _ in rows]),
        "pairs": torch.tensor(pairs),
        "distances": torch.tensor([[draw.randrange(-300, 300), draw.randrange(-5, 6)] for _ in pairs]),
    }


def head(pooling: Pooling, width: int, dropout: float = 0.0) -> PairHead:
    torch.manual_seed(3)
    made = PairHead(HIDDEN, LABELS, LEGAL, pooling, width, dropout)
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.5)
    return made


def naive(
    made: PairHead,
    pooling: Pooling,
    hidden: Tensor,
    marker_positions: Tensor,
    rows: Tensor,
    types: Tensor,
    pairs: Tensor,
    distances: Tensor,
) -> Tensor:
    """Pair by pair: one linear layer on ``[CLS; head markers; tail markers]``, distances as vectors beside it."""
    count = {"cls": 0, "starts": 1, "ends": 2}[pooling]
    found = []
    for (one, other), (far, between) in zip(pairs.tolist(), distances.tolist(), strict=True):
        row = int(rows[one])
        parts = [hidden[row, 0]]
        weights = [made.cls.weight]
        for mention, linear in ((one, made.head), (other, made.tail)):
            parts += [hidden[row, int(place)] for place in marker_positions[mention][:count]]
            weights += [linear.weight] if linear is not None else []
        vector = torch.cat(weights, 1) @ torch.cat(parts) + made.cls.bias
        vector = vector + made.subword_distance.weight[by_hand(far)] + made.mention_distance.weight[by_hand(between)]
        if made.output is not None:
            vector = made.output(nn.functional.gelu(vector))
        allowed = {0, *(rank + 1 for rank in LEGAL[int(types[one])][int(types[other])])}
        found.append(torch.stack([vector[k] if k in allowed else torch.tensor(-1e4) for k in range(len(LABELS) + 1)]))
    return torch.stack(found)


def by_hand(distance: int) -> int:
    """0; 1; 2-3; 4-7; ...; 128 and more."""
    size = min(8, len(f"{abs(distance):b}")) if distance else 0
    return 8 + (size if distance > 0 else -size)


@pytest.mark.parametrize("width", [0, 5])
@pytest.mark.parametrize("pooling", ["cls", "starts", "ends"])
def test_scores_are_those_of_the_concatenation(pooling: Pooling, width: int) -> None:
    for seed in range(3):
        made, given = head(pooling, width), case(seed)
        scores = made(**given)
        assert scores.shape == (len(given["pairs"]), 4)
        torch.testing.assert_close(scores, naive(made, pooling, **given), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("pooling", ["cls", "starts", "ends"])
@pytest.mark.parametrize("width", [0, 5])
def test_every_parameter_learns(pooling: Pooling, width: int) -> None:
    made = head(pooling, width)
    scores = made(**case())
    scores[scores > -1e3].pow(2).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in made.parameters())


def test_dropout_only_in_training() -> None:
    made, given = head("ends", 5, dropout=0.5), case()
    assert not torch.equal(made(**given), made(**given))
    made.eval()
    assert torch.equal(made(**given), made(**given))


def test_buckets() -> None:
    distances = [*range(-300, 301), 100000, -100000]
    assert bucket(torch.tensor(distances)).tolist() == [by_hand(distance) for distance in distances]


@pytest.mark.parametrize("decision", ["multi_class", "multi_label", "binary"])
def test_what_the_types_rule_out_never_wins(decision: str) -> None:
    made, given = head("ends", 0), case()
    with torch.no_grad():
        made.cls.bias[1:] = 50.0  # all labels are wanted
        made.cls.bias[0] = -60.0
        scores = made(**given)
        legal = made.legal[given["types"][given["pairs"][:, 0]], given["types"][given["pairs"][:, 1]]]
        none = 0
        for (one, other), labels in zip(given["pairs"].tolist(), pair_labels(scores, legal, decision), strict=True):
            allowed = LEGAL[int(given["types"][one])][int(given["types"][other])]
            if decision != "binary" or allowed:  # under binary, the task asks only about pairs that may have a label
                assert {label.rank for label in labels} <= set(allowed)
            none += not allowed
            assert bool(labels) or not allowed
        assert none, "the case holds pairs without any legal label"


def test_labels_by_hand() -> None:
    scores = torch.tensor([[1.0, 3.0, 2.0], [1.0, 0.5, -1.0], [-2.0, 0.5, 0.25], [0.5, -1e4, 0.75]])
    legal = torch.tensor([[True, True, True], [True, True, True], [True, True, True], [True, False, True]])

    def ranked(decision: str) -> list[list[tuple[int, float]]]:
        return [[label[:2] for label in labels] for labels in pair_labels(scores, legal, decision)]

    assert ranked("multi_class") == [[(0, 2.0)], [], [(0, 2.5)], [(1, 0.25)]]
    assert ranked("multi_label") == [[(0, 3.0), (1, 2.0)], [(0, 0.5)], [(0, 0.5), (1, 0.25)], [(1, 0.75)]]
    assert ranked("binary") == [[], [], [(0, 2.0)], []]
    assert pair_labels(scores[:0], legal[:0], "multi_label") == []
    turned = torch.tensor([[-0.5, -1e4, 0.0]])
    assert pair_labels(turned, torch.tensor([[True, False, True]]), "binary") == [[(1, 0.5, pytest.approx(1 / (1 + math.exp(-0.5))))]]


def test_the_probability_of_a_label_by_hand() -> None:
    scores, legal = torch.tensor([[1.0, 3.0, -1e4]]), torch.tensor([[True, True, False]])
    ((one,),) = pair_labels(scores, legal, "multi_class")
    assert one.probability == pytest.approx(math.exp(3) / (math.exp(3) + math.exp(1)))
    ((alone,),) = pair_labels(scores, legal, "multi_label")
    assert alone.probability == pytest.approx(1 / (1 + math.exp(-3)))


GOLD = torch.tensor([[False, False], [True, False], [False, True], [True, True], [False, False]])
SCORES = torch.tensor([[1.0, 0.5, -0.5], [0.2, 1.5, 0.1], [2.0, -1e4, 0.3], [-1.0, 0.4, 0.6], [0.0, -1e4, -1e4]])
ALLOWED = torch.tensor([[1, 1, 1], [1, 1, 1], [1, 0, 1], [1, 1, 1], [1, 0, 0]]).bool()
WEIGHTS = torch.tensor([0.5, 2.0, 3.0])


def loss(decision: str, **options: Any) -> Tensor:
    labels = GOLD.clone()
    if decision != "multi_label":
        labels[3, 1] = False
    return pair_loss(SCORES, labels, ALLOWED, decision, **options)


def test_multi_class_is_cross_entropy() -> None:
    target = torch.tensor([0, 1, 2, 1, 0])
    plain = nn.functional.cross_entropy(SCORES, target, reduction="none")
    torch.testing.assert_close(loss("multi_class"), plain)
    weighted = nn.functional.cross_entropy(SCORES, target, weight=WEIGHTS, reduction="none")
    torch.testing.assert_close(loss("multi_class", weights=WEIGHTS), weighted)
    assert loss("multi_class")[4] == 0, "where nothing is legal there is nothing to learn"


def test_binary_is_about_column_0() -> None:
    related = torch.tensor([0.0, 1.0, 1.0, 1.0, 0.0])
    plain = nn.functional.binary_cross_entropy_with_logits(-SCORES[:, 0], related, reduction="none")
    torch.testing.assert_close(loss("binary"), plain)
    torch.testing.assert_close(loss("binary", weights=WEIGHTS), plain * torch.tensor([0.5, 2.0, 3.0, 2.0, 0.5]))


def test_multi_label_is_a_sum_over_legal_labels() -> None:
    by_hand, weighted = [], []
    for scores, labels, allowed in zip(SCORES.tolist(), GOLD.tolist(), ALLOWED.tolist(), strict=True):
        terms = [
            (nn.functional.binary_cross_entropy_with_logits(torch.tensor(scores[k + 1]), torch.tensor(float(labels[k]))), k)
            for k in range(2)
            if allowed[k + 1]
        ]
        by_hand.append(sum((term for term, _ in terms), torch.tensor(0.0)))
        weighted.append(sum((term * (WEIGHTS[k + 1] if labels[k] else WEIGHTS[0]) for term, k in terms), torch.tensor(0.0)))
    torch.testing.assert_close(loss("multi_label"), torch.stack(by_hand))
    torch.testing.assert_close(loss("multi_label", weights=WEIGHTS), torch.stack(weighted))


@pytest.mark.parametrize("decision", ["multi_class", "multi_label", "binary"])
def test_focal_loss(decision: str) -> None:
    torch.testing.assert_close(loss(decision, focal_gamma=0.0), loss(decision))
    torch.testing.assert_close(loss(decision, focal_gamma=1e-7), loss(decision), rtol=1e-4, atol=1e-5)
    assert (loss(decision, focal_gamma=2.0) <= loss(decision)).all()
    if decision == "multi_class":
        right = torch.softmax(SCORES, 1).gather(1, torch.tensor([[0], [1], [2], [1], [0]])).squeeze(1)
        torch.testing.assert_close(loss(decision, focal_gamma=2.0), (1 - right) ** 2 * -right.log())


@pytest.mark.parametrize("decision", ["multi_class", "multi_label", "binary"])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_gradients_are_finite_at_the_edges(decision: str, gamma: float) -> None:
    """Scores that are sure, right or wrong, and labels that the types rule out."""
    scores = torch.tensor([[60.0, -60.0, -1e4], [-60.0, 60.0, 0.0], [0.0, -1e4, -1e4], [60.0, -60.0, 0.0]], requires_grad=True)
    labels = torch.tensor([[False, False], [True, False], [False, False], [True, False]])
    legal = torch.tensor([[1, 1, 0], [1, 1, 1], [1, 0, 0], [1, 1, 1]]).bool()
    found = pair_loss(scores, labels, legal, decision, focal_gamma=gamma)
    found.sum().backward()
    assert found.isfinite().all()
    assert scores.grad is not None
    assert scores.grad.isfinite().all()
    assert (scores.grad[~legal] == 0).all()
