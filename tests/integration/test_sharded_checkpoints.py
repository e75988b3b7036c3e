"""Folders of shards in the place of a checkpoint: recognised, sized, copied, guarded; read where that is possible."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from clinical_ie.cli import main
from clinical_ie.errors import SettingError
from clinical_ie.modules import EncoderTagger
from clinical_ie.schema import Schema
from clinical_ie.strategies.checkpoint import Checkpoint
from tests.integration.shards import LAYOUTS, distributed, distributed_by_ranks

Arguments = Callable[..., list[str]]


@pytest.fixture(params=list(LAYOUTS))
def sharded(request: pytest.FixtureRequest, trained_run: Path, tmp_path: Path) -> Checkpoint:
    return Checkpoint(LAYOUTS[request.param](trained_run / "checkpoints" / "best.ckpt", tmp_path / "best.ckpt"))


def test_it_says_what_the_file_says(sharded: Checkpoint, trained_run: Path) -> None:
    file = Checkpoint(trained_run / "checkpoints" / "best.ckpt")
    assert sharded.kind.removeprefix("foreign_") in LAYOUTS
    assert (file.is_consolidated, sharded.is_consolidated) == (True, False)
    for name in ("schemas", "tuning", "tokenizer", "backbone_config", "weights", "run", "loops", "global_step"):
        assert sharded.meta[name] == file.meta[name], name
    assert "state_dict" not in file.meta
    weights = torch.load(file.path, weights_only=True)["state_dict"]
    assert sharded.model_bytes == file.model_bytes == sum(4 * value.numel() for value in weights.values())
    assert sharded.size == sum(path.stat().st_size for path in sharded.path.rglob("*") if path.is_file())
    assert sharded.size > sharded.model_bytes


def test_a_copy_is_whole_and_its_own(sharded: Checkpoint, tmp_path: Path) -> None:
    """Engines write into their folders, so that a link would change with the other."""
    other = tmp_path / "last.ckpt"
    other.write_bytes(b"of another strategy")
    sharded.put(other)
    for path in (path for path in sharded.path.rglob("*") if path.is_file()):
        copied = other / path.relative_to(sharded.path)
        assert copied.read_bytes() == path.read_bytes()
        assert copied.stat().st_ino != path.stat().st_ino
    assert {path.name for path in tmp_path.iterdir()} == {"best.ckpt", "last.ckpt"}


def test_guards_know_it_without_its_weights(sharded: Checkpoint, trained_run: Path, tiny_bert: str) -> None:
    """What an engine hands to `on_load_checkpoint` has no weights."""
    schemas = sharded.meta["schemas"]
    model = EncoderTagger(tiny_bert, schemas)
    model.configure_model()
    model.on_load_checkpoint(dict(sharded.meta))
    turned = Schema.from_dict(schemas["demo"])
    others = {
        "has no weights for other": EncoderTagger(tiny_bert, schemas | {"other": schemas["demo"]}),
        "was trained for": EncoderTagger(tiny_bert, {"demo": Schema(tuple(reversed(turned.entities))).to_dict()}),
        "freeze was False": EncoderTagger(tiny_bert, schemas, freeze=True),
    }
    for said, other in others.items():
        other.configure_model()
        with pytest.raises(SettingError, match=said):
            other.on_load_checkpoint(dict(sharded.meta))


def test_a_distributed_one_is_tested_in_one_process(finished_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = json.loads((finished_run / "results.json").read_text(encoding="utf-8"))["splits"]
    best = finished_run / "checkpoints" / "best.ckpt"
    folder = distributed(best, tmp_path / "best.ckpt")
    best.unlink()
    folder.rename(best)
    assert main(["test", "-c", str(finished_run / "config.yaml")]) == 0
    assert json.loads((finished_run / "results.json").read_text(encoding="utf-8"))["splits"] == before
    out = tmp_path / "out"
    assert main(["fit", "-c", str(finished_run / "config.yaml"), f"--ckpt_path={best}", f"--run_dir={out}", "--trainer.max_epochs=9"]) == 2
    assert "go on with the strategy that wrote it" in capsys.readouterr().err


def test_what_cannot_be_read_here_says_what_to_do(trained_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = LAYOUTS["deepspeed"](trained_run / "checkpoints" / "best.ckpt", tmp_path / "best.ckpt")
    assert main(["test", "-c", str(trained_run / "config.yaml"), f"--ckpt_path={folder}", f"--run_dir={tmp_path / 'out'}"]) == 2
    assert "consolidate it into one file" in capsys.readouterr().err


@pytest.mark.distributed
@pytest.mark.timeout(240)
def test_weights_that_two_ranks_hold_halves_of_are_put_together(trained_run: Path, tmp_path: Path) -> None:
    file = Checkpoint(trained_run / "checkpoints" / "best.ckpt")
    folder = Checkpoint(distributed_by_ranks(file.path, tmp_path / "best.ckpt"))
    assert {path.name for path in folder.path.iterdir()} == {".metadata", "meta.pt", "__0_0.distcp", "__1_0.distcp"}
    one, two = file.weights(), folder.weights()
    assert one.keys() == two.keys()
    assert all(torch.equal(value, two[name]) for name, value in one.items())


@pytest.mark.parametrize("lost", [".metadata", "meta.pt", "__0_0.distcp"])
def test_half_a_folder_is_no_checkpoint(lost: str, trained_run: Path, tmp_path: Path) -> None:
    """Metadata are written last."""
    checkpoint = Checkpoint(distributed(trained_run / "checkpoints" / "best.ckpt", tmp_path / "best.ckpt"))
    (checkpoint.path / lost).unlink()
    assert checkpoint.exists == (lost == "__0_0.distcp")
    with pytest.raises(SettingError, match=r"no whole checkpoint|shards are missing"):
        checkpoint.weights()


def test_a_copied_file_is_replaced_not_written_into(trained_run: Path, tmp_path: Path) -> None:
    shutil.copy(trained_run / "checkpoints" / "best.ckpt", tmp_path / "best.ckpt")
    (tmp_path / "last.ckpt").write_bytes(b"before")
    held = (tmp_path / "last.ckpt").open("rb")
    Checkpoint(tmp_path / "best.ckpt").put(tmp_path / "last.ckpt")
    assert held.read() == b"before"
    held.close()
    assert (tmp_path / "last.ckpt").read_bytes() == (tmp_path / "best.ckpt").read_bytes()
