"""Packed examples do not see each other, adapters do what PEFT does, over seven architectures with and without windows.

The oracle is the plain model of transformers (or PEFT's own forward) on one unpadded example at a time.
"""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from peft import IA3Config, LoraConfig, PeftConfig, PeftModel, PrefixTuningConfig, PromptEncoderConfig, PromptTuningConfig
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM

from clinical_ie.data.collation import InstructionCollator
from clinical_ie.errors import SettingError
from clinical_ie.models.block_mask import block_mask
from clinical_ie.models.decoder import Decoder
from clinical_ie.models.decoder_loading import load_decoder
from clinical_ie.tasks.instruction import InstructionExample
from tests.models.tiny_decoders import ARCHITECTURES, WINDOW, WINDOWED, save_decoder, spread

pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.* is deprecated")  # PEFT and we ask transformers so

CLOSE: dict[str, float] = {"rtol": 1e-5, "atol": 1e-5}
METHODS = ("lora", "ia3", "prompt_tuning", "p_tuning", "prefix_tuning")
PROMPTS = ("prompt_tuning", "p_tuning", "prefix_tuning")


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {kind: save_decoder(kind, tmp_path_factory.mktemp(kind.replace(" ", "_"))) for kind in ARCHITECTURES}


def peft_of(method: str, kind: str) -> PeftConfig:
    linear = ["c_attn"] if kind == "gpt2" else ["q_proj", "v_proj", "k_proj"]
    feed_forward = ["mlp.c_proj"] if kind == "gpt2" else ["down_proj"]
    conv = kind == "gpt2"
    configs: dict[str, Any] = {
        "lora": lambda: LoraConfig(r=4, lora_alpha=8, target_modules=linear, fan_in_fan_out=conv),
        "ia3": lambda: IA3Config(target_modules=[*linear, *feed_forward], feedforward_modules=feed_forward, fan_in_fan_out=conv),
        "prompt_tuning": lambda: PromptTuningConfig(num_virtual_tokens=3),
        "p_tuning": lambda: PromptEncoderConfig(num_virtual_tokens=3, encoder_hidden_size=16),
        "prefix_tuning": lambda: PrefixTuningConfig(num_virtual_tokens=3),
    }
    return cast("PeftConfig", configs[method]())


def numbers(count: int, seed: int) -> tuple[int, ...]:
    return tuple(torch.randint(1, 96, (count,), generator=torch.Generator().manual_seed(seed)).tolist())


def example(name: int, prefix_ids: tuple[int, ...], question: int, response: int) -> InstructionExample:
    ids, said = numbers(question, 100 + name), numbers(response, 200 + name)
    return InstructionExample(f"e{name}", "d", "c", "entity_instruction", ids, prefix_ids, said, (0, 1), (), (), (), None)


EXAMPLES = [
    example(0, numbers(9, 1), 4, 3), example(1, numbers(7, 2), 8, 1), example(2, numbers(9, 1), 2, 6), example(3, (), 5, 5),
    example(4, numbers(9, 1), 11, 7), example(5, numbers(7, 2), 1, 2),
]  # fmt: skip


def packed_scores(decoder: Decoder, examples: list[InstructionExample], packed: bool) -> tuple[Tensor, Tensor]:
    batch = InstructionCollator(0, packed=packed)(examples)
    assert len(batch["input_ids"]) == (1 if packed else len(examples))
    hidden = decoder(batch["input_ids"], batch["position_ids"], block_mask(batch["segment_ids"], batch["prefix_segment_ids"]))
    return decoder.logits(hidden.flatten(0, 1)[batch["loss_positions"]]), batch["targets"]


def in_row_order(examples: list[InstructionExample]) -> list[InstructionExample]:
    """Prefixes in order of appearance, each with its examples."""
    prefixes = list(dict.fromkeys(example.prefix_ids for example in examples))
    return sorted(examples, key=lambda example: prefixes.index(example.prefix_ids))


