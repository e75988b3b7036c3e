"""The report of a study, of results that were made by hand."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from clinical_ie.reports.study_figures import curves
from clinical_ie.reports.study_files import write_report
from clinical_ie.reports.study_forms import csv_rows, latex, markdown
from clinical_ie.reports.study_rows import Row, StudyCell, study_rows
from clinical_ie.reports.study_tables import StudyTable, overview, score_table
from clinical_ie.scoring.counts import Counts

FOUND, MISSED = [1, 0, 0], [0, 0, 1]
"""A document whose only mention is found, or missed."""
DOCUMENTS = 16


def micro(found: int) -> dict[str, float]:
    return Counts(found, 0, DOCUMENTS - found).to_dict()


def entry(found: int, **more: Any) -> dict[str, Any]:
    """So many of 16 documents' mentions are found, and nothing else is said: F1 = 2 found / (found + 16)."""
    documents = {f"note{number:02}": FOUND if number < found else MISSED for number in range(DOCUMENTS)}
    scores = {"micro": micro(found), "macro": {"f1": micro(found)["f1"]}, "types": {}}
    return {
        "rules": "strict-one-to-one", "documents": DOCUMENTS, "missing": 0, "finds": "entities", "intervals": {}, "coverage": None,
        "entities": {"strict": scores, "lenient": scores}, "per_document": {"entities/strict": documents, "entities/lenient": documents},
        **more,
    }  # fmt: skip


SHIFT = {"labels": {"Drug": "name", "Alcohol": "not at all"}, "shares": {"name": 0.75, "not at all": 0.25}}
RUN = {
    "fingerprint": "feed", "seed": 0, "steps": 10, "seconds": 1800.0, "training_subwords": 5000, "subwords_per_second": 2.8,
    "parameters": 1000, "trainable_parameters": 20, "peak_memory_bytes": 3_000_000, "checkpoint_model_bytes": 1_500_000,
    "shots": {"uw": {"documents": 5, "mentions": {"Drug": 3, "Alcohol": 0}, "links": {"Status": 2}, "ids": ["a"]}},
    "label_shift": {
        "corpora": {"uw": {"entities": SHIFT}},
        "two_meanings": {"Drug": {"uw": "use of drugs", "phee": "a medication"}},
        "renamed": {},
    },
}  # fmt: skip


def cell(folder: Path, found: int | None, *, section: str = "Few shots", message: str = "", **axes: str) -> StudyCell:
    key = "_".join(axes.values())
    if found is None:
        return StudyCell(section, axes, ("uw",), key, None, "failed", message)
    place = folder / key
    place.mkdir(parents=True)
    extra = {"strings": {"entities": micro(12)}, "unseen": {"gold": 4, "tp": 1, "recall": 0.25}, "survival": {"share": 0.985}}
    outcomes = {"completions": 16, "malformed lines": 2, "completions truncated": 1, "mentions, none": 3}
    tables = {"uw": {"entity_instruction": entry(found, **extra, outcomes=outcomes)}, "phee": {"entity_instruction": entry(1)}}
    run = {**RUN, "fingerprint": key}
    (place / "results.json").write_text(json.dumps({"run": run, "splits": {"test": tables}}), encoding="utf-8")
    return StudyCell(section, axes, ("uw",), key, place / "results.json", "done")


@pytest.fixture
def cells(tmp_path: Path) -> list[StudyCell]:
    return [
        cell(tmp_path, 12, start="others", shots="0"),
        cell(tmp_path, 2, start="base", shots="0"),
        cell(tmp_path, 16, start="others", shots="5", draw="0"),
        cell(tmp_path, 8, start="others", shots="5", draw="1"),
        cell(tmp_path, 8, start="base", shots="5", draw="0"),
        cell(tmp_path, None, start="base", shots="5", draw="1", message="exit code 1: too <large>"),
    ]


def report(folder: Path, cells: list[StudyCell]) -> Path:
    return write_report(folder, "tiny", "Do others help?", cells, ["draw"], {"start": "base"}, "shots")


