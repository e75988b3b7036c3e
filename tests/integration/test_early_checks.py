"""Settings that could only fail late are refused in one line before anything is read or trained, never with a traceback."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import CamembertConfig, MPNetConfig, RobertaConfig, XLNetConfig

from clinical_ie.cli import main
from clinical_ie.models.positions import most_positions

Arguments = Callable[..., list[str]]
M = "--model.init_args"


def line(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line of ours."""
    (found,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("clinical-ie")]
    return found


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("--seed_everything=-1", "seed_everything is -1; expected 0 to 4294967295"),
        ("--trainer.devices=-3", "trainer: `devices`"),
        ("--trainer.devices=0", "not a valid input"),
        ("--trainer.accelerator=nonsense", "invalid accelerator name"),
        ("--trainer.accelerator=tpu", "trainer: Requirement 'torch_xla"),
        ("--trainer.strategy=nonsense", "invalid strategy name"),
        ("--trainer.barebones=true", "trainer: `Trainer(barebones=True"),
        ("--trainer.profiler=nonsense", "profiler"),
        ("--trainer.enable_checkpointing=false", "enable_checkpointing=False"),
        ("--trainer.max_epochs=0", "trainer.max_epochs is 0, so nothing would be trained"),
        ("--trainer.max_epochs=-1", "neither trainer.max_epochs nor trainer.max_steps gives an end; give one"),
        ("--trainer.accumulate_grad_batches=0", "trainer.accumulate_grad_batches is 0; expected 1 or more"),
        ("--trainer.gradient_clip_val=-1", "expected 0 or more"),
        ("--trainer.val_check_interval=0", "trainer.val_check_interval is 0; expected a number above 0"),
        ("--trainer.check_val_every_n_epoch=0", "trainer.check_val_every_n_epoch is 0; expected 1 or more"),
        ("--trainer.val_check_interval=1000", "trainer.val_check_interval is 1000, but an epoch has 18 batches; give fewer or a share"),
        ("--trainer.overfit_batches=1", "trainer.overfit_batches would leave documents half annotated"),
        ("--trainer.precision=64-true", "trainer.precision is 64-true, but pretrained models compute in 32 bits or fewer"),
        ("--trainer.limit_train_batches=0", "trainer.limit_train_batches is 0; expected a number above 0"),
        ("--trainer.limit_val_batches=1", "trainer.limit_val_batches is 1, which would leave documents half annotated"),
        ("--trainer.limit_test_batches=0.5", "trainer.limit_test_batches is 0.5, which would leave documents half annotated"),
        (f"{M}.learning_rate=-1", "model.init_args.learning_rate is -1.0; expected 0 to 10"),
        (f"{M}.weight_decay=-0.1", "model.init_args.weight_decay is -0.1; expected 0 to 10"),
        (f"{M}.dropout=2", "model.init_args.dropout is 2.0; expected 0 to 1"),
        (f"{M}.layer_decay=-1", "model.init_args.layer_decay is -1.0; expected 0 to 1"),
        (f"{M}.warmup_share=2", "model.init_args.warmup_share is 2.0; expected 0 to 1"),
        ("--data.batch_budget=0", "data.batch_budget is 0; expected 1 or more"),
        ("--data.workers=-1", "data.workers is -1; expected 0 or more"),
        ("--data.dev_documents=-1", "data.dev_documents is -1; expected 1 or more"),
        ("--checkpoints.every_minutes=-1", "checkpoints.every_minutes is -1.0; expected 0 or more"),
        ("--patience.epochs=-1", "patience.epochs is -1; expected 1 or more"),
        (
            "--checkpoints.monitor=val_f1",
            "checkpoints.monitor is val_f1, which is not logged; expected a score such as dev/entities/strict_f1",
        ),
        ("--checkpoints.monitor=dev/loss", "checkpoints.mode is max, but less of dev/loss is better; give --checkpoints.mode=min"),
        ("--patience.mode=min", "patience.mode is min, but more of a score is better; give --patience.mode=max"),
        ("--patience.monitor=dev/entity/strict_f1", "did you mean 'dev/entities/strict_f1'?"),
        (f"{M}.backbone=nobody/nothing", "nobody/nothing: not in the local cache, and HF_HUB_OFFLINE"),
    ],
)
def test_refused_before_anything_is_read(
    more: str, message: str, arguments: Arguments, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments("fit", tmp_path / "run", more)) == 2
    assert message in line(capsys)
    assert not (tmp_path / "run" / "config.yaml").exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", b"{x", "no usable config.json"),
        ("config.json", b'{"model_type": "hokus"}', "no usable config.json"),
        ("model.safetensors", "cut", "a file of weights is cut off"),
        ("pytorch_model.bin", b"garbage 174812789", "a file of weights is cut off"),
    ],
)
def test_a_broken_backbone(
    name: str, content: bytes | str, message: str, arguments: Arguments, tiny_bert: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(tiny_bert, tmp_path / "broken"))
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    if name.startswith("pytorch"):
        weights.unlink()
    (folder / name).write_bytes(whole[:5000] if isinstance(content, str) else content)
    assert main(arguments("fit", tmp_path / "run", f"{M}.backbone={folder}")) == 2
    assert message in line(capsys)


