"""Writes the losses of one process anew: ``python -m tests.invariant.trajectories``; look at the difference before you commit it."""

from __future__ import annotations

import json
import string
import tempfile
from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing
from transformers import BertModel, BertTokenizerFast

from tests.invariant.cells import CELLS, TRAJECTORIES, Places, train
from tests.models.tiny_decoders import save_decoder, save_tokenizer
from tests.models.tiny_encoders import config_of
from tests.modules.step_gradients import write_notes


def make_places(folder: Path) -> Places:
    """Notes and models, which follow from the code alone."""
    names = [folder / name for name in ("notes", "encoder", "decoder")]
    for name in names:
        name.mkdir()
    write_notes(names[0])
    _save_subwords(names[1])
    torch.manual_seed(0)
    BertModel(config_of("bert")).save_pretrained(names[1])
    save_decoder("llama", names[2], save_tokenizer(names[2]))
    return Places(*map(str, names))


def _save_subwords(folder: Path) -> None:
    """A vocabulary of single characters and a few words: one that is trained has another order in every process."""
    pieces = [f"{front}{letter}" for letter in string.ascii_lowercase + string.punctuation for front in ("", "##")]
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *pieces, "takes", "daily", "again", "aspirin", "heparin", "drug", "dose", "of"]
    backend = Tokenizer(WordPiece({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    backend.normalizer, backend.pre_tokenizer = BertNormalizer(lowercase=True), BertPreTokenizer()
    backend.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    BertTokenizerFast(tokenizer_object=backend).save_pretrained(folder)


def main() -> None:
    """Train and write, a line for each cell."""
    with tempfile.TemporaryDirectory() as folder:
        places = make_places(Path(folder))
        lines = [f"{json.dumps(str(cell))}: {json.dumps(train(cell, 'auto', places).losses)}" for cell in CELLS]
    TRAJECTORIES.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
