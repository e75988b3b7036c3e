"""Memory of a step on shapes: against counts made by hand, and against what the allocator hands out in small runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import LoraConfig
from torch import nn
from transformers import LlamaConfig

from clinical_ie.commands import doctor_memory
from clinical_ie.commands.doctor_memory import Run, check_memory
from clinical_ie.commands.memory_estimate import STRATEGIES, Strategy, estimate, strategy_named
from clinical_ie.commands.memory_simulation import LiveBytes, Simulated, Step, _parts, _weights, simulate
from clinical_ie.commands.memory_step import cache_bytes, step_of
from clinical_ie.corpora import Demo
from clinical_ie.data.datamodule import ExtractionDataModule
from clinical_ie.models.folders import known_config
from clinical_ie.modules import EncoderTagger, InstructionGenerator
from clinical_ie.tasks import EntityInstruction, EntityTagging

pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.* is deprecated")  # PEFT's call

LLAMA_8B = {
    "vocab_size": 128256, "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32,
    "num_key_value_heads": 8, "max_position_embeddings": 8192, "tie_word_embeddings": False,
}  # fmt: skip


def test_bytes_are_counted_from_the_making_of_a_storage_to_its_end() -> None:
    weight = torch.zeros(10)
    with LiveBytes(iter([weight])) as live:
        made = torch.zeros(100)
        view = made[:50]
        del made
        assert live.activations == 400  # the view holds it
        weight.view(2, 5)
        assert live.activations == 400
        del view
        assert live.activations == 0
    assert max(activations for activations, _ in live.timeline) == 400


def llama(folder: Path, **more: int) -> str:
    LlamaConfig(**{**LLAMA_8B, **more}).save_pretrained(folder)
    return str(folder)


def test_weights_of_llama_8b_by_hand(tmp_path: Path) -> None:
    """8,030,261,248 parameters (Llama 3, table 3 and its model card say 8B); LoRA of rank 16 on all linear layers adds 41,943,040.

    Of a layer: q and o 4096 x 4096, k and v 4096 x 1024, three of 4096 x 14336: (sum of both sides) x 16 x 32 layers.
    """
    lora = (2 * (4096 + 4096) + 2 * (4096 + 1024) + 3 * (4096 + 14336)) * 16 * 32
    module = InstructionGenerator(llama(tmp_path), {}, peft=LoraConfig(r=16, target_modules="all-linear"), gradient_checkpointing=False)
    with torch.device("meta"):
        backbone, heads = _parts(module, known_config(module.backbone_name))
    found = _weights(nn.ModuleList([backbone, heads]), backbone.base, None, Step(1, 256, 64, "bf16-mixed", torch.bfloat16))
    assert found.trained == lora == 41_943_040
    assert found.frozen == pytest.approx(2 * 8_030_261_248, rel=1e-3)  # norms stay in float32
    assert found.layer_bytes == pytest.approx(2 * (2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14336) + 4 * lora / 32, rel=1e-3)


@pytest.mark.slow
def test_deep_models_are_extrapolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 12,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 512,
    }
    for checkpointing in (False, True):
        module = InstructionGenerator(llama(tmp_path, **small), {}, gradient_checkpointing=checkpointing)
        step = Step(1, 128, 50)
        shallow = simulate(module, step)
        monkeypatch.setattr("clinical_ie.commands.memory_simulation._WHOLE", 12)
        whole = simulate(module, step)
        monkeypatch.undo()
        assert set(whole.timelines) == {12}
        for share in (0.0, 0.25, 1.0):
            assert shallow.peak(share) == pytest.approx(whole.peak(share), rel=0.03 if checkpointing else 0.001)


def test_an_encoder_with_adapters_and_heads(tiny_bert: str) -> None:
    data = ExtractionDataModule([Demo()], [EntityTagging(256, 16)], tiny_bert)
    peft = LoraConfig(r=2, target_modules=["query"])
    module = EncoderTagger(tiny_bert, data.schemas, peft=peft)
    found = simulate(module, Step(2, 64, 1))
    heads = module.make_heads(48)
    # in two layers, matrices of 48 x 2 and 2 x 48
    assert found.trained == 2 * 2 * 48 * 2 + sum(weight.numel() for weight in heads.parameters() if weight.requires_grad)
    assert found.peak() > 2 * 64 * 48 * 4 * 10


def test_recomputing_activations_takes_less(tiny_llama: str) -> None:
    peaks = [simulate(InstructionGenerator(tiny_llama, {}, gradient_checkpointing=on), Step(1, 512, 200)).peak() for on in (False, True)]
    assert peaks[1] < 0.8 * peaks[0]


SHAPES = Simulated(
    frozen=800, weights=300, trained=100, trained_bytes=400, layer_bytes=200, root_bytes=300, timelines={1: [(1000, 0), (500, 400)]}
)


@pytest.mark.parametrize(
    ("strategy", "weights", "gradients", "optimizer"),
    [
        ("single", 1200, 400, 800), ("ddp", 1200, 400, 800), ("fsdp2", 300, 100, 200),
        # DeepSpeed steps a float32 copy of its share: 4 + 8 bytes a weight
        ("zero1", 1200, 400, 300), ("zero2", 1200, 100, 300), ("zero3", 300, 100, 300),
    ],
)  # fmt: skip
def test_what_each_of_four_ranks_holds(strategy: Strategy, weights: int, gradients: int, optimizer: int) -> None:
    """By the tables of Rajbhandari et al., ZeRO (SC 2020), figure 1: 800 bytes of frozen weights, 100 trained ones in float32."""
    found = estimate(SHAPES, Step(1, 1, 1), strategy, 4, on_gpu=False)
    assert found.parts["weights"].expected == weights
    assert found.parts["gradients"].expected == gradients
    assert found.parts["optimizer"].expected == optimizer
    assert not found.host


@pytest.mark.parametrize("ranks", [1, 4])
def test_what_is_offloaded_lies_on_the_host(ranks: int) -> None:
    """By `stage3.py` of DeepSpeed 0.19.8.

    Shards of weights (`param_groups_fp16_flat_cpu_memory`), their float32 copies with two states of AdamW (`_create_fp32_partitions`),
    gradients as they were reduced (`grad_partitions_flat_buffer`) and in float32 (`initialize_optimizer_states`).
    """
    found = estimate(SHAPES, Step(1, 1, 1), "zero3_offload", ranks, on_gpu=True)
    assert found.parts.keys() == {"gathered weights", "activations", "buckets", "CUDA and fragments"}
    assert found.parts["gathered weights"].expected == 2 * (800 + 400)  # nothing of it is there already, on one device either
    assert found.parts["activations"].expected == 1000
    host = {name: part.expected * ranks for name, part in found.host.items()}
    assert host == {"weights": 800 + 400, "gradients": 400 + 400, "optimizer": 3 * 400, "processes": ranks * 2e9}
    whole = found.node(ranks).total
    assert whole.expected == 3200 + ranks * 2e9
    assert whole.low < whole.expected < whole.high
    on_cpus = estimate(SHAPES, Step(1, 1, 1), "zero3_offload", ranks, on_gpu=False)
    assert not on_cpus.host  # there the host is the device
    assert {"weights", "gradients", "optimizer"} <= on_cpus.parts.keys()
    assert estimate(SHAPES, Step(1, 1, 1), "zero3", 1, on_gpu=True).parts["gathered weights"].expected == 0


@pytest.mark.parametrize(
    ("weights", "gathered", "ahead"),
    [
        (300, 1200, 1200),  # all of a small model: each weight is used again before 1e9 others
        (10**9, 600, 60),  # the last half of these
        (10**12, 2 * 200 + 300 / 2, 0.06),  # of a large one two layers and the head
    ],
)
def test_zero_gives_weights_back_that_are_not_used_again_soon(weights: int, gathered: float, ahead: float) -> None:
    """By `PartitionedParameterCoordinator.__params_to_release` of DeepSpeed 0.19.8, with its default `max_reuse_distance` of 1e9.

    The next ones are gathered ahead into a buffer of their own, 5e7 at a time (`prefetch_bucket_size`).
    """
    shapes = replace(SHAPES, weights=weights)
    assert estimate(shapes, Step(1, 1, 1), "zero3", 4, on_gpu=True).parts["gathered weights"].expected == pytest.approx(
        gathered * 3 / 4 + ahead
    )
    assert estimate(shapes, Step(1, 1, 1), "fsdp2", 4, on_gpu=True).parts["gathered weights"].expected == (2 * 200 + 300) * 3 / 4


BIG = Simulated(trained=8 * 10**9, trained_bytes=32 * 10**9, layer_bytes=10**9, root_bytes=2 * 10**9, timelines={1: [(10**9, 0)]})


def test_activations_and_gradients_have_one_peak() -> None:
    """Activations are gone by when gradients are there: of (1000, 0) and (500, 400) the first is higher."""
    parts = estimate(SHAPES, Step(1, 1, 1), "single", 1, on_gpu=False).parts
    assert parts["gradients"].expected + parts["activations"].expected == 1000


def test_names_of_strategies() -> None:
    named = {"auto": "single", "ddp_spawn": "ddp", "deepspeed_stage_2": "zero2", "clinical_ie.strategies.sharding.FullySharded": "fsdp2"}
    assert {name: strategy_named(name) for name in named} == named
    assert all(strategy_named(name) == name for name in STRATEGIES)


def generator(backbone: str, **options: object) -> tuple[InstructionGenerator, ExtractionDataModule]:
    data = ExtractionDataModule([Demo()], [EntityInstruction(segment=128, window=1024)], backbone, batch_budget=4096)
    return InstructionGenerator(backbone, data.schemas, **options), data  # type: ignore[arg-type]


def test_the_batch_that_settings_allow(tiny_llama: str, tiny_bert: str) -> None:
    module, data = generator(tiny_llama)
    assert step_of(module, data, "32-true").rows == 1
    assert step_of(module, data, "32-true").width == 4096
    tagging = ExtractionDataModule([Demo()], [EntityTagging(256, 16)], tiny_bert, batch_budget=2048)
    step = step_of(EncoderTagger(tiny_bert, tagging.schemas), tagging, "32-true")
    assert (step.rows, step.width) == (8, 256)
    # keys and values of 2 layers, 2 heads of 8, 1,024 tokens of 32 sequences, 4 bytes
    assert cache_bytes(module, data, step) == 2 * 2 * 2 * 8 * 1024 * 32 * 4


def test_what_a_run_saves(tiny_llama: str) -> None:
    """Weights in float32 and AdamW's two states of them: 12 bytes of each that is trained, 16 with an average; ZeRO saves its masters."""
    peft = LoraConfig(r=4, target_modules="all-linear")
    module, data = generator(tiny_llama, peft=peft)
    run = Run(module, data, precision="32-true", strategy="auto", ranks=1, on_gpu=False)
    checkpoint, weights = run.saved()
    assert run.simulated is not None
    assert (checkpoint, weights) == (12 * run.simulated.trained, 4 * run.simulated.trained)
    averaged = Run(module, data, precision="32-true", strategy="auto", ranks=1, on_gpu=False, averaged=True)
    assert averaged.saved() == (16 * run.simulated.trained, weights)
    for strategy, itemsize in (("ddp", 2), ("zero2", 4)):
        half = Run(module, data, precision="bf16-true", strategy=strategy, ranks=2, on_gpu=False)
        assert half.saved() == (3 * itemsize * run.simulated.trained, itemsize * run.simulated.trained)