def alone(model: Any, example: InstructionExample) -> Tensor:
    """Scores of the tokens before those of the response, by the model itself."""
    ids = torch.tensor([[*example.prefix_ids, *example.input_ids, *example.response]])
    scores = model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).logits[0]
    first = len(example.prefix_ids) + len(example.input_ids) - 1
    return cast("Tensor", scores[first : first + len(example.response)])


def plain(folder: str) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_packed_and_padded_rows_give_what_each_example_gives_alone(kind: str, packed: bool, training: bool, bases: dict[str, str]) -> None:
    decoder = Decoder(bases[kind]).train(training)
    with torch.no_grad():
        ours, targets = packed_scores(decoder, EXAMPLES, packed)
        order = in_row_order(EXAMPLES) if packed else EXAMPLES
        model = plain(bases[kind])
        theirs = torch.cat([alone(model, example) for example in order])
    assert targets.tolist() == [token for example in order for token in example.response]
    torch.testing.assert_close(ours, theirs, **CLOSE)


@pytest.mark.parametrize("kind", WINDOWED)
def test_the_window_of_these_tests_matters(kind: str, bases: dict[str, str]) -> None:
    """Else the tests above would not notice a window that is not kept."""
    model = plain(bases[kind])
    ids = torch.tensor([numbers(3 * WINDOW, 3)])
    near = ids.clone()
    near[0, 0] = (near[0, 0] + 1) % 95 + 1
    wide = AutoModelForCausalLM.from_pretrained(bases[kind], dtype=torch.float32, sliding_window=1000).eval()
    with torch.no_grad():
        assert not torch.allclose(model(ids).logits[0, -1], wide(ids).logits[0, -1], atol=1e-3)


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_no_example_of_a_row_changes_when_another_does(kind: str, bases: dict[str, str]) -> None:
    """Exactly: what is not seen has no weight, and no gradient."""
    decoder = Decoder(bases[kind]).eval()
    batch = InstructionCollator(0, packed=True)(EXAMPLES)
    embeddings = decoder.base.get_input_embeddings()
    given: list[Tensor] = []
    embeddings.register_forward_hook(lambda _, __, output: given.append(output) or output)  # type: ignore[func-returns-value]
    hidden = decoder(batch["input_ids"], batch["position_ids"], block_mask(batch["segment_ids"], batch["prefix_segment_ids"]))
    segment_ids, prefix_segment_ids = batch["segment_ids"][0], batch["prefix_segment_ids"][0]
    for segment in segment_ids.unique().tolist():
        (gradient,) = torch.autograd.grad(hidden[0, segment_ids == segment].square().sum(), given[0], retain_graph=True)
        moved = gradient[0].abs().sum(1) > 0
        may = (segment_ids == segment) | (segment_ids == prefix_segment_ids[segment_ids == segment][0])
        assert not (moved & ~may).any()
        assert moved[segment_ids == segment].all()


def test_block_mask_of_a_packed_row_by_hand() -> None:
    """Shared prefix of two tokens (segment 1), two examples behind it (2 and 3), another prefix (4), padding."""
    segment_ids, prefix_segment_ids = torch.tensor([[1, 1, 2, 2, 3, 4, 0]]), torch.tensor([[0, 0, 1, 1, 1, 0, 0]])
    wanted = [
        [1, 0, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0, 0], [1, 1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 0, 0, 0], [1, 1, 0, 0, 1, 0, 0],
        [0, 0, 0, 0, 0, 1, 0], [0, 0, 0, 0, 0, 0, 0],
    ]  # fmt: skip
    assert block_mask(segment_ids, prefix_segment_ids)[0].int().tolist() == wanted


# adapters


