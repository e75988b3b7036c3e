"""A Hugging Face tokenizer as the text side sees it."""

from __future__ import annotations

from functools import lru_cache

from transformers import AutoTokenizer, BertTokenizer, PreTrainedTokenizerBase
from transformers.models.auto.tokenization_auto import get_tokenizer_config

from clinical_ie.document import Fragment
from clinical_ie.errors import SettingError
from clinical_ie.models.folders import load_config, locate


@lru_cache(maxsize=4)
def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """A fast tokenizer; where a BERT folder does not say whether it lower-cases, the vocabulary does.

    Raises:
        SettingError: Nothing there, or only a slow one, which cannot tell offsets.
    """
    folder = locate(name)
    try:
        config = load_config(folder)
    except (OSError, ValueError):
        config = None  # a tokenizer may come without a model
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, config=config, trust_remote_code=False)
        silent = isinstance(tokenizer, BertTokenizer) and "do_lower_case" not in get_tokenizer_config(folder)
        if silent and _is_cased(tokenizer):
            tokenizer = AutoTokenizer.from_pretrained(folder, config=config, trust_remote_code=False, do_lower_case=False)
    except (OSError, ValueError) as error:
        raise SettingError(f"{name}: no tokenizer can be loaded ({str(error).partition(chr(10))[0]})") from error
    if not tokenizer.is_fast:
        raise SettingError(f"{name}: only a slow tokenizer, which has no character offsets; expected a tokenizer.json or vocab.txt")
    return tokenizer


def _is_cased(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether more than a stray entry of the vocabulary would be lost by lower-casing."""
    added = tokenizer.get_added_vocab()
    words = [entry for entry in tokenizer.get_vocab() if entry not in added and not entry.startswith("[")]
    return sum(entry != entry.lower() for entry in words) > len(words) // 100


class Subwords:
    """Sub-words with character offsets (implements `clinical_ie.tasks.task.SubwordEncoder`)."""

    def __init__(self, name: str) -> None:
        tokenizer = load_tokenizer(name)
        self.pad_id: int = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
        self._backend = tokenizer.backend_tokenizer
        self._backend.no_truncation()
        self._backend.no_padding()
        probe = tokenizer("a", add_special_tokens=True)["input_ids"]
        inner = tokenizer("a", add_special_tokens=False)["input_ids"]
        start = next(index for index in range(len(probe)) if probe[index : index + len(inner)] == inner)
        self.prefix: list[int] = list(probe[:start])
        self.suffix: list[int] = list(probe[start + len(inner) :])

    def encode(self, text: str) -> tuple[list[int], list[Fragment]]:
        """Sub-word ids of a text, without special ones, and the characters that each covers."""
        encoding = self._backend.encode(text, add_special_tokens=False)
        return encoding.ids, encoding.offsets
