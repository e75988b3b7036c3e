"""Doing a study: order, failures, several at once, and being killed at any moment."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from clinical_ie.errors import Stopped
from clinical_ie.studies.plan import Run, distinct
from clinical_ie.studies.runner import run_missing
from clinical_ie.studies.store import Store
from tests.studies import study_process

REPOSITORY = Path(__file__).parents[2]


def begun(root: Path) -> list[str]:
    return (root / "begun.txt").read_text(encoding="utf-8").split()


def files(root: Path) -> dict[str, bytes]:
    study_process.report(root)
    return {path.name: path.read_bytes() for path in sorted((root / "reports").iterdir())}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study that nothing interrupted."""
    root = tmp_path_factory.mktemp("whole")
    assert {outcome.state for outcome in study_process.do(root)} == {"done"}
    return root


def test_every_run_is_done_once_behind_what_it_begins_with(whole: Path) -> None:
    keys = [run.key for run in distinct(study_process.runs().values())]
    assert begun(whole) == keys
    assert {outcome.state for outcome in study_process.do(whole)} == {"done"}
    assert begun(whole) == keys, "what is done is not done again"
    note = json.loads((whole / "runs" / keys[2] / "study.json").read_text(encoding="utf-8"))
    assert (note["begins_with"], note["studies"]) == (keys[0], {"tiny": ["few model=small start=others draw=0"]})


def test_a_failure_is_told_and_stops_only_what_begins_with_it(tmp_path: Path) -> None:
    runs, store = study_process.runs(), Store(tmp_path)
    outcomes = {outcome.run.cells[0]: outcome for outcome in study_process.do(tmp_path, failing="small")}
    assert [outcome.state for outcome in outcomes.values()] == ["failed", "done", "stopped", "stopped", "done", "done"]
    assert outcomes["loo model=small"].message == "exit code 1: clinical-ie fit: the model is too large"
    assert store.state(runs["loo model=small"]) == "failed"
    assert store.state(runs["few model=small start=others draw=0"]) == "waiting"
    page = study_process.report(tmp_path).read_text(encoding="utf-8")
    assert "the model is too large" in page
    assert "missing cells and failures" in page
    assert {outcome.state for outcome in study_process.do(tmp_path)} == {"done"}, "the same command tries again"
    assert store.failure(runs["loo model=small"].key) is None


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("clinical-ie fit: the model is too large", "exit code 1: clinical-ie fit: the model is too large"),
        ("torch.OutOfMemoryError: tried to read 'denies chest pain'", "exit code 1: torch.OutOfMemoryError; the log has more"),
        ("denies chest pain", "exit code 1: no message of ours; the log has more"),
        ("clinical-ie fit: too large\nsrun: error: node1: task 0: Exited with exit code 1", "exit code 1: clinical-ie fit: too large"),
    ],
)
def test_what_others_say_may_hold_text_and_is_not_reported(said: str, kept: str, tmp_path: Path) -> None:
    store, run = Store(tmp_path), distinct(study_process.runs().values())[0]

    def start(run: Run, lock: int) -> int:
        store.log(run.key).write_text(f"one line\n{said}\n", encoding="utf-8")
        return 1

    assert run_missing([run], store, "tiny", start)[0].message == kept
    assert store.failure(run.key) is not None


def test_two_at_once_do_nothing_twice(whole: Path, tmp_path: Path) -> None:
    others = [subprocess.Popen(process(tmp_path), cwd=REPOSITORY) for _ in range(3)]
    assert [other.wait() for other in others] == [0, 0, 0]
    assert sorted(begun(tmp_path)) == sorted(begun(whole))
    assert files(tmp_path) == files(whole)


