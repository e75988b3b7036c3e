"""The base of encoder modules: a pretrained encoder with marker tokens, and task heads on top of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from clinical_ie.data.padding import Batch
from clinical_ie.errors import SettingError
from clinical_ie.models.encoder import Encoder
from clinical_ie.models.encoder_classes import small_copy
from clinical_ie.models.encoder_probe import EncoderProbe, Tuning
from clinical_ie.models.folders import known_config
from clinical_ie.models.learning_rates import tells_layers_apart
from clinical_ie.modules.tuned_module import TunedModule
from clinical_ie.tasks.task import DIRECTED_ATTENTION, SHARED_POSITIONS, Task

_LOG = logging.getLogger(__name__)


class EncoderModule(TunedModule):
    """Base of modules with an encoder and heads. Its options are those of `TunedModule`."""

    backbone: Encoder
    _checked: tuple[type, tuple[str, ...]] | None = None

    def check(self, task: Task[Any], *, training: bool, precision: str = "32-true") -> None:
        """Refuse, before anything is read, what the encoder cannot do.

        Raises:
            SettingError: The architecture cannot do what the task needs, cannot be tuned as the settings have it, or not in the precision.
        """
        if self.quantized is not None:
            raise SettingError("weights in few bits are for decoders; an encoder is small beside what trains it (quantized: null)")
        tuning = Tuning(self.peft, self.frozen_base, self.backbone_dropout, self.gradient_checkpointing)
        config = known_config(self.backbone_name)
        kind = f"{self.backbone_name}, a {config.model_type},"
        probe = EncoderProbe(self.backbone_name, config, tuning)
        abilities = {SHARED_POSITIONS: probe.shares_positions, DIRECTED_ATTENTION: probe.directs_attention}
        for need, remedy in task.needs.items():
            if not abilities[need]():
                raise SettingError(f"{kind} has not what {type(task).__name__} needs ({need}); {remedy}")
        inputs = {"positions": SHARED_POSITIONS in task.needs, "directed": DIRECTED_ATTENTION in task.needs}
        probe.check(training=training, **inputs)
        if training and self.layer_decay != 1 and not tells_layers_apart(small_copy(config)):
            raise SettingError(
                f"model.init_args.layer_decay is {self.layer_decay}, but {kind} has no layers with weights of their own; leave it out"
            )
        if not probe.computes_in(precision, **inputs):
            raise SettingError(f"{self.backbone_name} cannot be trained in {precision}; give --trainer.precision=32-true")
        if self._checked is None and not probe.ignores_padding():
            rank_zero_only(_LOG.warning)(
                f"{kind} reads padding, too: what it finds in a text depends on the texts of its batch; --data.eval_batch_budget=1 reads"
                " each window alone where nothing is trained"
            )
        self._checked = type(task), tuple(task.needs)

    def configure_model(self) -> None:
        """Load the encoder and make the heads, once, where the strategy wants them."""
        if "backbone" in self._modules:
            return
        tasks: Mapping[str, Task[Any]] = getattr(getattr(self._trainer, "datamodule", None), "tasks", {})
        for task in tasks.values():
            if self._checked != (type(task), tuple(task.needs)):  # of a trainer without our command line
                self.check(task, training=bool(self.trainer.training))
        with self.loading():
            self.backbone = Encoder(
                self.backbone_name,
                peft=self.peft,
                freeze=self.frozen_base,
                dropout=self.backbone_dropout,
                gradient_checkpointing=self.gradient_checkpointing,
                base_dtype=self.held_dtype(),
                markers=self.markers(),
            )
            self.heads = self.make_heads(self.backbone.hidden)

    def markers(self) -> list[list[int]]:
        """For each marker token the sub-words that initialise its embedding."""
        return []

    def make_heads(self, hidden: int) -> torch.nn.Module:
        """The heads on an encoder of this width."""
        raise NotImplementedError

    def forward_batch(self, batch: Batch) -> Any:
        """The forward pass: what the loss and the outputs of a batch are computed from."""
        raise NotImplementedError

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss, as its share of the mean over all targets of the optimizer step."""
        return self.step_loss(batch, self._loss(batch, self.forward_batch(batch)))

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """Example id -> output; and the loss."""
        computed = self.forward_batch(batch)
        self.add_dev_loss(self._loss(batch, computed), batch["batch_targets"])
        return self._outputs(batch, computed)

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """Example id -> output."""
        return self._outputs(batch, self.forward_batch(batch))

    predict_step = test_step

    def _loss(self, batch: Batch, computed: Any) -> Tensor:
        """Summed over the targets of the batch."""
        raise NotImplementedError

    def _outputs(self, batch: Batch, computed: Any) -> dict[str, Any]:
        """Example id -> output."""
        raise NotImplementedError
