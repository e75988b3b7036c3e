"""Tiny models on disk, so that the real ``from_pretrained`` road runs offline."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import settings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run in one process for each core
# as on a login node, where Lightning finds srun and hints at it
os.environ["PATH"] += os.pathsep + str(Path(__file__).parent / "assets" / "login_node")

settings.register_profile("suite", deadline=None)  # a busy machine is no failure
settings.load_profile("suite")

REPOSITORY = Path(__file__).parents[1]


def corpora_folder() -> Path:
    """Where the open corpora lie, if they are here at all."""
    return Path(os.environ.get("CLINICAL_IE_CORPORA", REPOSITORY.parent / "shared" / "corpora"))


MakeOnce = Callable[[str, Callable[[Path], None]], str]


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> MakeOnce:
    """A folder by its name, filled by whichever test process asks first; tests read it and never write to it."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def folder(name: str, fill: Callable[[Path], None]) -> str:
        place, partial = shared / f"once-{name}", shared / f"once-{name}.partial"
        with FileLock(shared / f"once-{name}.lock"):
            if not place.exists():
                shutil.rmtree(partial, ignore_errors=True)
                partial.mkdir()
                fill(partial)
                partial.rename(place)
        return str(place)

    return folder


def write_demo_notes(folder: Path, **counts: int) -> None:
    """The first notes of each part of the embedded corpus."""
    from clinical_ie.corpora import Demo
    from clinical_ie.formats import jsonl

    for part, count in counts.items():
        jsonl.write(Demo().read(part)[:count], folder / f"{part}.jsonl")  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def tiny_bert(made_once: MakeOnce) -> str:
    """A random BERT of two small layers, with a WordPiece vocabulary of the demo notes."""
    return made_once("tiny_bert", _fill_tiny_bert)


def _fill_tiny_bert(folder: Path) -> None:
    import torch
    from transformers import BertConfig, BertModel

    from tests.models.tiny_encoders import save_tokenizer

    vocabulary = save_tokenizer(folder, 1500)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=vocabulary, hidden_size=48, num_hidden_layers=2, num_attention_heads=2, intermediate_size=96, max_position_embeddings=512
    )
    BertModel(config).save_pretrained(folder)


CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def save_llama(folder: Path, *, vocabulary: int, end: int, begin: int | None = None) -> None:
    """A random Llama of two small layers, four heads of queries over two of keys."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        max_position_embeddings=8192, initializer_range=0.3, eos_token_id=end, bos_token_id=begin, pad_token_id=0,
        tie_word_embeddings=False,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)


@pytest.fixture(scope="session")
def tiny_llama(made_once: MakeOnce) -> str:
    """A random Llama with a byte-level BPE of the demo notes and turns in ChatML."""
    return made_once("tiny_llama", _fill_tiny_llama)


def _fill_tiny_llama(folder: Path) -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    from clinical_ie.corpora import Demo

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    texts = [document.text for document in Demo().read("train")]
    trainer = trainers.BpeTrainer(
        vocab_size=800, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    backend.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="<|im_end|>", pad_token="<|endoftext|>", extra_special_tokens=["<|im_start|>"]
    )
    tokenizer.chat_template = CHATML
    tokenizer.save_pretrained(folder)
    save_llama(folder, vocabulary=len(tokenizer), end=2)


@pytest.fixture(scope="session")
def tiny_llama2(made_once: MakeOnce) -> str:
    """A random Llama with a tokenizer in the manner of Llama 2: blanks as ``▁``, one before everything, single bytes, no turns."""
    return made_once("tiny_llama2", _fill_tiny_llama2)


def _fill_tiny_llama2(folder: Path) -> None:
    import json

    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    from clinical_ie.corpora import Demo

    first = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trained = Tokenizer(models.BPE(unk_token="<unk>"))
    trained.pre_tokenizer = pre_tokenizers.Metaspace()
    texts = [" ".join(document.text.split()) for document in Demo().read("train")]
    trained.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=900, special_tokens=first, show_progress=False))
    words = json.loads(trained.to_str())["model"]
    merges = [tuple(merge) for merge in words["merges"]]
    backend = Tokenizer(models.BPE(words["vocab"], merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    backend.add_special_tokens([AddedToken(name, normalized=False, special=True) for name in first[:3]])
    backend.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", bos_token="<s>", eos_token="</s>")
    tokenizer.save_pretrained(folder)
    save_llama(folder, vocabulary=len(tokenizer), end=2, begin=1)
