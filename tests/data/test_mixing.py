"""Shares of sources against tables made by hand and the published example of an independent program."""

from __future__ import annotations

import math
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinical_ie.data.mixing import Equal, Mixing, Temperature, UniMax
from clinical_ie.errors import SettingError
from clinical_ie.tasks.task import SourceName


def sizes_of(*sizes: int) -> dict[SourceName, int]:
    return {SourceName(f"c{place}", "t"): size for place, size in enumerate(sizes)}


def counts(mixing: Mixing, *sizes: int) -> list[int]:
    return list(mixing.counts(sizes_of(*sizes)).values())


def test_proportional_is_every_example_once() -> None:
    assert counts(Mixing(), 1, 999, 37) == [1, 999, 37]
    assert counts(Mixing(examples=10), 30, 10, 10) == [6, 2, 2]


def test_largest_remainders_by_hand() -> None:
    """Shares of 7: 3.5, 2.1, 1.4: the floors leave one, which goes to the largest remainder; equal remainders go by name."""
    assert counts(Mixing(examples=7), 50, 30, 20) == [4, 2, 1]
    assert counts(Equal(examples=8), 5, 5, 5) == [3, 3, 2]


@pytest.mark.parametrize(
    ("temperature", "expected"),
    [(1.0, [7, 26, 106, 661]), (2.0, [47, 94, 188, 471]), (1e9, [200, 200, 200, 200]), (0.5, [8, 32, 128, 632])],
)
def test_temperature_by_hand(temperature: float, expected: list[int]) -> None:
    """Sizes 1, 4, 16, 100 and 800 examples: T=1, of 121: 6.6, 26.4, 105.8, 661.2; T=2, roots 1, 2, 4, 10: 47.1, 94.1, 188.2, 470.6.

    T=0.5, sizes 9, 18, 36, 80, squares 81, 324, 1,296, 6,400: 8.0, 32.0, 128.0, 632.0.
    """
    sizes = (9, 18, 36, 80) if temperature == 0.5 else (1, 4, 16, 100)
    assert counts(Temperature(temperature=temperature, examples=800), *sizes) == expected


def test_no_source_is_rounded_away() -> None:
    with pytest.raises(SettingError, match=r"10 examples would have none of c0/t; give more examples \(data.mixing.examples\)"):
        counts(Mixing(examples=10), 1, 99)


def test_unimax_by_hand() -> None:
    """Algorithm 1 of the paper, budget 1,000, two passes at most, smallest first.

    10: 1000/4 = 250 is more than two passes, 20; 100: 980/3 = 326.7, so 200; 600: 780/2 = 390 of at most 1,200; 5,000: the other 390.
    """
    assert counts(UniMax(max_passes=2, examples=1000), 600, 10, 5000, 100) == [390, 20, 390, 200]
    assert counts(UniMax(max_passes=1000, examples=1000), 600, 10, 5000, 100) == [250] * 4


def test_unimax_as_an_independent_program_has_it() -> None:
    """The example in the documentation of unimax-sampling on PyPI: languages and characters, four passes at most."""
    characters = {"swe": 179955884499, "fas": 184595788282, "ekk": 42541080893, "isl": 10027573389, "fao": 549707867}
    mixing = UniMax(max_passes=4, examples=250_000_000_000)
    found = mixing.counts({SourceName(name, "t"): count for name, count in characters.items()})
    expected = {"fao": 2198831468, "isl": 40110293556, "ekk": 69230291658.667, "swe": 69230291658.667, "fas": 69230291658.667}
    assert {source.corpus: count for source, count in found.items()} == pytest.approx(expected, abs=1)
    assert sum(found.values()) == 250_000_000_000


def test_weights_multiply() -> None:
    sizes = {SourceName(corpus, task): 100 for corpus in "ab" for task in ("find", "link")}
    mixing = Mixing(corpus_weights={"a": 3}, task_weights={"link": 0.5}, examples=600)
    assert list(mixing.counts(sizes).values()) == [300, 150, 100, 50]
    assert list(Equal(task_weights={"link": 0}).counts(sizes).values()) == [100, 0, 100, 0], (
        "as many as there are of those that have a weight"
    )


@given(
    st.lists(st.integers(1, 500), min_size=1, max_size=6),
    st.sampled_from([Mixing, Equal, partial(Temperature, temperature=3), partial(UniMax, max_passes=2.5)]),
    st.floats(1, 2),
)
def test_an_epoch_is_as_long_as_it_should_be(sizes: list[int], kind: Any, longer: float) -> None:
    examples = math.floor(longer * sum(sizes))
    found = counts(kind(examples=examples), *sizes)
    assert sum(found) == examples
    assert min(found) > 0
    ordered = [count for _, count in sorted(zip(sizes, found, strict=True))]
    assert all(before <= after + 1 for before, after in pairwise(ordered)), "the larger has no smaller share"
    if isinstance(kind(), UniMax):
        assert all(count <= 2.5 * size for size, count in zip(sizes, found, strict=True))


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (Mixing, {"corpus_weights": {"a": -1}}, "corpus_weights.a is -1; expected a number from 0"),
        (Mixing, {"task_weights": {"t": math.nan}}, "task_weights.t is nan"),
        (Mixing, {"most_documents": {"a": 0}}, r"most_documents.a is 0; expected 1 or more, or leave the corpus out"),
        (Equal, {"examples": 0}, "data.mixing.examples is 0"),
        (Temperature, {"temperature": 0}, "temperature is 0; expected a number above 0"),
        (UniMax, {"max_passes": 0}, "max_passes is 0"),
    ],
)
def test_nonsense_is_refused(kind: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        kind(**options)


def test_what_no_epoch_can_have_is_refused() -> None:
    with pytest.raises(SettingError, match=r"gives no weight to any of c0/t, c1/t"):
        counts(Mixing(task_weights={"t": 0}), 3, 4)
    with pytest.raises(SettingError, match=r"an epoch of 15 examples is longer than data.mixing allows, 14; give fewer"):
        counts(UniMax(max_passes=2, examples=15), 3, 4)


def test_names_are_those_that_there_are() -> None:
    mixing = Mixing(corpus_weights={"maccrobat": 2, "phee": 1}, task_weights={"entity_taging": 1})
    with pytest.raises(SettingError, match=r"corpus_weights names 'phee'; the corpora are maccrobat"):
        mixing.check(["maccrobat"], ["entity_tagging"])
    with pytest.raises(SettingError, match=r"task_weights names 'entity_taging'; .*; did you mean 'entity_tagging'"):
        mixing.check(["maccrobat"], ["entity_tagging"], ["phee"])
