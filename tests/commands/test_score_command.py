"""``clinical-ie score`` from end to end, in this process."""

import gc
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clinical_ie.cli import main
from clinical_ie.formats import brat, jsonl

#       0         1         2
#       0123456789012345678901234567
TEXT = "aspirin 81 mg and ibuprofen."
DRUGS = ["T1\tDrug 0 7\taspirin", "T2\tStrength 8 13\t81 mg", "T3\tDrug 18 27\tibuprofen"]
GOLD = [*DRUGS, "R1\tStrength-Drug Arg1:T2 Arg2:T1"]
FIGURES = {"precision", "recall", "f1", "tp", "fp", "fn"}


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    """Whatever a command does to the garbage collector ends with its test."""
    yield
    gc.enable()


def folder(path: Path, notes: dict[str, list[str]], *, texts: bool = True) -> str:
    path.mkdir(parents=True)
    for name, records in notes.items():
        (path / f"{name}.ann").write_text("".join(f"{record}\n" for record in records), encoding="utf-8")
        if texts:
            (path / f"{name}.txt").write_text(TEXT, encoding="utf-8")
    return str(path)


def result(tmp_path: Path, gold: str, predicted: str, *more: str) -> dict[str, Any]:
    target = tmp_path / "out" / "score.json"
    assert main(["score", "--gold", gold, "--predicted", predicted, "--json", str(target), *more]) == 0
    return json.loads(target.read_text(encoding="utf-8"))


@pytest.fixture
def pair(tmp_path: Path) -> tuple[str, str]:
    """Two notes. The system finds two of three mentions (one too short) and no relation in the first, all of the second."""
    gold = folder(tmp_path / "gold", {"a": GOLD, "b": DRUGS[:1]})
    predicted = folder(tmp_path / "system", {"a": ["T1\tDrug 0 7\taspirin", "T2\tStrength 8 10\t81"], "b": DRUGS[:1]}, texts=False)
    return gold, predicted


@pytest.mark.parametrize("rules", ["strict-one-to-one", "n2c2-2018"])
def test_json_of_entities_and_relations(tmp_path: Path, pair: tuple[str, str], rules: str) -> None:
    data = result(tmp_path, *pair, "--rules", rules)
    assert {"rules", "documents", "missing", "entities", "relations"} <= data.keys()
    assert (data["rules"], data["documents"], data["missing"]) == (rules, 2, 0)
    for kind in ("entities", "relations"):
        assert data[kind].keys() == {"strict", "lenient"}
        for mode in data[kind].values():
            assert mode.keys() == {"micro", "macro", "types"}
            assert mode["micro"].keys() == FIGURES
            assert {"precision", "recall", "f1"} <= mode["macro"].keys()
            assert all(row.keys() == FIGURES for row in mode["types"].values())
    strict, lenient = data["entities"]["strict"], data["entities"]["lenient"]
    # a: aspirin right, "81" wrong when strict, ibuprofen missed; b: aspirin right.
    assert strict["micro"] == pytest.approx({"precision": 2 / 3, "recall": 1 / 2, "f1": 4 / 7, "tp": 2, "fp": 1, "fn": 2})
    assert lenient["micro"] == pytest.approx({"precision": 1.0, "recall": 3 / 4, "f1": 6 / 7, "tp": 3, "fp": 0, "fn": 1})
    assert strict["types"]["Strength"] == {"precision": 0, "recall": 0, "f1": 0, "tp": 0, "fp": 1, "fn": 1}
    assert data["relations"]["strict"]["micro"] == {"precision": 0, "recall": 0, "f1": 0, "tp": 0, "fp": 0, "fn": 1}


