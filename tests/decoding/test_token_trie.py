"""Bytes of tokens, on both kinds of vocabulary, and the tokens that a grammar allows: all of them tried one by one."""

from __future__ import annotations

import random
from functools import lru_cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from clinical_ie.corpora import Demo
from clinical_ie.data.tokenization import load_tokenizer
from clinical_ie.decoding.token_trie import TokenTrie, token_trie
from clinical_ie.errors import SettingError
from clinical_ie.prompts.grammar import Automaton, Grammar

relaxed = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
LABELS = (("Of", frozenset({(1, 0), (1, 1)})), ("Off", frozenset({(0, 0)})))
characters = st.one_of(
    st.sampled_from("abc AB\n\t\r19.,é😀\u00a0\u0301ßΩ漢\u200d👩🏽\x00\x7f"),
    st.characters(exclude_categories=("Cs",), exclude_characters="▁"),
)


@lru_cache
def known(folder: str) -> tuple[PreTrainedTokenizerBase, TokenTrie]:
    tokenizer = load_tokenizer(folder)
    return tokenizer, TokenTrie(tokenizer)


@pytest.fixture(params=["tiny_llama", "tiny_llama2"])
def vocabulary(request: pytest.FixtureRequest) -> tuple[PreTrainedTokenizerBase, TokenTrie]:
    return known(request.getfixturevalue(request.param))


def assert_spells(vocabulary: tuple[PreTrainedTokenizerBase, TokenTrie], text: str) -> None:
    tokenizer, trie = vocabulary
    backend = tokenizer.backend_tokenizer
    backend.encode_special_tokens = True
    try:
        ids = backend.encode(text, add_special_tokens=False).ids
    finally:
        backend.encode_special_tokens = False
    joined = b"".join(trie.token_bytes[token] for token in ids)
    # a tokenizer in the manner of Llama 2 puts one blank before everything
    assert joined in (text.encode(), b" " + text.encode() if "tiny_llama2" in tokenizer.name_or_path else text.encode())


@relaxed
@given(text=st.text(characters, max_size=30))
def test_spelled_bytes_join_to_the_text(vocabulary: tuple[PreTrainedTokenizerBase, TokenTrie], text: str) -> None:
    assert_spells(vocabulary, text)


def test_spelled_bytes_join_to_the_notes(vocabulary: tuple[PreTrainedTokenizerBase, TokenTrie]) -> None:
    for document in Demo().read("test"):
        assert_spells(vocabulary, document.text)


def test_every_byte_has_a_token_and_no_special_token_has_bytes(vocabulary: tuple[PreTrainedTokenizerBase, TokenTrie]) -> None:
    tokenizer, trie = vocabulary
    assert {bytes([byte]) for byte in range(256)} <= set(trie.token_bytes.values())
    assert not set(tokenizer.all_special_ids) & set(trie.token_bytes)
    assert set(trie.token_bytes) | set(tokenizer.all_special_ids) == set(tokenizer.get_vocab().values())


@settings(relaxed, max_examples=40)
@given(
    text=st.text(characters, max_size=40),
    grouped=st.booleans(),
    given_types=st.none() | st.lists(st.integers(0, 1), max_size=12).map(tuple),
    seed=st.integers(0, 1 << 30),
)
def test_allowed_tokens_are_those_that_step(
    vocabulary: tuple[PreTrainedTokenizerBase, TokenTrie], text: str, grouped: bool, given_types: tuple[int, ...] | None, seed: int
) -> None:
    _, trie = vocabulary
    automaton = Automaton(Grammar("grouped" if grouped else "lines", text, ("Drug", "Drug dose"), LABELS, given_types))
    draw = random.Random(seed)
    state = automaton.start()
    for _ in range(12):
        found = trie.allowed(automaton, state)
        expected = {token for token, token_bytes in trie.token_bytes.items() if automaton.step(state, token_bytes) is not None}
        assert len(found) == len(set(found))
        assert set(found) == expected
        assert found or automaton.may_end(state)
        if not found:
            return
        # long tokens lead further
        token = draw.choice(sorted(found, key=lambda token: (-len(trie.token_bytes[token]), token))[: draw.choice([2, 5, len(found)])])
        following = automaton.step(state, trie.token_bytes[token])
        assert following is not None
        state = following


def test_allowed_on_notes(vocabulary: tuple[PreTrainedTokenizerBase, TokenTrie]) -> None:
    _, trie = vocabulary
    for rank, document in enumerate(Demo().read("test")[:3]):
        draw = random.Random(rank)
        automaton = Automaton(Grammar(("lines", "grouped")[rank % 2], document.text, ("Drug", "Problem"), LABELS))
        state = automaton.start()
        for _ in range(60):
            found = trie.allowed(automaton, state)
            assert set(found) == {
                token for token, token_bytes in trie.token_bytes.items() if automaton.step(state, token_bytes) is not None
            }
            if not found:
                break
            following = automaton.step(state, trie.token_bytes[draw.choice(sorted(found))])
            assert following is not None
            state = following


def test_one_trie_for_one_tokenizer(tiny_llama: str) -> None:
    tokenizer = load_tokenizer(tiny_llama)
    assert token_trie(tokenizer) is token_trie(tokenizer)


def test_plain_added_tokens_have_their_own_bytes(tiny_llama: str) -> None:
    tokenizer = PreTrainedTokenizerFast.from_pretrained(tiny_llama)
    tokenizer.add_tokens(["<note>", " é😀"])
    trie = TokenTrie(tokenizer)
    for name in ("<note>", " é😀"):
        assert trie.token_bytes[tokenizer.convert_tokens_to_ids(name)] == name.encode()


def test_tokenizers_without_bytes_are_refused(tmp_path: Path) -> None:
    backend = Tokenizer(models.WordPiece({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    with pytest.raises(SettingError, match="constrained to false"):
        TokenTrie(PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]"))
