"""The packaged smoke study from nothing to its page, by one command; and the notebook that redraws its figures."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import nbclient
import nbformat
import pytest

from clinical_ie.cli import main
from clinical_ie.commands import configurations
from clinical_ie.studies.grid import cells
from clinical_ie.studies.study import Study

REPOSITORY = Path(__file__).parents[2]
NOTEBOOK = REPOSITORY / "notebooks" / "study_figures.ipynb"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def study(root: Path, *given: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "clinical_ie", "study", *given, f"--root={root}"]
    return subprocess.run(line, cwd=root, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("smoke")
    done = study(root, "run", "smoke")
    assert done.returncode == 0, done.stderr
    return root


def test_one_command_ends_with_a_page_without_missing_cells(root: Path) -> None:
    folder = root / "reports" / "smoke"
    assert {path.suffix for path in folder.iterdir()} == {".md", ".tex", ".csv", ".html"}
    text = (folder / "smoke.md").read_text(encoding="utf-8")
    assert "missing" not in text
    with (folder / "smoke.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["mode"] == "strict"]
    few = [row for row in rows if row["shots"] == "2" and row["kind"] == "entities"]
    assert {(row["start"], row["run"]) for row in few} == {("others", "1"), ("others", "2"), ("base", "1"), ("base", "2")}
    assert {row["source"] for row in rows} == {
        "demo_ward/entity_tagging",
        "demo_ward/relation_classification",
        "demo_clinic/entity_reading",
    }
    assert {row["start_control"] for row in few} == {"base", ""}


def test_it_is_done_once_and_its_report_is_the_same_again(root: Path) -> None:
    page = root / "reports" / "smoke" / "smoke.html"
    before, times = page.read_bytes(), {path: path.stat().st_mtime_ns for path in root.glob("runs/*/results.json")}
    assert study(root, "run", "smoke").returncode == 0
    assert page.read_bytes() == before
    assert {path: path.stat().st_mtime_ns for path in root.glob("runs/*/results.json")} == times


def test_no_note_text_is_in_the_page(root: Path) -> None:
    page = (root / "reports" / "smoke" / "smoke.html").read_text(encoding="utf-8")
    assert "Admission Date" not in page
    assert "mg" not in page.split("<h3>")[1]


@pytest.mark.parametrize("name", ["smoke", "open", "paper"])
def test_the_parser_takes_every_kind_of_chain(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    there = cells(Study.load(configurations.resolve(name, "study")))
    for cell in {(cell.grid, cell.axes["task"], cell.axes.get("tuning")): cell for cell in there if cell.chain}.values():
        chain = [part for one in cell.chain for part in ([one] if one.startswith("-") else ["-c", one])]
        with pytest.raises(SystemExit) as stopped:
            main(["fit", *chain, "--run_dir=unused", "--print_config"])
        assert stopped.value.code == 0, cell.name
        capsys.readouterr()


def test_the_notebook_runs_on_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDY_FOLDER", str(root))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")]))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs)
