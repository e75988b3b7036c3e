"""The notebooks run from beginning to end on small settings, and lie in the repository without outputs and with invented text only.

`study_figures` runs on the smoke study, in test_smoke_study.py.
"""

from __future__ import annotations

import os
from pathlib import Path

import nbclient
import nbformat
import pytest

REPOSITORY = Path(__file__).parents[2]
NOTEBOOKS = sorted((REPOSITORY / "notebooks").glob("*.ipynb"))
SMALL = "--trainer.max_epochs=1 --trainer.limit_train_batches=12 --data.dev_documents=2 --data.test_documents=4"
NEEDED = {
    "corpus_statistics": {"CORPUS": "demo"},
    "train_look_analyse": {"RUN_DIR": "run", "FIT_OPTIONS": SMALL},
    "own_corpus_prompt_module": {"FOLDER": "own"},
}
"""Notebook -> environment; paths lie in a fresh folder."""


def run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> nbformat.NotebookNode:
    for key, value in NEEDED[name].items():
        monkeypatch.setenv(key, str(tmp_path / value) if key in ("RUN_DIR", "FOLDER") else value)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")]))
    notebook = nbformat.read(REPOSITORY / "notebooks" / f"{name}.ipynb", as_version=4)
    nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
    return notebook


def said(notebook: nbformat.NotebookNode) -> str:
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    return "\n".join(output.get("text", "") + output.get("data", {}).get("text/plain", "") for output in outputs)


def pictures(notebook: nbformat.NotebookNode) -> int:
    return sum("image/png" in output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", []))


@pytest.mark.slow
@pytest.mark.timeout(900)
class TestTheyRun:
    def test_corpus_statistics(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        found = run("corpus_statistics", tmp_path, monkeypatch)
        assert "demo: 80 train, 15 dev, 25 test" in said(found)
        assert pictures(found) == 2

    def test_train_look_analyse(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        found = run("train_look_analyse", tmp_path, monkeypatch)
        assert "strict micro F1" in said(found)
        assert "errors in 4 notes" in said(found)
        assert pictures(found) == 2
        assert (tmp_path / "run" / "notes.html").is_file()

    def test_own_corpus_prompt_module(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        found = run("own_corpus_prompt_module", tmp_path, monkeypatch)
        assert "ward: 0 errors, 0 warnings" in said(found)
        assert "Mark every problem and every treatment" in said(found)
        assert "ward_tagger.ScaledTagger" in (tmp_path / "own" / "run" / "config.yaml").read_text(encoding="utf-8")


def test_every_notebook_is_run_somewhere() -> None:
    assert {path.stem for path in NOTEBOOKS} == {*NEEDED, "study_figures"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_stripped(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert not cell.outputs
            assert cell.execution_count is None
    assert set(notebook.metadata) <= {"kernelspec", "language_info"}
