"""A model that `clinical-ie export` has written: its weights as other software reads them, and how to ask it, in one YAML file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from clinical_ie.corpora.yaml_file import YamlFile
from clinical_ie.errors import FileFormatError
from clinical_ie.extraction.trained_run import TrainedRun
from clinical_ie.files import write_text

SETTINGS = "clinical_ie.yaml"
HEADS = "heads.safetensors"
"""What lies on top of an encoder."""
CALIBRATION = "calibration.json"
_KEYS = ("model", "data", "schemas", "identity", "whole")


class ExportedRun(TrainedRun):
    """What an exported folder holds, in the place of the run that it comes from.

    Args:
        folder: With ``clinical_ie.yaml`` beside an adapter or a whole model.

    Raises:
        FileFormatError: The file is damaged.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.config = self.folder / SETTINGS
        data = YamlFile(self.config, expected="what `clinical-ie export` writes").data
        if not isinstance(data, dict) or set(data) != set(_KEYS):
            raise FileFormatError(self.config, 0, "not the settings of an exported model", expected=", ".join(_KEYS))
        self._data: dict[str, Any] = data

    @property
    def schemas(self) -> dict[str, Any]:
        """Corpus -> schema as plain data."""
        return dict(self._data["schemas"])

    @property
    def identity(self) -> str:
        """That of the run, and whether it was merged: which rounds."""
        return f"{self._data['identity']}, exported {'whole' if self._data['whole'] else 'as an adapter'}"

    def model(self, **changed: Any) -> Any:
        """The model with its weights, in evaluation mode and on the CPU.

        Args:
            changed: Arguments of the model in place of those of the run, such as where the base of an adapter lies now.
        """
        if self._data["whole"]:
            changed = {**changed, "backbone": str(self.folder)}
        from clinical_ie.models.encoder import Encoder

        model = self._untrained(self.schemas, changed)
        model.configure_model()
        if not self._data["whole"]:
            from peft import set_peft_model_state_dict
            from safetensors.torch import load_file

            set_peft_model_state_dict(model.backbone.model, load_file(self.folder / "adapter_model.safetensors"))
        elif isinstance(model.backbone, Encoder):
            _put_on(model, self.folder / HEADS)
        if (known := self.folder / CALIBRATION).is_file():
            model.calibration = json.loads(known.read_text(encoding="utf-8"))
        return model.eval()


def _put_on(model: Any, heads: Path) -> None:
    """Load what lies on top of an encoder, whose own weights are loaded.

    Raises:
        FileFormatError: It is not all that does, or something else.
    """
    from safetensors.torch import load_file

    if not heads.is_file():
        raise FileFormatError(heads, 0, "no such file", expected="what `clinical-ie export` writes, all of it")
    own = {id(value) for value in model.backbone.base.state_dict(keep_vars=True).values()}
    wanted = {name for name, value in model.state_dict(keep_vars=True).items() if id(value) not in own}
    found = load_file(heads)
    if strange := sorted(wanted ^ set(found)):
        raise FileFormatError(
            heads,
            0,
            f"{strange[0]} is {'missing' if strange[0] in wanted else 'not of this model'}",
            expected="what `clinical-ie export` writes",
        )
    model.load_state_dict(found, strict=False)


def write_settings(folder: Path, run: TrainedRun, *, whole: bool, changed: Mapping[str, Any]) -> None:
    """Write how an exported model is asked, for `clinical-ie extract`.

    Args:
        folder: That of the export.
        run: Whose model it is.
        whole: Whether the folder holds a whole model; else an adapter.
        changed: Arguments of the model in place of those of the run.
    """
    given = run.setting("model")
    model = {**given, "init_args": {**given["init_args"], **changed}}
    data = {"tasks": run.setting("data", "tasks")}
    settings = {"model": model, "data": data, "schemas": run.schemas, "identity": run.identity, "whole": whole}
    write_text(folder / SETTINGS, yaml.safe_dump(settings, sort_keys=False, allow_unicode=True))
