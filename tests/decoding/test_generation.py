"""Continuous batches and speculative decoding give what one request at a time, transformers and PEFT give; under a grammar all parses."""

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
from clinical_ie.data.chat_tokenizer import ChatTokenizer
from clinical_ie.decoding import generation
from clinical_ie.decoding.adapter_merging import InferenceWeights
from clinical_ie.decoding.generation import GeneratedSequence, GenerationRequest, generate
from clinical_ie.models.decoder import Decoder
from clinical_ie.tasks import EntityInstruction, JointInstruction, RelationInstruction
from clinical_ie.tasks.instruction import Completion
from clinical_ie.tasks.task import Source
from tests.models.tiny_decoders import save_tokenizer, spread

# PEFT asks transformers that way
pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.* is deprecated")

MAX_NEW_TOKENS = 24
PREFIXES = [("You copy.", "Find drugs.\n"), ("You read.", "Find all problems of the patient.\n")]


@pytest.fixture(params=["tiny_llama", "tiny_llama2"])
def folder(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))


def requests_of(subwords: ChatTokenizer, number: int, max_new_tokens: int = MAX_NEW_TOKENS) -> list[GenerationRequest]:
    """Prompts of 1 to many words, with two prefixes in turn."""
    notes = [document.text.split() for document in Demo().read("test")]
    found = []
    for rank in range(number):
        text = " ".join(notes[rank % len(notes)][: 1 + (rank * 7) % 23])
        prefix_ids = PREFIXES[rank % 3 == 2]
        found.append(
            GenerationRequest(
                tuple(subwords.prompt_prefix(*prefix_ids)), tuple(subwords.prompt_suffix(text, "Answer:")), max_new_tokens + rank % 5
            )
        )
    return found


def by_transformers(model: Any, request: GenerationRequest, end: int) -> GeneratedSequence:
    """Greedy `generate` on one row without padding."""
    prompt = torch.tensor([[*request.prefix_ids, *request.suffix_ids]])
    generated = model.generate(
        input_ids=prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=request.max_new_tokens, do_sample=False, eos_token_id=end,
        pad_token_id=0, bos_token_id=None, use_cache=True,
    )[0, prompt.shape[1] :].tolist()  # fmt: skip
    truncated = end not in generated
    return GeneratedSequence(generated if truncated else generated[: generated.index(end)], truncated)


def with_early_ends(backbone: Decoder, end: int, share: float = 2.0) -> None:
    """Scores under which some answers end soon and others never do."""
    with torch.no_grad():
        weight = backbone.base.get_output_embeddings().weight
        weight[end] *= share


@pytest.mark.parametrize("num_draft_tokens", [0, 4])
def test_batches_generate_what_transformers_does(folder: str, num_draft_tokens: int) -> None:
    subwords, backbone = ChatTokenizer(folder), Decoder(folder)
    with_early_ends(backbone, subwords.end_id)
    requests = requests_of(subwords, 13)
    together = generate(backbone, subwords, requests, batch_size=4, num_draft_tokens=num_draft_tokens)
    backbone.eval()
    expected = [by_transformers(backbone.base, request, subwords.end_id) for request in requests]
    assert [sequence.truncated for sequence in together] == [sequence.truncated for sequence in expected]
    assert [sequence.ids for sequence in together] == [sequence.ids for sequence in expected]
    assert len({len(sequence.ids) for sequence in expected}) > 3, "sequences end at different steps"
    assert {sequence.truncated for sequence in expected} == {False, True}


@pytest.mark.parametrize("batch_size", [1, 3, 40])
def test_the_size_of_batches_changes_nothing(folder: str, batch_size: int) -> None:
    subwords, backbone = ChatTokenizer(folder), Decoder(folder)
    with_early_ends(backbone, subwords.end_id)
    requests = requests_of(subwords, 17)
    alone = [generate(backbone, subwords, [request])[0] for request in requests]
    assert generate(backbone, subwords, requests, batch_size=batch_size) == alone
    assert generate(backbone, subwords, requests[::-1], batch_size=batch_size) == alone[::-1]
    assert generate(backbone, subwords, requests, batch_size=batch_size, num_draft_tokens=3) == alone


