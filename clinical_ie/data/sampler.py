"""A rank's share of a plan, with its place in it as a state that checkpoints keep."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import lightning.pytorch as pl
from torch.utils.data import DataLoader, Sampler

from clinical_ie.data.mixing import Taught
from clinical_ie.data.plan import Plan
from clinical_ie.errors import SettingError


class PlannedBatch(NamedTuple):
    """Which examples, what they teach, and what the whole optimizer step does: all ranks, and all batches that are accumulated.

    A batch that pads the last micro-step of an epoch, so that all ranks take equally many, teaches 0.
    """

    examples: list[int]
    targets: int
    step_targets: int


class PlanSampler(Sampler[PlannedBatch]):
    """The batches of one rank: in a micro-step each rank takes the next one of the plan.

    The state is the epoch and how many batches of the *plan* are done, over all ranks, with the fingerprint of the plan. So it can be
    taken up on any number of ranks, which share out what is left.

    Args:
        plan: The batches of every epoch.
        rank: Which share.
        ranks: How many shares.
        accumulated: Gives, when an epoch begins, how many micro-steps make an optimizer step.
        limit: Gives, when an epoch begins, after how many micro-steps it will end (``limit_train_batches``).
    """

    def __init__(
        self,
        plan: Plan,
        *,
        rank: int = 0,
        ranks: int = 1,
        accumulated: Callable[[], int] = lambda: 1,
        limit: Callable[[], float] = lambda: float("inf"),
    ) -> None:
        if ranks < 1 or not 0 <= rank < ranks:
            raise SettingError(f"rank {rank} of {ranks}: expected a rank below their number")
        self.plan, self.rank, self.ranks, self._accumulated, self._limit = plan, rank, ranks, accumulated, limit
        self.epoch = self.done = self._wanted = 0
        self._taken_up = False

    def __len__(self) -> int:
        return self._micro_steps(len(self.plan))

    def _micro_steps(self, batches: int) -> int:
        return -(-batches // self.ranks)

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch the next pass is of."""
        self._wanted = epoch

    def begin(self) -> None:
        """Begin the epoch that is wanted: at its first batch, or where the state that was taken up says."""
        if not self._taken_up or self.epoch != self._wanted:
            self.epoch, self.done = self._wanted, 0
        self._taken_up = False

    def advance(self) -> None:
        """Count a micro-step: its batches have been handed over on every rank."""
        self.done = min(self.done + self.ranks, len(self.plan))

    def __iter__(self) -> Iterator[PlannedBatch]:
        batches, done = self.plan.epoch(self.epoch), self.done
        rest = batches[done : int(min(len(batches), self._limit() * self.ranks))]
        targets = [sum(self.plan.targets[index] for index in batch) for batch in rest]
        # Steps are counted from the beginning of the epoch, in micro-steps of as many ranks as there are now.
        first, accumulated = len(self) - self._micro_steps(len(batches) - done), self._accumulated()
        steps: Counter[int] = Counter()
        for place, count in enumerate(targets):
            steps[(first + place // self.ranks) // accumulated] += count
        for micro_step in range(self._micro_steps(len(rest))):
            place, step_targets = micro_step * self.ranks + self.rank, steps[(first + micro_step) // accumulated]
            if place < len(rest):
                yield PlannedBatch(rest[place], targets[place], step_targets)
            else:
                yield PlannedBatch(batches[(place - len(rest)) % len(batches)], 0, step_targets)

    def planned(self) -> Taught:
        """What the batches of the plan that have been handed over teach, over all ranks and from the first epoch on, by source."""
        found = self.plan.taught(self.epoch, self.done)
        for epoch in range(self.epoch):
            found.update(self.plan.taught(epoch, self._limit() * self.ranks))
        return found

    def state_dict(self) -> dict[str, Any]:
        """Where in the plan training is."""
        return {
            "epoch": self.epoch,
            "batches_done": self.done,
            "batches": len(self.plan),
            "seed": self.plan.seed,
            "plan": self.plan.fingerprint,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on there.

        Raises:
            SettingError: The state is of another plan.
        """
        if state["plan"] != self.plan.fingerprint:
            raise SettingError(
                "the batches of this training are not those that the checkpoint is in the middle of: seed, budget, lengths or order of"
                " the examples differ; give the same data and settings, or begin a new run in another --run_dir, with --init_from"
                " instead of --ckpt_path if its weights are wanted"
            )
        self.epoch = self._wanted = state["epoch"]
        self.done = state["batches_done"]
        self._taken_up = True


class TrainingLoader(DataLoader[Any]):
    """Batches of a `PlanSampler`, counted when they are handed over, however many more the workers have made ahead.

    Nothing is asked of the sampler before the first batch is wanted: Lightning makes the iterator before it says which epoch it is of.
    """

    sampler: PlanSampler

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        """Batches of the rest of an epoch."""
        self.sampler.begin()
        for batch in super().__iter__():
            self.sampler.advance()
            yield batch

    def check_interval(self, trainer: pl.Trainer) -> None:
        """Hold the batches between two validations against those of an epoch, which nobody knows before the data are read.

        Raises:
            SettingError: No epoch would come to a validation.
        """
        interval, limit = trainer.val_check_interval, trainer.limit_train_batches
        number = min(len(self), limit) if isinstance(limit, int) else int(len(self) * limit)
        if isinstance(interval, int) and interval > number and trainer.check_val_every_n_epoch is not None and trainer.limit_val_batches:
            raise SettingError(
                f"trainer.val_check_interval is {interval}, but an epoch has {number} batches; give fewer or a share of an epoch such as"
                " 0.5, or trainer.check_val_every_n_epoch: null, which counts batches over epochs"
            )