def adapted(method: str, kind: str, bases: dict[str, str], **options: Any) -> Decoder:
    torch.manual_seed(1)
    decoder = Decoder(bases[kind], peft=peft_of(method, kind), **options)
    torch.manual_seed(2)
    with torch.no_grad():
        for name, parameter in decoder.named_parameters():
            if name in decoder.adapters:
                torch.nn.init.normal_(parameter, mean=1.0 if "ia3" in name else 0.0, std=0.3)
    return decoder


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("kind", ["llama", "qwen3", "gpt2", "mistral", "qwen2 with window", "gemma3"])
@pytest.mark.parametrize("method", METHODS)
def test_adapters_give_what_peft_gives(method: str, kind: str, training: bool, bases: dict[str, str]) -> None:
    decoder = adapted(method, kind, bases).train(training)
    assert isinstance(decoder.model, PeftModel)
    ids = torch.tensor([numbers(14, 5)])
    places = torch.arange(14).unsqueeze(0)
    causal = torch.ones(1, 14, 14, dtype=torch.bool).tril()
    with torch.no_grad():
        ours = decoder.logits(decoder(ids, places, causal))
        theirs = decoder.model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[:, -14:]
    torch.testing.assert_close(ours, theirs, **CLOSE)
    plainly = plain(bases[kind])(ids).logits
    assert not torch.allclose(ours, plainly, atol=1e-2), "the adapter changes something"


@pytest.mark.parametrize("kind", ["llama", "mistral", "gemma3", "gpt2"])
@pytest.mark.parametrize("method", METHODS)
def test_packed_rows_with_adapters_give_what_each_example_gives_alone(method: str, kind: str, bases: dict[str, str]) -> None:
    """Virtual tokens stand once in front of the row, and every example attends to them."""
    decoder = adapted(method, kind, bases).eval()
    with torch.no_grad():
        for packed in (True, False):
            together, _ = packed_scores(decoder, EXAMPLES, packed)
            order = in_row_order(EXAMPLES) if packed else EXAMPLES
            each = torch.cat([packed_scores(decoder, [example], True)[0] for example in order])
            torch.testing.assert_close(together, each, **CLOSE)


@pytest.mark.parametrize("method", METHODS)
def test_only_adapters_learn(method: str, bases: dict[str, str]) -> None:
    decoder = adapted(method, "llama", bases)
    scores, _ = packed_scores(decoder, EXAMPLES, True)
    scores.square().sum().backward()
    learning = {name for name, parameter in decoder.named_parameters() if parameter.grad is not None and parameter.grad.abs().sum() > 0}
    assert learning == {name for name, parameter in decoder.named_parameters() if parameter.requires_grad} == decoder.adapters
    assert decoder.identity is not None


@pytest.mark.parametrize("kind", ["llama", "gemma3", "gpt2", "mistral"])
@pytest.mark.parametrize("method", ["lora", "ia3", "prompt_tuning", "p_tuning", None])
def test_checkpointed_gradients_are_the_same(method: str | None, kind: str, bases: dict[str, str]) -> None:
    found = []
    for checkpointing in (False, True):
        options = {"gradient_checkpointing": checkpointing}
        decoder = Decoder(bases[kind], **options) if method is None else adapted(method, kind, bases, **options)
        assert (decoder.freeze) == (method is not None)
        decoder.train()
        assert decoder.base.is_gradient_checkpointing == checkpointing
        scores, targets = packed_scores(decoder, EXAMPLES, True)
        torch.nn.functional.cross_entropy(scores, targets).backward()
        found.append({name: parameter.grad for name, parameter in decoder.named_parameters() if parameter.requires_grad})
    without, with_ = found
    assert without.keys() == with_.keys()
    assert len(without) > 0
    for name, gradient in without.items():
        assert gradient is not None, name
        assert with_[name] is not None, name
        torch.testing.assert_close(with_[name], gradient, rtol=1e-4, atol=1e-6)


def test_prefix_tuning_and_checkpointing_do_not_go_together(bases: dict[str, str]) -> None:
    with pytest.raises(SettingError, match="prefix tuning"):
        Decoder(bases["llama"], peft=peft_of("prefix_tuning", "llama"), gradient_checkpointing=True)


