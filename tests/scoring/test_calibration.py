from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest

from clinical_ie.document import Attribute, Document, Entity, Event, Relation, Span
from clinical_ie.scoring.calibration import (
    Pair,
    Temperature,
    bins,
    calibrated,
    described,
    expected_calibration_error,
    fitted_temperature,
    tempered,
    to_plain,
    untempered,
)


def drawn(seed: int, number: int, temperature: float) -> list[Pair]:
    """Annotations that are right with a probability p, and whose log-odds a model says that many times too high."""
    dice = random.Random(seed)
    truth = [dice.betavariate(4, 1.5) for _ in range(number)]
    return [(tempered(p, 1 / temperature), dice.random() < p) for p in truth]


def test_the_error_by_hand() -> None:
    pairs = [(0.1, False), (0.3, True), (0.6, True), (0.8, True), (0.9, False), (1.0, True)]
    assert [(one.number, one.confidence, one.right) for one in bins(pairs, 3)] == [
        (2, pytest.approx(0.2), 0.5),
        (2, pytest.approx(0.7), 1.0),
        (2, pytest.approx(0.95), 0.5),
    ]
    assert expected_calibration_error(pairs, 3) == pytest.approx((2 * 0.3 + 2 * 0.3 + 2 * 0.45) / 6)
    assert expected_calibration_error([]) == 0
    assert len(bins(pairs, 15)) == 6, "no bin is empty"


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_a_temperature_is_found_again_and_takes_the_error_away(temperature: float) -> None:
    pairs = drawn(1, 20_000, temperature)
    assert fitted_temperature(pairs) == pytest.approx(temperature, rel=0.05)
    found = described([(tempered(sure, temperature), right) for sure, right in drawn(2, 20_000, temperature)], temperature)
    assert found["ece"] < 0.015
    assert temperature == 1 or found["ece_before"] > 4 * found["ece"]


def test_the_temperature_has_the_least_loss_of_many() -> None:
    pairs = drawn(3, 300, 1.7)

    def loss(temperature: float) -> float:
        return -sum(math.log(p) for sure, right in pairs for p in [max(1e-300, tempered(sure if right else 1 - sure, temperature))])

    assert loss(fitted_temperature(pairs)) <= min(loss(0.05 * 1.02**k) for k in range(300)) + 1e-6


def test_what_is_sure_and_wrong_is_no_error_and_does_not_decide_alone() -> None:
    assert 1 < fitted_temperature([*drawn(1, 500, 1.0), (1.0, False), (0.0, True)]) < 3
    assert (tempered(1.0, 1.0), tempered(0.0, 1.0)) == (1.0, 0.0), "none was learned"


def test_what_a_model_says_as_one_is_calibrated_as_it_was_learned() -> None:
    """A softmax comes to 1.0 in 32 bits: its confidences stayed 1, while the temperature was learned as if they were a little less."""
    pairs = [(1.0, True)] * 160 + [(1.0, False)] * 40
    temperature = fitted_temperature(pairs)
    assert tempered(1.0, temperature) == tempered(1 - 1e-7, temperature) == pytest.approx(0.8, abs=1e-3)
    assert tempered(0.0, temperature) == pytest.approx(0.2, abs=1e-3)
    found = described([(tempered(sure, temperature), right) for sure, right in pairs], temperature)
    assert found["ece_before"] == pytest.approx(0.2, abs=1e-5)
    assert found["ece"] > 0.1, "bins of equal mass of one confidence: what is right stands behind what is wrong"


@pytest.mark.parametrize("temperature", [0.4, 0.9, 1.0, 2.7, 20.0])
@pytest.mark.parametrize("confidence", [0.0, 1e-9, 1e-4, 0.3, 0.5, 0.9, 1 - 1e-4, 1 - 1e-9, 1.0])
def test_what_was_calibrated_can_be_taken_back(confidence: float, temperature: float) -> None:
    assert untempered(tempered(confidence, temperature), temperature) == pytest.approx(confidence, abs=1.1e-6)


def test_few_annotations_teach_nothing_and_say_so() -> None:
    one = Temperature.of([(0.9, True)] * 99)
    assert (one.value, one.annotations) == (1.0, 99)
    assert one.reason == "99 predicted annotations, 0 of them wrong; needs 100, 5 right and 5 wrong"
    assert Temperature.of([(0.9, True)] * 200).reason, "without wrong ones it would be as cold as can be"
    assert not Temperature.of([(0.9, True)] * 150 + [(0.9, False)] * 50).reason


def test_each_kind_has_its_own() -> None:
    document = Document(
        "d",
        "ab cd",
        (Entity("T1", "A", Span.of(0, 2), 0.9), Entity("T2", "B", Span.of(3, 5))),
        (Relation("R1", "X", "T1", "T2", confidence=0.9),),
        (Event("E1", "A", "T1", (("X", "T2"), ("Y", "T2")), 0.9, (0.9, None)),),
        (Attribute("A1", "V", "T1", "on", 0.9),),
    )
    plain = to_plain({"entities": Temperature(2.0, 200), "relations": Temperature(3.0, 200), "attributes": Temperature(4.0, 200)})
    found = calibrated(document, plain)
    two, three, four = (tempered(0.9, value) for value in (2, 3, 4))
    assert found == document
    assert [one.confidence for one in (*found.entities, *found.relations, *found.events, *found.attributes)] == [
        two,
        None,
        three,
        two,
        four,
    ]
    assert found.events[0].argument_confidences == (three, None)
    assert calibrated(document, None) is calibrated(document, {}) is document
    assert calibrated(document, to_plain({"entities": replace(Temperature(1.0, 3), reason="few")})) is document
