"""The CRF against enumeration of all rows of tags (the oracle)."""

from __future__ import annotations

import itertools

import pytest
import torch

from clinical_ie.models.crf import LinearChainCRF
from clinical_ie.models.crf_decoding import best_paths, span_probabilities
from clinical_ie.tasks import bio

Spans = list[tuple[int, int, int, int, int]]
TAGS = bio.labels(["A", "B"])
ALLOWED = [[bio.legal(before, after) for after in TAGS] for before in TAGS]


def make(seed: int, *, learned: bool = True) -> tuple[LinearChainCRF, torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(seed)
    crf = LinearChainCRF(ALLOWED, learned=learned)
    for parameter in crf.parameters():
        torch.nn.init.normal_(parameter)
    emissions = torch.randn(3, 4, len(TAGS))
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]]).bool()
    tags = torch.tensor([[1, 2, 0, 3], [0, 3, 0, 0], [2, 0, 0, 0]])
    return crf, emissions, tags, mask


def best_path(crf: LinearChainCRF, emissions: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return best_paths([crf], [emissions], mask)[0]


def probabilities(crf: LinearChainCRF, emissions: torch.Tensor, mask: torch.Tensor, spans: Spans) -> list[float]:
    return span_probabilities([crf], [emissions], mask, [spans])[0]


def row_score(crf: LinearChainCRF, emissions: torch.Tensor, row: tuple[int, ...]) -> float:
    total = crf.starts[row[0]] + crf.ends[row[-1]]
    for place, tag in enumerate(row):
        total = total + emissions[place, tag]
    for before, after in itertools.pairwise(row):
        total = total + (crf.transitions[before, after] if ALLOWED[before][after] else -1e4)
    return float(total.detach())


@pytest.mark.parametrize("seed", range(5))
def test_likelihood_equals_enumeration(seed: int) -> None:
    crf, emissions, tags, mask = make(seed)
    expected = 0.0
    for row, length in enumerate(mask.sum(1).tolist()):
        scores = [row_score(crf, emissions[row], path) for path in itertools.product(range(len(TAGS)), repeat=length)]
        expected += float(torch.logsumexp(torch.tensor(scores, dtype=torch.float64), 0)) - row_score(
            crf, emissions[row], tuple(tags[row, :length].tolist())
        )
    assert float(crf(emissions, tags, mask).detach()) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("learned", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_decoding_finds_the_best_legal_row(seed: int, learned: bool) -> None:
    crf, emissions, _, mask = make(seed, learned=learned)
    decoded = best_path(crf, emissions, mask)
    for row, length in enumerate(mask.sum(1).tolist()):
        best = max(itertools.product(range(len(TAGS)), repeat=length), key=lambda path: row_score(crf, emissions[row], path))
        assert tuple(decoded[row, :length].tolist()) == best
        names = [TAGS[tag] for tag in best]
        assert all(bio.legal(before, after) for before, after in itertools.pairwise(names))


def test_gradients_are_finite_where_a_gold_row_is_very_unlikely() -> None:
    crf, emissions, tags, mask = make(0)
    emissions = (emissions * 200).requires_grad_()
    crf(emissions, tags, mask).backward()
    assert emissions.grad is not None
    assert torch.isfinite(emissions.grad).all()
    assert torch.isfinite(crf.transitions.grad).all()  # type: ignore[arg-type]


def test_softmax_loss_is_cross_entropy_over_units() -> None:
    crf, emissions, tags, mask = make(1, learned=False)
    expected = sum(
        float(-torch.log_softmax(emissions[row, place], 0)[tags[row, place]])
        for row in range(3) for place in range(4) if mask[row, place]
    )  # fmt: skip
    assert float(crf(emissions, tags, mask).detach()) == pytest.approx(expected, rel=1e-5)
    assert not any(parameter.requires_grad for parameter in crf.parameters())


def test_padding_changes_nothing() -> None:
    crf, emissions, tags, mask = make(2)
    longer = torch.cat([emissions, torch.randn(3, 5, len(TAGS))], 1)
    more_tags, more_mask = torch.cat([tags, tags[:, :1].repeat(1, 5)], 1), torch.cat([mask, torch.zeros(3, 5).bool()], 1)
    assert float(crf(longer, more_tags, more_mask).detach()) == pytest.approx(float(crf(emissions, tags, mask).detach()), rel=1e-5)
    assert best_path(crf, longer, more_mask)[:, :4].equal(best_path(crf, emissions, mask))


@pytest.mark.parametrize("learned", [True, False])
def test_autocast_changes_nothing(learned: bool) -> None:
    """bfloat16 has eight bits: a model that is sure of 40 units would be off by a tenth in loss and gradient."""
    crf, *_ = make(3, learned=learned)
    tags = torch.tensor([[1, 2, 0, 3, 4, 0, 0, 1] * 5])
    mask = torch.ones_like(tags).bool()
    emissions = torch.randn(1, 40, len(TAGS)).scatter_add(2, tags.unsqueeze(2), torch.full((1, 40, 1), 8.0)).requires_grad_()
    found = []
    for autocast in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            loss = crf(emissions, tags, mask)
            best = best_path(crf, emissions, mask)
        inputs = [emissions, *(parameter for parameter in crf.parameters() if parameter.requires_grad)]
        found.append([loss.detach(), best, *torch.autograd.grad(loss, inputs)])
    for plain, other in zip(*found, strict=True):
        assert plain.dtype == other.dtype
        assert torch.equal(plain, other)


@pytest.mark.parametrize("learned", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_the_probability_of_a_run_of_tags_equals_enumeration(seed: int, learned: bool) -> None:
    crf, emissions, _, mask = make(seed, learned=learned)
    emissions = emissions * (1, 3, 10, 30)[seed]
    spans: Spans = []
    expected = []
    for row, length in enumerate(mask.sum(1).tolist()):
        paths = list(itertools.product(range(len(TAGS)), repeat=length))
        weights = torch.tensor([row_score(crf, emissions[row], path) for path in paths], dtype=torch.float64).softmax(0)
        for (first, last), kind in itertools.product(itertools.combinations(range(length + 1), 2), range(2)):
            for begin in (1 + 2 * kind, 2 + 2 * kind):
                inside = 2 + 2 * kind
                run = (begin, *[inside] * (last - first - 1))
                spans.append((row, first, last, begin, inside))
                having = [path[first:last] == run and path[last : last + 1] != (inside,) for path in paths]
                expected.append(float(weights[torch.tensor(having)].sum()))
    assert probabilities(crf, emissions, mask, spans) == pytest.approx(expected, rel=1e-5, abs=1e-12)
    assert max(expected) > 0.2


def test_the_probability_of_a_run_does_not_depend_on_other_rows_and_holds_over_long_ones() -> None:
    crf, *_ = make(0)
    torch.manual_seed(1)
    emissions = 8 * torch.randn(2, 600, len(TAGS))
    mask = torch.ones(2, 600).bool()
    mask[1, 100:] = False
    row: Spans = [(1, 97, 100, 1, 2), (1, 0, 2, 4, 4), (1, 50, 51, 3, 4)]
    both = probabilities(crf, emissions, mask, row)
    alone = probabilities(crf, emissions[1:, :100], mask[1:, :100], [(0, *rest) for _, *rest in row])  # type: ignore[misc]
    assert both == pytest.approx(alone, rel=1e-9)
    tags = best_path(crf, emissions, mask)[0].tolist()
    begins = [place for place, tag in enumerate(tags) if tag in (1, 3)]
    ends = [next((k for k in range(p + 1, 600) if tags[k] != tags[p] + 1), 600) for p in begins]
    spans: Spans = [(0, p, e, tags[p], tags[p] + 1) for p, e in zip(begins, ends, strict=True)]
    found = probabilities(crf, emissions, mask, spans)
    assert len(spans) > 100
    assert sum(found) / len(found) > 0.5, "what is decoded is what is likely"
    assert probabilities(crf, emissions, mask, []) == []


@pytest.mark.parametrize("rows", [0, 1, 3])
@pytest.mark.parametrize("learned", [True, False])
def test_several_say_together_what_each_says_alone(rows: int, learned: bool) -> None:
    """To the bit: tags that a CRF lacks are led to by nothing. Of one of them nothing is asked."""
    torch.manual_seed(rows)
    crfs, emissions, spans = [], [], list[Spans]()
    lengths = torch.tensor([40, 1, 23])[:rows]
    mask = torch.arange(40) < lengths.unsqueeze(1)
    for types in (["A", "B", "C"], ["A"], ["A", "B"]):
        labels = bio.labels(types)
        crfs.append(LinearChainCRF([[bio.legal(before, after) for after in labels] for before in labels], learned=learned))
        for parameter in crfs[-1].parameters():
            torch.nn.init.normal_(parameter)
        emissions.append(5 * torch.randn(rows, 40, len(labels)))
        spans.append([(row, 0, 1, 1, 2) for row in range(rows)] + [(0, 3, 6, 1, 2)] * min(rows, 1))
    spans[1] = []
    together = best_paths(crfs, emissions, mask)
    for crf, emitted, paths in zip(crfs, emissions, together, strict=True):
        assert torch.equal(best_path(crf, emitted, mask), paths)
    found = span_probabilities(crfs, emissions, mask, spans)
    assert [len(one) for one in found] == [len(one) for one in spans]
    for crf, emitted, own, sure in zip(crfs, emissions, spans, found, strict=True):
        assert sure == pytest.approx(probabilities(crf, emitted, mask, own), rel=1e-6)
