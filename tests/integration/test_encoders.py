"""What an encoder cannot do is refused in one line before anything is read; what it can, it does in a whole run."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from clinical_ie.cli import main
from clinical_ie.commands import precision
from clinical_ie.models.encoder_classes import encoder_class
from tests.models.tiny_encoders import config_of, save_tokenizer

Arguments = Callable[..., list[str]]
M = "--model.init_args"


@pytest.fixture(scope="session")
def tiny_encoder(made_once: Callable[[str, Callable[[Path], None]], str]) -> Callable[[str], str]:
    """The folder of a tiny model of an architecture."""

    def fill(kind: str, folder: Path) -> None:
        torch.manual_seed(0)
        encoder_class(config_of(kind))(config_of(kind)).save_pretrained(folder)
        save_tokenizer(folder)

    return lambda kind: made_once(f"encoder_{kind}", lambda folder: fill(kind, folder))


@pytest.mark.parametrize(
    ("kind", "more", "message"),
    [
        ("deberta-v2", ["task/relation_classification"], "set data.tasks.init_args.encoding to pair"),
        ("longformer", ["task/relation_classification"], "a longformer, has not what RelationClassification needs"),
        ("mpnet", ["task/relation_reading"], "take -c task/relation_classification_pair"),
        (
            "deberta-v2", ["task/entity_reading", '--data.corpora.init_args.entity_types=["Drug"]'],
            "has not what EntityReading needs (tokens that share a position); set data.tasks.init_args.encoding to single",
        ),
        ("deberta", ["--trainer.precision=bf16-mixed"], "cannot be trained in bf16-mixed; give --trainer.precision=32-true"),
        ("albert", [f"{M}.gradient_checkpointing=true"], "model.init_args.gradient_checkpointing to false"),
        ("albert", [f"{M}.layer_decay=0.9"], "a albert, has no layers with weights of their own; leave it out"),
        ("modernbert", ["-c", "peft/prefix_tuning"], "PrefixTuningConfig does not work with"),
        ("bert", ["-c", "peft/prompt_tuning", f"{M}.peft.init_args.num_virtual_tokens=300"], "has 256 positions only; give fewer"),
    ],
)  # fmt: skip
def test_refused_before_anything_is_read(
    kind: str, more: list[str], message: str, tiny_encoder: Callable[[str], str], arguments: Arguments, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    task, more = (more[0].removeprefix("task/"), more[1:]) if more[0].startswith("task/") else ("entity_tagging", more)
    given = [part for part in arguments("fit", tmp_path / "run", task=task) if "overlap" not in part]
    assert main([*given, f"{M}.backbone={tiny_encoder(kind)}", *more]) == 2
    (found,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("clinical-ie")]
    assert message in found
    assert not (tmp_path / "run" / "config.yaml").exists()


@pytest.mark.parametrize("task", ["relation_classification", "relation_reading"])
def test_a_whole_run_of_modernbert(task: str, tiny_encoder: Callable[[str], str], arguments: Arguments, tmp_path: Path) -> None:
    """Markers and queries that share positions, windows longer than the sliding ones."""
    given = [part for part in arguments("fit", tmp_path / "run", task=task) if "overlap" not in part and "window" not in part]
    assert (
        main(
            [
                *given,
                f"{M}.backbone={tiny_encoder('modernbert')}",
                "--trainer.max_epochs=1",
                "--trainer.max_steps=4",
                "--data.tasks.init_args.window=96",
            ]
        )
        == 0
    )
    assert (tmp_path / "run" / "predictions" / "test" / "demo.jsonl").exists()


def test_a_precision_that_the_model_can(
    tiny_encoder: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(precision, "computes_in_bfloat16", lambda _: True)

    def found(kind: str) -> str:
        arguments = {"backbone": tiny_encoder(kind)}
        return precision.default_precision("cpu", SimpleNamespace(class_path="clinical_ie.modules.EncoderTagger", init_args=arguments))

    with caplog.at_level(logging.INFO):
        assert found("deberta") == "32-true"
    assert "trainer.precision is 32-true, for" in caplog.text
    assert found("bert") == "bf16-mixed"
