"""A Hugging Face tokenizer as the text side sees it.

Everything in a note is text: what spells a special token is encoded as its characters, and a symbol that is glued to a word is set
apart, as BERT does with punctuation, where the vocabulary lacks the two together and the word would be one unknown token.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

from transformers import AutoTokenizer, BertTokenizer, PreTrainedTokenizerBase
from transformers.models.auto.tokenization_auto import get_tokenizer_config

from clinical_ie.document import Fragment
from clinical_ie.errors import SettingError
from clinical_ie.models.folders import load_config, locate
from clinical_ie.tasks.units import ZERO_WIDTH_JOINER, extends


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
        self.unknown_id: int | None = tokenizer.unk_token_id
        self._special_tokens = {index: token.content for index, token in self._backend.get_added_tokens_decoder().items() if token.special}
        probe = tokenizer("a", add_special_tokens=True)["input_ids"]
        inner = tokenizer("a", add_special_tokens=False)["input_ids"]
        start = next(index for index in range(len(probe)) if probe[index : index + len(inner)] == inner)
        self._last: tuple[str | None, tuple[list[int], list[Fragment]]] = None, ([], [])
        self.prefix: list[int] = list(probe[:start])
        self.suffix: list[int] = list(probe[start + len(inner) :])

    def encode(self, text: str) -> tuple[list[int], list[Fragment]]:
        """Sub-word ids of a text, without special ones, and the characters that each covers."""
        if text is self._last[0]:
            return self._last[1]
        ids, offsets = self._tokens(text)
        if not self._special_tokens.keys().isdisjoint(ids):
            ids, offsets = self._special_tokens_spelled(text, ids, offsets)
        if self.unknown_id is not None and self.unknown_id in ids:
            ids, offsets = self._symbols_apart(text, ids, offsets)
        self._last = text, (ids, offsets)  # a note is looked at more than once before the next
        return ids, offsets

    def _tokens(self, text: str) -> tuple[list[int], list[Fragment]]:
        self._backend.encode_special_tokens = True
        try:
            encoding = self._backend.encode(text, add_special_tokens=False)
        finally:
            self._backend.encode_special_tokens = False  # the tokenizer is shared, and templates need its special tokens
        return encoding.ids, encoding.offsets

    def _special_tokens_spelled(self, text: str, ids: list[int], offsets: list[Fragment]) -> tuple[list[int], list[Fragment]]:
        """Characters in place of special tokens: a vocabulary may hold ``<s>`` among its words, where a unigram model finds it."""
        found: list[int] = []
        places: list[Fragment] = []
        for token, (start, end) in zip(ids, offsets, strict=True):
            name = self._special_tokens.get(token)
            spelled = []
            if name is not None and text[start:end].strip() == name:
                characters = [self._backend.token_to_id(character) for character in name]
                spelled = [index for character in characters if (index := self.unknown_id if character is None else character) is not None]
            if name is not None and len(spelled) == len(name):
                found += spelled
                places += [(place, place + 1) for place in range(end - len(name), end)]
            else:
                found.append(token)
                places.append((start, end))
        return found, places

    def _symbols_apart(self, text: str, ids: list[int], offsets: list[Fragment]) -> tuple[list[int], list[Fragment]]:
        """Unknown words once more, in parts, where that makes a word known."""
        encoded: dict[str, tuple[list[int], list[Fragment]]] = {}
        found: list[int] = []
        places: list[Fragment] = []
        for token, (start, end) in zip(ids, offsets, strict=True):
            parts = _parts(text, start, end) if token == self.unknown_id and end - start > 1 else []
            words = [text[first:last] for first, last in parts if not is_symbol(text[first])]
            if len(parts) > 1 and words:
                encoded |= {part: self._tokens(part) for first, last in parts if (part := text[first:last]) not in encoded}
                if any(self.unknown_id not in encoded[word][0] for word in words):
                    for first, last in parts:
                        inner, ranges = encoded[text[first:last]]
                        found += inner
                        places += [(first + a, first + b) for a, b in ranges]
                    continue
            found.append(token)
            places.append((start, end))
        return found, places


def is_symbol(character: str) -> bool:
    """Whether a character is set apart from words: symbols, numbers in circles and the like, full-width forms."""
    category = unicodedata.category(character)
    return category[0] == "S" or category in ("No", "Nl") or unicodedata.east_asian_width(character) == "F"


def _parts(text: str, start: int, end: int) -> list[Fragment]:
    """Runs of other characters and single symbols, each with what extends it."""
    cuts: list[int] = []
    in_symbol = False
    for place in range(start, end):
        character = text[place]
        if cuts and (extends(character) or ZERO_WIDTH_JOINER in (character, text[place - 1])):
            continue
        if is_symbol(character) or in_symbol or not cuts:
            cuts.append(place)
        in_symbol = is_symbol(character)
    return [(a, b) for a, b in zip(cuts, [*cuts[1:], end], strict=True)]
