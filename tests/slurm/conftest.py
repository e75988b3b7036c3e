from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import MakeOnce, write_demo_notes
from tests.slurm.cluster import Cluster, obstacle
from tests.slurm.fits import TWO_NODES, fit_line

FitLine = Callable[..., str]


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Real daemons and two nodes; tests are skipped, with the reason, where they can't be started."""
    reason = obstacle()
    if reason:
        pytest.skip(f"no SLURM here: {reason}")
    with Cluster(tmp_path_factory.mktemp("cluster")) as started:
        yield started
    shutil.rmtree(started.folder, ignore_errors=True)


@pytest.fixture(scope="session")
def fit(tiny_bert: str, made_once: MakeOnce) -> FitLine:
    """The line of a job script that trains the tiny tagger in a folder."""
    notes = made_once("slurm_notes", lambda folder: write_demo_notes(folder, train=24, dev=4, test=4))
    return lambda run_dir, *more, **named: fit_line(tiny_bert, notes, run_dir, *more, **named)


@pytest.fixture(scope="session")
def undisturbed(cluster: Cluster, fit: FitLine, made_once: MakeOnce) -> Path:
    """The folder of a run of two nodes that nothing interrupts, its log beside it."""

    def fill(folder: Path) -> None:
        job = cluster.submit(fit(folder / "run"), *TWO_NODES, log=folder / "log")
        assert cluster.wait(job)["JobState"] == "COMPLETED", (folder / "log").read_text(encoding="utf-8")[-4000:]

    return Path(made_once("slurm_undisturbed", fill)) / "run"
