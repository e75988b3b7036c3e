from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from clinical_ie.cli import main
from clinical_ie.corpora import Demo
from clinical_ie.formats import brat, i2b2, jsonl, phee

ASSETS = Path(__file__).parents[1] / "assets"
NOTES = ASSETS / "my_notes"
YAML = str(ASSETS / "my_notes.yaml")


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def corpus(*arguments: object) -> int:
    return main(["corpus", *map(str, arguments)])


def test_check_of_a_sound_corpus(capsys: pytest.CaptureFixture[str]) -> None:
    assert corpus("check", ASSETS / "n2c2_2022", "--corpus", "n2c2_2022") == 0
    out = capsys.readouterr().out
    assert "0 errors, 0 warnings" in out
    assert "train: 16 entities, 11 relations and arguments" in out


def test_check_of_the_demo_needs_no_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert corpus("check", "--corpus", "demo") == 0
    assert "0 errors" in capsys.readouterr().out


def test_check_tells_errors_with_file_and_line_and_exits_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(NOTES, tmp_path / "notes")
    path = tmp_path / "notes" / "07_2.ann"
    path.write_text(
        path.read_text() + "T3\tDisease 14 18\tpain\nT4\tProblem 14 99\tx\nR2\tTreatedBy Arg1:T1 Arg2:T9\nT5\tProblem 14 18\tpane\n"
    )
    lines = path.read_text().split("\n")
    assert corpus("check", tmp_path / "notes", "--corpus", YAML) == 2
    out = capsys.readouterr().out
    for record, code in [("T3", "unknown-entity-type"), ("T4", "offsets-outside-text"), ("R2", "unknown-target")]:
        number = next(rank for rank, line in enumerate(lines, 1) if line.startswith(record))
        (told,) = [line for line in out.split("\n") if f"[{code}]" in line]
        assert f"{path}:{number}: " in told
    assert "3 errors" in out
    assert "covered-text-differs" in out
    assert "pane" not in out
    assert "aspirin" not in out


def test_check_shows_some_warnings_or_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "n.txt").write_text("pain")
    (tmp_path / "n.ann").write_text("".join(f"T{rank}\tProblem 0 4\tpain\n" for rank in range(1, 32)))
    assert corpus("check", tmp_path, "--corpus", YAML, "--warnings", 6) == 0
    out = capsys.readouterr().out
    assert out.count("[duplicate-mention]") == 5  # and one of a single note that cannot be split
    assert "25 more warnings" in out
    corpus("check", tmp_path, "--corpus", YAML, "--all")
    assert capsys.readouterr().out.count("[duplicate-mention]") == 30


def test_stats_and_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert corpus("stats", "--corpus", "demo", "--figure", tmp_path / "sub" / "demo.png") == 0
    out = capsys.readouterr().out
    assert "Problem" in out
    drugs = [sum(entity.type == "Drug" for d in Demo().read(split) for entity in d.entities) for split in ("train", "dev", "test")]
    assert any(all(f"{count:,}" in line for count in drugs) for line in out.split("\n") if " Drug " in line)
    assert (tmp_path / "sub" / "demo.png").read_bytes().startswith(b"\x89PNG\r\n")
    assert corpus("stats", NOTES, "--corpus", YAML, "--figure", tmp_path / "notes.html") == 0
    page = (tmp_path / "notes.html").read_text()
    assert "data:image/png;base64," in page
    assert "TreatedBy" in page
    assert "aspirin given" not in page


def test_a_figure_of_another_kind_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert corpus("stats", "--corpus", "demo", "--figure", tmp_path / "demo.bmp") == 2
    assert ".png or .html" in capsys.readouterr().err


@pytest.mark.parametrize("to", ["jsonl", "i2b2", "radgraph", "label-studio"])
def test_convert_there_and_back(tmp_path: Path, to: str) -> None:
    lenient = ["--lenient"] if to != "jsonl" else []
    assert corpus("convert", NOTES, "--from", "brat", "--to", to, "--output", tmp_path / "there", *lenient) == 0
    assert corpus("convert", tmp_path / "there", "--from", to, "--to", "brat", "--output", tmp_path / "back") == 0
    before, after = brat.read(NOTES), brat.read(tmp_path / "back")
    if to == "jsonl":
        assert after == before
    assert [document.text for document in after] == [document.text for document in before]


