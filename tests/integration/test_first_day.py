"""The first commands of README.md and of the quickstart, run as they stand on a few embedded notes; and the site, built strictly.

`fit` gets two epochs of small batches, and of the 120 notes 16 are kept; `extract` has one worker; nothing else differs
from what a reader types.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from clinical_ie.cli import main
from clinical_ie.reports.results import Results
from tests.documents.blocks import REPOSITORY, Command, commands

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
KEPT = {"train": 10, "dev": 2, "test": 4}
SHORT = {"fit": ["--trainer.max_epochs=2", "--data.batch_budget=512"], "extract": ["--workers=1"]}


def of_a_first_day() -> list[Command]:
    """The block of README that begins with `corpus draft`, its `score`, and what the quickstart has beyond that."""
    readme = REPOSITORY / "README.md"
    block = [one for one in commands(readme) if one.words[0] == "clinical-ie" and {"draft", "my_notes.yaml", "--corpus"} & set(one.words)]
    block += [
        one for one in commands(readme) if "runs/mine" in one.text and "my_notes.yaml" not in one.words and one.words[0] == "clinical-ie"
    ]
    block += [one for one in commands(readme) if one.words[1:2] == ["score"]]
    quickstart = REPOSITORY / "docs" / "start" / "quickstart.md"
    return block + [one for one in commands(quickstart) if one.words[1:2] in (["errors"], ["export"])]


def test_a_first_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    before = re.search(r"`clinical-ie (corpus convert [^`]*)`", (REPOSITORY / "README.md").read_text(encoding="utf-8"))
    assert before is not None
    assert main(before[1].split()) == 0
    for part, count in KEPT.items():
        for path in sorted((tmp_path / "my_notes" / part).glob("*.txt"))[count:]:
            path.unlink()
            path.with_suffix(".ann").unlink()
    lines = of_a_first_day()
    assert [one.words[1] for one in lines][:3] == ["corpus", "corpus", "fit"]
    assert {one.words[1] for one in lines} >= {"corpus", "fit", "test", "view", "extract", "score", "errors", "export"}
    for line in lines:
        assert main([*line.words[1:], *SHORT.get(line.words[1], ())]) == 0, line
    said = capsys.readouterr().out
    assert "my_notes: 0 errors" in said
    found = Results.load("runs/mine/results.json").splits["test"]["my_notes"]["entity_tagging"]
    assert found.documents == KEPT["test"]
    shown = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    for name in re.findall(r"^├── (\S+)|^└── (\S+)", shown, re.MULTILINE):
        assert (tmp_path / "runs" / "mine" / (name[0] or name[1])).exists(), name
    assert "strict F1" in (tmp_path / "cards" / "tripod_llm.md").read_text(encoding="utf-8")
    assert "<script" in (tmp_path / "notes.html").read_text(encoding="utf-8")
    assert len(list((tmp_path / "annotated" / "brat").rglob("*.ann"))) == KEPT["test"]
    for place in ("my_notes", "my_notes.jsonl", "my_notes.html"):
        assert (tmp_path / "runs" / "mine" / "predictions" / "test" / place).exists()


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "docs", str(tmp_path / "html")]
    done = subprocess.run(line, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    fetched = [
        (path.name, found)
        for path in (tmp_path / "html").rglob("*.html")
        for found in re.findall(r"<(?:script|link|img)[^>]*(?:src|href)=\"(?:https?:)?//[^\"]*\"", path.read_text(encoding="utf-8"))
    ]
    assert not fetched, "the site needs no network"
    assert "clinical-ie corpus draft" in (tmp_path / "html" / "reference" / "commands.html").read_text(encoding="utf-8")