def test_a_schema_without_relations_is_refused_in_a_line(arguments: Arguments, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The data's constructor says so, and jsonargparse wraps it."""
    notes = tmp_path / "own.yaml"
    own = {"class_path": "clinical_ie.corpora.BratFolder", "init_args": {"root": str(tmp_path), "schema": {"entities": ["Drug"]}}}
    notes.write_text(json.dumps({"data": {"corpora+": [own]}}), encoding="utf-8")
    given = arguments("fit", tmp_path / "run", "-c", str(notes), f"{M}.learning_rate=1e-3", task="relation_classification")
    place = next(place for place, part in enumerate(given) if part.endswith("demo.yaml"))
    del given[place - 1 : place + 1]
    assert main([part for part in given if "corpora.init_args.root" not in part and "overlap" not in part]) == 2
    said = "the schema of no corpus declares relations (brat_folder); give one that does, or a task that finds mentions"
    assert line(capsys).endswith(said)


@pytest.mark.parametrize(
    ("backbone", "more", "message"),
    [
        ("tiny_bert", ["--data.tasks.init_args.window=512"], "is an encoder (bert), which reads in both directions"),
        ("tiny_llama", ["-c", "peft/frozen"], "the decoder is frozen and has no adapter"),
        ("tiny_llama", ["--data.tasks.init_args.window=8193"], "8192 positions only"),
        (
            "tiny_llama", ["-c", "peft/prompt_tuning", "--data.tasks.init_args.window=8180"], "8192 positions only, 20 of them for virtual"
        ),
    ],
)  # fmt: skip
def test_a_decoder_that_cannot_do_it(
    backbone: str, more: list[str], message: str, arguments: Arguments, request: pytest.FixtureRequest, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    given = arguments("fit", tmp_path / "run", "--data.tasks.init_args.window=8192", task="entity_instruction")
    given = [part for part in given if "overlap" not in part and "window=96" not in part]
    assert main([*given, f"{M}.backbone={request.getfixturevalue(backbone)}", *more]) == 2
    assert message in line(capsys)


def test_positions_are_those_of_text() -> None:
    small = {"hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 8, "vocab_size": 50}
    for kind in (RobertaConfig, CamembertConfig, MPNetConfig):
        assert most_positions(kind(max_position_embeddings=514, pad_token_id=1, **small)) == 512, kind
    assert most_positions(XLNetConfig(d_model=8, n_head=2, d_inner=8, vocab_size=50)) is None


def test_a_dry_run_writes_nothing(arguments: Arguments, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments("fit", tmp_path / "run", "--trainer.fast_dev_run=true")) == 0
    assert "nothing was scored or written" in capsys.readouterr().out
    assert not [path for path in (tmp_path / "run").rglob("*") if path.is_file()]


def test_a_run_shorter_than_an_epoch_is_scored(arguments: Arguments, tmp_path: Path) -> None:
    assert main(arguments("fit", tmp_path / "run", "--trainer.max_steps=3")) == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text(encoding="utf-8"))
    assert results["run"]["steps"] == 3
    assert "test" in results["splits"]
    assert {path.name for path in (tmp_path / "run" / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