def test_every_split_of_a_corpus_has_its_folder_or_file(tmp_path: Path) -> None:
    assert corpus("convert", "--corpus", "demo", "--to", "brat", "--output", tmp_path / "brat") == 0
    assert corpus("convert", tmp_path / "brat" / "dev", "--from", "brat", "--to", "jsonl", "--output", tmp_path / "dev.jsonl") == 0
    assert jsonl.read(tmp_path / "dev.jsonl") == Demo().read("dev")
    assert corpus("convert", "--corpus", "demo", "--to", "jsonl", "--output", tmp_path / "jsonl") == 0
    assert sorted(path.name for path in (tmp_path / "jsonl").iterdir()) == ["dev.jsonl", "test.jsonl", "train.jsonl"]


def test_formats_of_tokens(tmp_path: Path) -> None:
    source = ASSETS / "i2b2_2010/concept_assertion_relation_training_data/beth"
    assert corpus("convert", source, "--from", "i2b2", "--to", "brat", "--output", tmp_path / "brat") == 0
    assert corpus("convert", tmp_path / "brat", "--from", "brat", "--to", "i2b2", "--output", tmp_path / "i2b2") == 0
    for file in ("txt/record-13.txt", "concept/record-13.con", "ast/record-13.ast", "rel/record-13.rel"):
        assert (tmp_path / "i2b2" / file).read_text() == (source / file).read_text()
    radgraph = ASSETS / "radgraph" / "train.json"
    assert corpus("convert", radgraph, "--from", "radgraph", "--to", "jsonl", "--output", tmp_path / "r.jsonl") == 0
    assert corpus("convert", radgraph, "--from", "radgraph", "--to", "brat", "--output", tmp_path / "r") == 0
    there = [[(e.type, e.span) for e in document.entities] for document in jsonl.read(tmp_path / "r.jsonl")]
    assert [[(e.type, e.span) for e in document.entities] for document in brat.read(tmp_path / "r")] == there


def test_strict_stops_at_what_a_format_cannot_say_and_lenient_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "n.txt").write_text("a bc")
    (tmp_path / "in" / "n.ann").write_text("T1\tX 0 1\ta\nT2\tX 2 3\tb\n")
    arguments = ["convert", tmp_path / "in", "--from", "brat", "--to", "i2b2", "--output"]
    assert corpus(*arguments, tmp_path / "strict") == 2
    assert "T2" in capsys.readouterr().err
    assert corpus(*arguments, tmp_path / "lenient", "--lenient") == 0
    assert "left out: 1 mention\n" in capsys.readouterr().out
    assert [len(document.entities) for document in i2b2.read(tmp_path / "lenient")] == [1]
    assert corpus("convert", tmp_path / "in", "--from", "brat", "--to", "phee", "--output", tmp_path / "p.json", "--lenient") == 0
    assert [document.text for document in phee.read(tmp_path / "p.json")] == ["a bc"]


def test_names_that_brat_cannot_hold_stop_or_are_replaced_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mention = '{"id": "T1", "type": "Adverse Event", "fragments": [[0, 4]]}'
    (tmp_path / "odd.jsonl").write_text(f'{{"id": "n1", "text": "Rash.", "entities": [{mention}]}}\n')
    arguments = ["convert", tmp_path / "odd.jsonl", "--from", "jsonl", "--to", "brat", "--output", tmp_path / "odd"]
    assert corpus(*arguments) == 2
    message = capsys.readouterr().err
    assert "document n1: the type of T1 holds white space" in message
    assert "--lenient" in message
    assert not (tmp_path / "odd").exists()
    assert corpus(*arguments, "--lenient") == 0
    assert "1 x name-replaced" in capsys.readouterr().out
    assert [entity.type for document in brat.read(tmp_path / "odd") for entity in document.entities] == ["Adverse_Event"]


def test_convert_never_writes_covered_text_over_a_disagreement(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "n.txt").write_text("aspirin given")
    (tmp_path / "in" / "n.ann").write_text("T1\tDrug 1 8\taspirin\n")
    arguments = ["convert", tmp_path / "in", "--from", "brat", "--to", "brat", "--output", tmp_path / "out"]
    assert corpus(*arguments) == 2
    message = capsys.readouterr().err
    assert "n.ann:1: covered text at 1-8 differs" in message
    assert "--lenient" in message
    assert not (tmp_path / "out").exists()
    assert corpus(*arguments, "--lenient") == 0
    assert "left out or mended: 1 x covered-text-differs" in capsys.readouterr().out


