"""Signals reach a process that waits outside of Python, too."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from clinical_ie.errors import Stopped
from clinical_ie.strategies import stop_signals
from clinical_ie.strategies.stop_signals import stopping_at_once

RENDEZVOUS = """
from datetime import timedelta
from torch.distributed import TCPStore
from clinical_ie.strategies import stop_signals
stop_signals._PATIENCE = {patience}
with stop_signals.stopping_at_once():
    print("waiting", flush=True)
    TCPStore("127.0.0.1", 0, 2, True, timeout=timedelta(seconds=100))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_rank_that_waits_for_another_one_stops(number: int) -> None:
    """As the first rank of a job that was preempted while it began: the other had left, and it waited until srun killed it (137)."""
    line = [sys.executable, "-c", RENDEZVOUS.format(patience=0.5)]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        time.sleep(0.5)
        process.send_signal(number)
        _, said = process.communicate(timeout=30)
    name = "Ctrl-C" if number == signal.SIGINT else "SIGTERM"
    assert (process.returncode, said) == (75, f"clinical-ie: stopped by {name} while it waited; the same command goes on\n")


def test_a_signal_that_python_sees_is_its_own(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(stop_signals, "_PATIENCE", 0.1)
    with pytest.raises(Stopped, match="stopped by SIGUSR1"), stopping_at_once():
        os.kill(os.getpid(), signal.SIGUSR1)
    time.sleep(0.3)
    assert capfd.readouterr().err == ""
    assert "signals" not in {thread.name for thread in threading.enumerate()}


def test_who_takes_the_handler_over_sees_to_the_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stop_signals, "_PATIENCE", 0.1)
    noted: list[int] = []
    with stopping_at_once():
        signal.signal(signal.SIGTERM, lambda number, _: noted.append(number))
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.3)
    assert noted == [signal.SIGTERM]


def test_a_signal_to_a_child_is_none_to_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stop_signals, "_PATIENCE", 0.1)
    before = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(before)
    with stopping_at_once():
        child = os.fork()
        if not child:
            signal.signal(signal.SIGTERM, lambda *_: os._exit(3))
            time.sleep(30)
            os._exit(4)
        time.sleep(0.2)
        os.kill(child, signal.SIGTERM)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
        time.sleep(0.3)  # the thread of this process would have ended it
    after = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(after)
    assert after == before