@pytest.mark.parametrize(("precision", "held"), [("bf16-mixed", torch.bfloat16), ("32-true", torch.float32), ("bf16-true", torch.float32)])
def test_a_frozen_base_under_zero(precision: str, held: torch.dtype, tiny_llama: str) -> None:
    module, data = generator(tiny_llama, peft=LoraConfig(r=4, target_modules="all-linear"))
    assert Run(module, data, precision=precision, strategy="zero3", ranks=2).step.base_dtype == held


def test_what_would_make_it_fit(tiny_llama: str) -> None:
    module, data = generator(tiny_llama, batch_size=1)
    data.batch_budget = 768  # of longer rows, the masks of all pairs of tokens take most in so narrow a model
    run = Run(module, data, precision="32-true", strategy="auto", ranks=1, on_gpu=False)
    total = run.estimate().total
    (fits,) = check_memory(run, 2 * total.high)
    assert fits.level == "ok"
    (perhaps,) = check_memory(run, (total.expected + total.high) / 2)
    assert perhaps.level == "warning"
    (not_fitting,) = check_memory(run, 0.6 * total.expected)
    assert not_fitting.level == "problem"
    assert not_fitting.remedy.startswith("--model.init_args.gradient_checkpointing=true: ")
    assert module.gradient_checkpointing is False  # remedies are tried on copies
    (unknown,) = check_memory(run, None)
    assert unknown.level == "ok"
    assert "--gpu-memory" in unknown.remedy