def test_completions_are_truncated_at_max_new_tokens(tiny_llama: str) -> None:
    subwords, backbone = ChatTokenizer(tiny_llama), Decoder(tiny_llama)
    [whole] = generate(backbone, subwords, requests_of(subwords, 1, 12))
    assert whole.truncated
    for max_new_tokens in (1, 2, 11):
        for num_draft_tokens in (0, 5):
            [part] = generate(backbone, subwords, requests_of(subwords, 1, max_new_tokens), num_draft_tokens=num_draft_tokens)
            assert part == GeneratedSequence(whole.ids[:max_new_tokens], True)


@pytest.mark.parametrize("num_draft_tokens", [0, 4])
def test_models_with_an_attention_of_their_own_generate_the_same(folder: str, num_draft_tokens: int) -> None:
    """Without variable-length attention sequences are generated one by one."""
    subwords, backbone = ChatTokenizer(folder), Decoder(folder)
    with_early_ends(backbone, subwords.end_id)
    requests = requests_of(subwords, 5)
    expected = generate(backbone, subwords, requests, batch_size=4, num_draft_tokens=num_draft_tokens)
    backbone.base.config._attn_implementation = "eager"
    assert generate(backbone, subwords, requests, batch_size=4, num_draft_tokens=num_draft_tokens) == expected
    assert backbone.base.config._attn_implementation == "eager"


@pytest.mark.parametrize("num_draft_tokens", [0, 4])
def test_a_model_that_compares_the_name_of_its_attention_generates_the_same(num_draft_tokens: int, tmp_path: Path) -> None:
    """Falcon asks whether its attention is called ``sdpa`` and goes another way where it is not."""
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "alibi": False, "bos_token_id": 0, "eos_token_id": 0}
    torch.manual_seed(0)
    model = FalconForCausalLM(FalconConfig(vocab_size=save_tokenizer(tmp_path), **sizes))
    spread(model)
    model.save_pretrained(tmp_path)
    subwords, backbone = ChatTokenizer(str(tmp_path)), Decoder(str(tmp_path))
    requests = requests_of(subwords, 5)
    together = generate(backbone, subwords, requests, batch_size=4, num_draft_tokens=num_draft_tokens)
    backbone.eval()
    assert together == [by_transformers(backbone.base, request, subwords.end_id) for request in requests]


@pytest.mark.parametrize("lacking", ["prefix_ids", "suffix_ids"])
def test_an_empty_request_is_refused(lacking: str, tiny_llama: str) -> None:
    subwords, backbone = ChatTokenizer(tiny_llama), Decoder(tiny_llama)
    requests = requests_of(subwords, 2)
    with pytest.raises(ValueError, match="without"):
        generate(backbone, subwords, [requests[0], replace(requests[1], **{lacking: ()})])


