"""Dequantised GGUF files (llama.cpp) as Hugging Face folders: converted once, kept in the user's cache."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from clinical_ie.errors import SettingError
from clinical_ie.files import give_umask_modes
from clinical_ie.models.file_hashes import one_process, user_cache, weights_digest

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def convert_gguf(file: Path) -> str:
    """A Hugging Face folder with the weights of a GGUF file in full precision, and its tokenizer.

    Conversion takes some seconds and happens once for each file; results lie in ``$XDG_CACHE_HOME/clinical_ie`` (``~/.cache``).

    Raises:
        SettingError: The file cannot be read, the cache not written, or the package ``gguf`` is not installed.
    """
    folder = user_cache() / f"{file.stem}-{weights_digest([file])[:16]}"
    if not folder.is_dir():
        with one_process(folder):  # each rank would hold the whole model
            if not folder.is_dir():
                _convert(file, folder)
    return str(folder)


def _convert(file: Path, folder: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    partial = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        partial.mkdir(parents=True)
    except OSError as error:
        raise SettingError(
            f"{file}: {folder.parent}, where it is converted to, cannot be written to ({error.strerror}); name another cache by"
            " XDG_CACHE_HOME"
        ) from error
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(file.parent), gguf_file=file.name)
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            str(file.parent), gguf_file=file.name, quantization_config=GgufConfig(dequantize=True)
        )
        model.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
        give_umask_modes(partial)
        try:
            partial.rename(folder)
        except OSError:  # another process was faster
            if not folder.is_dir():
                raise
    except (OSError, ValueError, ImportError, KeyError) as error:
        raise SettingError(f"{file}: cannot be converted ({str(error).partition(chr(10))[0]})") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