def test_memory_of_a_node_that_offloading_needs(tiny_llama: str) -> None:
    module, data = generator(tiny_llama, batch_size=1, gradient_checkpointing=True)
    data.batch_budget = 768
    run = Run(module, data, precision="32-true", strategy="zero3_offload", ranks=8, nodes=2)
    device, host = check_memory(run, 80e9)
    assert (device.level, device.subject, host.level, host.subject) == ("ok", "memory", "ok", "host memory")
    assert run.simulated is not None
    needed = run.host()
    assert needed is not None
    assert needed.total.expected == pytest.approx((run.simulated.frozen + 24 * run.simulated.trained) / 2 + 4 * 2e9)
    assert "a node (4.0 GB to" in host.text
    assert "for 4 processes" in host.text
    assert "--mem=" in host.remedy
    levels = [check_memory(run, 80e9, of_node)[1].level for of_node in (20e9, 10e9, 5e9)]
    assert levels == ["ok", "warning", "problem"]


def test_what_offloading_takes_is_said_with_it(tiny_llama: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, data = generator(tiny_llama, batch_size=1)
    run = Run(module, data, precision="32-true", strategy="zero3", ranks=8, nodes=2)
    last = [change for change in doctor_memory._CHANGES if change[0] == "-c strategy/zero3_offload"]
    monkeypatch.setattr(doctor_memory, "_CHANGES", last)
    monkeypatch.setattr(doctor_memory, "estimate", lambda *given, **named: estimate(BIG, *given[1:], **named))
    (found,) = check_memory(run, 10e9, 64e9)
    assert found.level == "problem"
    # by hand: 24 bytes of 8 billion weights on two nodes, and 2 GB for each of 4 processes
    assert "-c strategy/zero3_offload: " in found.remedy
    assert "and 104.0 GB (100.0 GB to" in found.remedy
    assert "of a node's own memory, where the job has 64.0 GB" in found.remedy


@pytest.mark.slow
@pytest.mark.distributed
@pytest.mark.timeout(300)
def test_measured_peaks_lie_inside(tmp_path: Path) -> None:
    """Four of the runs of `benchmarks/memory_estimate.py`."""
    from benchmarks.memory_estimate import Case, run, write_models

    models = tmp_path / "models"
    models.mkdir()
    write_models(models)
    chosen = [Case("decoder", "lora", True, 1024), Case("decoder", "full", False, 1024), Case("encoder", "full", True, 1024)]
    for number, case in enumerate([*chosen, Case("encoder", "lora", False, 2048, strategy="ddp")]):
        (tmp_path / str(number)).mkdir()
        row = run(case, models, tmp_path / str(number))
        assert row["low"] <= row["measured"] <= row["high"], row
