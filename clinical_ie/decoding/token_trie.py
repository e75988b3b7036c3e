"""A byte trie of a tokenizer's vocabulary: which tokens a grammar (a byte-level automaton) allows next.

References: Willard & Louf, Efficient guided generation for large language models (2023), for token masks from an automaton. We walk the
trie and the automaton together instead of indexing every state beforehand, because states hold positions of the text that is copied.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from transformers import PreTrainedTokenizerBase

from clinical_ie.errors import SettingError
from clinical_ie.prompts.grammar import Automaton, State


class _TrieNode:
    """Tokens whose bytes end here, and the child for each next byte."""

    __slots__ = ("children", "tokens")

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.children: dict[int, _TrieNode] = {}


class TokenTrie:
    """The tokens of a vocabulary by their bytes.

    Works for byte-level BPE (GPT-2, Llama 3, SmolLM2) and for SentencePiece with byte fallback (Llama 2, Gemma, Mistral).

    Args:
        tokenizer: A fast tokenizer.

    Raises:
        SettingError: A tokenizer whose tokens cannot be mapped to bytes, such as WordPiece.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        backend = json.loads(tokenizer.backend_tokenizer.to_str())
        decoder_types = _decoder_types(backend.get("decoder") or {})
        if "ByteLevel" in decoder_types:
            byte_of_character = {character: byte for byte, character in _byte_characters().items()}
        elif "ByteFallback" in decoder_types:
            byte_of_character = None
        else:
            raise SettingError(
                f"{tokenizer.name_or_path}: its tokens cannot be mapped to bytes (neither byte-level BPE nor byte fallback);"
                " set constrained to false"
            )
        special = {token for token, added in tokenizer.added_tokens_decoder.items() if added.special}
        plain = {token: added.content for token, added in tokenizer.added_tokens_decoder.items() if not added.special}
        self.token_bytes: dict[int, bytes] = {}
        self.root = _TrieNode()
        for text, token in tokenizer.get_vocab().items():
            if token in special:
                continue
            token_bytes = plain[token].encode() if token in plain else _bytes_of(text, byte_of_character)
            if not token_bytes:
                continue
            self.token_bytes[token] = token_bytes
            node = self.root
            for byte in token_bytes:
                node = node.children.setdefault(byte, _TrieNode())
            node.tokens.append(token)

    def allowed(self, automaton: Automaton, state: State) -> list[int]:
        """Tokens whose bytes the automaton accepts from a state."""
        found: list[int] = []
        stack = [(self.root, state)]
        while stack:
            node, current = stack.pop()
            successors = automaton.successors(current)
            children = node.children
            for byte in successors if len(successors) < len(children) else children:
                child = children.get(byte)
                after = successors.get(byte)
                if child is not None and after is not None:
                    found += child.tokens
                    if child.children:
                        stack.append((child, after))
        return found


@lru_cache(maxsize=2)
def token_trie(tokenizer: PreTrainedTokenizerBase) -> TokenTrie:
    """The trie of a tokenizer, made once."""
    return TokenTrie(tokenizer)


def _bytes_of(text: str, byte_of_character: dict[str, int] | None) -> bytes:
    if byte_of_character is not None:
        return (
            bytes(byte_of_character[character] for character in text) if all(character in byte_of_character for character in text) else b""
        )
    if len(text) == 6 and text.startswith("<0x") and text.endswith(">"):
        return bytes([int(text[3:5], 16)])
    return text.replace("▁", " ").encode()


def _decoder_types(decoder: dict[str, Any]) -> set[str]:
    """Types of a decoder and of the parts of a sequence of them."""
    return {str(decoder.get("type"))}.union(*(_decoder_types(part) for part in decoder.get("decoders", [])))


def _byte_characters() -> dict[int, str]:
    """The printable characters that byte-level tokenizers write bytes with.

    Reference: Radford et al., Language models are unsupervised multitask learners (2019), whose vocabulary all of them share.
    """
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in set(shown)]
    return {byte: chr(byte) for byte in shown} | {byte: chr(256 + rank) for rank, byte in enumerate(hidden)}
