"""Chunked cross-entropy is the same loss; the oracle is torch's over all tokens at once."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from clinical_ie.models.cross_entropy import chunked_cross_entropy, chunks_of


def setting(count: int) -> tuple[Tensor, Tensor, torch.nn.Linear]:
    torch.manual_seed(count)
    hidden = torch.randn(count, 8, dtype=torch.float32, requires_grad=True)
    return hidden, torch.randint(0, 23, (count,)), torch.nn.Linear(8, 23)


def test_as_many_chunks_as_hold_all() -> None:
    assert [chunks_of(13, size) for size in (0, 1, 5, 6, 7, 13, 100)] == [1, 13, 3, 3, 2, 1, 1]
    assert chunks_of(0, 5) == 1, "a rank with nothing to predict calls the head, too"


@pytest.mark.parametrize("chunks", [1, 2, 3, 7, 20])
@pytest.mark.parametrize("count", [0, 1, 5, 6, 13])
def test_chunked_equals_full(count: int, chunks: int) -> None:
    hidden, targets, head = setting(count)
    full = torch.nn.functional.cross_entropy(head(hidden), targets, reduction="sum")
    wanted = (full, *torch.autograd.grad(3 * full, (hidden, *head.parameters())))
    loss = chunked_cross_entropy(hidden, targets, head, chunks)
    found = (loss, *torch.autograd.grad(3 * loss, (hidden, *head.parameters())))
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_scores_are_held_chunk_by_chunk() -> None:
    hidden, targets, head = setting(13)
    seen: list[int] = []

    def logits(states: Tensor) -> Tensor:
        seen.append(len(states))
        return head(states)  # type: ignore[no-any-return]

    chunked_cross_entropy(hidden, targets, logits, 3).backward()
    assert sorted(seen) == [4, 4, 4, 4, 5, 5], "once forward, once in the backward pass"
    seen.clear()
    chunked_cross_entropy(hidden[:1], targets[:1], logits, 3).backward()
    assert sorted(seen) == [0, 0, 0, 0, 1, 1], "as often where there is less to predict: other ranks need the head then"


def test_nothing_to_predict_is_zero() -> None:
    hidden, targets, head = setting(4)
    loss = chunked_cross_entropy(hidden[:0], targets[:0], head, 2)
    loss.backward()
    assert loss == 0


def test_low_precision_scores_are_summed_in_full_precision() -> None:
    hidden, targets, head = setting(600)
    loss = chunked_cross_entropy(hidden, targets, lambda states: head(states).bfloat16(), 10)
    assert loss.dtype == torch.float32
    full = torch.nn.functional.cross_entropy(head(hidden).bfloat16().float(), targets, reduction="sum")
    torch.testing.assert_close(loss, full, rtol=1e-5, atol=1e-3)


def test_without_gradients() -> None:
    hidden, targets, head = setting(9)
    with torch.no_grad():
        one, other = (chunked_cross_entropy(hidden, targets, head, chunks) for chunks in (1, 3))
    torch.testing.assert_close(one, other)
