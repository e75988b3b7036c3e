from __future__ import annotations

import random
from collections import Counter
from fractions import Fraction

import pytest

from clinical_ie.corpora import Demo, find
from clinical_ie.corpora.near_duplicates import near_duplicates, normalized
from clinical_ie.errors import SettingError
from clinical_ie.formats.findings import Findings
from tests.conftest import corpora_folder


def changed(text: str, share: float, draw: random.Random) -> str:
    """A text with a share of its words replaced by words that it does not hold."""
    words = text.split()
    for place in draw.sample(range(len(words)), int(share * len(words))):
        words[place] = f"replaced{place}"
    return " ".join(words)


def test_notes_with_a_tenth_of_their_words_changed_are_found_and_with_three_tenths_not() -> None:
    draw = random.Random(0)
    texts = [document.text for part in ("train", "dev", "test") for document in Demo().read(part)]  # type: ignore[arg-type]
    found = {(pair.first, pair.second): pair for pair in near_duplicates(texts, [changed(text, 0.1, draw) for text in texts])}
    assert {(place, place) for place in range(len(texts))} <= set(found)
    for place, text in enumerate(texts):
        size = len(text.split())
        lost = int(0.1 * size)
        assert found[place, place].similarity == pytest.approx((size - lost) / (size + lost)), "the arithmetic of the docstring"
    assert not near_duplicates(texts, [changed(text, 0.3, draw) for text in texts])
    assert len(near_duplicates(texts, [changed(text, 0.1, draw) for text in texts], shingle=2)) < len(texts) / 10


@pytest.mark.parametrize("shingle", [1, 3])
@pytest.mark.parametrize("threshold", [0.5, 0.8, 1.0])
def test_all_and_only_pairs_that_a_look_at_every_pair_finds(threshold: float, shingle: int) -> None:
    draw = random.Random(threshold)
    sides = []
    for _ in range(2):
        texts = ["", "a"]
        for _ in range(30):
            texts.append(" ".join(draw.choices("abcdefgh", k=draw.randint(0, 12))))
            texts.append(" ".join(draw.choices([f"w{number}" for number in range(60)], k=draw.randint(20, 60))))
        for text in texts[3::4]:
            texts.append(changed(text, draw.random() / 4, draw))
        sides.append(texts)
    sides[1] += [changed(text, 0.05, draw) for text in sides[0]]

    def bag(text: str) -> Counter[tuple[str, ...]]:
        words = text.split()
        return Counter(tuple(words[at : at + shingle]) for at in range(max(1, len(words) - shingle + 1))) if words else Counter()

    bags = [[bag(text) for text in texts] for texts in sides]
    expected = {}
    for one, mine in enumerate(bags[0]):
        for other, theirs in enumerate(bags[1]):
            if mine and theirs and Fraction((mine & theirs).total(), (mine | theirs).total()) >= Fraction(str(threshold)):
                expected[one, other] = (mine & theirs).total() / (mine | theirs).total()
    pairs = near_duplicates(*sides, threshold=threshold, shingle=shingle)
    assert len(expected) > 30
    assert {(pair.first, pair.second): pair.similarity for pair in pairs} == expected
    assert [pair[:2] for pair in pairs] == sorted(expected)
    assert all(pair.equal == (sides[0][pair.first] == sides[1][pair.second]) for pair in pairs)


def test_case_white_space_and_unicode_forms_make_no_other_note() -> None:
    (pair,) = near_duplicates(
        ["Café  au lait\r\nspots, 20 \N{MICRO SIGN}g"], ["CAFE\N{COMBINING ACUTE ACCENT} au lait spots,\n20 \N{GREEK SMALL LETTER MU}g"]
    )
    assert pair == (0, 0, 1.0, True)
    (moved,) = near_duplicates(["no fever no pain"], ["no pain no fever"])
    assert moved == (0, 0, 1.0, False)
    assert normalized(" \u2003\n") == ""


def test_four_of_five_words_are_enough_and_how_often_a_word_stands_counts() -> None:
    assert [pair.similarity for pair in near_duplicates(["a b c d e"], ["a b c d", "a b c", "a a a a"])] == [0.8]
    assert not near_duplicates(["a a a a"], ["a"])


def test_texts_without_words_are_like_nothing() -> None:
    assert not near_duplicates(["", "  "], ["", "a"])


@pytest.mark.parametrize("options", [{"threshold": 0.0}, {"threshold": 1.1}, {"shingle": 0}])
def test_wrong_values_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(SettingError, match="near duplicates"):
        near_duplicates([""], [""], **options)  # type: ignore[arg-type]


def test_the_notes_that_uw_has_in_two_parts_are_found() -> None:
    """``corpus check`` lists nine whose text another part has, byte by byte."""
    folder = corpora_folder() / "uw_social_history_mtsamples"
    if not folder.is_dir():
        pytest.skip("the corpus is not here")
    corpus = find("uw_social_history")(str(folder))
    parts = {part: list(corpus.load_part(part, Findings(strict=False))) for part in ("train", "dev", "test")}  # type: ignore[arg-type]
    same, found = set(), set()
    for part, earlier in (("dev", ["train"]), ("test", ["train", "dev"])):
        others = [document.text for name in earlier for document in parts[name]]
        same |= {document.id for document in parts[part] if document.text in set(others)}
        pairs = near_duplicates([document.text for document in parts[part]], others)
        found |= {parts[part][pair.first].id for pair in pairs if pair.equal}
    assert len(same) == 9
    assert same <= found
