"""A generator through the command line: train, interrupt, go on, test, export, annotate."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import AutoPeftModelForCausalLM, PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from clinical_ie.cli import main
from clinical_ie.commands.export import load_run
from clinical_ie.extraction.trained_run import TrainedRun
from clinical_ie.formats import jsonl
from clinical_ie.models.folders import base_of
from clinical_ie.prompts.answers import LabelNames
from clinical_ie.prompts.responses import FORMATS
from clinical_ie.tasks.task import Source
from tests.integration.signals import signal_at

CONFIGS = Path(__file__).parents[2] / "configs"
Arguments = Callable[..., list[str]]
SHORT = ("--trainer.max_epochs=1", "--trainer.limit_train_batches=3", "--data.dev_documents=1", "--test_after_fit=false")
UMASK = os.umask(0)
os.umask(UMASK)


@pytest.fixture(scope="module")
def given(tiny_llama: str, small_corpus: str) -> Arguments:
    def make(run_dir: Path, *more: str, peft: str = "lora") -> list[str]:
        files = ("base", "task/joint_instruction", "model/smollm2_135m", f"peft/{peft}", "data/demo", "strategy/single")
        chain = [part for name in files for part in ("-c", str(CONFIGS / f"{name}.yaml"))]
        chain += [f"--data.corpora.init_args.root={small_corpus}", f"--model.init_args.backbone={tiny_llama}", f"--run_dir={run_dir}"]
        chain += ["--trainer.max_epochs=2", "--trainer.precision=32-true", "--trainer.accelerator=cpu", "--data.batch_budget=4096"]
        chain += ["--data.tasks.init_args.window=4096", "--data.tasks.init_args.segment=128", "--data.dev_documents=2"]
        chain += ["--trainer.enable_progress_bar=false", "--trainer.log_every_n_steps=1", "--model.init_args.max_new_tokens_ratio=0.5"]
        chain += ["--data.test_documents=3"]
        return ["fit", *chain, *more]

    return make


@pytest.fixture(scope="module")
def run(given: Arguments, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generator") / "run"
    assert main(given(folder)) == 0
    return folder


def test_what_a_run_leaves_behind(run: Path) -> None:
    results = json.loads((run / "results.json").read_text(encoding="utf-8"))
    entry = results["splits"]["test"]["demo"]["joint_instruction"]
    outcomes = entry["outcomes"]
    assert outcomes["completions"] >= 6
    fine = {"completions", "completions truncated", "mentions and links backtracked"}
    lost = {name for name in outcomes if not name.startswith("mentions, ")} - fine
    assert not lost, "a constrained completion parses"
    assert "mentions, none" not in outcomes
    state = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    assert all("lora" in name for name in state["state_dict"])
    assert results["run"]["trainable_parameters"] < results["run"]["parameters"]
    assert (run / "predictions" / "test" / "demo.html").exists()


def test_the_adapter_and_the_merged_model_say_the_same(run: Path, tiny_llama: str, tmp_path: Path) -> None:
    ids = torch.arange(5, 25).unsqueeze(0)
    ours = load_run(run)
    with torch.no_grad():
        causal = torch.ones(1, 20, 20, dtype=torch.bool).tril()
        expected = ours.backbone.logits(ours.backbone(ids, torch.arange(20).unsqueeze(0), causal))
        adapted = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_llama), str(run / "checkpoints" / "adapter"))
        torch.testing.assert_close(adapted(ids).logits, expected, atol=1e-5, rtol=1e-4)
        assert main(["export", str(run), "--output", str(tmp_path / "whole"), "--merge"]) == 0
        merged = AutoModelForCausalLM.from_pretrained(tmp_path / "whole")
        torch.testing.assert_close(merged(ids).logits, expected, atol=1e-5, rtol=1e-4)
    assert AutoTokenizer.from_pretrained(tmp_path / "whole").chat_template
    assert main(["export", str(run), "--output", str(tmp_path / "whole")]) == 2, "nothing is overwritten"
    assert main(["export", str(run), "--output", str(tmp_path / "adapter")]) == 0
    with torch.no_grad():
        alone = AutoPeftModelForCausalLM.from_pretrained(tmp_path / "adapter")  # finds the base by what the adapter names
        torch.testing.assert_close(alone(ids).logits, expected, atol=1e-5, rtol=1e-4)
    for folder in (tmp_path / "adapter", tmp_path / "whole", run / "checkpoints"):
        assert {path.stat().st_mode & 0o777 for path in folder.rglob("*") if path.is_file()} == {0o666 & ~UMASK}
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_an_export_tells_the_prompt_that_the_model_was_trained_with(run: Path, small_corpus: str, tmp_path: Path) -> None:
    assert main(["export", str(run), "--output", str(tmp_path / "adapter")]) == 0
    (prompts,) = json.loads((tmp_path / "adapter" / "prompts.json").read_text(encoding="utf-8"))["tasks"].values()
    assert prompts["segment"] == 128
    ours, (task,) = load_run(run), TrainedRun(run).tasks
    document = jsonl.read(Path(small_corpus) / "test.jsonl")[0]
    example = task.examples(document, Source("demo", ours.schemas["demo"], ours.subwords))[0]
    entry = prompts["corpora"]["demo"]
    prompt = entry["prompt"].replace("{{TEXT}}", document.text[slice(*example.segment)])
    tokenizer = ours.subwords.tokenizer
    seen = tokenizer.decode([*example.prefix_ids, *example.input_ids], clean_up_tokenization_spaces=False)
    assert seen == prompt
    assert tokenizer.apply_chat_template(entry["messages"], tokenize=False, add_generation_prompt=True) == entry["prompt"]
    parsed = FORMATS[prompts["answer"]["syntax"]]().parse("Drug\taspirin", LabelNames(tuple(entry["types"]), tuple(entry["links"])))
    assert [(mention.type, mention.text) for mention in parsed.mentions] == [("Drug", "aspirin")]
    page = (tmp_path / "adapter" / "README.md").read_text(encoding="utf-8")
    assert "AutoPeftModelForCausalLM" in page
    assert f"`{prompts['answer']['syntax']}`" in page


def test_the_base_of_an_adapter_is_one_that_plain_peft_finds() -> None:
    found = base_of("package:clinical_ie/prompts")
    assert Path(found).is_absolute()
    assert Path(found).is_dir()
    assert base_of("HuggingFaceTB/SmolLM2-135M") == "HuggingFaceTB/SmolLM2-135M"


def test_an_adapter_is_not_all_of_a_run_that_trained_its_base(given: Arguments, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(given(tmp_path / "run", *SHORT, "--model.init_args.freeze=false")) == 0
    assert not (tmp_path / "run" / "checkpoints" / "adapter").exists()
    assert main(["export", str(tmp_path / "run"), "--output", str(tmp_path / "out")]) == 2
    assert "export it with --merge" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_export_refuses_what_it_cannot_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(tmp_path), "--output", str(tmp_path / "out")]) == 2
    assert "no finished run" in capsys.readouterr().err
    damaged = tmp_path / "run"
    (damaged / "checkpoints").mkdir(parents=True)
    (damaged / "checkpoints" / "best.ckpt").write_bytes(b"x")
    for text, message in (
        ("model: {a", "config.yaml:1: not YAML"),
        ("model: 3", "config.yaml: no model in it"),
        ("model: {class_path: clinical_ie.modules.InstructionGenerator, init_args: {}}", "best.ckpt: cut off, damaged or no checkpoint"),
    ):
        (damaged / "config.yaml").write_text(text, encoding="utf-8")
        assert main(["export", str(damaged), "--output", str(tmp_path / "out")]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_interrupted_run_ends_in_the_same_weights(run: Path, given: Arguments, tmp_path: Path) -> None:
    with signal_at(signal.SIGTERM, 2):
        assert main(given(tmp_path / "run", "--test_after_fit=false")) == 75
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    assert torch.load(last, weights_only=True)["global_step"] == 2
    assert main(given(tmp_path / "run", "--test_after_fit=false", f"--ckpt_path={last}")) == 0
    one, two = (torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"] for folder in (run, tmp_path / "run"))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_new_texts_are_annotated(run: Path, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "one.txt").write_text("Takes aspirin 81 mg daily.\r\nDenies pain. 😀", encoding="utf-8", newline="")
    assert main(["predict", "-c", str(run / "config.yaml"), f"--data.texts={tmp_path / 'notes'}"]) == 0
    assert (run / "predictions" / "predict" / "demo" / "one.ann").exists()


def same_as_export(run: Path, output: Path, *, merge: bool) -> None:
    """What lies beside the best checkpoint is what `export` makes of the loaded model."""
    assert main(["export", str(run), "--output", str(output), *(["--merge"] if merge else [])]) == 0
    ours, file = run / "checkpoints" / ("model" if merge else "adapter"), "model.safetensors" if merge else "adapter_model.safetensors"
    one, other = load_file(ours / file), load_file(output / file)
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], atol=0, rtol=0)
    config = "config.json" if merge else "adapter_config.json"
    settings = [json.loads((folder / config).read_text(encoding="utf-8")) for folder in (ours, output)]
    assert (
        len({json.dumps({name: sorted(v) if isinstance(v, list) else v for name, v in s.items()}, sort_keys=True) for s in settings}) == 1
    )


def test_a_run_that_goes_on_writes_the_folder_that_is_missing(run: Path, given: Arguments, tmp_path: Path) -> None:
    """One that was killed between the best checkpoint and its folder, or whose checkpoints alone were copied; before it learns on."""
    folder = tmp_path / "run"
    shutil.copytree(run, folder, ignore=shutil.ignore_patterns("adapter"))
    steps = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["global_step"]
    with signal_at(signal.SIGTERM, steps + 1):
        assert main(given(folder, "--test_after_fit=false", "--trainer.max_epochs=3", "--resume=auto")) == 75
    assert (folder / "checkpoints" / "best.ckpt").read_bytes() == (run / "checkpoints" / "best.ckpt").read_bytes(), "no new best"
    same_as_export(folder, tmp_path / "exported", merge=False)
    shutil.rmtree(folder / "checkpoints" / "adapter")
    more = ("--test_after_fit=false", "--trainer.max_epochs=3", "--resume=auto", "--checkpoints.model_folder=false")
    with signal_at(signal.SIGTERM, steps + 2):
        assert main(given(folder, *more)) == 75
    assert not (folder / "checkpoints" / "adapter").exists(), "who wants none gets none"


@pytest.mark.slow
@pytest.mark.parametrize("peft", ["full", "ia3", "dora", "prompt_tuning", "p_tuning", "prefix_tuning"])
def test_every_way_of_tuning_trains_and_comes_back(peft: str, given: Arguments, tmp_path: Path) -> None:
    folder = tmp_path / peft
    assert main(given(folder, *SHORT, peft=peft)) == 0
    one = load_run(folder)
    adapter = folder / "checkpoints" / "adapter"
    assert adapter.exists() == (peft != "full")
    same_as_export(folder, tmp_path / "exported", merge=peft == "full")
    if one.backbone.num_virtual_tokens:
        assert main(["export", str(folder), "--output", str(tmp_path / "out"), "--merge"]) == 2
