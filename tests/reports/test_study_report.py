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

from clinical_ie.reports.study_files import write_report
from clinical_ie.reports.study_forms import latex, markdown
from clinical_ie.reports.study_rows import Row, StudyCell, study_rows
from clinical_ie.reports.study_tables import StudyTable
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
    place.mkdir()
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


def test_every_point_is_in_the_csv(cells: list[StudyCell], tmp_path: Path) -> None:
    report(tmp_path / "out", cells)
    with (tmp_path / "out" / "tiny.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 5, "strict and lenient of each run"
    strict = [row for row in rows if row["mode"] == "strict" and row["start"] == "others" and row["shots"] == "5"]
    assert [(row["run"], float(row["f1"])) for row in strict] == [("1", 1.0), ("2", pytest.approx(2 / 3))]
    assert {row["control"] for row in strict} == {"start=base"}


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