def test_missing_prediction(tmp_path: Path, pair: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    gold, predicted = pair
    (Path(predicted) / "b.ann").unlink()
    fair = result(tmp_path, gold, predicted)
    assert (fair["documents"], fair["missing"]) == (2, 1)
    assert [fair["entities"]["strict"]["micro"][name] for name in ("tp", "fp", "fn")] == [1, 1, 3]
    capsys.readouterr()
    official = result(tmp_path, gold, predicted, "--rules", "n2c2-2018")
    assert (official["documents"], official["missing"]) == (1, 1)
    assert [official["entities"]["strict"]["micro"][name] for name in ("tp", "fp", "fn")] == [1, 1, 2]
    said = " ".join(capsys.readouterr().out.split())
    assert "1 gold documents have no prediction" in said
    assert "NOT SCORED" in said
    assert main(["score", "--gold", gold, "--predicted", predicted, "--rules", "shac-2022"]) == 2
    assert "b" in capsys.readouterr().err


def test_json_of_events(tmp_path: Path) -> None:
    records = ["T1\tTobacco 0 7\taspirin", "T2\tStatusTime 8 10\t81", "T3\tAmount 18 27\tibuprofen"]
    event = ["E1\tTobacco:T1 Status:T2 Amount2:T3", "A1\tStatusTimeVal T2 current"]
    gold = folder(tmp_path / "gold", {"a": [*records, *event]})
    predicted = folder(tmp_path / "system", {"a": [*records[:2], "E1\tTobacco:T1 StatusTime:T2", "A1\tStatusTimeVal T2 past"]}, texts=False)
    data = result(tmp_path, gold, predicted, "--rules", "shac-2022")
    assert {"rules", "events", "overall"} <= data.keys()
    assert "entities" not in data
    assert data["events"] == [
        {"event": "Tobacco", "argument": "Amount", "subtype": "N/A", "gold": 1, "predicted": 0, "tp": 0},
        {"event": "Tobacco", "argument": "StatusTime", "subtype": "current", "gold": 1, "predicted": 0, "tp": 0},
        {"event": "Tobacco", "argument": "StatusTime", "subtype": "past", "gold": 0, "predicted": 1, "tp": 0},
        {"event": "Tobacco", "argument": "Trigger", "subtype": "N/A", "gold": 1, "predicted": 1, "tp": 1},
    ]
    assert data["overall"] == pytest.approx({"precision": 1 / 2, "recall": 1 / 3, "f1": 2 / 5, "tp": 1, "fp": 1, "fn": 2})


@pytest.mark.parametrize("which", ["gold", "system"])
def test_broken_file_is_named_with_its_line(tmp_path: Path, pair: tuple[str, str], which: str, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / which / "a.ann"
    broken.write_text("T1\tDrug 0 7\taspirin\nT2\tDrug eight 13\tPatient Smith\n", encoding="utf-8")
    assert main(["score", "--gold", pair[0], "--predicted", pair[1]]) == 2
    caught = capsys.readouterr()
    assert f"{broken}:2:" in caught.err
    assert "Smith" not in caught.err + caught.out
    assert main(["score", "--gold", pair[0], "--predicted", pair[1], "--lenient"]) == 0


def test_folders_that_are_not_there(tmp_path: Path, pair: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    nowhere = str(tmp_path / "nowhere")
    for gold, predicted in ((nowhere, pair[1]), (pair[0], nowhere)):
        assert main(["score", "--gold", gold, "--predicted", predicted]) == 2
        assert nowhere in capsys.readouterr().err


def test_json_lines_give_the_same_figures(tmp_path: Path, pair: tuple[str, str]) -> None:
    expected = result(tmp_path, *pair)
    gold = brat.read(pair[0])
    jsonl.write(gold, tmp_path / "gold.jsonl")
    (tmp_path / "lines").mkdir()
    jsonl.write(brat.read(pair[1], texts={one.id: one.text for one in gold}), tmp_path / "lines" / "system.jsonl")
    for mixed in (pair[1], str(tmp_path / "lines" / "system.jsonl"), str(tmp_path / "lines")):
        assert result(tmp_path, str(tmp_path / "gold.jsonl"), mixed) == expected
    (tmp_path / "gold.jsonl").write_text('{"id": "a"}\n', encoding="utf-8")
    assert main(["score", "--gold", str(tmp_path / "gold.jsonl"), "--predicted", pair[1]]) == 2


RULES = ("strict-one-to-one", "n2c2-2018", "shac-2022")
EVENTS = [*GOLD, "E1\tDrug:T3 Dose:T2"]
LINES = "aspirin{0}81 mg{0}and ibuprofen.{0}"


def on_lines(path: Path, end: str) -> str:
    """A folder with `EVENTS` on a note of which every line ends with `end`."""
    text = LINES.format(end)
    records = []
    for record in EVENTS:
        name, what, *covered = record.split("\t")
        if covered:
            start = text.index(covered[0])
            record = f"{name}\t{what.split()[0]} {start} {start + len(covered[0])}\t{covered[0]}"
        records.append(record)
    (path / "ward").mkdir(parents=True)
    (path / "ward/a.ann").write_text("\n".join(records) + "\n", encoding="utf-8")
    (path / "ward/a.txt").write_bytes(text.encode())
    return str(path)


def as_json_lines(path: str) -> str:
    jsonl.write(brat.read(path), f"{path}.jsonl")
    return f"{path}.jsonl"


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("form", [str, as_json_lines])
def test_a_system_with_other_line_ends_keeps_its_score(tmp_path: Path, rules: str, form: Any, capsys: pytest.CaptureFixture[str]) -> None:
    gold = on_lines(tmp_path / "gold", "\n")
    for name, end in (("crlf", "\r\n"), ("cr", "\r"), ("lf", "\n")):
        data = result(tmp_path, gold, form(on_lines(tmp_path / name, end)), "--rules", rules)
        rows = [data["overall"]] if rules == "shac-2022" else [data[kind]["strict"]["micro"] for kind in ("entities", "relations")]
        assert all((row["tp"] > 0, row["fp"], row["fn"]) == (True, 0, 0) for row in rows)
        assert ("1 x other-line-ends while reading predicted" in capsys.readouterr().out) == (end != "\n")
    if rules != "shac-2022":
        other = form(on_lines(tmp_path / "other", "\r\n"))
        assert main(["score", "--gold", gold, "--predicted", gold, "--compare", other, "--rules", rules]) == 0
        shown = capsys.readouterr().out
        assert "1 x other-line-ends while reading compare" in shown
        assert "+0.0000" in shown


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("form", [str, as_json_lines])
def test_a_system_with_another_text_is_refused(tmp_path: Path, rules: str, form: Any, capsys: pytest.CaptureFixture[str]) -> None:
    gold, predicted = on_lines(tmp_path / "gold", "\n"), on_lines(tmp_path / "system", "\r\n")
    note = Path(predicted, "ward/a.txt")
    note.write_bytes(note.read_bytes().replace(b"ibuprofen.", b"ibuprofen!"))
    system = form(predicted)
    assert main(["score", "--gold", gold, "--predicted", system, "--rules", rules]) == 2
    shown = capsys.readouterr().err
    assert f"document ward/a: its text differs from gold's, first at offset {LINES.format('  ').index('.')}" in shown
    assert "ibuprofen" not in shown
    if rules != "shac-2022":
        assert main(["score", "--gold", gold, "--predicted", gold, "--compare", system, "--rules", rules]) == 2
        assert system in capsys.readouterr().err


@pytest.mark.parametrize("rules", RULES)
def test_a_system_whose_offsets_count_otherwise_is_refused_with_the_rule(
    tmp_path: Path, rules: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A program that counts a CRLF as one, on gold's text."""
    gold, shifted = on_lines(tmp_path / "gold", "\r\n"), on_lines(tmp_path / "system", "\n")
    Path(shifted, "ward/a.txt").write_bytes(Path(gold, "ward/a.txt").read_bytes())
    assert main(["score", "--gold", gold, "--predicted", shifted, "--rules", rules]) == 2
    assert "--offsets crlf-as-one" in capsys.readouterr().err
    for more in (["--offsets", "crlf-as-one"], ["--lenient"]):
        data = result(tmp_path, gold, shifted, "--rules", rules, *more)
        rows = [data["overall"]] if rules == "shac-2022" else [data[kind]["strict"]["micro"] for kind in ("entities", "relations")]
        assert all((row["tp"] > 0, row["fp"], row["fn"]) == (True, 0, 0) for row in rows)
    assert main(["score", "--gold", shifted, "--predicted", gold, "--rules", rules, "--gold-offsets", "crlf-as-one"]) == 0
    assert main(["score", "--gold", gold, "--predicted", as_json_lines(gold), "--rules", rules, "--offsets", "utf-16"]) == 2
    assert "for BRAT files" in capsys.readouterr().err
    assert main(["score", "--gold", gold, "--predicted", gold, "--rules", rules, "--offsets", "bytes"]) == 2


@pytest.mark.parametrize("lenient", [[], ["--lenient"]])
@pytest.mark.parametrize(
    ("predicted", "entities", "relations"),
    [
        # The script takes the first and the second argument, whatever their names.
        ([*DRUGS, "R1\tStrength-Drug Arg2:T2 Arg1:T1"], (3, 0, 0), (1, 0, 0)),
        ([*DRUGS, "R1\tStrength-Drug Arg2:T1 Arg1:T2"], (3, 0, 0), (0, 1, 1)),
        # Behind the text, and with its end before its start: two false positives.
        ([*DRUGS, "T8\tDrug 100 107\taspirin", "T9\tDrug 7 0\taspirin"], (3, 2, 0), (0, 0, 1)),
        # The last T1 counts, so that the first mention is gone.
        ([*DRUGS, "T1\tDrug 14 17\tand"], (2, 1, 1), (0, 0, 1)),
        # 18 to 13: first number of the first, last number of the last fragment.
        ([*DRUGS[:2], "T3\tDrug 18 27;8 13\tibuprofen 81 mg"], (2, 1, 1), (0, 0, 1)),
        ([f"  {record}" for record in GOLD], (3, 0, 0), (1, 0, 0)),
    ],
)
def test_the_script_of_2018_counts_what_is_written(
    tmp_path: Path, predicted: list[str], entities: tuple[int, ...], relations: tuple[int, ...], lenient: list[str]
) -> None:
    sides = folder(tmp_path / "gold", {"a": GOLD}), folder(tmp_path / "system", {"a": predicted}, texts=False)
    data = result(tmp_path, *sides, "--rules", "n2c2-2018", *lenient)
    for kind, expected in (("entities", entities), ("relations", relations)):
        assert tuple(data[kind]["strict"]["micro"][name] for name in ("tp", "fp", "fn")) == expected


def test_predictions_that_no_document_can_hold_are_wrong_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A lenient reader leaves them out, which must not make the system look better."""
    more = ["T8\tDrug 100 107\taspirin", "T9\tDrug 7 0\taspirin", "R2\tStrength-Drug Arg1:T2 Arg2:T8", "R3\tSame Arg1:T1 Arg2:T77"]
    sides = folder(tmp_path / "gold", {"a": GOLD, "b": GOLD}), folder(tmp_path / "system", {"a": [*GOLD, *more], "b": GOLD}, texts=False)
    assert main(["score", "--gold", sides[0], "--predicted", sides[1]]) == 2
    capsys.readouterr()
    data = result(tmp_path, *sides, "--lenient")
    for mode in ("strict", "lenient"):
        # Two mentions, and a relation of one of them; the relation of a mention that is not written at all is only counted.
        assert [data["entities"][mode]["micro"][name] for name in ("tp", "fp", "fn")] == [6, 2, 0]
        assert [data["relations"][mode]["micro"][name] for name in ("tp", "fp", "fn")] == [2, 1, 0]
    assert "2 x offsets-outside-text while reading predicted" in capsys.readouterr().out


def test_the_script_of_2018_needs_no_texts(tmp_path: Path) -> None:
    sides = [folder(tmp_path / side, {"a": GOLD}, texts=False) for side in ("gold", "system")]
    assert result(tmp_path, *sides, "--rules", "n2c2-2018")["entities"]["strict"]["micro"]["tp"] == 3
    assert main(["score", "--gold", sides[0], "--predicted", sides[1]]) == 2


def test_a_mention_over_a_line_end_is_one_mention(tmp_path: Path) -> None:
    #       0123456 7890123 456789
    text = "aspirin\n81 mg \n and more"
    broken = ["T1\tDrug 0 7;8 10;11 13\taspirin 81 mg", "T2\tDrug 0 7;16 19\taspirin and", "R1\tSame Arg1:T1 Arg2:T2"]
    whole = ["T1\tDrug 0 13\taspirin 81 mg", *broken[1:]]
    sides = [folder(tmp_path / name, {"a": records}, texts=False) for name, records in (("gold", broken), ("system", whole))]
    for side in sides:
        Path(side, "a.txt").write_text(text, encoding="utf-8", newline="")
    for gold, predicted in (sides, sides[::-1]):
        data = result(tmp_path, gold, predicted)
        for kind, right in (("entities", 2), ("relations", 1)):
            for mode in ("strict", "lenient"):
                assert [data[kind][mode]["micro"][name] for name in ("tp", "fp", "fn")] == [right, 0, 0]
        assert data["relation_setting"] == "gold entities"


def test_zeros_are_explained(tmp_path: Path, pair: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """Rules that count events on notes without events, and a system that finds nothing."""

    def shown(gold: str, predicted: str, rules: str) -> str:
        assert main(["score", "--gold", gold, "--predicted", predicted, "--rules", rules]) == 0
        return " ".join(capsys.readouterr().out.split())

    nothing = folder(tmp_path / "nothing", {"a": [], "b": []})
    events = folder(tmp_path / "events", {"a": EVENTS, "b": DRUGS})
    none = "the gold and the predicted documents have no events, all that shac-2022 counts (strict-one-to-one counts mentions"
    assert none in shown(*pair, "shac-2022")
    said = shown(events, pair[1], "shac-2022")
    assert "the predicted documents have no events" in said
    assert "the gold" not in said
    for rules in ("strict-one-to-one", "n2c2-2018"):
        assert "the predicted documents have no mentions and no relations" in shown(pair[0], nothing, rules)
        assert "documents have no" not in shown(*pair, rules)
    assert "1 x event-not-counted while reading gold" in shown(events, pair[1], "n2c2-2018")
    assert "1 x event-not-counted while reading gold" in shown(as_json_lines(events), pair[1], "n2c2-2018")


@pytest.mark.parametrize("rules", RULES)
def test_folders_without_a_common_document_are_refused(tmp_path: Path, rules: str, capsys: pytest.CaptureFixture[str]) -> None:
    gold, deeper = folder(tmp_path / "gold", {"a": EVENTS}), folder(tmp_path / "system" / "data", {"a": EVENTS})
    assert main(["score", "--gold", gold, "--predicted", str(Path(deeper).parent), "--rules", rules]) == 2
    assert "names there are like a, here like data/a" in capsys.readouterr().err
    empty = tmp_path / "empty.jsonl"
    empty.write_text("", encoding="utf-8")  # a system that wrote nothing at all is another matter
    assert main(["score", "--gold", gold, "--predicted", str(empty), "--rules", rules]) == (2 if rules == "shac-2022" else 0)


def test_unknown_rules_are_answered_with_the_nearest(pair: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["score", "--gold", pair[0], "--predicted", pair[1], "--rules", "shac2022"]) == 2
    assert "did you mean 'shac-2022'?" in capsys.readouterr().err


def test_json_that_cannot_be_written(tmp_path: Path, pair: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["score", "--gold", pair[0], "--predicted", pair[1], "--json", str(tmp_path)]) == 2
    assert str(tmp_path) in capsys.readouterr().err


def test_compare_and_intervals(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"n{number}" for number in range(30)]
    gold = folder(tmp_path / "gold", dict.fromkeys(names, DRUGS))
    better = folder(tmp_path / "better", dict.fromkeys(names, DRUGS))
    worse = folder(tmp_path / "worse", dict.fromkeys(names, DRUGS[:1]))
    common = ["score", "--gold", gold, "--predicted", better]
    assert main([*common, "--compare", worse, "--intervals", "50"]) == 0
    said = capsys.readouterr().out
    # F1 1 against 2*1 / (2*1 + 2) = 1/2 in all 30 notes; p is below 1 / 10,000. All draws of notes are alike.
    assert all(text in said for text in ("1.0000", "0.5000", "+0.5000", "0.0001", "95 %"))
    assert main([*common, "--compare", better]) == 0
    assert "+0.0000" in capsys.readouterr().out
    assert main([*common, "--rules", "shac-2022", "--intervals", "50"]) == 2


def test_systems_are_compared_on_the_same_documents(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gold = folder(tmp_path / "gold", {"a": DRUGS, "b": DRUGS})
    one = folder(tmp_path / "one", {"a": DRUGS[:1]})
    two = folder(tmp_path / "two", {"a": DRUGS[:1], "b": DRUGS, "c": DRUGS})

    def shown(*more: str) -> str:
        assert main(["score", "--gold", gold, "--predicted", one, "--compare", two, *more]) == 0
        return " ".join(capsys.readouterr().out.split())

    # a, b and c: the first finds 1 of 6, the second 4 of 6 and 3 wrong ones in c, for which there is no gold: 2/7 and 8/13.
    said = shown()
    assert "0.2857 \u2502 0.6154 \u2502 -0.3297" in said
    assert "over 3 documents" in said
    # The script of 2018 scores a alone for the first system and a and b for the second; on a both find 1 of 3.
    said = shown("--rules", "n2c2-2018")
    assert "0.5000 \u2502 0.5000 \u2502 +0.0000" in said
    assert "over 1 documents" in said
    assert "1 documents that only one of the systems is scored on are not compared" in said


@pytest.mark.parametrize("number", ["-5", "1", "1000001", "9" * 30, "0.5", "many"])
def test_impossible_numbers_of_samples_are_bad_usage(pair: tuple[str, str], number: str) -> None:
    try:
        code: Any = main(["score", "--gold", pair[0], "--predicted", pair[1], "--intervals", number])
    except SystemExit as end:
        code = end.code
    assert code == 2


def test_settings_of_other_rules_are_refused(pair: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["score", "--gold", pair[0], "--predicted", pair[1], "--triggers", "exact"]) == 2
    assert "shac-2022" in capsys.readouterr().err


def test_names_with_brackets_are_printed_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gold = folder(tmp_path / "gold", {"a": DRUGS, "note [bold]": ["T1\tDrug[/x] 0 7\taspirin"]})
    predicted = folder(tmp_path / "system", {"a": DRUGS})
    assert main(["score", "--gold", gold, "--predicted", predicted]) == 0
    said = capsys.readouterr().out
    assert "[bold]" in said
    assert "Drug[/x]" in said


def test_figures_are_whole_on_a_narrow_terminal(
    pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Eighty columns are also what a pipe or a log file gets."""
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["score", "--gold", pair[0], "--predicted", pair[1]]) == 0
    said = capsys.readouterr().out
    assert "0.5714" in said  # strict micro F1 of entities, 4 / 7
    assert "Strength" in said
    assert "\u2026" not in said


def test_events_are_whole_on_a_narrow_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    records = ["T1\tEnvironmentalExposure 0 7\taspirin", "T2\tExposureHistoryOfAnyKind 8 13\t81 mg", "E1\tEnvironmentalExposure:T1 X:T2"]
    gold = folder(tmp_path / "gold", {"a": records})
    assert main(["score", "--gold", gold, "--predicted", gold, "--rules", "shac-2022"]) == 0
    said = capsys.readouterr().out
    assert "predicted" in said
    assert "1.0000" in said
    assert "\u2026" not in said


def test_the_garbage_collector_is_left_as_it_was(pair: tuple[str, str]) -> None:
    gc.enable()
    assert main(["score", "--gold", pair[0], "--predicted", pair[1]]) == 0
    assert gc.isenabled()
