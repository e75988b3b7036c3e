import pytest

from clinical_ie.errors import did_you_mean


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("phe", "phee"),
        ("PHEE", "phee"),
        ("n2c2-2018", "n2c2_2018"),
        ("n2c2_2017", "n2c2_2018"),
        ("radgrpah", "radgraph"),
    ],
)
def test_the_nearest_name_is_proposed(name: str, nearest: str) -> None:
    assert did_you_mean(name, ["radgraph", "n2c2_2018", "n2c2_2022", "phee"]) == f"; did you mean {nearest!r}?"


def test_a_name_as_known_gives_it_back_in_its_own_spelling() -> None:
    assert did_you_mean("drug", ["Drug", "Dose"]) == "; did you mean 'Drug'?"


@pytest.mark.parametrize("name", ["", "something_else", "x" * 1_000_000])
def test_nothing_near_proposes_nothing(name: str) -> None:
    assert did_you_mean(name, ["radgraph", "phee"]) == ""


def test_nothing_known_proposes_nothing() -> None:
    assert did_you_mean("phee", []) == ""
