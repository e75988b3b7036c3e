"""An encoder with tagging heads.

Shape legend: ``B`` rows, ``L`` sub-words, ``W`` units, ``H`` hidden.
"""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor
from transformers import PreTrainedModel

from clinical_ie.data.collation import Batch
from clinical_ie.errors import SettingError
from clinical_ie.models.backbones import load_encoder, parameter_groups
from clinical_ie.models.tagging_heads import Decoder, TaggingHeads
from clinical_ie.modules.schedules import Schedule, warmed_up
from clinical_ie.schema import Schema
from clinical_ie.tasks import bio


class EncoderTagger(pl.LightningModule):
    """Concept extraction by sequence tagging with any encoder.

    Args:
        backbone: Hub name, local folder, or ``package:NAME/FOLDER``.
        schemas: Corpus -> schema as plain data; the command line links it to the data. It goes into the
            checkpoint, so that a model decodes without its corpora.
        decoder: Linear-chain CRF, or softmax with the best legal row.
        learning_rate: Peak rate of the encoder's top layer.
        head_learning_rate: Peak rate of the heads; that of the encoder when None.
        layer_decay: Rate of a layer relative to the one above it.
        weight_decay: Of matrices; biases and norms have none.
        schedule: How the rate falls after the warm-up.
        warmup_share: Share of all steps for the warm-up.
        dropout: Before the heads.
        backbone_dropout: Replaces the encoder's own; None keeps that.
    """

    def __init__(
        self,
        backbone: str,
        schemas: dict[str, Any],
        *,
        decoder: Decoder = "crf",
        learning_rate: float = 2e-5,
        head_learning_rate: float | None = None,
        layer_decay: float = 1.0,
        weight_decay: float = 0.01,
        schedule: Schedule = "linear",
        warmup_share: float = 0.1,
        dropout: float = 0.1,
        backbone_dropout: float | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.backbone_name = backbone
        self.schemas = {name: Schema.from_dict(schema) for name, schema in schemas.items()}
        self.decoder: Decoder = decoder
        self.learning_rate = learning_rate
        self.head_learning_rate = learning_rate if head_learning_rate is None else head_learning_rate
        self.layer_decay, self.weight_decay = layer_decay, weight_decay
        self.schedule: Schedule = schedule
        self.warmup_share, self.dropout, self.backbone_dropout = warmup_share, dropout, backbone_dropout
        self.backbone: PreTrainedModel
        self.heads: TaggingHeads

    def configure_model(self) -> None:
        """Load the encoder and make the heads, once, where the strategy wants them."""
        if "backbone" in self._modules:
            return
        self.backbone = load_encoder(self.backbone_name, dropout=self.backbone_dropout)
        labels = {corpus: {layer: bio.labels(types) for layer, types in schema.layers.items()} for corpus, schema in self.schemas.items()}
        self.heads = TaggingHeads(int(self.backbone.config.hidden_size), labels, bio.legal, self.decoder, self.dropout)

    def units(self, batch: Batch) -> Tensor:
        """The encoder's vector of every unit.

        Shape:
            - result: ``(B, W, H)``
        """
        hidden: Tensor = self.backbone(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
        positions = batch["unit_positions"].unsqueeze(2).expand(-1, -1, hidden.shape[2])
        return hidden.gather(1, positions)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss per unit."""
        total = self.heads.loss(self.units(batch), batch["unit_mask"], batch["corpora"], batch["tags"])
        # By the mean number of units over ranks: the average of all ranks' gradients is then that of the mean over all units.
        loss = total / self.trainer.strategy.reduce(batch["unit_mask"].sum().float(), reduce_op="mean")
        self.log("train/loss", loss.detach(), prog_bar=True, batch_size=len(batch["corpora"]))
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """Example id -> tags by layer; and the loss."""
        units = self.units(batch)
        loss = self.heads.loss(units, batch["unit_mask"], batch["corpora"], batch["tags"]) / batch["unit_mask"].sum()
        self.log("dev/loss", loss, batch_size=int(batch["unit_mask"].sum()), sync_dist=True)
        return self._outputs(units, batch)

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """Example id -> tags by layer."""
        return self._outputs(self.units(batch), batch)

    def predict_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """Example id -> tags by layer."""
        return self._outputs(self.units(batch), batch)

    def _outputs(self, units: Tensor, batch: Batch) -> dict[str, Any]:
        rows = self.heads.decode(units, batch["unit_mask"], batch["corpora"])
        return dict(zip(batch["example_ids"], rows, strict=True))

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse weights whose tags mean something else.

        Raises:
            SettingError: The checkpoint was trained for other corpora, layers or types, or another order of them.
        """
        saved = {name: Schema.from_dict(schema).layers for name, schema in checkpoint["hyper_parameters"]["schemas"].items()}
        ours = {name: schema.layers for name, schema in self.schemas.items()}
        if saved != ours or [list(layers.items()) for layers in saved.values()] != [list(layers.items()) for layers in ours.values()]:
            raise SettingError(f"the checkpoint was trained for {saved}, but the data has {ours}; use the run's own config.yaml")

    def configure_optimizers(self) -> Any:
        """AdamW with layer-wise rates, stepped by the schedule."""
        groups = list(
            parameter_groups(
                self.backbone,
                self.heads,
                learning_rate=self.learning_rate,
                head_learning_rate=self.head_learning_rate,
                layer_decay=self.layer_decay,
                weight_decay=self.weight_decay,
            )
        )
        optimizer = torch.optim.AdamW(groups, fused=True)
        # Fused AdamW announces that it can unscale gradients itself, and Lightning then refuses to clip them. Without the
        # announcement any scaler unscales first, as with every other optimizer.
        optimizer._step_supports_amp_scaling = False
        steps = int(self.trainer.estimated_stepping_batches)
        scheduler = warmed_up(optimizer, self.schedule, self.warmup_share, steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
