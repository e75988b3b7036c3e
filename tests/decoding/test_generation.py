"""Batches say what one request at a time says, and that is what transformers and PEFT say; under a grammar all of it can be used."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import IA3Config, LoraConfig, PeftConfig, PrefixTuningConfig, PromptEncoderConfig, PromptTuningConfig
from peft.tuners.tuners_utils import BaseTunerLayer
from transformers import FalconConfig, FalconForCausalLM

from clinical_ie.corpora import Demo
from clinical_ie.data.conversation import ConversationSubwords
from clinical_ie.decoding import generation
from clinical_ie.decoding.generation import Answer, Request, generated
from clinical_ie.decoding.weights import ready_to_generate
from clinical_ie.models.decoder import Decoder
from clinical_ie.tasks import EntityInstruction, JointInstruction, RelationInstruction
from clinical_ie.tasks.instruction import Completion
from clinical_ie.tasks.task import Source
from tests.models.tiny_decoders import save_tokenizer, spread

# PEFT asks transformers that way
pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.* is deprecated")

MOST = 24
OPENINGS = [("You copy.", "Find drugs.\n"), ("You read.", "Find all problems of the patient.\n")]


@pytest.fixture(params=["tiny_llama", "tiny_llama2"])
def folder(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))


def requests_of(subwords: ConversationSubwords, number: int, most: int = MOST) -> list[Request]:
    """Questions of 1 to many words, of two openings in turn."""
    notes = [document.text.split() for document in Demo().read("test")]
    found = []
    for rank in range(number):
        text = " ".join(notes[rank % len(notes)][: 1 + (rank * 7) % 23])
        opening = OPENINGS[rank % 3 == 2]
        found.append(Request(tuple(subwords.opening(*opening)), tuple(subwords.question(text, "Answer:")), most + rank % 5))
    return found


def by_transformers(model: Any, request: Request, end: int) -> Answer:
    """Greedy `generate` on one row without padding."""
    prompt = torch.tensor([[*request.opening, *request.question]])
    said = model.generate(
        input_ids=prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=request.most, do_sample=False, eos_token_id=end,
        pad_token_id=0, bos_token_id=None, use_cache=True,
    )[0, prompt.shape[1] :].tolist()  # fmt: skip
    cut = end not in said
    return Answer(said if cut else said[: said.index(end)], cut)


def with_early_ends(backbone: Decoder, end: int, share: float = 2.0) -> None:
    """Scores under which some answers end soon and others never do."""
    with torch.no_grad():
        weight = backbone.base.get_output_embeddings().weight
        weight[end] *= share


@pytest.mark.parametrize("draft", [0, 4])
def test_batches_say_what_transformers_says(folder: str, draft: int) -> None:
    subwords, backbone = ConversationSubwords(folder), Decoder(folder)
    with_early_ends(backbone, subwords.end_id)
    requests = requests_of(subwords, 13)
    together = generated(backbone, subwords, requests, batch_size=4, draft=draft)
    backbone.eval()
    expected = [by_transformers(backbone.base, request, subwords.end_id) for request in requests]
    assert [answer.cut for answer in together] == [answer.cut for answer in expected]
    assert [answer.ids for answer in together] == [answer.ids for answer in expected]
    assert len({len(answer.ids) for answer in expected}) > 3, "rows come and go at different times"
    assert {answer.cut for answer in expected} == {False, True}


@pytest.mark.parametrize("batch_size", [1, 3, 40])
def test_the_size_of_batches_changes_nothing(folder: str, batch_size: int) -> None:
    subwords, backbone = ConversationSubwords(folder), Decoder(folder)
    with_early_ends(backbone, subwords.end_id)
    requests = requests_of(subwords, 17)
    alone = [generated(backbone, subwords, [request])[0] for request in requests]
    assert generated(backbone, subwords, requests, batch_size=batch_size) == alone
    assert generated(backbone, subwords, requests[::-1], batch_size=batch_size) == alone[::-1]
    assert generated(backbone, subwords, requests, batch_size=batch_size, draft=3) == alone


def test_answers_are_cut_where_they_are_told(tiny_llama: str) -> None:
    subwords, backbone = ConversationSubwords(tiny_llama), Decoder(tiny_llama)
    [whole] = generated(backbone, subwords, requests_of(subwords, 1, 12))
    assert whole.cut
    for most in (1, 2, 11):
        for draft in (0, 5):
            [part] = generated(backbone, subwords, requests_of(subwords, 1, most), draft=draft)
            assert part == Answer(whole.ids[:most], True)


@pytest.mark.parametrize("draft", [0, 4])
def test_models_with_an_attention_of_their_own_say_the_same(folder: str, draft: int) -> None:
    """Their rows cannot lie one behind the other, so they are read one by one."""
    subwords, backbone = ConversationSubwords(folder), Decoder(folder)
    with_early_ends(backbone, subwords.end_id)
    requests = requests_of(subwords, 5)
    expected = generated(backbone, subwords, requests, batch_size=4, draft=draft)
    backbone.base.config._attn_implementation = "eager"
    assert generated(backbone, subwords, requests, batch_size=4, draft=draft) == expected
    assert backbone.base.config._attn_implementation == "eager"


@pytest.mark.parametrize("draft", [0, 4])
def test_a_model_that_looks_for_a_name_says_what_transformers_says(draft: int, tmp_path: Path) -> None:
    """Falcon asks whether its attention is called ``sdpa`` and goes another way where it is not."""
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "alibi": False, "bos_token_id": 0, "eos_token_id": 0}
    torch.manual_seed(0)
    model = FalconForCausalLM(FalconConfig(vocab_size=save_tokenizer(tmp_path), **sizes))
    spread(model)
    model.save_pretrained(tmp_path)
    subwords, backbone = ConversationSubwords(str(tmp_path)), Decoder(str(tmp_path))
    requests = requests_of(subwords, 5)
    together = generated(backbone, subwords, requests, batch_size=4, draft=draft)
    backbone.eval()
    assert together == [by_transformers(backbone.base, request, subwords.end_id) for request in requests]


@pytest.mark.parametrize("lacking", ["opening", "question"])
def test_a_request_for_nothing_is_refused(lacking: str, tiny_llama: str) -> None:
    subwords, backbone = ConversationSubwords(tiny_llama), Decoder(tiny_llama)
    requests = requests_of(subwords, 2)
    with pytest.raises(ValueError, match="without"):
        generated(backbone, subwords, [requests[0], replace(requests[1], **{lacking: ()})])


def test_questions_are_taken_in_as_far_as_a_step_can_read(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    subwords, backbone = ConversationSubwords(folder), Decoder(folder)
    requests = requests_of(subwords, 9)
    expected = generated(backbone, subwords, requests)
    monkeypatch.setattr(generation, "_READ", 1)
    widest: list[int] = []
    real = generation._Group._read

    def read(self: Any, spans: Any, old: int) -> Any:
        widest.append(len(spans) - old)
        return real(self, spans, old)

    monkeypatch.setattr(generation._Group, "_read", read)
    assert generated(backbone, subwords, requests) == expected
    assert max(widest) == 1


def test_nothing_asked_nothing_said(tiny_llama: str) -> None:
    assert generated(Decoder(tiny_llama), ConversationSubwords(tiny_llama), []) == []


# --- soft prompts and LoRA

SOFT: dict[str, PeftConfig] = {
    "prompt tuning": PromptTuningConfig(num_virtual_tokens=5, task_type="CAUSAL_LM"),
    "p-tuning": PromptEncoderConfig(num_virtual_tokens=5, encoder_hidden_size=16, task_type="CAUSAL_LM"),
    "prefix tuning": PrefixTuningConfig(num_virtual_tokens=5, task_type="CAUSAL_LM"),
    "dora": LoraConfig(r=4, target_modules=["q_proj", "down_proj"], use_dora=True, init_lora_weights=False, task_type="CAUSAL_LM"),
    "ia3": IA3Config(
        target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"], init_ia3_weights=False, task_type="CAUSAL_LM"
    ),
    "lora": LoraConfig(r=4, target_modules=["q_proj", "v_proj", "down_proj"], init_lora_weights=False, task_type="CAUSAL_LM"),
}


def tuned(folder: str, method: str) -> tuple[ConversationSubwords, Decoder]:
    torch.manual_seed(1)
    subwords, backbone = ConversationSubwords(folder), Decoder(folder, peft=SOFT[method])
    with torch.no_grad():
        for name, parameter in backbone.named_parameters():
            if name in backbone.adapters and method not in ("lora", "dora"):
                parameter.normal_(std=0.5)
    with_early_ends(backbone, subwords.end_id)
    return subwords, backbone


@pytest.mark.parametrize("draft", [0, 4])
@pytest.mark.parametrize("method", sorted(SOFT))
def test_adapters_in_batches_and_one_by_one(method: str, draft: int, folder: str) -> None:
    subwords, backbone = tuned(folder, method)
    requests = requests_of(subwords, 9)
    alone = [generated(backbone, subwords, [request])[0] for request in requests]
    assert generated(backbone, subwords, requests, batch_size=4, draft=draft) == alone
    plain = Decoder(folder)
    with_early_ends(plain, subwords.end_id)
    assert generated(plain, subwords, requests, batch_size=4) != alone, "the adapter matters"


@pytest.mark.filterwarnings("ignore:Position ids are not supported for parameter efficient tuning")
@pytest.mark.parametrize("method", sorted(SOFT))
def test_adapters_as_peft_generates(method: str, folder: str) -> None:
    subwords, backbone = tuned(folder, method)
    requests = requests_of(subwords, 6)
    found = generated(backbone, subwords, requests, batch_size=4)
    backbone.eval()
    assert found == [by_transformers(backbone.model, request, subwords.end_id) for request in requests]


# --- weights and mode


def snapshot(backbone: Decoder) -> tuple[dict[str, tuple[int, torch.Tensor]], dict[str, bool]]:
    weights = {name: (parameter.data_ptr(), parameter.detach().clone()) for name, parameter in backbone.named_parameters()}
    return weights, {name: module.training for name, module in backbone.named_modules()}


def assert_same(before: Any, backbone: Decoder) -> None:
    after = snapshot(backbone)
    assert before[1] == after[1]
    for name, (pointer, weight) in before[0].items():
        assert after[0][name][0] == pointer
        assert after[0][name][1].dtype == weight.dtype
        assert torch.equal(after[0][name][1], weight)


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("method", ["lora", "dora", "ia3", "p-tuning"])
def test_weights_and_mode_are_left_alone(
    method: str, training: bool, autocast: bool, fails: bool, tiny_llama: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    subwords, backbone = tuned(tiny_llama, method)
    backbone.train(training)
    before = snapshot(backbone)
    seen = []
    body = backbone.base.get_output_embeddings()
    hook = body.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    if fails:
        real, calls = generation._Group._step, []

        def step(self: Any, new: Any) -> None:
            calls.append(1)
            if len(calls) > 3:
                raise RuntimeError("no memory")
            real(self, new)

        monkeypatch.setattr(generation._Group, "_step", step)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        if fails:
            with pytest.raises(RuntimeError, match="no memory"):
                generated(backbone, subwords, requests_of(subwords, 3))
        else:
            assert len(generated(backbone, subwords, requests_of(subwords, 3))) == 3
        assert torch.is_autocast_enabled("cpu") == autocast
    hook.remove()
    assert set(seen) == {torch.bfloat16 if autocast else torch.float32}
    assert_same(before, backbone)


def test_parts_in_evaluation_mode_stay_there(tiny_llama: str) -> None:
    backbone = Decoder(tiny_llama)
    subwords = ConversationSubwords(tiny_llama)
    backbone.train()
    backbone.base.get_input_embeddings().eval()
    before = snapshot(backbone)
    generated(backbone, subwords, requests_of(subwords, 1))
    assert_same(before, backbone)


# --- under a grammar


@pytest.mark.parametrize(("draft", "confidence"), [(0, 0.0), (4, 0.3)])
@pytest.mark.parametrize("response", ["lines", "grouped", "markup"])
@pytest.mark.parametrize("kind", [EntityInstruction, JointInstruction, RelationInstruction])
def test_constrained_completions_can_be_used(kind: Any, response: Any, draft: int, confidence: float, folder: str) -> None:
    subwords, backbone = ConversationSubwords(folder), Decoder(folder)
    # random weights would copy long mentions for ever
    with torch.no_grad():
        backbone.base.get_output_embeddings().weight[subwords.end_id] *= 2
    schema = Demo.declared
    task = kind(response, segment=48, definitions=False)
    source = Source("demo", schema, subwords)
    outcomes: Counter[str] = Counter()
    said = found = ended = 0
    for document in Demo().read("test")[:2]:
        examples = task.examples(document, source)[:4]
        requests = [Request(e.opening, e.input_ids, 90, e.grammar) for e in examples]
        answers = generated(backbone, subwords, requests, batch_size=3, draft=draft, confidence=confidence)
        if not draft:
            assert answers[:1] == generated(backbone, subwords, requests[:1])
        outputs = {e.id: Completion(subwords.decode(a.ids), a.cut, True, a.withdrawn) for e, a in zip(examples, answers, strict=True)}
        predicted = task.annotations(document, examples, outputs, schema, outcomes)
        ended += sum(not answer.cut for answer in answers)
        said += sum(len(answer.ids) for answer in answers)
        found += len(predicted.relations) + len(predicted.events) + (len(predicted.entities) if kind is not RelationInstruction else 0)
    assert said > 0
    assert ended + found > 0
    known = {"completions", "completions cut short", "constrained", "withdrawn"}
    assert not [reason for reason in outcomes if not any(name in reason for name in known)], outcomes


@pytest.mark.parametrize("confidence", [0.0, 0.003, 0.3])  # random weights are sure of nothing
@pytest.mark.parametrize("response", ["grouped", "markup"])
def test_constrained_and_free_rows_share_a_batch(response: Any, confidence: float, folder: str) -> None:
    """Whatever is taken back in one row, the others do not know of it, nor does what follows in its own."""
    subwords, backbone = ConversationSubwords(folder), Decoder(folder)
    document = Demo().read("test")[0]
    source = Source("demo", Demo.declared, subwords)
    examples = EntityInstruction(response, segment=48, definitions=False).examples(document, source)[:4]
    requests = [Request(e.opening, e.input_ids, 60, e.grammar if rank != 1 else None) for rank, e in enumerate(examples)]
    alone = [generated(backbone, subwords, [request], confidence=confidence)[0] for request in requests]
    assert generated(backbone, subwords, requests, batch_size=4, confidence=confidence) == alone
    assert generated(backbone, subwords, requests, batch_size=4, draft=4, confidence=confidence) == alone
    if confidence == 0.003 and response == "grouped":
        assert sum(answer.withdrawn for answer in alone) > 0
    if not confidence:
        assert not any(answer.withdrawn for answer in alone)


def test_adapters_are_merged_while_generating(tiny_llama: str) -> None:
    """Every token but the first costs no more than without an adapter; weights that serve two layers stay as they are."""
    subwords, backbone = tuned(tiny_llama, "lora")
    layers = [module for module in backbone.modules() if isinstance(module, BaseTunerLayer)]
    seen = []
    hook = backbone.base.get_output_embeddings().register_forward_hook(lambda *_: seen.append([layer.merged for layer in layers]))
    generated(backbone, subwords, requests_of(subwords, 2))
    hook.remove()
    assert seen
    assert all(all(merged) for merged in seen)
    assert not any(layer.merged for layer in layers)
    for parameter in layers[0].get_base_layer().parameters():
        parameter.data = parameter.data.to(torch.bfloat16)
    with ready_to_generate(backbone):
        assert [layer.merged for layer in layers] == [False] + [True] * (len(layers) - 1), "nothing is rounded into half precision"