def test_rows_are_means_over_repeats_with_differences_to_the_control(cells: list[StudyCell]) -> None:
    """F1 by hand: 24/28, 4/18, (1 + 2/3) / 2, 2/3; only documents of uw are shown."""
    rows = study_rows(cells, ["draw"], {"start": "base"})
    assert [(row.axes["start"], row.axes["shots"], len(row.strict), row.cells) for row in rows] == [
        ("others", "0", 1, 1), ("base", "0", 1, 1), ("others", "5", 2, 2), ("base", "5", 1, 2),
    ]  # fmt: skip
    assert [row.f1 for row in rows] == pytest.approx([24 / 28, 4 / 18, 5 / 6, 2 / 3])
    assert rows[2].points == pytest.approx([1.0, 2 / 3])
    assert all(row.ends is not None and 0 <= row.ends.low <= row.f1 <= row.ends.high <= 1 for row in rows)
    zero, few = rows[0].differences[0], rows[2].differences[0]
    assert zero.value == pytest.approx(24 / 28 - 4 / 18)
    assert zero.p is not None
    assert zero.holm == zero.p < 0.05, "the only test of its table"
    assert zero.ends.low > 0
    assert few.value == pytest.approx(5 / 6 - 2 / 3)
    assert few.p is None, "two runs against one cannot be exchanged"
    assert rows[1].differences == []


def test_tables_are_as_they_were_written_down(cells: list[StudyCell], tmp_path: Path) -> None:
    """The ends of intervals are those of `scoring.intervals`, whose own tests hold them against other programs."""
    report(tmp_path / "out", cells)
    text = (tmp_path / "out" / "tiny.md").read_text(encoding="utf-8")
    assert text.startswith("# tiny\n\nDo others help?\n\n5 of 6 cells are done, by 5 runs.\n")
    plain = re.sub(r"\[[-+\d., ]+\]", "[]", re.sub(r", p [\d.]+", "", text))
    assert (
        "| table | cell | task | uw |\n| --- | --- | --- | ---: |\n| Few shots | start others, shots 0 | entity_instruction | 0.857 [] |"
        in plain
    )
    assert "| Few shots | start base, shots 5 | entity_instruction | 0.667 [] (1 of 2 runs) |" in plain
    one = next(line for line in plain.splitlines() if line.startswith("| others | 0 |"))
    visible = one.split(" | ")[7]
    assert 0.05 < float(visible) < 0.5
    assert one == (
        "| others | 0 | uw/entity_instruction | entities | 1/1 | 0.857 [] | +0.635* [] to start base | "
        + visible
        + " | 0.857 | 0.857 | 0.250"
        " | 0.985 | 2 | 3 | 1 | 75.0% | 5,000 | 0.50 | others_0 |"
    )
    assert "| Few shots | start others, shots 0 | start base | entity_instruction | entities | 1 | +0.635 | 1 of 1 |" in text
    assert "| Few shots | start others, shots 0 | 1 | 2.00% | 3 | 1,800 | 3 | 10 | 1.5 |" in text
    assert "| Few shots | start others, shots 0 | uw | 5 | 3 | 1 | 2 |" in text
    assert "| Few shots | start others, shots 0 | uw | entities | 1 (75.0%) | 0 | 0 | 1 (25.0%) |" in text
    assert "| Drug | phee | a medication |\n| Drug | uw | use of drugs |" in text
    assert "| Few shots | start base, shots 5, draw 1 | failed | base_5_1 | exit code 1: too <large> |" in text


def of_rows(folder: Path, *found: tuple[int, dict[str, str]], **options: Any) -> list[Row]:
    cells = [replace(cell(folder, count, **axes), key="-".join(axes.values())) for count, axes in found]
    return study_rows(cells, options.get("repeats", ["draw"]), options.get("controls", {}))


def test_seeds_are_nested_in_draws(tmp_path: Path) -> None:
    """A draw is one observation, however many seeds it has: F1 = 2 found / (found + 16)."""
    runs = ((16, "0", "0"), (15, "0", "1"), (4, "1", "0"))
    cells = [(found, {"model": "m", "draw": draw, "seed": seed}) for found, draw, seed in runs]
    (row,) = of_rows(tmp_path, *cells, repeats=["draw", "seed"])
    assert row.clustered is not None
    assert row.clustered.units == (0, 0, 1)
    assert row.f1 == pytest.approx(((1 + 30 / 31) / 2 + 8 / 20) / 2) == pytest.approx(row.clustered.f1)
    (row,) = of_rows(tmp_path / "one draw", *cells[:2], repeats=["draw", "seed"])
    assert row.clustered is not None
    assert row.clustered.units == (0, 1), "seeds are what varies"


