"""What a checkpoint says of its run is compared with the run that goes on from it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import lightning.pytorch as pl
import pytest

from clinical_ie.callbacks.run_record import RunRecord
from clinical_ie.errors import SettingError
from clinical_ie.modules.tuned_module import TunedModule

MODULE: Any = None


def checkpoint(*, ranks: int, at_end: bool, ready: int = 4, data: dict[str, Any] | None = None) -> dict[str, Any]:
    run = {
        "settings": {},
        "versions": {},
        "data": data or {},
        "ranks": ranks,
        "seconds": 5.0,
        "resumed": 0,
        "changes": [],
        "init_from": None,
    }
    progress = {"ready": ready, "started": ready, "processed": ready, "completed": ready - 1}
    loops = {
        "fit_loop": {
            "epoch_progress": {"current": {"processed": 1}},
            "epoch_loop.batch_progress": {"current": progress, "is_last_batch": at_end},
        }
    }
    plan = {"train": {"epoch": 1, "batches_done": 18 if at_end else 6, "batches": 18}}
    return {"run": run, "global_step": 7, "loops": loops, "lr_schedulers": [{"last_epoch": 7}], "ExtractionDataModule": plan}


def loaded(saved: dict[str, Any], ranks: int, command: str = "fit") -> RunRecord:
    record = RunRecord({}, {}, [])
    trainer: Any = SimpleNamespace(
        state=SimpleNamespace(fn=command), world_size=ranks, max_steps=-1, limit_train_batches=1.0, accumulate_grad_batches=2
    )
    record.on_load_checkpoint(trainer, MODULE, saved)
    return record


def test_other_processes_share_out_what_is_left_of_an_epoch() -> None:
    """18 batches, 6 done: four processes need 3 of 5 micro-steps for the other 12, so 2 (1 step) count as done; 3 steps an epoch."""
    saved = checkpoint(ranks=2, at_end=False)
    assert loaded(saved, 4).changes == ["from step 7, processes: 2 -> 4"]
    found = saved["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]
    assert found == {"ready": 2, "started": 2, "processed": 2, "completed": 1}
    assert saved["lr_schedulers"] == [{"last_epoch": 3 + 1}]
    same = checkpoint(ranks=2, at_end=False)
    assert loaded(same, 2).changes == []
    assert same == checkpoint(ranks=2, at_end=False)


def test_gradients_that_are_lost_are_told() -> None:
    """Two batches make a step; the best state may be one of a validation behind the first of them."""
    lost = "from step 7, a step was not finished, and the gradients of its first 1 batches are not in the checkpoint: left out"
    assert loaded(checkpoint(ranks=1, at_end=False, ready=3), 1).changes == [lost]
    assert loaded(checkpoint(ranks=1, at_end=True, ready=3), 1).changes == [], "the last step of an epoch has fewer batches"


def test_between_epochs_a_whole_one_is_behind() -> None:
    """18 micro-steps of one process, 9 steps an epoch."""
    saved = checkpoint(ranks=2, at_end=True)
    record = loaded(saved, 1)
    assert record.changes == ["from step 7, processes: 2 -> 1"]
    assert record.resumed == 1
    assert record.seconds >= 5
    assert saved["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]["ready"] == 18
    assert saved["lr_schedulers"] == [{"last_epoch": 9 + 9}]


def test_a_test_may_have_any_number_of_processes() -> None:
    assert loaded(checkpoint(ranks=2, at_end=False), 3, "test").resumed == 0


def test_other_documents_are_refused() -> None:
    saved = checkpoint(ranks=1, at_end=True, data={"train documents of a": [3, "0123"]})
    with pytest.raises(SettingError, match=r"the train documents of a are not those that the run began with \(3, content 0123 -> none\)"):
        loaded(saved, 1)


class Known(TunedModule):
    """A model that says what it is."""

    def __init__(self, base: str = "0123") -> None:
        pl.LightningModule.__init__(self)
        self.base, self.initial = base, None

    def identity(self) -> dict[str, Any]:
        return {"base": self.base}


def fingerprint(settings: dict[str, Any] | None = None, *, base: str = "0123", code: str = "1", data: str = "4567", ranks: int = 1) -> str:
    record = RunRecord({}, {"code": code, "python": "3.11"}, [], identity=settings or {"seed_everything": 0})
    record._fingerprints = {"train documents of a": [3, data]}
    trainer: Any = SimpleNamespace(world_size=ranks, is_global_zero=True)
    record.on_fit_start(trainer, Known(base))
    return record.fingerprint


def test_a_run_is_known_by_what_it_learns_from_what() -> None:
    """Model, settings (task, split and seed among them), data, code, and how many share a step."""
    others = [{"settings": {"seed_everything": 1}}, {"base": "89ab"}, {"code": "2"}, {"data": "cdef"}, {"ranks": 2}]
    assert fingerprint() == fingerprint()
    assert len({fingerprint(), *(fingerprint(**other) for other in others)}) == 1 + len(others)
