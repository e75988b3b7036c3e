"""The identity of a run in its checkpoints (settings, data, versions, tokenizer): it resumes as itself or is refused."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, cast

import lightning.pytorch as pl
from lightning.pytorch.utilities import rank_zero_only

from clinical_ie.callbacks.agreement import check_same_beginning
from clinical_ie.callbacks.rank_change import share_out_anew
from clinical_ie.data.datamodule import ExtractionDataModule
from clinical_ie.data.examples import Examples
from clinical_ie.errors import SettingError
from clinical_ie.modules.tuned_module import TunedModule
from clinical_ie.modules.weight_matching import Taken
from clinical_ie.strategies.slurm_job import job_id

_LOG = logging.getLogger(__name__)


class RunRecord(pl.Callback):
    """Keeps settings, fingerprints of the data, versions and cost in each checkpoint, and compares them where a run goes on.

    Args:
        settings: The run's settings as plain values; the command line compares them before anything is loaded.
        versions: Name -> version of what computes. Another one is warned of and written down.
        changes: What the command line has accepted as changed since the checkpoint, as ``name: old -> new``.
        identity: Those settings that make the run what it is, wherever it lies.
        accepted: Called once on every rank when training may begin.
    """

    def __init__(
        self,
        settings: Mapping[str, Any],
        versions: Mapping[str, Any],
        changes: list[str],
        accepted: Callable[[], None] = lambda: None,
        identity: Mapping[str, Any] | None = None,
    ) -> None:
        self._identity = dict(identity or {})
        self.fingerprint = ""
        self.init_from: dict[str, Any] | None = None
        self._settings, self._versions, self._accepted = dict(settings), dict(versions), accepted
        self._begun = time.monotonic()
        self._seconds = 0.0
        self.resumed = 0
        self.changes: list[str] = []
        self._new_changes = changes
        self._fingerprints: dict[str, list[Any]] = {}

    @property
    def seconds(self) -> float:
        """Of all parts of the run, each up to the checkpoint that the next went on from."""
        return self._seconds + time.monotonic() - self._begun

    @property
    def data(self) -> str:
        """One digest of all data of the training, for ``results.json``."""
        return hashlib.sha256(repr(sorted(self._fingerprints.items())).encode()).hexdigest()[:16]

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:  # noqa: D102
        if stage == "fit":
            check_same_beginning(trainer)
            self._fingerprints = fingerprints(cast("ExtractionDataModule", trainer.datamodule))  # type: ignore[attr-defined]

    def on_save_checkpoint(self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:  # noqa: D102
        checkpoint["run"] = {
            "settings": self._settings,
            "versions": self._versions,
            "data": self._fingerprints,
            "fingerprint": self.fingerprint,
            "init_from": self.init_from,
            "ranks": trainer.world_size,
            "seconds": self.seconds,
            "resumed": self.resumed,
            "changes": self.changes,
            "job": job_id(),
        }

    def on_load_checkpoint(self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Refuse other data; take up the cost of the parts before.

        Raises:
            SettingError: The documents, or the examples made of them, are not those of the checkpoint; or other processes cannot go on
                exactly.
        """
        if trainer.state.fn != "fit":
            return
        saved = checkpoint["run"]
        for name in dict.fromkeys([*saved["data"], *self._fingerprints]):
            before, after = saved["data"].get(name), self._fingerprints.get(name)
            if before != after:
                raise SettingError(
                    f"the {name} are not those that the run began with ({_described(before)} -> {_described(after)}); give the same files,"
                    " or begin a new run in another --run_dir, with --init_from instead of --ckpt_path if its weights are wanted"
                )
        waiting = _waiting(checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"], trainer.accumulate_grad_batches)
        if saved["ranks"] != trainer.world_size:
            share_out_anew(checkpoint, checkpoint[ExtractionDataModule.__qualname__]["train"], trainer)
        self._seconds, self.resumed, self.init_from = saved["seconds"], saved["resumed"] + 1, saved["init_from"]
        changes = [*self._new_changes]
        changes += [
            f"{name}: {saved['versions'].get(name)} -> {version}"
            for name, version in self._versions.items()
            if saved["versions"].get(name) != version
        ]
        if waiting:
            changes.append(f"a step was not finished, and the gradients of its first {waiting} batches are not in the checkpoint: left out")
        if saved["ranks"] != trainer.world_size:
            changes.append(f"processes: {saved['ranks']} -> {trainer.world_size}")
        self.changes = [*saved["changes"], *(f"from step {checkpoint['global_step']}, {change}" for change in changes)]
        _warn(changes)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Name the run, and say what it begins with."""
        if isinstance(pl_module, TunedModule):
            if pl_module.initial is not None and pl_module.taken is not None:
                source, taken = pl_module.initial, pl_module.taken
                self.init_from = {"fingerprint": source.fingerprint, "step": source.step, **asdict(taken)}
                _tell(f"init_from: run {source.fingerprint}, step {source.step}", taken)
            begins_with = self.init_from and [self.init_from["fingerprint"], self.init_from["step"]]
            parts = (self._identity, pl_module.identity(), self._fingerprints, self._versions.get("code"), trainer.world_size, begins_with)
            self.fingerprint = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
        self._accepted()


def fingerprints(data: ExtractionDataModule) -> dict[str, list[Any]]:
    """What is learned from and chosen by -> how many there are and a digest of their content, none of their text."""
    found: dict[str, list[Any]] = {}
    for part in ("train", "dev"):
        for corpus, documents in data.documents.get(part, {}).items():
            found[f"{part} documents of {corpus}"] = [len(documents), documents.digest]
        examples = data.examples.get(part, Examples())
        found[f"examples made of the {part} documents"] = [len(examples), examples.digest]
    return found


def _waiting(progress: Mapping[str, Any], accumulated: int) -> int:
    """Batches whose gradients waited for more when a state was saved, as the best is by a validation in the middle of a step."""
    return 0 if progress["is_last_batch"] else int(progress["current"]["ready"]) % accumulated


def _described(found: list[Any] | None) -> str:
    return "none" if found is None else f"{found[0]}, content {found[1]}"


@rank_zero_only
def _warn(changes: list[str]) -> None:
    for change in changes:
        _LOG.warning(f"changed since the run began: {change} (noted in results.json)")


@rank_zero_only
def _tell(source: str, taken: Taken) -> None:
    for what, names in (("taken over", taken.taken), ("begins fresh", taken.fresh), ("left behind", taken.left)):
        _LOG.info(f"{source}, {what}: {', '.join(names) or 'nothing'}")
