"""What a checkpoint says of its run is compared with the run that goes on from it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from clinical_ie.callbacks.run_record import RunRecord
from clinical_ie.errors import SettingError

MODULE: Any = None


def checkpoint(*, ranks: int, at_end: bool, data: dict[str, Any] | None = None) -> dict[str, Any]:
    run = {"settings": {}, "versions": {}, "data": data or {}, "ranks": ranks, "seconds": 5.0, "resumed": 0, "changes": []}
    return {"run": run, "global_step": 7, "loops": {"fit_loop": {"epoch_loop.batch_progress": {"is_last_batch": at_end}}}}


def loaded(saved: dict[str, Any], ranks: int, command: str = "fit") -> RunRecord:
    record = RunRecord({}, {}, [])
    trainer: Any = SimpleNamespace(state=SimpleNamespace(fn=command), world_size=ranks)
    record.on_load_checkpoint(trainer, MODULE, saved)
    return record


def test_an_epoch_is_not_shared_out_anew_among_other_processes() -> None:
    with pytest.raises(SettingError, match="the middle of an epoch that 2 processes shared, now there are 4; go on with as many devices"):
        loaded(checkpoint(ranks=2, at_end=False), 4)
    assert loaded(checkpoint(ranks=2, at_end=False), 2).changes == []


def test_between_epochs_the_number_of_processes_may_change_and_is_noted() -> None:
    record = loaded(checkpoint(ranks=2, at_end=True), 1)
    assert record.changes == ["from step 7, processes: 2 -> 1"]
    assert record.resumed == 1
    assert record.seconds >= 5


def test_a_test_may_have_any_number_of_processes() -> None:
    assert loaded(checkpoint(ranks=2, at_end=False), 3, "test").resumed == 0


def test_other_documents_are_refused() -> None:
    saved = checkpoint(ranks=1, at_end=True, data={"train documents of a": [3, "0123"]})
    with pytest.raises(SettingError, match=r"the train documents of a are not those that the run began with \(3, content 0123 -> none\)"):
        loaded(saved, 1)
