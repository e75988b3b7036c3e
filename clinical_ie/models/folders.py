"""Resolving model names: a hub name, a local folder, a folder inside an installed package, or a GGUF file.

``package:NAME/FOLDER`` names a folder inside an installed Python package without importing it, so that
a model that was installed by pip is found offline.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING

from clinical_ie.errors import SettingError
from clinical_ie.models.gguf import convert_gguf

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

_PACKAGE = "package:"
_BERT_KEYS = {"vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "type_vocab_size"}


def locate(name: str) -> str:
    """The folder or hub name for ``from_pretrained``.

    Raises:
        SettingError: The package or folder does not exist.
    """
    if name.startswith(_PACKAGE):
        module, _, inside = name.removeprefix(_PACKAGE).partition("/")
        spec = importlib.util.find_spec(module)
        if spec is None or not spec.submodule_search_locations:
            raise SettingError(f"{name}: the package {module} is not installed; `make demo` installs the demo's models")
        folder = Path(next(iter(spec.submodule_search_locations))) / inside
        if folder.suffix == ".gguf" and folder.is_file():
            return convert_gguf(folder)
        if not folder.is_dir():
            raise SettingError(f"{name}: the package {module} has no folder {inside}")
        return str(folder)
    expanded = str(Path(name).expanduser())
    if os.path.isdir(expanded):
        return expanded
    if expanded.endswith(".gguf") and Path(expanded).is_file():
        return convert_gguf(Path(expanded))
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise SettingError(f"{name}: no such folder; expected a local folder, a hub name or package:NAME/FOLDER")
    return name


def load_config(folder: str) -> PreTrainedConfig:
    """The configuration in a folder or on the hub; one of before architectures had names (SpanBERT's) is a BERT's.

    Raises:
        OSError: Nothing there.
        ValueError: No architecture that transformers knows.
    """
    from transformers import AutoConfig, BertConfig, PreTrainedConfig

    values, _ = PreTrainedConfig.get_config_dict(folder)
    if "model_type" not in values and values.keys() >= _BERT_KEYS:
        return BertConfig.from_dict(values)
    config: PreTrainedConfig = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    return config
