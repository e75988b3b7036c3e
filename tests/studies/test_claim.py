"""Locks between machines: a root on which the kernel's lock holds on one machine only, or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from clinical_ie.studies import claim
from clinical_ie.studies.claim import is_taken, taken


@contextlib.contextmanager
def on(name: str, job: str = "", *, restarts: int = 0, cluster: str = "west") -> Iterator[None]:
    """As if this process ran on another machine, whose kernel knows nothing of locks held here; in a job, after so many restarts of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(claim, "machine", lambda: name)
        patch.setattr(fcntl, "flock", lambda descriptor, how: None)
        patch.setenv("SLURM_JOB_ID", job)
        patch.setenv("SLURM_CLUSTER_NAME", cluster)
        patch.delenv("SLURM_RESTART_COUNT", raising=False)  # SLURM does not set it for a first start
        if restarts:
            patch.setenv("SLURM_RESTART_COUNT", str(restarts))
        yield


def without_locks(patch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, how: int) -> None:
        raise OSError(38, "Function not implemented")

    patch.setattr(fcntl, "flock", refuse)


def test_another_machine_is_kept_out_although_its_kernel_gives_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "locks" / "key"
    with taken(path) as here:
        assert here is not None
        with on("elsewhere"), taken(path) as there:
            assert there is None
            assert is_taken(path)
    with on("elsewhere"), taken(path) as there:
        assert there is not None, "it was given back"
    assert [file.name for file in path.parent.iterdir()] == ["key"]


def test_a_note_that_nobody_touches_is_taken_over_after_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, note = tmp_path / "key", tmp_path / "key.owner"
    with on("elsewhere"), taken(path) as there:
        assert there is not None
        kept = note.read_bytes()
    note.write_bytes(kept)  # as after kill -9, or the machine's death
    with taken(path) as here:
        assert here is None, "the other machine may live"
    long_ago = time.time() - claim.FRESH - 1
    os.utime(note, (long_ago, long_ago))
    assert not is_taken(path)
    with taken(path) as here:
        assert here is not None
        with on("third"), taken(path) as there:
            assert there is None
    assert not note.exists()


def test_a_job_that_was_queued_again_has_its_own_lock_at_once(tmp_path: Path) -> None:
    path, note = tmp_path / "key", tmp_path / "key.owner"
    with on("node1", "17", restarts=1), taken(path):
        kept = note.read_bytes()
    note.write_bytes(kept)
    for place in (on("node2", "18", restarts=2), on("node2", "17", restarts=2, cluster="east"), on("node2", "17"), on("node2")):
        with place, taken(path) as other:
            assert other is None
    with on("node2", "17", restarts=2), taken(path) as same:
        assert same is not None


def test_steps_of_one_job_on_two_nodes_keep_each_other_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "key"
    with on("node1", "17", restarts=1):
        monkeypatch.setenv("SLURM_STEP_ID", "0")
        with taken(path) as one:
            assert one is not None
            with on("node2", "17", restarts=1):
                monkeypatch.setenv("SLURM_STEP_ID", "1")
                with taken(path) as two:
                    assert two is None
                assert is_taken(path)


def test_a_note_that_says_no_start_is_waited_for(tmp_path: Path) -> None:
    """As versions wrote them that kept the job alone."""
    path, note = tmp_path / "key", tmp_path / "key.owner"
    note.write_text('{"machine": "node1", "host": "node1", "pid": 1, "job": "17", "token": "old"}', encoding="utf-8")
    with on("node2", "17", restarts=3, cluster=""):
        with taken(path) as here:
            assert here is None
        os.utime(note, (1, 1))
        with taken(path) as here:
            assert here is not None


def test_its_owner_touches_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claim, "BEAT", 0.01)
    path, note = tmp_path / "key", tmp_path / "key.owner"
    with taken(path):
        os.utime(note, (1, 1))
        end = time.monotonic() + 20
        while note.stat().st_mtime == 1 and time.monotonic() < end:
            time.sleep(0.01)
        assert note.stat().st_mtime > 1


def test_without_locks_the_note_alone_keeps_others_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_locks(monkeypatch)
    path, note = tmp_path / "key", tmp_path / "key.owner"
    with taken(path) as one:
        assert one is not None
        with taken(path) as two:
            assert two is None
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    with taken(path):
        kept = note.read_text(encoding="utf-8")
    note.write_text(kept.replace(str(os.getpid()), str(gone.pid)), encoding="utf-8")
    with taken(path) as one:
        assert one is not None, "who held it has ended"


def test_a_note_that_somebody_else_has_just_taken_over_is_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, note = tmp_path / "key", tmp_path / "key.owner"
    note.write_text('{"machine": "dead", "token": "old"}', encoding="utf-8")
    os.utime(note, (1, 1))
    age = claim._age

    def slowly(file: Path) -> float:
        found = age(file)
        note.write_text('{"machine": "third", "token": "new"}', encoding="utf-8")  # between the look and the move
        return found

    monkeypatch.setattr(claim, "_age", slowly)
    with taken(path) as here:
        assert here is None
    assert '"new"' in note.read_text(encoding="utf-8")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["key", "key.owner"]


def test_who_may_only_read_sees_what_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "key"
    touch = Path.touch

    def refuse(file: Path, *given: object) -> None:
        if file.name.startswith(".clock"):
            raise PermissionError(13, "Permission denied")
        touch(file)

    with taken(path), on("elsewhere"):
        monkeypatch.setattr(Path, "touch", refuse)
        monkeypatch.setattr(os, "access", lambda file, how: False)
        assert is_taken(path)
