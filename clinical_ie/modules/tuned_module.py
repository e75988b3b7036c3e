"""The base of all modules: parameter-efficient or full fine-tuning of a backbone, its optimizer, and adapter-only checkpoints."""

from __future__ import annotations

from dataclasses import asdict
from functools import cached_property
from typing import Any, ClassVar

import lightning.pytorch as pl
import torch
from peft import PeftConfig
from torch import Tensor

from clinical_ie.data.collation import Batch
from clinical_ie.data.tokenization import load_tokenizer
from clinical_ie.errors import SettingError
from clinical_ie.models.base_identity import check_config, check_tokenizer, config_identity, tokenizer_identity
from clinical_ie.models.decoder import Decoder
from clinical_ie.models.encoder import Encoder
from clinical_ie.models.learning_rates import parameter_groups
from clinical_ie.models.quantization import Quantized
from clinical_ie.modules.schedules import Schedule, warmup_schedule
from clinical_ie.schema import Schema
from clinical_ie.tasks.task import Task

_IRRELEVANT_PEFT_SETTINGS = {"peft_version", "base_model_name_or_path", "revision", "inference_mode", "auto_mapping"}
"""They change no output."""


class TunedModule(pl.LightningModule):
    """Base of modules with a pretrained backbone and perhaps heads on top of it.

    Args:
        backbone: Hub name, local folder, or ``package:NAME/FOLDER``.
        schemas: Corpus -> schema as plain data; the command line links it to the data. It goes into the
            checkpoint, so that a model decodes without its corpora.
        learning_rate: Peak rate of the backbone's top layer.
        head_learning_rate: Peak rate of heads and marker tokens; that of the backbone when None.
        adapter_learning_rate: Peak rate of adapters; that of the backbone when None.
        layer_decay: Layer-wise learning rate decay: rate of a layer relative to the one above it.
        weight_decay: AdamW's, of matrices; biases and norms have none.
        schedule: How the rate falls after the warm-up.
        warmup_share: Share of all steps for the warm-up.
        dropout: Before the heads.
        backbone_dropout: Replaces the backbone's own; None keeps that.
        peft: Parameter-efficient tuning, such as ``peft.LoraConfig``; None for none.
        freeze: Freeze the backbone's own weights; by default where `peft` is given.
        gradient_checkpointing: Recompute activations in the backward pass: less memory, more time.
        quantized: Hold the frozen weights of a decoder's linear layers in so few bits (needs the extra ``qlora``); None for full
            precision.
    """

    supported_tasks: ClassVar[type[Task] | tuple[type[Task], ...]]  # type: ignore[type-arg]
    """The tasks whose batches it takes."""
    fits_any_schema: ClassVar[bool] = False
    """Whether types come with the data, so that its weights answer for corpora that it has learned nothing from."""

    def __init__(
        self,
        backbone: str,
        schemas: dict[str, Any],
        *,
        learning_rate: float = 2e-5,
        head_learning_rate: float | None = None,
        adapter_learning_rate: float | None = None,
        layer_decay: float = 1.0,
        weight_decay: float = 0.01,
        schedule: Schedule = "linear",
        warmup_share: float = 0.1,
        dropout: float = 0.1,
        backbone_dropout: float | None = None,
        peft: PeftConfig | None = None,
        freeze: bool | None = None,
        gradient_checkpointing: bool = False,
        quantized: Quantized | None = None,
    ) -> None:
        super().__init__()
        self.backbone_name = backbone
        self.schemas = {name: Schema.from_dict(schema) for name, schema in schemas.items()}
        self.learning_rate = learning_rate
        self.head_learning_rate = learning_rate if head_learning_rate is None else head_learning_rate
        self.adapter_learning_rate = learning_rate if adapter_learning_rate is None else adapter_learning_rate
        self.layer_decay, self.weight_decay = layer_decay, weight_decay
        self.schedule: Schedule = schedule
        self.warmup_share, self.dropout, self.backbone_dropout = warmup_share, dropout, backbone_dropout
        self.peft, self.frozen_base, self.gradient_checkpointing = peft, freeze, gradient_checkpointing
        self.quantized = quantized
        self.strict_loading = quantized is None  # what is packed is loaded with the base; `on_load_checkpoint` looks at all names
        self.backbone: Encoder | Decoder
        self.heads: torch.nn.Module

    def configure_model(self) -> None:
        """Load the backbone and make the heads, once, where the strategy wants them."""
        raise NotImplementedError

    def output_space(self, schemas: dict[str, Schema]) -> Any:
        """The labels of the heads' outputs, in order, as plain data; a checkpoint fits where it is equal."""
        raise NotImplementedError

    def remaining_outputs(self) -> dict[str, Any]:
        """Outputs of a pass over data that no step has returned; to be asked for on all ranks at the pass's end."""
        return {}

    def _tuning_settings(self) -> dict[str, str]:
        """What adapters compute with beside their weights, and whether the base is trained."""
        values = {} if self.peft is None else asdict(self.peft)
        kept = {name: value for name, value in values.items() if name not in _IRRELEVANT_PEFT_SETTINGS and "dropout" not in name}
        bits = {} if self.quantized is None else {"quantized": self.quantized}
        return {
            "freeze": str(self.backbone.freeze),
            **bits,
            **{name: str(sorted(v) if isinstance(v, set) else v) for name, v in kept.items()},
        }

    @cached_property
    def _tokenizer(self) -> dict[str, str]:
        """How the tokenizer cuts texts."""
        return tokenizer_identity(load_tokenizer(self.backbone_name))

    def _frozen_entries(self) -> set[str]:
        """Names in the state dict whose weights are those of the frozen base."""
        if not self.backbone.freeze:
            return set()
        trained = {name for name, parameter in self.named_parameters() if parameter.requires_grad}
        return {name for name in self.state_dict() if name.startswith("backbone.") and name not in trained}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add schemas and tuning settings; replace the weights of a frozen base by its identity."""
        checkpoint["schemas"] = {name: schema.to_dict() for name, schema in self.schemas.items()}
        checkpoint["tuning"] = self._tuning_settings()
        checkpoint["tokenizer"] = self._tokenizer
        checkpoint["backbone_config"] = config_identity(self.backbone.base)
        if self.backbone.identity is not None:
            checkpoint["base"] = self.backbone.identity.to_dict()
            left_out = self._frozen_entries()
            for key in ("state_dict", "current_model_state"):  # the second is what weight averaging puts aside
                if key in checkpoint:
                    checkpoint[key] = {
                        name: value for name, value in checkpoint[key].items() if name.removeprefix("module.") not in left_out
                    }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse weights of other labels or of another base; add the weights of the base.

        Raises:
            SettingError: The checkpoint was trained for other corpora or types (or another order of them), on another
                base, with another tokenizer or config.json, or with another way of tuning.
        """
        saved = self.output_space({name: Schema.from_dict(schema) for name, schema in checkpoint["schemas"].items()})
        ours = self.output_space(self.schemas)
        if saved != ours:
            raise SettingError(f"the checkpoint was trained for {saved}, but the data has {ours}; use the run's own config.yaml")
        check_tokenizer(self.backbone_name, self._tokenizer, checkpoint["tokenizer"])
        check_config(self.backbone_name, config_identity(self.backbone.base), checkpoint["backbone_config"])
        tuning, needed = self._tuning_settings(), checkpoint["tuning"]
        if tuning != needed:
            keys = sorted(key for key in needed.keys() | tuning.keys() if needed.get(key) != tuning.get(key))
            changes = ", ".join(f"{key} was {needed.get(key)}, now it is {tuning.get(key)}" for key in keys)
            raise SettingError(f"the checkpoint was trained in another way: {changes}; use the run's own config.yaml")
        state = checkpoint["state_dict"]
        mine = self.state_dict()
        if "base" in checkpoint and self.backbone.identity is not None:
            self.backbone.identity.check(checkpoint["base"])
            base = {name: mine[name] for name in self._frozen_entries()}
            for name, value in base.items():
                state.setdefault(name, value)
            if "current_model_state" in checkpoint:
                checkpoint["current_model_state"] = {**base, **checkpoint["current_model_state"]}
        if set(state) != set(mine):
            differing = sorted(set(state) ^ set(mine))
            raise SettingError(
                f"the checkpoint was trained with other heads, adapters or frozen parts ({len(differing)} names differ, such as"
                f" {differing[0]}); use the run's own config.yaml"
            )
        shapes = [
            f"{name} {tuple(state[name].shape)} -> {tuple(mine[name].shape)}" for name in mine if state[name].shape != mine[name].shape
        ]
        if shapes:
            raise SettingError(
                f"the checkpoint was trained with heads or a backbone of another size ({len(shapes)} weights, such as {shapes[0]});"
                " use the run's own config.yaml"
            )
        if self.quantized is not None:
            for name in self._frozen_entries():
                del state[name]

    def step_loss(self, batch: Batch, total: Tensor) -> Tensor:
        """A training batch's share of the mean over all targets of its optimizer step; logs the mean over its own.

        Args:
            batch: With ``batch_targets`` and ``step_targets``.
            total: The loss, summed over the targets of the batch.
        """
        own = batch["batch_targets"]
        self.log("train/loss", total.detach() / max(1, own), prog_bar=True, batch_size=own)
        # Lightning divides by the batches that are accumulated and by the ranks; the sum over them has a denominator of its own. A
        # batch that teaches nothing only fills up a turn.
        shares = self.trainer.accumulate_grad_batches * self.trainer.world_size
        return total * (shares / batch["step_targets"] if own else 0.0)

    def log_dev_loss(self, batch: Batch, total: Tensor) -> None:
        """Log what adds up to the mean over all targets of the development part."""
        own = batch["batch_targets"]
        self.log("dev/loss", total / max(1, own), batch_size=own, sync_dist=True)

    def configure_optimizers(self) -> Any:
        """AdamW with layer-wise rates, stepped by the schedule."""
        groups = list(
            parameter_groups(
                self.backbone,
                self.heads,
                learning_rate=self.learning_rate,
                head_learning_rate=self.head_learning_rate,
                adapter_learning_rate=self.adapter_learning_rate,
                layer_decay=self.layer_decay,
                weight_decay=self.weight_decay,
            )
        )
        optimizer = torch.optim.AdamW(groups, fused=True)
        # Fused AdamW announces that it can unscale gradients itself, and Lightning then refuses to clip them. Without the
        # announcement any scaler unscales first, as with every other optimizer.
        optimizer._step_supports_amp_scaling = False
        steps = int(self.trainer.estimated_stepping_batches)
        scheduler = warmup_schedule(optimizer, self.schedule, self.warmup_share, steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