def test_holm_is_over_all_that_a_table_holds(tmp_path: Path) -> None:
    rows = of_rows(tmp_path, (12, {"start": "others"}), (2, {"start": "base"}), controls={"start": "base"})
    alone = rows[0].differences[0]
    both = {"entities": entry(12)["entities"], "relations": entry(12)["entities"]}
    for place, found in (("others", 12), ("base", 2)):
        path = tmp_path / place / "results.json"
        data = json.loads(path.read_text(encoding="utf-8"))
        one = data["splits"]["test"]["uw"]["entity_instruction"]
        scores, counts = entry(found)["entities"], entry(found)["per_document"]
        one |= {"finds": "relations", "relation_setting": "end to end", **dict.fromkeys(both, scores)}
        one["per_document"] = {f"{kind}/{mode}": counts[f"entities/{mode}"] for kind in both for mode in ("strict", "lenient")}
        path.write_text(json.dumps(data), encoding="utf-8")
    cells = [
        StudyCell("Few shots", {"start": name}, ("uw",), name, tmp_path / name / "results.json", "done") for name in ("others", "base")
    ]
    rows = study_rows(cells, [], {"start": "base"})
    found = [row.differences[0] for row in rows if row.axes["start"] == "others"]
    assert [one.p for one in found] == [alone.p] * 2
    assert [one.holm for one in found] == pytest.approx([2 * (alone.p or 0)] * 2)


def test_cells_that_a_short_label_would_make_alike_have_a_long_one(tmp_path: Path) -> None:
    cells = [
        replace(cell(tmp_path, 16, model="m", target="uw"), tested=("uw",)),
        replace(cell(tmp_path, 2, model="m"), tested=("uw", "phee")),
    ]
    rows = study_rows(cells, [], {})
    labels = {(row.corpus, tuple(row.axes)): row.label for row in rows}
    assert labels["uw", ("model", "target")] == {"target": "uw"}
    assert labels["uw", ("model",)] == {}
    table, *_ = overview(rows, cells, [])
    assert [line[1] for line in table.rows] == ["target uw", "-"]
    assert [line[3].split(" ")[0] for line in table.rows] == ["1.000", "0.222"]


def test_a_model_that_leaves_a_corpus_out_is_one_line_with_all_corpora(tmp_path: Path) -> None:
    cells = [replace(cell(tmp_path, found, held_out=name), tested=("uw", "phee")) for found, name in ((16, "uw"), (2, "phee"))]
    table, *_ = overview(study_rows(cells, [], {}), cells, [])
    assert [[line[1], *(value.split(" ")[0] for value in line[-2:])] for line in table.rows] == [
        ["held_out uw", "1.000", "0.118"],
        ["held_out phee", "0.222", "0.118"],
    ]


def drawn(picture: Any) -> dict[str, list[float]]:
    lines = [line for line in picture.axes[0].get_lines() if not line.get_label().startswith("_")]
    return {line.get_label(): [round(float(y), 3) for y in line.get_ydata()] for line in lines}


def test_a_curve_of_two_tables_is_one_line_only_where_it_has_one_point_at_a_time(tmp_path: Path) -> None:
    cells = []
    for place, (section, found, axes) in enumerate(
        (("A", 14, {"start": "others", "shots": "0"}), ("A", 15, {"start": "others", "shots": "5"}),
         ("B", 2, {"start": "others", "shots": "0"}), ("B", 4, {"start": "others", "shots": "5"}))
    ):  # fmt: skip
        folder = tmp_path / str(place)
        folder.mkdir()
        cells.append(cell(folder, found, section=section, **axes))
    (picture,) = curves(study_rows(cells, [], {}), "shots").values()
    assert {label.split(":")[0]: ys for label, ys in drawn(picture).items()} == {"A": [0.933, 0.968], "B": [0.222, 0.4]}
    cells = [replace(one, section=name) for one, name in zip(cells[:2], "AB", strict=True)]
    (picture,) = curves(study_rows(cells, [], {}), "shots").values()
    assert list(drawn(picture).values()) == [[0.933, 0.968]]


def test_columns_of_one_kind_stay_out_of_the_rows_of_another(tmp_path: Path) -> None:
    place = cell(tmp_path, 12, start="others")
    path = tmp_path / "others" / "results.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    one = data["splits"]["test"]["uw"]["entity_instruction"]
    one |= {"finds": "relations", "relation_setting": "end to end", "relations": one["entities"]}
    one["per_document"] |= {f"relations/{mode}": one["per_document"][f"entities/{mode}"] for mode in ("strict", "lenient")}
    one["survival"] = {"of": "links", "share": 0.5}
    path.write_text(json.dumps(data), encoding="utf-8")
    table = score_table("t", study_rows([place], [], {}))
    columns = table.columns.index("unseen recall"), table.columns.index("gold surviving")
    found = {line[table.columns.index("kind")].split(",")[0]: [line[column] for column in columns] for line in table.rows}
    assert found == {"entities": ["0.250", "-"], "relations": ["-", "0.500"]}
    one["unseen"] = {"gold": 0, "tp": 0, "recall": 0.0}
    path.write_text(json.dumps(data), encoding="utf-8")
    assert score_table("t", study_rows([place], [], {})).rows[0][columns[0]] == "-", "none are unseen"


