"""Which base a checkpoint without base weights needs."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import Any

import torch
from transformers import PreTrainedModel

from clinical_ie.errors import SettingError


@dataclass(frozen=True, slots=True)
class BaseIdentity:
    """Name, revision where the hub gave one, and a SHA-256 over the names, shapes and values of all weights."""

    name: str
    revision: str | None
    sha256: str

    @classmethod
    def of(cls, name: str, model: PreTrainedModel) -> BaseIdentity:
        """The identity of weights as they were loaded, before any adapter.

        Of a quantised model only what is not packed: how it is rounded differs from device to device.
        """
        digest = hashlib.sha256()
        weights = model.state_dict()
        if getattr(model, "is_quantized", False):
            weights = {key: value.data for key, value in model.named_parameters() if value.is_floating_point()}
        for key, tensor in sorted(weights.items()):
            digest.update(f"{key} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        return cls(name, getattr(model.config, "_commit_hash", None), digest.hexdigest())

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        return asdict(self)

    def check(self, needed: dict[str, Any]) -> None:
        """Compare with what a checkpoint says that it needs.

        Raises:
            SettingError: The weights are others.
        """
        if needed["sha256"] != self.sha256:
            revision = f", revision {needed['revision']}" if needed["revision"] else ""
            raise SettingError(
                f"the checkpoint holds trained parameters for the base {needed['name']}{revision} (SHA-256 {needed['sha256'][:16]}...),"
                f" but {self.name} has other weights ({self.sha256[:16]}...); give the base that it was trained on"
            )
