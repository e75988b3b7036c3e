"""Gold responses come back as the annotations they were made of, but for what is counted."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.tasks.instruction_round_trip import WAYS, Corpus, compared, entities_of, task_of, there_and_back


@pytest.mark.parametrize("constrained", [False, True])
@pytest.mark.parametrize(("kind", "response"), WAYS)
def test_demo_notes_come_back_but_for_what_is_counted(kind: str, response: str, constrained: bool, demo: Corpus) -> None:
    documents, source = demo
    task = task_of(kind, response)
    total = 0
    for document in documents:
        predicted, coverage, examples, outcomes = there_and_back(task, document, source, constrained=constrained)
        right, gold, found = compared(kind, document, predicted, source.schema)
        assert gold == coverage.gold
        assert right == found, "nothing is said that is not there"
        assert right == gold - sum(coverage.unrepresentable.values())
        assert set(outcomes) <= {"completions", "mentions, exact", "mentions, ordered", "mentions, constrained"}
        assert outcomes["completions"] == len(examples)
        if kind == "joint":
            mentions = entities_of(predicted)
            assert mentions <= entities_of(document)
        if kind == "relations":
            assert predicted.entities == document.entities
        total += right
    assert total > 500


@pytest.mark.parametrize("constrained", [False, True])
@pytest.mark.parametrize(("kind", "response"), WAYS)
def test_real_notes_come_back_but_for_what_is_counted(kind: str, response: str, constrained: bool, real: Corpus) -> None:
    """Repeated words in lists of no order, and mentions that are parts of words, may be lost without being counted: 4 % at most."""
    documents, source = real
    task = task_of(kind, response)
    sums = Counter[str]()
    for document in documents:
        predicted, coverage, _, _ = there_and_back(task, document, source, constrained=constrained)
        right, gold, found = compared(kind, document, predicted, source.schema)
        assert right <= gold - sum(coverage.unrepresentable.values()), "what is counted is lost"
        sums.update({"right": right, "possible": gold - sum(coverage.unrepresentable.values()), "found": found})
    if kind == "relations":
        assert sums["right"] == sums["possible"] == sums["found"]
    assert sums["right"] >= 0.96 * sums["possible"] > 200
    assert sums["right"] >= 0.96 * sums["found"]
