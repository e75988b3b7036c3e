"""Runs whose frozen weights are held in few bits come back from their checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from clinical_ie.cli import main
from clinical_ie.commands.export import load_run
from tests.models.tiny_decoders import tiny_generator

pytest.importorskip("bitsandbytes")
# of bitsandbytes: that a CPU has no kernels of its own for 4 bits
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*kernels.*"),
    pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.* is deprecated"),
]
CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_generator(tmp_path_factory.mktemp("decoder"), hidden=64)


def chain(task: str, model: str, run: Path, *more: str) -> list[str]:
    names = ("base", f"task/{task}", "model/minilm", "peft/qlora", "data/demo", "strategy/single")
    given = [part for name in names for part in ("-c", str(CONFIGS / f"{name}.yaml"))]
    return ["fit", *given, f"--model.init_args.backbone={model}", f"--run_dir={run}", "--trainer.accelerator=cpu", *more]


def test_a_run_comes_back(folder: str, small_corpus: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    short = ["--trainer.max_epochs=1", "--trainer.limit_train_batches=2", "--data.dev_documents=1", "--data.batch_budget=1024"]
    short += [f"--data.corpora.init_args.root={small_corpus}"]
    short += [
        "--data.tasks.init_args.definitions=false",
        "--model.init_args.max_new_tokens_ratio=0.2",
        "--model.init_args.max_new_tokens_base=8",
        "--trainer.callbacks+=clinical_ie.callbacks.averaging.MovingAverage",
    ]
    assert main(chain("entity_instruction", folder, run, *short)) == 0
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["state_dict"]
    assert all("lora" in name for name in checkpoint["state_dict"])
    assert checkpoint["current_model_state"].keys() == checkpoint["state_dict"].keys(), "the adapters are averaged, not what is packed"
    one = load_run(run)
    for name, value in one.state_dict().items():
        if "lora" in name:
            assert torch.equal(value, checkpoint["state_dict"][name])
    assert main(["test", "-c", str(run / "config.yaml")]) == 0
    capsys.readouterr()
    assert main(["export", str(run), "--output", str(tmp_path / "merged"), "--merge"]) == 2
    assert "nf4" in capsys.readouterr().err
    assert main(["export", str(run), "--output", str(tmp_path / "adapter")]) == 0
    assert main(["test", "-c", str(run / "config.yaml"), "--model.init_args.quantized=null"]) == 2, "the base has other weights"


def test_encoders_are_refused(tiny_bert: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(chain("entity_tagging", tiny_bert, tmp_path / "run")) == 2
    assert "decoders" in capsys.readouterr().err
