"""Words that stand in several places, and mentions of several fragments."""

from __future__ import annotations

import random

import pytest

from clinical_ie.prompts.grounding import Grounded, ground
from tests.prompts.grounding_cases import drugs, places, statuses


def test_repeats_take_successive_places() -> None:
    text = "pain, later pain, then pain"
    assert places(text, drugs("pain", "pain", "pain")) == [(0, 4), (12, 16), (23, 27)]
    assert places(text, drugs("pain", "pain")) == [(0, 4), (12, 16)]


def test_what_is_said_more_often_than_it_stands_there_is_nowhere() -> None:
    assert places("pain, later pain", drugs("pain", "pain", "pain")) == [(0, 4), (12, 16), None]
    assert statuses("pain once", drugs("pain", "pain"))[1] == "none"


def test_repeats_fall_back_on_places_in_other_case() -> None:
    """Generators level the case of what they repeat."""
    assert places("Pain and pain", drugs("pain", "pain")) == [(0, 4), (9, 13)]


def test_repeats_fall_back_on_places_inside_words() -> None:
    """Guidelines cut off plural endings; MACCROBAT has "BAL" in "BALs", "platelet count" in "platelet counts"."""
    text = "platelet count, then platelet counts"
    assert places(text, drugs("platelet count", "platelet count")) == [(0, 14), (21, 35)]


@pytest.mark.parametrize(("one", "other"), [("pain", "Pain"), ("x-ray", "x - ray"), ("headache", "headacke")])
def test_one_place_is_given_once_to_a_type_however_it_is_spelled(one: str, other: str) -> None:
    found = places(f"a {one} b", drugs(one, other))
    assert found == [(2, 2 + len(one)), None]


def test_two_types_may_share_a_place() -> None:
    assert places("a pain b", [("Problem", "pain"), ("Sign", "pain")]) == [(2, 6), (2, 6)]
    text = "pain b pain"
    said = [("Problem", "pain"), ("Sign", "pain")] * 2
    assert places(text, said) == [(0, 4), (0, 4), (7, 11), (7, 11)]


def test_certain_neighbours_decide() -> None:
    text = "pain, fever, pain, cough, pain"
    assert places(text, drugs("fever", "pain", "cough")) == [(6, 11), (13, 17), (19, 24)]
    assert places(text, drugs("cough", "pain"))[1] == (26, 30)
    assert places(text, drugs("pain", "fever"))[0] == (0, 4)
    assert statuses(text, drugs("fever", "pain", "cough")) == ["exact", "ordered", "exact"]


def test_nested_mentions() -> None:
    text = "severe chest pain at rest"
    said = [("Problem", "severe chest pain"), ("Site", "chest"), ("Problem", "pain")]
    assert places(text, said) == [(0, 17), (7, 12), (13, 17)]
    assert statuses(text, said) == ["exact"] * 3


def test_nested_mention_of_a_repeated_word() -> None:
    """Said right behind the longer one, "pain" is the one inside where there is no other."""
    text = "chest pain and fever"
    assert places(text, [("P", "chest pain"), ("P", "pain"), ("P", "fever")]) == [(0, 10), (6, 10), (15, 20)]


def test_a_repeated_word_is_rather_not_the_one_inside_a_longer_mention() -> None:
    assert places("chest pain, then pain", drugs("chest pain", "pain")) == [(0, 10), (17, 21)]


def test_overlapping_mentions() -> None:
    assert places("left arm pain", [("Site", "left arm"), ("Problem", "arm pain")]) == [(0, 8), (5, 13)]


def test_lists_by_type() -> None:
    """Each type follows the text, the list as a whole does not."""
    text = "aspirin for pain, heparin for pain, iron for pain, aspirin for fever"
    said = [("Drug", "aspirin"), ("Drug", "heparin"), ("Drug", "iron"), ("Drug", "aspirin"),
            ("Problem", "pain"), ("Problem", "pain"), ("Problem", "pain"), ("Problem", "fever")]  # fmt: skip
    expected = [(0, 7), (18, 25), (36, 40), (51, 58), (12, 16), (30, 34), (45, 49), (63, 68)]
    assert places(text, said) == expected


def test_a_repeated_word_stands_behind_what_was_said_before_it() -> None:
    text = "pain aspirin pain heparin pain iron pain"
    said = [("Drug", "aspirin"), ("Drug", "heparin"), ("Drug", "iron"), ("Drug", "pain")]
    assert places(text, said)[3] == (36, 40)


def test_shuffled_lists_keep_every_place() -> None:
    words = [f"word{letter}" for letter in "abcdefghij"] + ["pain"] * 5
    random.Random(0).shuffle(words)
    text = " ".join(words)
    shuffled = random.Random(1).sample(words, len(words))
    found = places(text, drugs(*shuffled))
    assert None not in found
    assert len(set(found)) == len(found)
    assert all(place is not None and text[slice(*place)] == word for place, word in zip(found, shuffled, strict=True))


def test_fragments() -> None:
    found = ground("left and right arm", drugs("left ... arm"))
    assert found[0].span is not None
    assert found[0].span.fragments == ((0, 4), (15, 18))


def test_fragments_across_lines() -> None:
    found = ground("left\r\nupper and right\n arm", drugs("left upper ... arm"))
    assert found[0].span is not None
    assert found[0].span.fragments == ((0, 11), (23, 26))


def test_fragments_out_of_order_or_missing_are_nowhere() -> None:
    assert ground("left and right arm", drugs("arm ... left", "left ... leg", "left ... left")) == [Grounded(None, "none")] * 3


def test_dots_of_the_text_are_no_gap() -> None:
    found = ground("pain ... gone, gone", drugs("pain ... gone"))
    assert found[0].span is not None
    assert found[0].span.fragments == ((0, 13),)


def test_repeated_discontinuous_mentions_take_successive_places() -> None:
    found = ground("left and right arm; left and right arm", drugs("left ... arm", "left ... arm"))
    assert [one.span.fragments if one.span else None for one in found] == [((0, 4), (15, 18)), ((20, 24), (35, 38))]


def test_a_discontinuous_mention_is_not_found_twice_where_it_stands_once() -> None:
    found = ground("left and right arm", drugs("left ... arm", "left ... arm"))
    assert [one.status for one in found] == ["exact", "none"]


def test_a_discontinuous_mention_stands_between_its_neighbours() -> None:
    text = "left leg. Fever. left and right arm. Cough."
    found = ground(text, drugs("Fever", "left ... arm", "Cough"))
    assert found[1].span is not None
    assert found[1].span.fragments == ((17, 21), (32, 35))