def test_prefill_keeps_to_its_budget(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    subwords, backbone = ChatTokenizer(folder), Decoder(folder)
    requests = requests_of(subwords, 9)
    expected = generate(backbone, subwords, requests)
    monkeypatch.setattr(generation, "_MAX_PREFILL_TOKENS", 1)
    widest: list[int] = []
    real = generation.GenerationQueue._forward

    def forward(self: Any, spans: Any, running: int) -> Any:
        widest.append(len(spans) - running)
        return real(self, spans, running)

    monkeypatch.setattr(generation.GenerationQueue, "_forward", forward)
    assert generate(backbone, subwords, requests) == expected
    assert max(widest) == 1


def test_no_requests_no_sequences(tiny_llama: str) -> None:
    assert generate(Decoder(tiny_llama), ChatTokenizer(tiny_llama), []) == []


# --- one queue for requests that come in batches


@pytest.mark.parametrize("num_draft_tokens", [0, 4])
@pytest.mark.parametrize("method", ["lora", "prompt tuning"])
def test_a_queue_that_is_filled_bit_by_bit_gives_what_all_at_once_does(
    method: str, num_draft_tokens: int, tiny_llama: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """19 requests of two prefixes, five at a time: prefixes are read once, adapters merged once, and put aside in between."""
    subwords, backbone = tuned(tiny_llama, method)
    requests = requests_of(subwords, 19)
    alone = [generate(backbone, subwords, [request])[0] for request in requests]
    before = snapshot(backbone)
    layers = [module for module in backbone.modules() if isinstance(module, BaseTunerLayer)]
    calls: Counter[str] = Counter()
    for owner, name in ((generation.GenerationQueue, "_read_prefix"), (generation.InferenceWeights, "_merge")):
        real = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *given, real=real, name=name: (calls.update([name]), real(*given))[1])
    queue = generation.GenerationQueue(backbone, subwords, batch_size=3, num_draft_tokens=num_draft_tokens)
    found: dict[str, GeneratedSequence] = {}
    for first in range(0, 19, 5):
        added = min(19, first + 5)
        for number in range(first, added):
            queue.add(str(number), requests[number])
        found |= queue.run(to_the_end=False)
        assert len(found) >= added - 3 - 2, "three run at most, and fewer than three wait"
        assert_same(before, backbone)
        assert not any(layer.merged for layer in layers)
    assert queue.occupancy == 1.0, "rows are full as long as requests wait"
    assert len(found) < 19
    found |= queue.run(to_the_end=True)
    assert [found[str(number)] for number in range(19)] == alone
    assert queue.tokens == sum(len(sequence.ids) for sequence in alone)
    assert queue.run(to_the_end=True) == {}
    assert calls == Counter(_read_prefix=2, _merge=len(layers))


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


def tuned(folder: str, method: str) -> tuple[ChatTokenizer, Decoder]:
    torch.manual_seed(1)
    subwords, backbone = ChatTokenizer(folder), Decoder(folder, peft=SOFT[method])
    with torch.no_grad():
        for name, parameter in backbone.named_parameters():
            if name in backbone.adapters and method not in ("lora", "dora"):
                parameter.normal_(std=0.5)
    with_early_ends(backbone, subwords.end_id)
    return subwords, backbone


@pytest.mark.parametrize("num_draft_tokens", [0, 4])
@pytest.mark.parametrize("method", sorted(SOFT))
def test_adapters_in_batches_and_one_by_one(method: str, num_draft_tokens: int, folder: str) -> None:
    subwords, backbone = tuned(folder, method)
    requests = requests_of(subwords, 9)
    alone = [generate(backbone, subwords, [request])[0] for request in requests]
    assert generate(backbone, subwords, requests, batch_size=4, num_draft_tokens=num_draft_tokens) == alone
    plain = Decoder(folder)
    with_early_ends(plain, subwords.end_id)
    assert generate(plain, subwords, requests, batch_size=4) != alone, "the adapter matters"


@pytest.mark.filterwarnings("ignore:Position ids are not supported for parameter efficient tuning")
@pytest.mark.parametrize("method", sorted(SOFT))
def test_adapters_as_peft_generates(method: str, folder: str) -> None:
    subwords, backbone = tuned(folder, method)
    requests = requests_of(subwords, 6)
    found = generate(backbone, subwords, requests, batch_size=4)
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
        real, calls = generation.GenerationQueue._step, []

        def step(self: Any) -> None:
            calls.append(1)
            if len(calls) > 3:
                raise RuntimeError("no memory")
            real(self)

        monkeypatch.setattr(generation.GenerationQueue, "_step", step)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        if fails:
            with pytest.raises(RuntimeError, match="no memory"):
                generate(backbone, subwords, requests_of(subwords, 3))
        else:
            assert len(generate(backbone, subwords, requests_of(subwords, 3))) == 3
        assert torch.is_autocast_enabled("cpu") == autocast
    hook.remove()
    assert set(seen) == {torch.bfloat16 if autocast else torch.float32}
    assert_same(before, backbone)


def test_parts_in_evaluation_mode_stay_there(tiny_llama: str) -> None:
    backbone = Decoder(tiny_llama)
    subwords = ChatTokenizer(tiny_llama)
    backbone.train()
    backbone.base.get_input_embeddings().eval()
    before = snapshot(backbone)
    generate(backbone, subwords, requests_of(subwords, 1))
    assert_same(before, backbone)


# --- under a grammar


@pytest.mark.parametrize(("num_draft_tokens", "backtrack_threshold"), [(0, 0.0), (4, 0.3)])
@pytest.mark.parametrize("response", ["lines", "grouped", "markup"])
@pytest.mark.parametrize("kind", [EntityInstruction, JointInstruction, RelationInstruction])
def test_constrained_completions_can_be_used(
    kind: Any, response: Any, num_draft_tokens: int, backtrack_threshold: float, folder: str
) -> None:
    subwords, backbone = ChatTokenizer(folder), Decoder(folder)
    # random weights would copy long mentions for ever, and link nothing where they may end first
    with_early_ends(backbone, subwords.end_id, -10.0 if kind is RelationInstruction else 2.0)
    schema = Demo.declared
    task = kind(response, segment=48, definitions=False)
    source = Source("demo", schema, subwords)
    outcomes: Counter[str] = Counter()
    generated = found = ended = 0
    for document in Demo().read("test")[:2]:
        examples = task.examples(document, source)[:4]
        requests = [GenerationRequest(e.prefix_ids, e.input_ids, 90, e.grammar) for e in examples]
        sequences = generate(
            backbone, subwords, requests, batch_size=3, num_draft_tokens=num_draft_tokens, backtrack_threshold=backtrack_threshold
        )
        if not num_draft_tokens:
            assert sequences[:1] == generate(backbone, subwords, requests[:1])
        outputs = {
            e.id: Completion(subwords.decode(a.ids), a.truncated, True, a.backtracks) for e, a in zip(examples, sequences, strict=True)
        }
        predicted = task.annotations(document, examples, outputs, schema, outcomes)
        ended += sum(not sequence.truncated for sequence in sequences)
        generated += sum(len(sequence.ids) for sequence in sequences)
        found += len(predicted.relations) + len(predicted.events) + (len(predicted.entities) if kind is not RelationInstruction else 0)
    assert generated > 0
    assert ended + found > 0
    known = {"completions", "completions truncated", "constrained", "backtracked"}
    assert not [reason for reason in outcomes if not any(name in reason for name in known)], outcomes


@pytest.mark.parametrize("backtrack_threshold", [0.0, 0.003, 0.3])  # random weights are sure of nothing
@pytest.mark.parametrize("response", ["grouped", "markup"])
def test_constrained_and_free_rows_share_a_batch(response: Any, backtrack_threshold: float, folder: str) -> None:
    """Backtracking in one row changes neither the other rows nor what follows in its own."""
    subwords, backbone = ChatTokenizer(folder), Decoder(folder)
    document = Demo().read("test")[0]
    source = Source("demo", Demo.declared, subwords)
    examples = EntityInstruction(response, segment=48, definitions=False).examples(document, source)[:4]
    requests = [GenerationRequest(e.prefix_ids, e.input_ids, 60, e.grammar if rank != 1 else None) for rank, e in enumerate(examples)]
    alone = [generate(backbone, subwords, [request], backtrack_threshold=backtrack_threshold)[0] for request in requests]
    assert generate(backbone, subwords, requests, batch_size=4, backtrack_threshold=backtrack_threshold) == alone
    assert generate(backbone, subwords, requests, batch_size=4, num_draft_tokens=4, backtrack_threshold=backtrack_threshold) == alone
    if backtrack_threshold == 0.003 and response == "grouped":
        assert sum(sequence.backtracks for sequence in alone) > 0
    if not backtrack_threshold:
        assert not any(sequence.backtracks for sequence in alone)


def test_adapters_are_merged_while_generating(tiny_llama: str) -> None:
    """Every token but the first costs no more than without an adapter; weights that serve two layers stay as they are."""
    subwords, backbone = tuned(tiny_llama, "lora")
    layers = [module for module in backbone.modules() if isinstance(module, BaseTunerLayer)]
    seen = []
    hook = backbone.base.get_output_embeddings().register_forward_hook(lambda *_: seen.append([layer.merged for layer in layers]))
    generate(backbone, subwords, requests_of(subwords, 2))
    hook.remove()
    assert seen
    assert all(all(merged) for merged in seen)
    assert not any(layer.merged for layer in layers)
    for parameter in layers[0].get_base_layer().parameters():
        parameter.data = parameter.data.to(torch.bfloat16)
    with InferenceWeights(backbone).in_place():
        assert [layer.merged for layer in layers] == [False] + [True] * (len(layers) - 1), "nothing is rounded into half precision"
