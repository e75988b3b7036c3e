"""Does what is missing of a study, one run after the other, each in a process of its own."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from clinical_ie.errors import Stopped
from clinical_ie.studies.plan import Run
from clinical_ie.studies.store import Store

Start = Callable[[Run, int], int]
"""Does a run to its end, holding the lock of that file descriptor; its exit code."""
_STOPPED = {Stopped.exit_code, *(-number for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1))}
"""Exit codes of a run that was told to stop, the last of them before it could act on it."""
_ERROR = re.compile(r"[A-Za-z_][\w.]*(Error|Exception|Exit|Interrupt)(?=: |$)")
_LAUNCHERS = ("srun: ", "slurmstepd: ", "slurmstepd-")
"""How lines begin that SLURM adds behind the last of a program."""
_MOST = 500
"""Characters of a message that is kept."""


@dataclass(slots=True)
class Outcome:
    """What became of a run.

    Attributes:
        run: Which.
        state: ``done``, ``failed``, or ``stopped`` where the run that it begins with failed.
        seconds: How long it took; 0 of one that was there already, or was done by somebody else.
        message: Why it failed.
    """

    run: Run
    state: str
    seconds: float = 0.0
    message: str = ""


def run_missing(
    runs: Sequence[Run],
    store: Store,
    study: str,
    start: Start,
    *,
    begin: Callable[[Run], None] = lambda _: None,
    end: Callable[[Outcome], None] = lambda _: None,
    pause: float = 1.0,
) -> list[Outcome]:
    """Do what is not done, in its order; what another process is at work on is waited for.

    A run that fails stops only those that begin with it.

    Args:
        runs: Each behind the one that it begins with, where that is among them; others must be done already, or be under way elsewhere.
        store: Where they lie.
        study: The study's name, for ``study.json``.
        start: Does one.
        begin: Told of each run that is begun.
        end: Told of each that is over.
        pause: Seconds between two looks at what others are at work on.

    Raises:
        Stopped: A signal ended a run; the next call goes on from there.
    """
    outcomes: dict[str, Outcome] = {}
    left, keys = list(runs), {run.key for run in runs}
    while left:
        again = []
        for run in left:
            before = outcomes.get(run.begins_with.key) if run.begins_with else None
            if run.begins_with is not None and run.begins_with.key not in keys:
                before = _elsewhere(run.begins_with, store)
            if run.begins_with is not None and before is None:
                again.append(run)  # somebody else is at work on it
                continue
            if before is not None and before.state != "done":
                outcome: Outcome | None = Outcome(run, "stopped", message=f"begins with {before.run.key}, which {_what(before)}")
            else:
                outcome = _attempt(run, store, study, start, begin)
            if outcome is None:
                again.append(run)
                continue
            outcomes[run.key] = outcome
            end(outcome)
        if len(again) == len(left):
            time.sleep(pause)
        left = again
    return [outcomes[run.key] for run in runs]


def _elsewhere(run: Run, store: Store) -> Outcome | None:
    """What has become of a run that is not ours to do; None where somebody else is at work on it."""
    state = store.state(run)
    return None if state == "running" else Outcome(run, "done" if state == "done" else "failed" if state == "failed" else "stopped")


def _attempt(run: Run, store: Store, study: str, start: Start, begin: Callable[[Run], None]) -> Outcome | None:
    """Do a run unless it is done; None where somebody else is at work on it."""
    with store.held(run.key) as lock:
        if lock is None:
            return None
        store.describe(run, study)
        if store.is_done(run.key):
            return Outcome(run, "done")
        begin(run)
        store.forget_failure(run.key)
        begun = time.monotonic()
        code = start(run, lock)
        seconds = time.monotonic() - begun
        if code in _STOPPED:
            raise Stopped(f"{run.cells[0]} was stopped")
        if code == 0 and store.is_done(run.key):
            return Outcome(run, "done", seconds)
        message = f"exit code {code}: {_last_line(run, store)}" if code else "it ended without scores of its test part"
        store.note_failure(run.key, code, message)
        return Outcome(run, "failed", seconds, message)


def _last_line(run: Run, store: Store) -> str:
    """Why it failed, of the last line that its process said: ours hold no note text, of others' errors the name alone is told."""
    try:
        with store.log(run.key).open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - 8192))
            lines = file.read().decode("utf-8", "replace").strip().splitlines()
    except OSError:
        lines = []
    lines = [line for line in lines if not line.startswith(_LAUNCHERS)]
    text = "".join(sign if sign.isprintable() else " " for sign in lines[-1]) if lines else ""
    if not text.startswith("clinical-ie "):
        error = _ERROR.match(text)
        return f"{error[0] if error else 'no message of ours'}; the log has more"
    return text if len(text) <= _MOST else f"{text[:_MOST]} ..."


def _what(outcome: Outcome) -> str:
    return "failed" if outcome.state == "failed" else "has not been done"
