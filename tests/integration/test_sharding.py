"""Weights that are sharded over two ranks (FSDP2) train to what whole ones train to (DDP), and are tested, resumed and exported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from tests.integration.processes import forked, results

pytestmark = [pytest.mark.distributed, pytest.mark.timeout(400)]
CONFIGS = Path(__file__).parents[2] / "configs"


def fit(run: Path, strategy: str, *arguments: str) -> dict[str, Any]:
    """The last state of a run on two ranks."""
    line = ("fit", *arguments, f"--run_dir={run}", "--trainer.accelerator=cpu", "--trainer.devices=2", f"--trainer.strategy={strategy}")
    code, printed = forked(*line, ranks=2)
    assert code == 0, printed[-4000:]
    found: dict[str, Any] = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    return found


def assert_close(one: dict[str, Any], other: dict[str, Any], atol: float = 1e-6) -> None:
    assert one["state_dict"].keys() == other["state_dict"].keys()
    for name, value in one["state_dict"].items():
        torch.testing.assert_close(other["state_dict"][name], value, atol=atol, rtol=0)


def difference(one: dict[str, Any], other: dict[str, Any]) -> float:
    """Of all weights, relative to their norm.

    Adam makes steps of up to the rate of gradients that are rounding alone, such as those of the biases of attention's keys, so single
    weights may differ; ranks that learn apart are 0.01 apart after an epoch.
    """
    squares = [(other["state_dict"][name] - value).double().square().sum() for name, value in one["state_dict"].items()]
    norm = torch.stack([value.double().square().sum() for value in one["state_dict"].values()]).sum()
    return float((torch.stack(squares).sum() / norm).sqrt())


Taggers = tuple[tuple[str, ...], Path, dict[str, dict[str, Any]]]


@pytest.fixture(scope="module")
def taggers(trained_run: Path, small_corpus: str, tmp_path_factory: pytest.TempPathFactory) -> Taggers:
    """Settings, folder, and last states of a tagger of two corpora by strategy; batches of a rank may hold one corpus only."""
    from clinical_ie.formats import brat, jsonl

    folder = tmp_path_factory.mktemp("taggers")
    brat.write(jsonl.read(Path(small_corpus) / "train.jsonl")[:8], folder / "notes")
    corpus = {"root": str(folder / "notes"), "corpus_name": "other", "schema": {"entities": ["Drug"]}, "entity_types": ["Drug"]}
    entry = {"class_path": "clinical_ie.corpora.BratFolder", "init_args": corpus}
    other = folder / "other.yaml"
    other.write_text(yaml.safe_dump({"data": {"corpora+": [entry], "batch_budget": 256}}), encoding="utf-8")
    given = ("-c", str(trained_run / "config.yaml"), "-c", str(other), "--trainer.max_epochs=1", "--test_after_fit=false")
    return given, folder, {strategy: fit(folder / strategy, strategy, *given) for strategy in ("ddp", "fsdp2")}


def test_sharded_taggers_of_two_corpora_train_as_whole_ones(taggers: Taggers) -> None:
    """Adam's state is sharded too."""
    whole, sharded = taggers[2].values()
    assert difference(whole, sharded) < 1e-4
    moments = [state["optimizer_states"][0] for state in (whole, sharded)]
    assert moments[0]["state"].keys() == moments[1]["state"].keys()
    for number, one_moment in moments[0]["state"].items():
        torch.testing.assert_close(moments[1]["state"][number]["exp_avg"], one_moment["exp_avg"], atol=1e-5, rtol=1e-3)


@pytest.mark.slow
def test_sharded_taggers_go_on_from_their_own_checkpoint_and_from_that_of_whole_ones(taggers: Taggers, tmp_path: Path) -> None:
    given, folder, states = taggers
    one, two = (
        fit(
            tmp_path / strategy, "fsdp2", *given, "--trainer.max_epochs=2",
            f"--ckpt_path={folder / strategy / 'checkpoints' / 'last.ckpt'}",
        )
        for strategy in states
    )  # fmt: skip
    sharded = states["fsdp2"]
    assert one["global_step"] == two["global_step"] > sharded["global_step"]
    assert difference(one, two) < 1e-4
    assert difference(sharded, two) > 0.01, "an epoch more is another model"