def test_the_settings_given_are_left_as_they_were(bases: dict[str, str]) -> None:
    """The same configuration makes the model again when a checkpoint is loaded."""
    peft = peft_of("lora", "llama")
    before = peft.to_dict()
    one = Decoder(bases["llama"], peft=peft)
    two = Decoder(bases["llama"], peft=peft)
    assert peft.to_dict() == before
    assert one.state_dict().keys() == two.state_dict().keys()


# loading


def test_dropout_is_replaced(tmp_path: Path) -> None:
    folder = save_decoder("gpt2", tmp_path, resid_pdrop=0.1, embd_pdrop=0.1, attn_pdrop=0.1)
    rates = [{module.p for module in load_decoder(folder, dropout=rate).modules() if isinstance(module, torch.nn.Dropout)}
             for rate in (None, 0.3)]  # fmt: skip
    assert rates == [{0.1}, {0.3}]


def test_loaded_for_training_in_full_precision(tmp_path: Path) -> None:
    save_decoder("llama", tmp_path)
    weights = {name: value.half() for name, value in load_file(tmp_path / "model.safetensors").items()}
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    model = load_decoder(str(tmp_path))
    assert all(module.training for module in model.modules())
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


@pytest.mark.parametrize("kind", ["llama", "llama tied", "gpt2"])
@pytest.mark.parametrize("lacking", ["norm", "mlp", "embed", "head"])
def test_a_folder_that_lacks_weights_is_refused(kind: str, lacking: str, tmp_path: Path) -> None:
    save_decoder(kind, tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    names = {"norm": "ln_f.weight" if kind == "gpt2" else "norm.weight", "mlp": "mlp", "embed": "wte" if kind == "gpt2" else "embed",
             "head": "lm_head"}  # fmt: skip
    name = next((name for name in weights if names[lacking] in name), None)
    if name is None:
        assert kind != "llama"
        assert lacking == "head"
        load_decoder(str(tmp_path))
        return
    del weights[name]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(SettingError, match="lacks"):
        load_decoder(str(tmp_path))


class _Code:
    def __init__(self, target: str) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return open, (self.target, "w")


def test_a_pickle_with_code_is_refused_unread(tmp_path: Path) -> None:
    save_decoder("llama", tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").unlink()
    mark = tmp_path / "was_run"
    torch.save({**weights, "extra": _Code(str(mark))}, tmp_path / "pytorch_model.bin")
    with pytest.raises(SettingError, match="cannot be loaded"):
        load_decoder(str(tmp_path))
    assert not mark.exists()
    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps(_Code(str(mark)), protocol=2))
    with pytest.raises(SettingError, match="cannot be loaded"):
        load_decoder(str(tmp_path))
    assert not mark.exists()
    torch.save(weights, tmp_path / "pytorch_model.bin")
    load_decoder(str(tmp_path))


@pytest.mark.parametrize("what", ["nothing", "cut", "empty", "no config", "encoder", "another size"])
def test_folders_that_hold_no_decoder_are_refused(what: str, tmp_path: Path, tiny_bert: str) -> None:
    save_decoder("llama", tmp_path)
    file = tmp_path / "model.safetensors"
    if what == "nothing":
        file.unlink()
    elif what == "cut":
        file.write_bytes(file.read_bytes()[:1000])
    elif what == "empty":
        file.write_bytes(b"")
    elif what == "no config":
        (tmp_path / "config.json").unlink()
    elif what == "another size":
        config = json.loads((tmp_path / "config.json").read_text())
        (tmp_path / "config.json").write_text(json.dumps(config | {"vocab_size": 7}))
    else:
        shutil.rmtree(tmp_path)
        shutil.copytree(tiny_bert, tmp_path)
    with pytest.raises(SettingError):
        load_decoder(str(tmp_path))


def test_weights_are_those_of_the_folder(bases: dict[str, str]) -> None:
    decoder = Decoder(bases["llama"])
    stored = load_file(Path(bases["llama"]) / "model.safetensors")
    for name, value in stored.items():
        assert torch.equal(decoder.base.state_dict()[name], value)
    spread(decoder)
    assert decoder.hidden == 32