def test_offsets_that_count_otherwise_are_named_and_read_by_an_option(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "n.txt").write_text("😀 Started aspirin.", encoding="utf-8")
    (tmp_path / "in" / "n.ann").write_text("T1\tDrug 11 18\taspirin\n")
    (tmp_path / "c.yaml").write_text(f"root: {tmp_path / 'in'}\nschema: {{entities: [Drug]}}\n")
    convert = ["convert", tmp_path / "in", "--from", "brat", "--to", "jsonl", "--output", tmp_path / "out.jsonl"]
    assert corpus(*convert) == 2
    assert "--offsets utf-16" in capsys.readouterr().err
    assert corpus("check", "--corpus", tmp_path / "c.yaml") == 2
    assert "[shifted-offsets]" in capsys.readouterr().out
    assert corpus("check", "--corpus", tmp_path / "c.yaml", "--offsets", "utf-16") == 0
    assert corpus(*convert, "--offsets", "utf-16") == 0
    assert [entity.span.fragments for document in jsonl.read(tmp_path / "out.jsonl") for entity in document.entities] == [((10, 17),)]
    for wrong in (["check", "--corpus", "demo"], ["convert", tmp_path / "out.jsonl", "--from", "jsonl", "--to", "brat", "--output", "x"]):
        assert corpus(*wrong, "--offsets", "utf-16") == 2


def test_nothing_is_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out.jsonl").write_text("precious")
    assert corpus("convert", NOTES, "--from", "brat", "--to", "jsonl", "--output", tmp_path / "out.jsonl") == 2
    assert "exists" in capsys.readouterr().err
    assert (tmp_path / "out.jsonl").read_text() == "precious"


@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "missing-folder", "--corpus", "maccrobat"],
        ["check", ".", "--corpus", "no_such_corpus"],
        ["check", "--corpus", "maccrobat"],
        ["stats", ".", "--corpus", "missing.yaml"],
        ["convert", "--to", "brat", "--output", "x"],
        ["convert", "missing", "--from", "brat", "--to", "jsonl", "--output", "x"],
    ],
)
def test_wrong_input_is_told_in_one_line_and_exits_with_2(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert corpus(*arguments) == 2
    assert capsys.readouterr().err.startswith("clinical-ie corpus: ")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("tool", "line"),
    [
        ("doccano", '{"id": 1, "text": "Takes aspirin daily.", "label": [[6, 13, "Drug"]]}'),
        ("prodigy", '{"text": "Takes aspirin daily.", "spans": [{"start": 6, "end": 13, "label": "Drug"}], "answer": "accept"}'),
    ],
)
def test_exports_of_other_tools_keep_their_annotations(tool: str, line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.jsonl").write_text(line + "\n")
    given = ["convert", tmp_path / "notes.jsonl", "--to", "brat", "--output", tmp_path / "out", "--from"]
    assert corpus(*given, "jsonl") == 2
    assert f"--from {tool}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert corpus(*given, tool) == 0
    assert [words.split("\t")[-1] for path in (tmp_path / "out").glob("*.ann") for words in path.read_text().splitlines()] == ["aspirin"]
    assert corpus("check", tmp_path / "notes.jsonl", "--corpus", YAML) == 2


def test_a_refused_split_leaves_nothing_of_those_before(tmp_path: Path) -> None:
    for split, mention in (("train", "T1\tX 0 1\ta\n"), ("test", "T1\tX 2 3\tb\n")):
        (tmp_path / "in" / split).mkdir(parents=True)
        (tmp_path / "in" / split / f"{split}.txt").write_text("a bc")
        (tmp_path / "in" / split / f"{split}.ann").write_text(mention)
    (tmp_path / "c.yaml").write_text("root: in\nschema: {entities: [X]}\n")
    given = ["convert", tmp_path / "in", "--corpus", tmp_path / "c.yaml", "--to", "radgraph", "--output", tmp_path / "out"]
    assert corpus(*given) == 2
    assert not (tmp_path / "out").exists()
    assert corpus(*given, "--lenient") == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["test.json", "train.json"]


def test_convert_takes_a_corpus_or_a_format(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["corpus", "convert", "--corpus", "demo", "--from", "jsonl", "--to", "brat", "--output", str(tmp_path / "out")]) == 2
    assert "give one of the two" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
