"""Planted mistakes: each must be named, with a remedy that mends it."""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path

import pytest

from clinical_ie.cli import main
from clinical_ie.commands.doctor_findings import Finding, Report
from clinical_ie.commands.doctor_machine import check_disk, check_extras, check_gpus, check_versions, is_malicious, requirements
from clinical_ie.commands.doctor_run import check_corpora, check_model, check_resume
from clinical_ie.errors import SettingError
from tests.commands.findings import bad


def test_malicious_releases_are_refused_before_they_are_imported() -> None:
    for name in ("lightning", "pytorch-lightning"):
        found = check_versions({name: "2.6.3"}, [])
        assert is_malicious(found)
        assert found[0].level == "problem"
        assert "change all secrets" in found[0].remedy
    assert not is_malicious(check_versions({"lightning": "2.6.6"}, ["lightning>=2.6,<2.7,!=2.6.2,!=2.6.3"]))


def test_versions_out_of_bounds() -> None:
    wanted = ["torch>=2.9,<2.14", "deepspeed>=0.18 ; extra == 'deepspeed'"]
    (found,) = check_versions({"torch": "2.15.0"}, wanted)
    assert (found.level, found.remedy) == ("problem", "pip install 'torch<2.14,>=2.9'")
    assert [one.text for one in check_versions({"torch": "2.13.0+cpu"}, wanted, ["deepspeed"])] == ["deepspeed is not installed"]
    assert not bad(check_versions({"torch": "2.13.0+cpu"}, wanted))
    assert any(one.startswith("torch") for one in requirements())


def test_what_strategy_and_weights_in_few_bits_need() -> None:
    (found,) = check_extras({}, "clinical_ie.strategies.zero.DeepSpeedZero", None)
    assert "clinical_ie[deepspeed]" in found.remedy
    assert "clinical_ie[qlora]" in check_extras({}, "ddp", "nf4")[0].remedy
    assert not check_extras({"deepspeed": "0.19.8", "bitsandbytes": "0.50"}, "zero3", "nf4")


@pytest.mark.parametrize(
    ("machine", "remedy"),
    [
        ({"build": None, "driver": "535.104.05", "seen": 0}, "CUDA builds"),
        ({"build": "13.0", "driver": "535.104.05", "seen": 0}, "for CUDA 12"),
        ({"build": "12.8", "driver": "535.104.05", "seen": 0}, "--gpus-per-node=N"),
        ({"build": "12.8", "driver": "535.104.05", "seen": 2}, "--gpus-per-node=4"),
    ],
)
def test_gpus_that_torch_does_not_see(machine: dict[str, object], remedy: str) -> None:
    (found,) = check_gpus(**machine, devices=4, accelerator="auto", on_compute_node=True)  # type: ignore[arg-type]
    assert found.level == "problem"
    assert remedy in found.remedy


def test_a_login_node_needs_no_gpu() -> None:
    for accelerator in ("auto", "gpu"):
        assert not bad(check_gpus(build="12.8", driver=None, seen=0, devices=4, accelerator=accelerator, on_compute_node=False))
    assert not bad(check_gpus(build="12.8", driver="570.1", seen=4, devices=4, accelerator="gpu", on_compute_node=True))


def test_checkpoints_that_do_not_fit_on_the_disk(tmp_path: Path) -> None:
    (found,) = check_disk(tmp_path / "run", 40_000_000_000, free=100_000_000_000)
    assert found.level == "problem"  # three of 40 GB
    assert "another file system" in found.remedy
    assert not bad(check_disk(tmp_path / "run", 30_000_000_000, free=100_000_000_000))
    (with_folder,) = check_disk(tmp_path / "run", 30_000_000_000, 20_000_000_000, free=100_000_000_000)
    assert with_folder.level == "problem"
    assert "the run takes 110.0 GB (3 checkpoints of 30.0 GB and a folder of weights of 20.0 GB)" in with_folder.text


def test_will_it_resume(tmp_path: Path) -> None:
    assert check_resume(None, resume=True, ckpt_path=None)[0].level == "warning"
    (begins,) = check_resume(tmp_path, resume=True, ckpt_path=None)
    assert (begins.level, begins.text[:6]) == ("ok", "begins")
    (alone,) = check_resume(tmp_path, resume=False, ckpt_path=None)
    assert (alone.level, "a new job would be refused" in alone.text) == ("ok", True)
    assert "--resume=auto" in alone.remedy
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "last.ckpt").write_bytes(b"no checkpoint")
    (refused,) = check_resume(tmp_path, resume=False, ckpt_path=None)
    assert refused.level == "problem"
    assert "--resume=auto to go on from last.ckpt" in refused.remedy
    (damaged,) = check_resume(tmp_path, resume=True, ckpt_path=None)
    assert damaged.level == "problem"
    assert "begin anew" in damaged.remedy


