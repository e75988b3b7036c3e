"""The bytes that each token of a vocabulary spells, and which tokens a grammar allows."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from transformers import PreTrainedTokenizerBase

from clinical_ie.errors import SettingError
from clinical_ie.prompts.grammar import Automaton, State


class _Node:
    """Tokens that end here, and where further bytes lead."""

    __slots__ = ("children", "tokens")

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.children: dict[int, _Node] = {}


class TokenBytes:
    """A vocabulary as a tree of bytes.

    Works for tokenizers that spell bytes in their tokens (GPT-2, Llama 3, SmolLM2) and for those that write blanks as ``▁`` and fall back
    to single bytes (Llama 2, Gemma, Mistral).

    Args:
        tokenizer: A fast tokenizer.

    Raises:
        SettingError: Tokens that do not tell what they spell.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        backend = json.loads(tokenizer.backend_tokenizer.to_str())
        kinds = _kinds(backend.get("decoder") or {})
        if "ByteLevel" in kinds:
            byte_of = {character: byte for byte, character in _byte_characters().items()}
        elif "ByteFallback" in kinds:
            byte_of = None
        else:
            raise SettingError(f"{tokenizer.name_or_path}: a tokenizer whose tokens do not tell what they spell; set constrained to false")
        special = {token for token, added in tokenizer.added_tokens_decoder.items() if added.special}
        plain = {token: added.content for token, added in tokenizer.added_tokens_decoder.items() if not added.special}
        self.spelled: dict[int, bytes] = {}
        self.root = _Node()
        for text, token in tokenizer.get_vocab().items():
            if token in special:
                continue
            spelled = plain[token].encode() if token in plain else _spelled(text, byte_of)
            if not spelled:
                continue
            self.spelled[token] = spelled
            node = self.root
            for byte in spelled:
                node = node.children.setdefault(byte, _Node())
            node.tokens.append(token)

    def allowed(self, automaton: Automaton, state: State) -> list[int]:
        """Tokens whose bytes may be said next."""
        found: list[int] = []
        stack = [(self.root, state)]
        while stack:
            node, here = stack.pop()
            following = automaton.successors(here)
            children = node.children
            for byte in following if len(following) < len(children) else children:
                child = children.get(byte)
                there = following.get(byte)
                if child is not None and there is not None:
                    found += child.tokens
                    if child.children:
                        stack.append((child, there))
        return found


@lru_cache(maxsize=2)
def token_bytes(tokenizer: PreTrainedTokenizerBase) -> TokenBytes:
    """The tree of a tokenizer, made once."""
    return TokenBytes(tokenizer)


def _spelled(text: str, byte_of: dict[str, int] | None) -> bytes:
    if byte_of is not None:
        return bytes(byte_of[character] for character in text) if all(character in byte_of for character in text) else b""
    if len(text) == 6 and text.startswith("<0x") and text.endswith(">"):
        return bytes([int(text[3:5], 16)])
    return text.replace("▁", " ").encode()


def _kinds(decoder: dict[str, Any]) -> set[str]:
    """Types of a decoder and of the parts of a sequence of them."""
    return {str(decoder.get("type"))}.union(*(_kinds(part) for part in decoder.get("decoders", [])))


def _byte_characters() -> dict[int, str]:
    """The printable characters that byte-level tokenizers write bytes with.

    Reference: Radford et al., Language models are unsupervised multitask learners (2019), whose vocabulary all of them share.
    """
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in set(shown)]
    return {byte: chr(byte) for byte in shown} | {byte: chr(256 + rank) for rank, byte in enumerate(hidden)}
