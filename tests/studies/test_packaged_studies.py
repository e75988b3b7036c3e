"""The packaged studies, planned."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from clinical_ie.cli import main
from clinical_ie.commands import configurations
from clinical_ie.commands.code_version import STUDY, code_version
from clinical_ie.commands.run_content import RunContent
from clinical_ie.studies.grid import Cell, cells
from clinical_ie.studies.plan import Run, distinct, plan
from clinical_ie.studies.store import Store
from clinical_ie.studies.study import Study
from tests.studies.fake_fit import results
from tests.studies.test_plan import NOTES, named

STUDIES = configurations.names("study")


def planned(name: str) -> tuple[list[Cell], dict[str, Run]]:
    there = cells(Study.load(configurations.resolve(name, "study")))
    return there, plan(there, named, "code")


def test_there_are_three() -> None:
    assert STUDIES == ["open", "paper", "smoke"]


@pytest.mark.parametrize("name", STUDIES)
def test_every_kind_of_cell_has_a_chain_that_resolves(name: str, tmp_path: Path) -> None:
    there, _ = planned(name)
    content = RunContent(tmp_path, "code", corpora=tmp_path)
    last = {(cell.grid, cell.axes.get("task")): cell for cell in there if cell.chain}
    digests = {(content(cell.chain).digest, cell.init_from) for cell in last.values()}
    assert len(digests) == len(last)
    for part in {part for cell in there for part in cell.chain if not part.startswith("-")}:
        assert configurations.resolve(part).is_file()


def test_the_published_grid() -> None:
    """8 models, 3 tunings, 5 corpora; each of 4 corpora held out once for 2 decoders; 4 shots x 5 draws of each, from both starts."""
    there, found = planned("paper")
    runs = distinct(found.values())
    encoders, decoders = 4 * 4 * 3 * 5, 4 * 3 * 5
    held_out, untrained, few = 2 * 4, 2 * 4, 2 * 4 * 4 * 5
    assert len(runs) == encoders + decoders + held_out + untrained + 2 * few
    assert len(there) == len(runs) + held_out, "zero-shot cells are read from the runs that leave a corpus out"
    assert len({cell.axes["model"] for cell in there}) == 8
    assert sum(run.begins_with is not None for run in runs) == few
    before = next(run for run in runs if run.begins_with)
    assert before.begins_with is not None
    assert before.begins_with.cells[0].startswith("leave_one_out")


def test_plan_shows_what_depends_on_what(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "plan", "smoke", f"--root={tmp_path}", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    runs = {row["key"]: row for row in found["runs"]}
    waiting = [row for row in runs.values() if row["state"] == "waiting"]
    assert waiting
    assert {runs[row["depends_on"]]["cells"][0].split()[0] for row in waiting} == {"leave_one_out"}
    assert found["states"] == {"missing": len(runs) - len(waiting), "waiting": len(waiting)}
    assert found["left"]["runs"] == len(runs)
    assert main(["study", "plan", "smoke", f"--root={tmp_path}"]) == 0
    assert f"{len(runs)} runs: {len(runs) - len(waiting)} missing, {len(waiting)} waiting" in capsys.readouterr().out.replace("\n", " ")


def test_a_report_of_nothing_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "report", "smoke", f"--root={tmp_path}"]) == 0
    text = (tmp_path / "reports" / "smoke" / "smoke.md").read_text(encoding="utf-8")
    number = len(planned("smoke")[0])
    assert f"0 of {number} cells are done, by 0 runs." in text
    assert text.count("| missing | ") + text.count("| waiting | ") == number
    assert "smoke.html" in capsys.readouterr().out


def test_runs_of_other_code_are_named_and_shown_when_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "plan", "smoke", f"--root={tmp_path}", "--json"]) == 0
    key = json.loads(capsys.readouterr().out)["runs"][0]["key"]
    store, old = Store(tmp_path), f"{key.rpartition('-')[0]}-oldcode"
    store.folder(old).mkdir(parents=True)
    store.results(old).write_text(json.dumps(results(key, {"demo_ward": 3})), encoding="utf-8")
    assert main(["study", "report", "smoke", f"--root={tmp_path}"]) == 0
    assert "were done by other versions of the code: oldcode" in capsys.readouterr().out
    page = tmp_path / "reports" / "smoke" / "smoke.md"
    assert "\n0 of " in page.read_text(encoding="utf-8")
    assert main(["study", "report", "smoke", f"--root={tmp_path}", "--code=oldcode"]) == 0
    assert "\n1 of " in page.read_text(encoding="utf-8")


def test_a_report_needs_no_corpora(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where notes may not lie, cells are found by the names under which they were done, and the report says so."""
    notes = tmp_path / "notes"
    shutil.copytree(NOTES, notes, ignore=lambda _, names: [name for name in names if not name.endswith(".jsonl")])
    study = tmp_path / "mine.yaml"
    study.write_text(
        "name: mine\naxes: {size: {small: [task/entity_tagging, model/minilm], large: [task/entity_tagging, model/bert_large]}}\n"
        f"with: [data/demo, --data.roots.demo={notes}]\ngrids: {{sizes: {{cells: {{size: all}}}}}}\n",
        encoding="utf-8",
    )
    line = ["study", "report", str(study), f"--root={tmp_path}"]
    code = code_version(STUDY)
    there = plan(cells(Study.load(study)), RunContent(tmp_path / "cache", code), code)
    store, run = Store(tmp_path), there["sizes size=small"]
    store.folder(run.key).mkdir(parents=True)
    store.results(run.key).write_text(json.dumps(results(run.key, {"demo": 3})), encoding="utf-8")
    store.describe(run, "mine")
    assert main(line) == 0
    assert "by their names" not in capsys.readouterr().out
    page = tmp_path / "reports" / "mine" / "mine.csv"
    whole = page.read_bytes()
    notes.rename(tmp_path / "away")
    assert main(line) == 0
    assert "1 cells are shown by their names: there are no files of demo here" in capsys.readouterr().out
    assert page.read_bytes() == whole
    # two runs that were done for one cell: nobody can say which is meant
    other = f"0123456789abcdef-{code}"
    shutil.copytree(store.folder(run.key), store.folder(other))
    assert main(line) == 0
    both = ", ".join(sorted([other, run.key]))
    assert f"Left out, as several runs were done for them: sizes size=small ({both})" in capsys.readouterr().out
    assert page.read_bytes() != whole
    # other settings, under which an earlier version has done the cell
    shutil.rmtree(store.folder(other))
    (tmp_path / "away").rename(notes)
    old = "0123456789abcdef-oldcode"
    store.folder(run.key).rename(store.folder(old))
    assert main([*line, "--code=oldcode"]) == 0
    assert "1 cells are shown by their names: oldcode has settings or data of its own" in capsys.readouterr().out
    assert page.read_bytes().replace(b"0123456789abcdef-oldcode", run.key.encode()) == whole


def test_a_study_is_no_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "-c", "study/smoke"]) == 2
    assert "a study, not a configuration; run it with `clinical-ie study run smoke`" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["plan", "smok"], "did you mean 'smoke'"),
        (["run", "paper", "--corpora=nowhere"], "no such folder"),
        (["plan", "smoke", "--with=--run_dir=x"], "a study sets run_dir itself"),
        (["plan", "smoke", "--jsn"], "did you mean '--json'"),
    ],
)
def test_what_is_wrong_is_refused_in_a_line(given: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", *given, f"--root={tmp_path}"]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert len(said.splitlines()) == 1


def test_the_notebook_is_stored_without_outputs() -> None:
    path = Path(__file__).parents[2] / "notebooks" / "study_figures.ipynb"
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    assert sum(cell["cell_type"] == "code" for cell in cells) >= 4
    assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in cells)
