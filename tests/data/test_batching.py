from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from clinical_ie.data.batching import budget_batches

LENGTHS = st.lists(st.integers(1, 300), min_size=1, max_size=60)


@given(LENGTHS, st.integers(1, 600))
def test_every_example_once_and_no_batch_over_budget(lengths: list[int], budget: int) -> None:
    batches = budget_batches(lengths, budget)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or max(lengths[index] for index in batch) * len(batch) <= budget
