from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from clinical_ie.cli import main
from tests.conftest import MakeOnce, write_demo_notes

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture(scope="session")
def small_corpus(made_once: MakeOnce) -> str:
    """A dozen of the invented notes in each split."""
    return made_once("small_corpus", lambda folder: write_demo_notes(folder, train=24, dev=6, test=6))


Arguments = Callable[..., list[str]]


@pytest.fixture(scope="session")
def arguments(tiny_bert: str, small_corpus: str) -> Arguments:
    """A command line on the tiny model and corpus."""

    def make(command: str, run_dir: Path, *more: str, task: str = "entity_tagging") -> list[str]:
        files = ("base", f"task/{task}", "data/demo", "strategy/single")
        given = [part for name in files for part in ("-c", str(CONFIGS / f"{name}.yaml"))]
        given += [f"--data.corpora.init_args.root={small_corpus}", f"--model.init_args.backbone={tiny_bert}", f"--run_dir={run_dir}"]
        given += [
            "--model.init_args.learning_rate=5e-3",
            "--model.init_args.head_learning_rate=2e-2",
            "--trainer.max_epochs=3",
            "--trainer.precision=32-true",
            "--data.batch_budget=512",
        ]
        given += ["--data.tasks.init_args.window=96", "--data.tasks.init_args.overlap=16", "--trainer.accelerator=cpu"]
        given += ["--trainer.enable_progress_bar=false", "--trainer.log_every_n_steps=1"]
        return [command, *given, *more]

    return make


@pytest.fixture(scope="session")
def trained_run(arguments: Arguments, made_once: MakeOnce) -> Path:
    """A run of three epochs, tested; nobody writes into it."""

    def fill(folder: Path) -> None:
        assert main(arguments("fit", folder / "run")) == 0

    return Path(made_once("trained_run", fill)) / "run"


@pytest.fixture
def finished_run(trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the trained run for one test, so that no test depends on what another did to it."""
    return Path(shutil.copytree(trained_run, tmp_path_factory.mktemp("runs") / "finished"))
