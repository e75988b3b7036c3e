"""Candidates, scores and the loss of the reader, against loops."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from clinical_ie.models.reading_heads import ReadingHeads
from clinical_ie.modules import EncoderReader


def heads(max_answer_length: int = 4, dropout: float = 0.0) -> ReadingHeads:
    torch.manual_seed(0)
    made = ReadingHeads(6, 5, 4, dropout, max_answer_length)
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.7)
    return made


def brute(starts: Tensor, ends: Tensor, max_answer_length: int) -> list[tuple[int, ...]]:
    rows, queries, words = starts.shape
    return [
        (row, query, first, last)
        for row in range(rows)
        for query in range(queries)
        for first in range(words)
        for last in range(first, min(words, first + max_answer_length))
        if starts[row, query, first] and ends[row, query, last]
    ]


@pytest.mark.parametrize("max_answer_length", [1, 3, 40])
def test_candidates(max_answer_length: int) -> None:
    made = heads(max_answer_length)
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        share = random.Random(seed).choice([0.0, 0.2, 0.6, 1.0])
        starts, ends = (torch.rand(2, 3, 9, generator=generator) < share for _ in range(2))
        found = made.candidates(starts, ends)
        assert found.shape == (len(found), 4)
        assert sorted(map(tuple, found.tolist())) == brute(starts, ends, max_answer_length)


def test_no_candidates_still_give_gradients() -> None:
    """A batch without any candidate must not leave the match head out, or distributed training stops."""
    made = heads()
    queries, words = torch.randn(2, 3, 6), torch.randn(2, 5, 6)
    _, _, match_query = made.edges(queries, words)
    nothing = torch.zeros(2, 3, 5, dtype=torch.bool)
    made.matches(match_query, words, made.candidates(nothing, nothing)).sum().backward()
    for name in ("first.weight", "first.bias", "last.weight", "bias", "query.weight"):
        gradient = made.get_parameter(name).grad
        assert gradient is not None, name
        assert not gradient.any()


def test_scores_by_loops() -> None:
    made = heads()
    queries, words = torch.randn(2, 3, 6), torch.randn(2, 5, 6)
    starts, ends, match_query = made.edges(queries, words)
    candidates = torch.tensor([[0, 1, 2, 2], [1, 2, 0, 3], [1, 0, 4, 4]])
    matches = made.matches(match_query, words, candidates)
    gelu = nn.functional.gelu
    for row in range(2):
        for query in range(3):
            one, other, third = made.query(queries[row, query]).split(4)
            for word in range(5):
                vector = words[row, word]
                torch.testing.assert_close(starts[row, query, word], one @ gelu(made.starts(vector)) / 2 + made.bias[0])
                torch.testing.assert_close(ends[row, query, word], other @ gelu(made.ends(vector)) / 2 + made.bias[1])
            for place, (r, q, first, last) in enumerate(candidates.tolist()):
                if (r, q) == (row, query):
                    span = gelu(made.first(words[row, first]) + made.last(words[row, last]))
                    torch.testing.assert_close(matches[place], third @ span / 2 + made.bias[2])


def case(tiny_bert: str, positive_weight: float = 1.0) -> tuple[EncoderReader, dict[str, Any]]:
    """A reader without an encoder, and hidden states in its place."""
    model = EncoderReader(tiny_bert, {"c": {"entities": ["A"]}}, max_answer_length=4, match_weight=0.1, positive_weight=positive_weight)
    model.heads = heads()
    with torch.no_grad():
        model.heads.bias.fill_(-0.5)
    generator = torch.Generator().manual_seed(5)
    unit_mask = torch.ones(3, 7, dtype=torch.bool)
    unit_mask[1, 4:] = False
    query_mask = torch.ones(3, 2, dtype=torch.bool)
    query_mask[2, 1] = False
    batch = {
        "queries": torch.randn(3, 2, 6, generator=generator),
        "words": torch.randn(3, 7, 6, generator=generator),
        "unit_mask": unit_mask,
        "query_mask": query_mask,
        # two answers from one start, nested ones, one word, one that is longer than any candidate, one to the last word
        "spans": torch.tensor([[0, 0, 1, 1], [0, 0, 1, 3], [0, 1, 2, 2], [1, 1, 3, 3], [2, 0, 0, 6], [2, 0, 5, 6]]),
        "example_ids": ["x", "y", "z"],
        "query_ids": torch.zeros(1, 1),
    }
    return model, batch


def read(model: EncoderReader, batch: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    starts, ends, match_query = model.heads.edges(batch["queries"], batch["words"])
    return batch["words"], starts, ends, match_query


@pytest.mark.parametrize("positive_weight", [1.0, 3.0])
def test_the_loss_by_loops(positive_weight: float, tiny_bert: str) -> None:
    model, batch = case(tiny_bert, positive_weight)
    words, starts, ends, match_query = read(model, batch)
    gold = set(map(tuple, batch["spans"].tolist()))
    edge, pairs = torch.tensor(0.0), [0, 0, 0]
    opens, closes = torch.zeros(3, 2, 7, dtype=torch.bool), torch.zeros(3, 2, 7, dtype=torch.bool)
    bce = nn.functional.binary_cross_entropy_with_logits
    for row in range(3):
        for query in range(2):
            for word in range(7):
                if batch["query_mask"][row, query] and batch["unit_mask"][row, word]:
                    pairs[row] += 1
                    begins = any((row, query, word) == span[:3] for span in gold)
                    stops = any((row, query, word) == (*span[:2], span[3]) for span in gold)
                    for scores, there in ((starts, begins), (ends, stops)):
                        edge = edge + bce(scores[row, query, word], torch.tensor(float(there))) * (positive_weight if there else 1.0)
                    opens[row, query, word] = begins or bool(starts[row, query, word] > 0)
                    closes[row, query, word] = stops or bool(ends[row, query, word] > 0)
    candidates = brute(opens, closes, 4)
    scores = model.heads.matches(match_query, words, torch.tensor(candidates))
    terms: list[list[Tensor]] = [[], [], []]
    for score, span in zip(scores, candidates, strict=True):
        terms[span[0]].append(bce(score, torch.tensor(float(span in gold))))
    match = sum(number * sum(found) / len(found) for number, found in zip(pairs, terms, strict=True) if found)
    assert gold - set(candidates) == {(2, 0, 0, 6)}, "longer than `max_answer_length`"
    assert len(candidates) > len(gold), "there is something to refuse"
    torch.testing.assert_close(model._loss(batch, (words, starts, ends, match_query)), edge + 0.1 * match)


def test_outputs_by_loops(tiny_bert: str) -> None:
    model, batch = case(tiny_bert)
    with torch.no_grad():
        model.heads.bias.copy_(torch.tensor([1.0, 1.0, 2.0]))
        words, starts, ends, match_query = read(model, batch)
        mask = batch["query_mask"].unsqueeze(2) & batch["unit_mask"].unsqueeze(1)
        candidates = brute((starts > 0) & mask, (ends > 0) & mask, 4)
        scores = model.heads.matches(match_query, words, torch.tensor(candidates))
        expected: dict[str, list[tuple[int, int, int]]] = {"x": [], "y": [], "z": []}
        for (row, query, first, last), score in zip(candidates, scores, strict=True):
            if score > 0:
                expected["xyz"[row]].append((query, first, last + 1))
        found = model._outputs(batch, (words, starts, ends, match_query))
    assert {name: sorted(span[:3] for span in spans) for name, spans in found.items()} == expected
    assert sum(map(len, expected.values())) > 3
    assert all(score > 0 for spans in found.values() for *_, score in spans)


def test_a_batch_without_answers(tiny_bert: str) -> None:
    model, batch = case(tiny_bert)
    with torch.no_grad():
        model.heads.bias.fill_(-50.0)
    batch["spans"] = batch["spans"][:0]
    loss = model._loss(batch, read(model, batch))
    loss.backward()
    assert loss.isfinite()
    with torch.no_grad():
        found = model._outputs(batch, read(model, batch))
    assert found == {"x": [], "y": [], "z": []}
