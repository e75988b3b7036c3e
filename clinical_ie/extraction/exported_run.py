"""A model that `clinical-ie export` has written: its weights as other software reads them, and how to ask it, in one YAML file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from clinical_ie.corpora.yaml_file import YamlFile
from clinical_ie.errors import FileFormatError
from clinical_ie.extraction.trained_run import TrainedRun
from clinical_ie.files import read_text, write_text

SETTINGS = "clinical_ie.yaml"
HEADS = "heads.safetensors"
"""What lies on top of an encoder."""
CALIBRATION = "calibration.json"
LEARNED = "learned.json"
"""Hashes of the ids of all notes that the run has learned from or was chosen by: an export is passed on, and ids may tell patients."""
_KEYS = ("model", "data", "schemas", "identity", "whole")
_LATER = ("dtype",)
"""Of newer exports."""


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
        if not isinstance(data, dict) or set(data) - {*_LATER} != {*_KEYS}:
            raise FileFormatError(self.config, 0, "not the settings of an exported model", expected=", ".join(_KEYS))
        self._data: dict[str, Any] = data

    @property
    def schemas(self) -> dict[str, Any]:
        """Corpus -> schema as plain data."""
        return dict(self._data["schemas"])

    @property
    def identity(self) -> str:
        """That of the run, and in which form and type of weights it was exported, for both round."""
        dtype = self._data.get("dtype")
        return f"{self._data['identity']}, exported {'whole' if self._data['whole'] else 'as an adapter'}{f' in {dtype}' if dtype else ''}"

    @property
    def needs_base(self) -> bool:  # type: ignore[override]
        """Whether it is an adapter."""
        return not self._data["whole"]

    def learned(self, names: Iterable[str]) -> set[str] | None:
        """See `TrainedRun.learned`."""
        path = self.folder / LEARNED
        if not path.is_file():
            return None
        try:
            data = json.loads(read_text(path))
            salt, known = str(data["salt"]), set(data["notes"])
        except (ValueError, KeyError, TypeError):
            raise FileFormatError(path, 0, "damaged", expected="what `clinical-ie export` writes") from None
        return {name for name in names if _mark(salt, name) in known}

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


def _mark(salt: str, name: str) -> str:
    return hashlib.sha256(f"{salt}\0{name}".encode("utf-8", "surrogatepass")).hexdigest()[:16]


def write_settings(folder: Path, run: TrainedRun, *, dtype: str | None, changed: Mapping[str, Any]) -> None:
    """Write how an exported model is asked, for `clinical-ie extract`, and which notes prove nothing of it.

    Args:
        folder: That of the export.
        run: Whose model it is.
        dtype: Of the weights of a whole model; None of an adapter.
        changed: Arguments of the model in place of those of the run.
    """
    given = run.setting("model")
    model = {**given, "init_args": {**given["init_args"], **changed}}
    data = {"tasks": run.setting("data", "tasks")}
    settings = {"model": model, "data": data, "schemas": run.schemas, "identity": run.identity, "whole": dtype is not None}
    settings |= {} if dtype is None else {"dtype": dtype}
    write_text(folder / SETTINGS, yaml.safe_dump(settings, sort_keys=False, allow_unicode=True))
    if (known := run.learned_ids) is not None:
        salt = run.identity  # so that hashes of two runs cannot be compared
        learned = {"salt": salt, "notes": sorted(_mark(salt, name) for name in known)}
        write_text(folder / LEARNED, json.dumps(learned, indent=0) + "\n")