def test_each_control_has_its_columns_in_the_csv(tmp_path: Path) -> None:
    found = ((16, "others", "lora"), (12, "base", "lora"), (8, "others", "full"), (4, "base", "full"))
    cells = [(count, {"start": start, "tuning": tuning}) for count, start, tuning in found]
    rows = of_rows(tmp_path, *cells, controls={"tuning": "full", "start": "base"})
    line = next(csv.DictReader(csv_rows(rows).splitlines()))
    assert float(line["tuning_difference"]) == pytest.approx(1 - 2 / 3)
    assert float(line["start_difference"]) == pytest.approx(1 - 24 / 28)


def test_every_point_is_in_the_csv(cells: list[StudyCell], tmp_path: Path) -> None:
    report(tmp_path / "out", cells)
    with (tmp_path / "out" / "tiny.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 5, "strict and lenient of each run"
    strict = [row for row in rows if row["mode"] == "strict" and row["start"] == "others" and row["shots"] == "5"]
    assert [(row["run"], float(row["f1"])) for row in strict] == [("1", 1.0), ("2", pytest.approx(2 / 3))]
    assert [(row["draw"], row["key"]) for row in strict] == [("0", "others_5_0"), ("1", "others_5_1")]
    assert {row["start_control"] for row in strict} == {"base"}


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs


def test_the_page_stands_alone(cells: list[StudyCell], tmp_path: Path) -> None:
    text = report(tmp_path / "out", cells).read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    assert page.tags.count("svg") == 2, "bars and curves"
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    links = [value for name, value in page.attributes if name.endswith(("href", "src")) and not str(value).startswith("#")]
    assert links == []
    assert "default-src 'none'" in text
    assert 'name="viewport"' in text
    assert "color-scheme: light dark" in text
    assert "currentColor" in text
    assert "#000000" not in text, "black on a dark page cannot be read"
    assert "too &lt;large&gt;" in text
    assert not re.search(r"20\d\d-\d\d-\d\d|matplotlib v", text), "no date, no programme"


def test_the_same_results_give_the_same_bytes(cells: list[StudyCell], tmp_path: Path) -> None:
    for name in ("one", "two"):
        report(tmp_path / name, cells)
    files = {path.name for path in (tmp_path / "one").iterdir()}
    assert files == {"tiny.md", "tiny.tex", "tiny.csv", "tiny.html"}
    assert all((tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes() for name in files)


def test_what_a_form_would_take_for_its_own_is_escaped() -> None:
    table = StudyTable("50 % of a_b", ["x|y", "n"], [["a|b & c_d", "1"]], note="#1 {x}")
    assert markdown(table) == "### 50 % of a_b\n\n| x\\|y | n |\n| --- | ---: |\n| a\\|b & c_d | 1 |\n\n#1 {x}\n"
    assert r"a|b \& c\_d & 1 \\" in latex(table)
    assert r"\caption{50 \% of a\_b. \#1 \{x\}}" in latex(table)
    assert r"\begin{tabular}{lr}" in latex(table)


def test_a_corpus_that_a_run_did_not_test_is_said_to_be_missing(tmp_path: Path) -> None:
    one = replace(cell(tmp_path, 4, start="base"), tested=("uw", "radgraph"))
    report(tmp_path / "out", [one])
    text = (tmp_path / "out" / "tiny.md").read_text(encoding="utf-8")
    assert "| Few shots | start base | no scores | base | its run did not test radgraph |" in text


def test_runs_on_other_documents_have_no_interval(tmp_path: Path) -> None:
    one, two = (cell(tmp_path, 4, start="base", draw=draw) for draw in "01")
    assert two.results is not None
    data = json.loads(two.results.read_text(encoding="utf-8"))
    documents = data["splits"]["test"]["uw"]["entity_instruction"]["per_document"]["entities/strict"]
    documents["another"] = documents.pop("note00")
    two.results.write_text(json.dumps(data), encoding="utf-8")
    row: Row = study_rows([one, two], ["draw"], {})[0]
    assert row.ends is None
    assert "another" in row.problem