@pytest.mark.slow
def test_what_two_ranks_sharded_one_process_validates_predicts_and_goes_on_with(taggers: Taggers, tmp_path: Path) -> None:
    """The checkpoint is one file, as every strategy writes it; and two ranks with shards score what one process scores."""
    given, folder, states = taggers
    run, alone = folder / "fsdp2", ("--trainer.devices=1", "--trainer.strategy=auto")
    found = []
    for ranks, more in ((1, alone), (2, ())):
        config = ("-c", str(run / "config.yaml"), f"--ckpt_path={run / 'checkpoints' / 'best.ckpt'}", f"--run_dir={tmp_path / str(ranks)}")
        code, printed = forked("validate", *config, *more, ranks=ranks)
        assert code == 0, printed[-4000:]
        found.append(results(tmp_path / str(ranks))["splits"]["dev"])
    assert found[0] == found[1]
    notes, out, on = tmp_path / "notes", tmp_path / "out", tmp_path / "on"
    notes.mkdir()
    (notes / "one.txt").write_text("Started aspirin for pain.\n", encoding="utf-8")
    for line in (
        ("predict", "-c", str(run / "config.yaml"), f"--data.texts={notes}", f"--output={out}"),
        ("fit", *given, f"--run_dir={on}", "--trainer.max_epochs=2", f"--ckpt_path={run / 'checkpoints' / 'last.ckpt'}"),
    ):
        code, printed = forked(*line, *alone)
        assert code == 0, printed[-4000:]
    assert [path.name for path in out.rglob("*.ann")] == ["one.ann"] * 2, "of two corpora"
    assert torch.load(on / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] > states["fsdp2"]["global_step"]


