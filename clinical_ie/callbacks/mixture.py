"""What of each source was really trained on, beside what was planned."""

from __future__ import annotations

from typing import Any, cast

import lightning.pytorch as pl

from clinical_ie.callbacks.outputs import gathered
from clinical_ie.data.datamodule import ExtractionDataModule
from clinical_ie.data.mixing import Taught

_KINDS = ("examples", "targets")


class Mixture(pl.Callback):
    """Counts the examples and targets of each source in the batches that a run trains on, over all its parts and ranks.

    When training ends, ``mixing/CORPUS/TASK/...`` has them beside those of the plan.
    """

    def __init__(self) -> None:
        self._mine: Taught = Taught()
        self._earlier: Taught = Taught()
        self._all_ranks: Taught = Taught()

    def on_train_batch_end(  # noqa: D102 (Lightning's hook)
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._mine.update(batch["taught"])

    def _count(self, trainer: pl.Trainer) -> None:
        """Add up the ranks; every rank must get here."""
        self._all_ranks = sum(gathered(trainer, self._mine), Taught(self._earlier))

    def on_save_checkpoint(self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:  # noqa: D102
        self._count(trainer)
        checkpoint["mixing"] = [[*name, count] for name, count in self._all_ranks.items()]

    def on_load_checkpoint(self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:  # noqa: D102
        if trainer.state.fn == "fit":
            self._earlier = Taught({(source, kind): count for source, kind, count in checkpoint["mixing"]})
            self._all_ranks = Taught(self._earlier)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: D102
        self._count(trainer)
        if trainer.logger is not None and trainer.is_global_zero:
            values = {
                f"mixing/{source}/{name}": float(count) for source, counts in self.record(trainer).items() for name, count in counts.items()
            }
            trainer.logger.log_metrics(values, trainer.global_step)

    def record(self, trainer: pl.Trainer) -> dict[str, dict[str, int]]:
        """Source -> examples and targets, as planned up to where training ended and as trained, for ``results.json``."""
        sampler = cast("ExtractionDataModule", trainer.datamodule).sampler  # type: ignore[attr-defined]
        ways = {"planned": sampler.planned(), "trained": self._all_ranks}
        return {
            source: {f"{way}_{kind}": counts[source, kind] for kind in _KINDS for way, counts in ways.items()}
            for source in map(str, sampler.plan.sizes)
        }
