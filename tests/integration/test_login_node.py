"""Where SLURM is installed, everything runs as elsewhere."""

from __future__ import annotations

import io
import shutil
import tomllib
import warnings
from pathlib import Path

import lightning.pytorch as pl
import pytest

from clinical_ie.cli import main


def _ignored() -> str:
    settings = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
    return next(line for line in settings["tool"]["pytest"]["ini_options"]["filterwarnings"] if "srun" in line)


def test_the_suite_runs_with_srun_on_the_path() -> None:
    assert shutil.which("srun") is not None


def test_lightning_hints_at_srun_and_the_suite_ignores_just_that(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="`srun` command is available") as hint:
            pl.Trainer(accelerator="cpu", logger=False, default_root_dir=tmp_path)
        assert str(hint.value).startswith(_ignored().partition(":")[2])
    pl.Trainer(accelerator="cpu", logger=False, default_root_dir=tmp_path)


def test_lines_of_a_log_come_as_they_are_written(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Python would keep them until there are 8 kB, or until the job has ended."""
    written = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(written, write_through=False))
    assert main(["fit", "--help"]) == 0
    print("a line")
    assert written.getvalue().endswith(b"a line\n")
