from pathlib import Path

import pytest

from clinical_ie.errors import did_you_mean, did_you_mean_path


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


def test_a_path_is_proposed_where_what_is_behind_the_wrong_part_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "demo").mkdir(parents=True)
    (tmp_path / "runs" / "demo" / "config.yaml").write_text("", encoding="utf-8")
    (tmp_path / "runs" / "damo").mkdir()
    assert did_you_mean_path("runs/dmo/config.yaml") == "; did you mean 'runs/demo/config.yaml'?"
    assert did_you_mean_path("rums/demo") == "; did you mean 'runs/demo'?"
    assert did_you_mean_path("runs/demo/confg.yaml") == "; did you mean 'runs/demo/config.yaml'?"
    assert did_you_mean_path(tmp_path / "runs" / "dem") == f"; did you mean {str(tmp_path / 'runs' / 'demo')!r}?"
    assert did_you_mean_path("nothing/like/it") == ""
    assert did_you_mean_path("runs/demo/config.yaml/inside") == "", "a file holds nothing"
    assert did_you_mean_path("runs/demo") == ""
