"""The promise, by simulation: thresholds chosen on notes of a source, held against the true share of wrong ones at each threshold."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import product

import pytest

from clinical_ie.document import Document, Entity, Span
from clinical_ie.errors import SettingError
from clinical_ie.extraction.false_discovery import as_thresholds, capital, controlled, lowest_threshold
from clinical_ie.extraction.thresholds import keep

Note = list[tuple[float, bool]]


def notes_of(seed: int, number: int, *, error: float, sure: float) -> list[Note]:
    """Notes whose annotations depend on each other: some notes are hard, and all of a hard note's annotations are wrong more often.

    Args:
        seed: Of the draw.
        number: Notes.
        error: Mean share of wrong annotations.
        sure: How much confidence says; 0 for nothing.
    """
    dice = random.Random(seed)
    found = []
    for _ in range(number):
        hard = dice.random() < 0.2
        rate = error * (3 if hard else 0.5)
        note = []
        for _ in range(min(12, int(dice.expovariate(0.25)))):
            right = dice.random() >= rate
            confidence = dice.betavariate(8, 2) if right or dice.random() > sure else dice.betavariate(3, 3)
            note.append((confidence, right))
        found.append(note)
    return found


@pytest.mark.parametrize(("error", "sure"), [(0.06, 0.0), (0.06, 0.8), (0.1, 1.0)])
def test_in_100_draws_the_promise_is_broken_at_most_13_times(error: float, sure: float) -> None:
    bound = 0.05
    everything = notes_of(10**6, 8_000, error=error, sure=sure)

    def share(threshold: float) -> float:
        kept = [right for note in everything for confidence, right in note if confidence >= threshold]
        return kept.count(False) / max(1, len(kept))

    known: dict[float, float] = {}
    broken = given = 0
    for seed in range(100):
        threshold = lowest_threshold(notes_of(seed, 400, error=error, sure=sure), bound)
        if threshold is not None:
            given += 1
            broken += known.setdefault(threshold, share(threshold)) > bound
    assert broken <= 13
    if sure:
        assert given >= 50, "something is chosen where there is something to choose"


def test_capital_by_hand() -> None:
    shares = (0.05, 0.1, 0.2, 0.4, 0.7, 0.95)
    assert capital([-0.5, 0.25], 1.0) == pytest.approx(sum((1 + 0.5 * s) * (1 - 0.25 * s) for s in shares) / 6)
    assert capital([2.0], 1.0) == pytest.approx(sum(max(0.0, 1 - 2 * s) for s in shares if s < 0.5) / 6), "what is ruined stays so"
    assert capital([-1.0] * 10**5, 1.0) > 1e100


def test_its_expectation_is_at_most_1_where_the_mean_is_not_below_0() -> None:
    """Over all rows of four outcomes from {-1/4, 3/4} with a mean of 0: exactly 1, for every bet (a martingale)."""
    total = sum((0.75 ** row.count(-0.25) * 0.25 ** row.count(0.75)) * capital(row, 1.2) for row in product((-0.25, 0.75), repeat=4))
    assert total == pytest.approx(1.0)


def test_without_errors_few_are_enough_and_fewer_prove_nothing() -> None:
    """Were notes of one annotation each, an exact binomial test at a fiftieth would want 77: log(1/50) / log(0.95)."""
    right = [[(0.99, True)]]
    assert lowest_threshold(right * 76, 0.05) is None
    assert lowest_threshold(right * 150, 0.05) == 0.0
    assert lowest_threshold([], 0.05) is None


TEXT = "aspirin and heparin"
GOLD = Document("n", TEXT, (Entity("T1", "Drug", Span.of(0, 7)), Entity("T2", "Drug", Span.of(12, 19))))


def test_types_are_chosen_by_themselves_and_what_cannot_be_proven_goes_to_review() -> None:
    sure = [replace(entity, confidence=0.9) for entity in GOLD.entities]
    wrong = Entity("T3", "Dose", Span.of(8, 11), 0.9)
    pairs = [(replace(GOLD, id=f"n{k}"), replace(GOLD, id=f"n{k}", entities=(*sure, wrong))) for k in range(100)]
    dose, drug, site = controlled(pairs, 0.1, types=["Drug", "Dose", "Site"])
    assert (dose.type, dose.threshold, dose.found, dose.wrong, dose.kept) == ("Dose", None, 100, 100, 0)
    assert (drug.type, drug.threshold, drug.found, drug.wrong, drug.kept) == ("Drug", 0.0, 200, 0, 200)
    assert (site.type, site.threshold, site.found) == ("Site", None, 0)
    assert "all go to review" in str(dose)
    assert "200 are kept, 0 wrong" in str(drug)
    kept, review = keep(pairs[0][1], as_thresholds([dose, drug, site]))
    assert [entity.id for entity in kept.entities] == ["T1", "T2"]
    assert [entity.id for entity in review.entities] == ["T3"]


def test_what_it_cannot_work_with_is_refused() -> None:
    with pytest.raises(SettingError, match="between 0 and 1"):
        controlled([(GOLD, GOLD)], 1.5)
    with pytest.raises(SettingError, match="--calibration"):
        controlled([], 0.05)
    with pytest.raises(SettingError, match="no confidence"):
        controlled([(GOLD, GOLD)], 0.05)
