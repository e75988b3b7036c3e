"""Rows of a table from results files of runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clinical_ie.errors import FileFormatError, InputError, RunError
from clinical_ie.reports import dataframe, rows
from clinical_ie.scoring.clusters import Clustered
from clinical_ie.scoring.counts import Counts
from clinical_ie.scoring.intervals import interval


def modes(tp: int, fp: int, fn: int) -> dict[str, Any]:
    scores = {"micro": Counts(tp, fp, fn).to_dict(), "macro": {"precision": 0.5, "recall": 0.5, "f1": 0.5}, "types": {}}
    return {"strict": scores, "lenient": scores}


def entry(finds: str = "entities", setting: str = "gold entities") -> dict[str, Any]:
    return {
        "rules": "strict-one-to-one", "documents": 3, "finds": finds, "relation_setting": setting,
        "entities": modes(6, 2, 4), "relations": modes(1, 0, 3),
        "intervals": {
            "entities/strict": {
                "low": 0.5, "high": 0.8, "level": 0.95, "method": "expanded percentile", "clusters": 2, "samples": 100,
            },
        },
        "smallest_visible_difference": {"entities/strict": 0.07},
        "per_document": {"entities/strict": {"a": [3, 1, 2], "b": [3, 1, 2]}}, "groups": {"a": "p", "b": "p"},
        "outcomes": {"completions truncated": 2},
    }  # fmt: skip


def write(path: Path, run: dict[str, Any], **entries: dict[str, Any]) -> None:
    path.mkdir(parents=True)
    (path / "results.json").write_text(json.dumps({"run": run, "splits": {"test": {"demo": entries}}}), encoding="utf-8")


def test_a_row_for_each_score(tmp_path: Path) -> None:
    write(tmp_path / "b", {"seed": 1, "model": "tiny", "seconds": 2.5, "fingerprint": "f"}, entity_tagging=entry())
    write(tmp_path / "a" / "deep", {}, joint_instruction=entry("relations", "end to end"), relation_classification=entry("relations"))
    found = rows(tmp_path)
    place = ("run", "split", "corpus", "task", "kind", "mode", "setting")
    assert [tuple(row[name] for name in place) for row in found] == [
        ("a/deep", "test", "demo", "joint_instruction", "entities", "strict", None),
        ("a/deep", "test", "demo", "joint_instruction", "entities", "lenient", None),
        ("a/deep", "test", "demo", "joint_instruction", "relations", "strict", "end to end"),
        ("a/deep", "test", "demo", "joint_instruction", "relations", "lenient", "end to end"),
        ("a/deep", "test", "demo", "relation_classification", "relations", "strict", "gold entities"),
        ("a/deep", "test", "demo", "relation_classification", "relations", "lenient", "gold entities"),
        ("b", "test", "demo", "entity_tagging", "entities", "strict", None),
        ("b", "test", "demo", "entity_tagging", "entities", "lenient", None),
    ]
    row = found[6]
    assert (row["f1"], row["precision"], row["recall"], row["gold"]) == (12 / 18, 6 / 8, 6 / 10, 10)
    assert (row["low"], row["high"], row["clusters"], row["smallest_visible_difference"]) == (0.5, 0.8, 2, 0.07)
    assert (row["seed"], row["model"], row["seconds"], row["fingerprint"]) == (1, "tiny", 2.5, "f")
    assert (row["outcomes"], row["held_out"], found[7]["low"]) == ({"completions truncated": 2}, None, None)
    assert {tuple(row) for row in found} == {tuple(row)}, "every row has every column"
    assert interval(Clustered.of([row["per_document"]], row["groups"])).clusters == 1


def test_scores_of_events(tmp_path: Path) -> None:
    events = {
        "rules": "shac-2022", "documents": 2, "missing": 0, "events": [], "overall": Counts(3, 1, 1).to_dict(), "finds": "relations",
        "intervals": {}, "per_document": {}, "outcomes": {},
    }  # fmt: skip
    write(tmp_path / "run", {}, relation_reading=events)
    (row,) = rows(tmp_path)
    assert (row["kind"], row["mode"], row["f1"], row["macro_f1"], row["per_document"]) == ("events", "overall", 0.75, None, None)


def test_folders_without_results(tmp_path: Path) -> None:
    assert rows(tmp_path) == []
    with pytest.raises(InputError, match="no such folder"):
        rows(tmp_path / "absent")
    (tmp_path / "results.json").write_text(json.dumps({"splits": {}}), encoding="utf-8")
    with pytest.raises(FileFormatError, match="results"):
        rows(tmp_path)


def test_a_dataframe_is_the_same(tmp_path: Path) -> None:
    write(tmp_path / "run", {"seed": 3}, entity_tagging=entry())
    try:
        import pandas  # noqa: F401
    except ModuleNotFoundError:
        with pytest.raises(RunError, match="needs pandas: pip install"):
            dataframe(tmp_path)
    else:
        records = dataframe(tmp_path).to_dict("records")  # pandas writes NaN, which equals nothing, where a column lacks a value
        assert [{name: value if value == value else None for name, value in row.items()} for row in records] == rows(tmp_path)
