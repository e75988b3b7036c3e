"""DeepSpeed ZeRO on CPUs: runs train to what one device trains to; checkpoints are tested and resumed by any strategy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from clinical_ie.callbacks.learned import NAME as LEARNED
from clinical_ie.callbacks.learned import Learned
from tests.integration.processes import forked, results, same_scores
from tests.integration.test_sharding import difference

pytestmark = [pytest.mark.distributed, pytest.mark.slow, pytest.mark.timeout(900)]
CONFIGS = Path(__file__).parents[2] / "configs"
Arguments = Callable[..., list[str]]
FIT = ("--model.init_args.learning_rate=5e-4", "--model.init_args.head_learning_rate=5e-3", "--trainer.gradient_clip_val=1.0")


def run(line: list[str], strategy: str, ranks: int, *, code: int = 0) -> str:
    found, printed = forked(*line, f"--trainer.devices={ranks}", f"--trainer.strategy={strategy}", ranks=ranks)
    assert found == code, printed[-4000:]
    return printed


def state(folder: Path, name: str = "last.ckpt") -> dict[str, Any]:
    found: dict[str, Any] = torch.load(folder / "checkpoints" / name, weights_only=True)
    return found


def test_one_rank_trains_as_without_deepspeed(arguments: Arguments, tmp_path: Path) -> None:
    """Gradients of three batches, of two at the end of an epoch; clipped; decayed. Adam's state is that of torch, number by number."""
    given = [*FIT, "--trainer.accumulate_grad_batches=3", "--trainer.max_epochs=2", "--test_after_fit=false"]
    run(arguments("fit", tmp_path / "auto", *given), "auto", 1)
    plain = state(tmp_path / "auto")
    assert plain["global_step"] % 2 == 0, "two epochs"
    for strategy in ("zero1", "zero2", "zero3"):
        run(arguments("fit", tmp_path / strategy, *given), strategy, 1)
        found = state(tmp_path / strategy)
        assert found["global_step"] == plain["global_step"]
        assert found["state_dict"].keys() == plain["state_dict"].keys()
        assert difference(plain, found) < 1e-5, strategy
        one, other = found["optimizer_states"][0], plain["optimizer_states"][0]
        assert one["state"].keys() == other["state"].keys()
        assert [group["params"] for group in one["param_groups"]] == [group["params"] for group in other["param_groups"]]
        for number, moments in one["state"].items():
            torch.testing.assert_close(moments["step"], other["state"][number]["step"])
            torch.testing.assert_close(moments["exp_avg"], other["state"][number]["exp_avg"], atol=1e-5, rtol=1e-3)


def test_a_run_of_two_ranks_stops_goes_on_exactly_and_is_tested_by_any_strategy(arguments: Arguments, tmp_path: Path) -> None:
    """Whole weights were never on one rank (ZeRO-3)."""
    whole, stopped, file = tmp_path / "whole", tmp_path / "stopped", tmp_path / "signal"
    given = [*FIT, "--trainer.callbacks+=tests.integration.signals.Signalled", f"--trainer.callbacks.init_args.file={file}"]
    given += ["--trainer.max_epochs=2", "--resume=auto"]
    run(arguments("fit", whole, *given), "zero3", 2)
    file.write_text("1 6 train", encoding="utf-8")
    run(arguments("fit", stopped, *given), "zero3", 2, code=75)
    run(arguments("fit", stopped, *given, "--test_after_fit=false"), "zero3", 2)
    one, other = state(whole), state(stopped)
    for name, value in one["state_dict"].items():
        assert torch.equal(other["state_dict"][name], value), name
    assert not torch.equal(one["random_states"][0]["torch"], one["random_states"][1]["torch"])
    scores = results(whole)["splits"]["test"]
    for strategy, ranks in (("auto", 1), ("zero3", 1), ("zero2", 2)):
        scored = tmp_path / f"{strategy}{ranks}"
        run(["test", "-c", str(whole / "config.yaml"), f"--run_dir={scored}", "--trainer.accelerator=cpu"], strategy, ranks)
        same_scores(results(scored)["splits"]["test"], scores)


def test_a_generator_with_adapters_trains_and_generates_as_without_shards(tiny_llama: str, small_corpus: str, tmp_path: Path) -> None:
    """ZeRO-3: responses differ in length and number between ranks, one of which has no document to develop on."""
    files = ("base", "task/joint_instruction", "model/smollm2_135m", "peft/lora", "data/demo", "strategy/single")
    given = [part for name in files for part in ("-c", str(CONFIGS / f"{name}.yaml"))]
    given += [f"--data.corpora.init_args.root={small_corpus}", f"--model.init_args.backbone={tiny_llama}", "--trainer.max_epochs=1"]
    given += ["--trainer.precision=32-true", "--data.batch_budget=4096", "--data.tasks.init_args.window=4096", "--trainer.accelerator=cpu"]
    given += ["--data.tasks.init_args.segment=128", "--data.dev_documents=1", "--model.init_args.max_new_tokens_ratio=0.5"]
    given += ["--data.test_documents=3", "--model.init_args.chunk=50", "--data.eval_batch_budget=300"]
    for strategy in ("ddp", "zero3"):
        run(["fit", *given, f"--run_dir={tmp_path / strategy}"], strategy, 2)
    whole, sharded = (state(tmp_path / strategy) for strategy in ("ddp", "zero3"))
    assert {"lora_A" in name or "lora_B" in name for name in sharded["state_dict"]} == {True}
    assert difference(whole, sharded) < 1e-5
    adapters = [load_file(tmp_path / name / "checkpoints" / "adapter" / "adapter_model.safetensors") for name in ("ddp", "zero3")]
    torch.testing.assert_close(*adapters, atol=1e-5, rtol=0)
    one, other = (results(tmp_path / strategy) for strategy in ("ddp", "zero3"))
    same_scores(one["splits"]["test"], other["splits"]["test"])
    seen, also = (Learned.read(tmp_path / strategy / LEARNED) for strategy in ("ddp", "zero3"))
    assert seen is not None
    assert seen == also
    assert seen.strings
    for name in ("parameters", "trainable_parameters"):
        assert one["run"][name] == other["run"][name]