def test_it_resumes_from_the_last_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    (tmp_path / "checkpoints").mkdir()
    meta = {part: {} for part in ("schemas", "tuning", "tokenizer", "backbone_config", "weights")}
    torch.save({**meta, "run": {"job": "/7"}, "global_step": 1200}, tmp_path / "checkpoints" / "last.ckpt")
    (found,) = check_resume(tmp_path, resume=True, ckpt_path=None)
    assert (found.level, found.text) == ("ok", "goes on from last.ckpt, step 1,200")
    for name in ("SLURM_CLUSTER_NAME", "SLURM_ARRAY_JOB_ID"):
        monkeypatch.delenv(name, raising=False)
    for job, restarts, level in (("7", "1", "ok"), ("7", "0", "problem"), ("8", "1", "problem")):
        monkeypatch.setenv("SLURM_JOB_ID", job)
        monkeypatch.setenv("SLURM_RESTART_COUNT", restarts)
        assert check_resume(tmp_path, resume=False, ckpt_path=None)[0].level == level


def test_files_of_weights(tmp_path: Path) -> None:
    def save(cut: int) -> None:
        header = json.dumps({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
        content = struct.pack("<Q", len(header)) + header + bytes(8)
        (tmp_path / "model.safetensors").write_bytes(content[: len(content) - cut])

    save(0)
    (whole,) = check_model(str(tmp_path), {})
    assert whole.level == "ok"
    save(3)
    (cut,) = check_model(str(tmp_path), {})
    assert cut.level == "problem"
    assert "copy or fetch it again" in cut.text
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "model-1.safetensors"}}))
    (missing,) = check_model(str(tmp_path), {})
    assert "model-1.safetensors: missing" in missing.text


def test_a_model_that_is_nowhere() -> None:
    (offline,) = check_model("nobody/none-such-model", {"HF_HUB_OFFLINE": "1"})
    assert offline.level == "problem"
    assert "hf download nobody/none-such-model" in offline.remedy
    assert check_model("nobody/none-such-model", {})[0].level == "warning"
    assert check_model("./none", {})[0].level == "problem"


def test_corpora_that_are_not_there(tmp_path: Path) -> None:
    def settings(root: Path) -> dict[str, object]:
        return {"data": {"corpora": [{"class_path": "clinical_ie.corpora.UWSocialHistory", "init_args": {"root": str(root)}}]}}

    (absent,) = check_corpora(settings(tmp_path / "none"))
    assert absent.level == "problem"
    assert "--data.root=DIR" in absent.remedy
    (empty,) = check_corpora(settings(tmp_path))
    assert empty.level == "problem"
    assert not bad(check_corpora({"data": {"corpora": ["clinical_ie.corpora.Demo"]}}))


def test_lines_and_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report()
    report.add([Finding("ok", "a", "fine"), Finding("warning", "b", "perhaps", "look")])
    assert report.exit_code == 0
    with report.checking("c"):
        raise SettingError("x is 1; expected 2")
    report.show()
    assert report.exit_code == 2
    assert capsys.readouterr().out.splitlines() == [
        "ok       a: fine", "warning  b: perhaps; look", "problem  c: x is 1; expected 2", "1 problems, 1 warnings, 1 fine",
    ]  # fmt: skip


def test_the_whole_command(tiny_bert: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLURM_JOB_ID", "SLURM_PROCID", "LOCAL_RANK", "MASTER_ADDR"):
        monkeypatch.delenv(name, raising=False)
    chain = ["-c", "task/entity_tagging", f"--model.init_args.backbone={tiny_bert}", "-c", "data/demo", f"--run_dir={tmp_path}/run"]
    assert main(["doctor", *chain, "--resume=auto"]) == 0
    shown = capsys.readouterr().out
    assert "ok       settings: as fit would take them" in shown
    assert "ok       resume: begins" in shown
    assert not (tmp_path / "run").exists()
    # weights, AdamW's two states of them, and their average, in three checkpoints: 12 and 16 bytes a weight, by hand of 4 x 25,000
    usage = shutil.disk_usage(tmp_path)._replace(free=1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert main(["doctor", *chain, "--resume=auto", "--elsewhere", "--devices=1"]) == 2  # as a submission calls it
    lines = capsys.readouterr().out.splitlines()
    assert next(line for line in lines if "disk" in line).startswith("problem  disk: 1.0 MB free")
    assert any(line.startswith(f"problem  run folder: {tmp_path}/run lies in") for line in lines)
    assert not any(line.startswith("problem  GPUs") for line in lines), "those that are seen here are none of the job's"
    assert main(["doctor", *chain, "--trainer.max_epochs=0"]) == 2
    assert "problem  settings: trainer.max_epochs is 0" in capsys.readouterr().out
