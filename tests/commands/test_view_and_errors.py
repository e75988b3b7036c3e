"""`clinical-ie view` and `errors` on folders, files and runs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from clinical_ie.cli import main
from clinical_ie.document import Attribute, Document, Entity, Relation, Span
from clinical_ie.formats import brat, jsonl
from clinical_ie.reports.prediction_folder import PredictionFolder

TEXT = "gave aspirin for \U0001f600 pain"
GOLD = [Document("a", TEXT, (Entity("T1", "Drug", Span.of(5, 12)), Entity("T2", "Problem", Span.of(19, 23)))), Document("b", "rash")]
PREDICTED = [
    Document("a", TEXT, (Entity("T1", "Drug", Span.of(5, 12), 0.9),)),
    Document("b", "rash", (Entity("T1", "Problem", Span.of(0, 4)),)),
]


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    brat.write(GOLD, tmp_path / "gold")
    jsonl.write(PREDICTED, tmp_path / "system.jsonl")
    return tmp_path / "gold", tmp_path / "system.jsonl"


@pytest.fixture
def run_directory(tmp_path: Path) -> Path:
    for task in ("find", "again"):
        target = PredictionFolder(tmp_path / "run" / "predictions" / "test" / task, ["ward"])
        target.set_aside()
        part = target.part()
        for place, document in enumerate(PREDICTED):
            part.add("ward", place, document)
        target.finish([part.close()], {"ward": GOLD}, title="test", trained=frozenset())
    return tmp_path / "run"


def test_a_page_of_a_folder_and_of_two(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    gold, system = folders
    monkeypatch.chdir(tmp_path)
    assert main(["view", str(gold)]) == 0
    assert "gold.view.html: 2 documents; " in capsys.readouterr().out
    assert main(["view", str(system), "--gold", str(gold), "--output", "x/page.html", "--most=1"]) == 0
    assert "page.html: 1 documents, gold beside predicted, 1 left out (--most)" in capsys.readouterr().out
    assert TEXT not in (tmp_path / "x" / "page.html").read_text(encoding="utf-8")


def test_errors_of_two_folders(folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gold, system = folders
    given = ["errors", str(system), "--gold", str(gold), "--json", str(tmp_path / "e.json"), "--csv", str(tmp_path / "e.csv")]
    assert main(given) == 0
    shown = capsys.readouterr().out
    assert "2 documents" in shown
    assert "aspirin" not in shown + (tmp_path / "e.csv").read_text() + (tmp_path / "e.json").read_text()
    (total,) = (row for row in json.loads((tmp_path / "e.json").read_text())["tables"]["Mentions by type"] if row["mention"] == "all")
    assert (total["gold"], total["correct"], total["missed"], total["spurious"]) == (2, 1, 1, 1)
    assert main([*given, "--show_text"]) == 0
    assert "pain" in capsys.readouterr().out
    assert "aspirin" in (tmp_path / "e.csv").read_text()


def test_a_run_knows_its_gold_and_what_training_has_seen(run_directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The parts of a run of several tasks are told apart by their names."""
    assert main(["errors", str(run_directory), "--json", str(tmp_path / "e.json")]) == 0
    found = json.loads((tmp_path / "e.json").read_text())
    assert found["documents"] == 4
    assert found["tables"]["Mentions by whether training has seen their string"][0]["gold string"] == "not seen in training"
    assert main(["errors", str(run_directory), "--csv", str(tmp_path / "e.csv")]) == 0
    assert {line.split(",")[0] for line in (tmp_path / "e.csv").read_text().splitlines()[1:]} == {
        "again/ward/a", "again/ward/b", "find/ward/a", "find/ward/b",
    }  # fmt: skip
    assert main(["view", str(run_directory), "--output", str(tmp_path / "page.html")]) == 0
    assert "4 documents, gold beside predicted" in capsys.readouterr().out


