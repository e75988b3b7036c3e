"""What is counted is what the batch says, so that no step waits for the device."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch

from clinical_ie.callbacks.throughput import Throughput


def test_no_step_reads_from_the_device() -> None:
    """A mask without storage, as good as one on a device that is busy: nothing but its shape can be had at once."""
    throughput, logged = Throughput(), {}
    other = torch.tensor([10, 80])  # another rank's sub-words and places
    ranks = SimpleNamespace(reduce=lambda mine, reduce_op: mine + other)
    trainer: Any = SimpleNamespace(global_step=1, log_every_n_steps=2, world_size=2, strategy=ranks)
    module: Any = SimpleNamespace(log=lambda name, value: logged.update({name: value}), device=torch.device("cpu"))
    batch = {"attention_mask": torch.ones(4, 10, device="meta"), "subwords": 30}
    throughput.on_train_epoch_start(trainer, module)
    throughput.on_train_batch_end(trainer, module, None, batch, 0)
    assert not logged
    trainer.global_step = 2
    throughput.on_train_batch_end(trainer, module, None, {**batch, "subwords": 20}, 1)
    assert throughput.total_real == 50
    assert logged["train/padding_share"] == 1 - 60 / 160, "of both ranks"
    assert logged["train/tokens_per_second"] > 0
