"""The base of encoder modules: a pretrained encoder with marker tokens, and task heads on top of it."""

from __future__ import annotations

import torch

from clinical_ie.errors import SettingError
from clinical_ie.models.encoder import Encoder
from clinical_ie.modules.tuned_module import TunedModule


class EncoderModule(TunedModule):
    """Base of modules with an encoder and heads. Its options are those of `TunedModule`."""

    backbone: Encoder

    def configure_model(self) -> None:
        """Load the encoder and make the heads, once, where the strategy wants them."""
        if "backbone" in self._modules:
            return
        if self.quantized is not None:
            raise SettingError("weights in few bits are for decoders; an encoder is small beside what trains it (quantized: null)")
        self.backbone = Encoder(
            self.backbone_name,
            peft=self.peft,
            freeze=self.frozen_base,
            dropout=self.backbone_dropout,
            gradient_checkpointing=self.gradient_checkpointing,
            markers=self.markers(),
        )
        self.heads = self.make_heads(self.backbone.hidden)

    def markers(self) -> list[list[int]]:
        """For each marker token the sub-words that initialise its embedding."""
        return []

    def make_heads(self, hidden: int) -> torch.nn.Module:
        """The heads on an encoder of this width."""
        raise NotImplementedError
