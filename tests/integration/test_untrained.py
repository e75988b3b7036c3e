"""``experiment/untrained`` scores a model as it comes, and ``data.test_documents`` scores it on fewer notes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from clinical_ie.cli import main
from clinical_ie.strategies.checkpoint import Checkpoint


@pytest.mark.slow
@pytest.mark.parametrize("tuning", ["full", "lora"])
def test_no_weight_moves(tuning: str, tiny_bert: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    chain = ["task/entity_reading", "model/minilm", f"peft/{tuning}", "data/demo_clinic", "experiment/untrained"]
    given = [part for name in chain for part in ("-c", name)]
    given += [f"--model.init_args.backbone={tiny_bert}", "--data.test_documents=2", "--trainer.logger=false", f"--run_dir={run}"]
    assert main(["fit", *given]) == 0
    weights = Checkpoint(run / "checkpoints" / "best.ckpt").weights()
    if tuning == "lora":
        upper = [value for name, value in weights.items() if "lora_B" in name]
        assert upper
        assert not any(value.any() for value in upper), "what an adapter adds is zero"
    else:
        base = load_file(Path(tiny_bert) / "model.safetensors")
        same = [
            torch.equal(value, next(v for n, v in weights.items() if n.endswith(name))) for name, value in base.items() if "layer.1" in name
        ]
        assert same
        assert all(same)
    found = json.loads((run / "results.json").read_text(encoding="utf-8"))
    assert found["run"]["steps"] == 1
    assert found["splits"]["test"]["demo_clinic"]["entity_reading"]["documents"] == 2


def test_test_documents_of_no_corpus_are_refused(capsys: pytest.CaptureFixture[str], tiny_bert: str, tmp_path: Path) -> None:
    given = [part for name in ("task/entity_reading", "model/minilm", "data/demo_clinic") for part in ("-c", name)]
    given += [f"--model.init_args.backbone={tiny_bert}", "--data.test_documents.demo_clinc=2", f"--run_dir={tmp_path / 'run'}"]
    assert main(["fit", *given]) == 2
    assert "data.test_documents.demo_clinc: no corpus of that name; did you mean 'demo_clinic'" in capsys.readouterr().err