def test_what_was_extracted(folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its parts are read one after the other, whatever else lies in the folder."""
    gold, _ = folders
    for place, document in enumerate(PREDICTED):
        jsonl.write([document], tmp_path / "out" / "jsonl" / f"part-{place:05}.jsonl")
    for name in ("extraction.json", "ledger.jsonl", "failed.jsonl"):
        (tmp_path / "out" / name).write_text("{}")
    assert main(["view", str(tmp_path / "out"), "--output", str(tmp_path / "page.html")]) == 0
    assert "2 documents; " in capsys.readouterr().out
    assert main(["errors", str(tmp_path / "out"), "--gold", str(gold)]) == 0
    (tmp_path / "out" / "jsonl").rename(tmp_path / "out" / "csv")
    assert main(["view", str(tmp_path / "out")]) == 2
    assert "--format jsonl" in capsys.readouterr().err


def test_documents_of_one_side_alone(folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gold, _ = folders
    jsonl.write([PREDICTED[0], Document("c", "x")], tmp_path / "other.jsonl")
    assert main(["errors", str(tmp_path / "other.jsonl"), "--gold", str(gold)]) == 0
    shown = capsys.readouterr().out
    assert "1 gold documents have no prediction" in shown
    assert "1 predicted documents have no gold" in shown


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["view", "nowhere"], "no such folder"),
        (["errors", "gold"], "nothing to compare with"),
        (["view", "gold", "--split=test"], "is no run"),
        (["view", "gold", "--most=0"], "is no number"),
        (["view", "gold", "--output", "gold"], "it is a folder"),
        (["view", "system.jsonl", "--gold", "other.jsonl"], "none of its documents has the name"),
        (["view", "run"], "no predictions"),
    ],
)
def test_mistakes_say_what_to_do(
    given: list[str], message: str, folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    jsonl.write([Document("z", "x")], tmp_path / "other.jsonl")
    (tmp_path / "run" / "predictions" / "test").mkdir(parents=True)
    assert main(given) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.glob("*.html"))


def test_links_are_not_missed_by_what_finds_mentions_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They are said to be left out, in the tables and in the page; with a single predicted link all are compared."""
    mentions = (Entity("T1", "Drug", Span.of(5, 12)), Entity("T2", "Problem", Span.of(19, 23)))
    gold = Document(
        "a", TEXT, mentions, (Relation("R1", "For", "T1", "T2"),), (), (Attribute("A1", "Sure", "R1"), Attribute("A2", "Now", "T1"))
    )
    jsonl.write([gold], tmp_path / "gold.jsonl")
    jsonl.write([Document("a", TEXT, mentions)], tmp_path / "system.jsonl")
    given = [str(tmp_path / "system.jsonl"), "--gold", str(tmp_path / "gold.jsonl")]
    assert main(["errors", *given, "--json", str(tmp_path / "e.json")]) == 0
    assert "1 gold links are not compared" in capsys.readouterr().out
    found = json.loads((tmp_path / "e.json").read_text())
    assert found["links_apart"] == 1
    assert "Links by type" not in found["tables"]
    jsonl.write([replace(gold, relations=(Relation("R1", "Against", "T1", "T2"),), attributes=())], tmp_path / "system.jsonl")
    assert main(["errors", *given, "--json", str(tmp_path / "e.json")]) == 0
    assert json.loads((tmp_path / "e.json").read_text())["tables"]["Links by type"][0]["type"] == 1


def test_tables_fit_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """No number is cut off where there are only 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    text = "x " * 1500
    entities = tuple(Entity(f"T{k}", "Employment_Status_Of_Patient", Span.of(2 * k, 2 * k + 1)) for k in range(1500))
    jsonl.write([Document("a", text, entities)], tmp_path / "a.jsonl")
    assert main(["errors", str(tmp_path / "a.jsonl"), "--gold", str(tmp_path / "a.jsonl")]) == 0
    shown = capsys.readouterr().out
    assert "\u2026" not in shown
    assert "1,500" in shown
    assert max(map(len, shown.splitlines())) <= 80