@pytest.mark.slow
def test_what_two_ranks_sharded_any_number_of_ranks_tests_and_predicts(taggers: Taggers, trained_run: Path, tmp_path: Path) -> None:
    """From two ranks to one, and from one process to two ranks that shard what it wrote."""
    _, folder, _ = taggers
    notes = tmp_path / "notes"
    notes.mkdir()
    for number in range(3):
        (notes / f"{number}.txt").write_text(f"Started aspirin {number} mg for pain.\n", encoding="utf-8")
    for run in (folder / "fsdp2", trained_run):
        scores, found = [], []
        for ranks, strategy in ((1, "auto"), (2, "fsdp2")):
            out = tmp_path / f"{run.name}{ranks}"
            more = ("--trainer.accelerator=cpu", f"--trainer.devices={ranks}", f"--trainer.strategy={strategy}")
            config = ("-c", str(run / "config.yaml"), f"--ckpt_path={run / 'checkpoints' / 'best.ckpt'}")
            for line in (("test", f"--run_dir={out}"), ("predict", f"--data.texts={notes}", f"--output={out / 'out'}")):
                code, printed = forked(line[0], *config, *line[1:], *more, ranks=ranks)
                assert code == 0, printed[-4000:]
            scores.append(results(out)["splits"]["test"])
            found.append({str(path.relative_to(out)): path.read_bytes() for path in (out / "out").rglob("*.ann")})
        assert scores[0] == scores[1]
        assert found[0] == found[1] != {}


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["fsdp2", "zero3"])
def test_a_sharded_model_that_is_trained_whole_lies_beside_its_checkpoint(
    strategy: str, tiny_llama: str, small_corpus: str, tmp_path: Path
) -> None:
    """As transformers reads it, though no rank had it whole; one process exports the same."""
    if strategy == "zero3":
        pytest.importorskip("deepspeed")
    files = ("base", "task/joint_instruction", "model/smollm2_135m", "peft/full", "data/demo", "strategy/single")
    given = [part for name in files for part in ("-c", str(CONFIGS / f"{name}.yaml"))]
    given += [f"--data.corpora.init_args.root={small_corpus}", f"--model.init_args.backbone={tiny_llama}", "--trainer.max_steps=2"]
    given += ["--trainer.max_epochs=-1", "--trainer.precision=32-true", "--data.batch_budget=4096", "--data.tasks.init_args.window=4096"]
    given += ["--data.tasks.init_args.segment=128", "--data.dev_documents=1", "--model.init_args.max_new_tokens_ratio=0.1"]
    fit(tmp_path / "run", strategy, *given, "--test_after_fit=false")
    best = torch.load(tmp_path / "run" / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    beside = load_file(tmp_path / "run" / "checkpoints" / "model" / "model.safetensors")
    for name, value in beside.items():
        torch.testing.assert_close(value, best[f"backbone.model.{name}"], atol=0, rtol=0)
    code, printed = forked("export", str(tmp_path / "run"), "--output", str(tmp_path / "out"), "--merge")
    assert code == 0, printed[-4000:]
    exported = load_file(tmp_path / "out" / "model.safetensors")
    assert exported.keys() == beside.keys()
    assert all(torch.equal(exported[name], value) for name, value in beside.items())


def test_a_sharded_generator_is_trained_tested_and_exported(tiny_llama: str, small_corpus: str, tmp_path: Path) -> None:
    """Ranks whose responses differ in length and number call the decoder and its head equally often."""
    files = ("base", "task/joint_instruction", "model/smollm2_135m", "peft/lora", "data/demo", "strategy/single")
    given = [part for name in files for part in ("-c", str(CONFIGS / f"{name}.yaml"))]
    given += [f"--data.corpora.init_args.root={small_corpus}", f"--model.init_args.backbone={tiny_llama}", "--trainer.max_epochs=1"]
    given += ["--trainer.precision=32-true", "--data.batch_budget=4096", "--data.tasks.init_args.window=4096"]
    given += ["--data.tasks.init_args.segment=128", "--data.dev_documents=3", "--model.init_args.max_new_tokens_ratio=0.5"]
    given += ["--data.test_documents=3", "--model.init_args.chunk=50", "--data.eval_batch_budget=300"]
    whole = fit(tmp_path / "whole", "ddp", *given, "--test_after_fit=false")
    sharded = fit(tmp_path / "sharded", "fsdp2", *given)
    assert_close(whole, sharded)
    adapters = [load_file(tmp_path / run / "checkpoints" / "adapter" / "adapter_model.safetensors") for run in ("whole", "sharded")]
    assert adapters[0].keys() == adapters[1].keys()
    for name, value in adapters[0].items():
        torch.testing.assert_close(adapters[1][name], value, atol=1e-6, rtol=0)
    entry = results(tmp_path / "sharded")["splits"]["test"]["demo"]["joint_instruction"]
    assert entry["documents"] == 3
    assert entry["outcomes"]["completions"] >= 3


def test_strategies_that_are_not_prepared_are_refused_on_all_ranks(trained_run: Path, tmp_path: Path) -> None:
    file = tmp_path / "strategy.yaml"
    strategy = {"class_path": "lightning.pytorch.strategies.ModelParallelStrategy", "init_args": {"data_parallel_size": 2}}
    strategy["init_args"] |= {"tensor_parallel_size": 1}  # type: ignore[operator]
    file.write_text(yaml.safe_dump({"trainer": {"strategy": strategy}}), encoding="utf-8")
    given = ("-c", str(trained_run / "config.yaml"), "-c", str(file), f"--run_dir={tmp_path / 'run'}", "--trainer.devices=2")
    code, printed = forked("fit", *given, ranks=2)
    assert code == 2
    assert printed.count("-c strategy/fsdp2") == 2
    assert not (tmp_path / "run" / "checkpoints").exists()