def test_a_run_alone_neither_does_what_it_begins_with_nor_begins_without(tmp_path: Path) -> None:
    """As a task of an array does."""
    runs, store, begun = study_process.runs(), Store(tmp_path), list[str]()
    first, second = runs["loo model=small"], runs["few model=small start=others draw=0"]

    def start(run: Run, lock: int) -> int:
        begun.append(run.key)
        return 2

    outcome = run_missing([second], store, "tiny", start)[0]
    assert (outcome.state, outcome.message) == ("stopped", f"begins with {first.key}, which has not been done")
    assert begun == []
    run_missing([first], store, "tiny", start)
    outcome = run_missing([second], store, "tiny", start)[0]
    assert outcome.message == f"begins with {first.key}, which failed"
    assert begun == [first.key]
    with store.held(first.key) as lock:
        assert lock is not None
        waiting = threading.Thread(target=lambda: run_missing([second], store, "tiny", start, pause=0.01))
        waiting.start()
        waiting.join(timeout=0.2)
        assert waiting.is_alive(), "somebody is at work on what it begins with"
    waiting.join(timeout=60)
    assert not waiting.is_alive()


@pytest.mark.parametrize("code", [75, -signal.SIGTERM])
def test_a_run_that_a_signal_stopped_is_not_a_failure(code: int, tmp_path: Path) -> None:
    store, runs = Store(tmp_path), distinct(study_process.runs().values())
    with pytest.raises(Stopped):
        run_missing(runs, store, "tiny", lambda run, lock: code)
    assert [store.state(run) for run in runs[:3]] == ["missing", "missing", "waiting"]


def test_a_process_that_outlives_the_study_keeps_its_run(tmp_path: Path) -> None:
    """As training does when the study alone is killed: nobody else begins the same run."""
    store, run = Store(tmp_path), distinct(study_process.runs().values())[0]
    with store.held(run.key) as lock:
        assert lock is not None
        outliving = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(lock,))
    assert store.state(run) == "running"
    outliving.communicate(b"\n")
    assert store.state(run) == "missing"


def kill_at(moments: list[float], root: Path) -> None:
    """Begin the study, kill it and whatever it began after so many seconds, for each; then let it come to its end."""
    for moment in moments:
        study = subprocess.Popen(process(root), cwd=REPOSITORY, start_new_session=True)
        timer = threading.Timer(moment, lambda study=study: os.killpg(study.pid, signal.SIGKILL))
        timer.start()
        study.wait()
        timer.cancel()
    assert subprocess.run(process(root), cwd=REPOSITORY, check=False).returncode == 0


def process(root: Path) -> list[str]:
    return [sys.executable, "-m", "tests.studies.study_process", str(root)]


def length(root: Path) -> float:
    """How long the whole takes in a process of its own, which is when it can be killed."""
    before = time.monotonic()
    assert subprocess.run(process(root), cwd=REPOSITORY, check=False).returncode == 0
    return time.monotonic() - before


@pytest.mark.parametrize("kills", [5, pytest.param(50, marks=pytest.mark.slow)])
def test_killed_at_random_moments_the_report_is_the_same(kills: int, whole: Path, tmp_path: Path) -> None:
    dice, longest = random.Random(kills), length(tmp_path / "measured")
    for number in range(max(1, kills // 5)):  # a study each for five, as it would be over after some more
        root = tmp_path / str(number)
        kill_at([dice.uniform(0.3, 1.0) * longest for _ in range(5)], root)
        assert files(root) == files(whole)


def test_only_cells_that_are_not_done_are_missing(tmp_path: Path, whole: Path) -> None:
    store = Store(tmp_path)

    def start(run: Run, lock: int) -> int:
        return study_process.run_process(
            [sys.executable, str(study_process.FAKE), run.key, str(store.folder(run.key)), "works"], log=store.log(run.key)
        )

    run_missing(distinct(study_process.runs().values())[:1], store, "tiny", start)
    text = files(tmp_path)["tiny.md"].decode()
    assert "1 of 6 cells are done" in text
    assert "| few | start base | - | missing |" in text
    assert text.count("| missing | ") == 5, "one line for each in the table of missing cells"
