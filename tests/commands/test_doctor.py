"""Planted mistakes: each must be named, with a remedy that mends it."""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path

import pytest

from clinical_ie.cli import main
from clinical_ie.commands.doctor import _strategy, layout_of, places_of
from clinical_ie.commands.doctor_findings import Finding, Report
from clinical_ie.commands.doctor_machine import check_disk, check_extras, check_gpus, check_versions, is_malicious, requirements
from clinical_ie.commands.doctor_run import check_corpora, check_model, check_resume
from clinical_ie.commands.doctor_script import check_script, gpus_in
from clinical_ie.commands.doctor_script import memory_of_node as memory_in_script
from clinical_ie.commands.doctor_slurm import (
    Layout,
    _is_own,
    check_master,
    check_network,
    check_shared,
    check_slurm,
    check_visible_devices,
    hosts_of,
    is_task,
    memory_of_node,
    tasks_per_node,
)
from clinical_ie.commands.memory_estimate import strategy_named
from clinical_ie.errors import SettingError
from clinical_ie.strategies.slurm import Slurm, check_tasks

# what SLURM 22.05 gave the tasks of `srun` in a job of --nodes=2 --ntasks-per-node=2
STEP = {
    "SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "train", "SLURM_JOB_NODELIST": "node[1-2]", "SLURM_NNODES": "2", "SLURM_NTASKS": "4",
    "SLURM_NTASKS_PER_NODE": "2", "SLURM_TASKS_PER_NODE": "2(x2)", "SLURM_PROCID": "0", "SLURM_STEP_ID": "0",
    "SLURM_STEP_NODELIST": "node[1-2]", "SLURM_STEP_NUM_NODES": "2", "SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_TASKS_PER_NODE": "2(x2)",
}  # fmt: skip
BATCH = {name: value for name, value in STEP.items() if "_STEP_" not in name}  # SLURM_PROCID=0 is there, too
RIGHT = Layout(nodes=2, devices=2)


def bad(findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.level != "ok"]


@pytest.mark.parametrize(
    ("environment", "layout", "subject", "remedy"),
    [
        (BATCH, RIGHT, "srun", "srun clinical-ie fit"),
        ({**STEP, "SLURM_STEP_TASKS_PER_NODE": "1(x2)", "SLURM_NTASKS": "2"}, Layout(2, 8), "tasks", "--ntasks-per-node=8"),
        (STEP, Layout(2, 8), "tasks", "--ntasks-per-node=8"),
        (STEP, Layout(1, 2), "nodes", "--trainer.num_nodes=2"),
        ({**STEP, "SLURM_STEP_TASKS_PER_NODE": "3,1"}, RIGHT, "tasks", "--ntasks-per-node in place of --ntasks"),
        ({**STEP, "MASTER_ADDR": "127.0.0.1"}, RIGHT, "MASTER_ADDR", "scontrol show hostnames"),
        ({**STEP, "MASTER_ADDR": "localhost"}, RIGHT, "MASTER_ADDR", "scontrol show hostnames"),
        ({**STEP, "MASTER_ADDR": "node2"}, RIGHT, "MASTER_ADDR", "scontrol show hostnames"),
        ({**STEP, "SLURM_JOB_NODELIST": "rack[1-2]n[1-2]", "SLURM_STEP_NODELIST": "rack[1-2]n[1]"}, RIGHT, "MASTER_ADDR", "head -n 1"),
        ({**STEP, "MASTER_PORT": "port"}, RIGHT, "MASTER_PORT", "1024 to 65535"),
        ({**STEP, "NCCL_SOCKET_IFNAME": "lo"}, RIGHT, "NCCL_SOCKET_IFNAME", "unset NCCL_SOCKET_IFNAME"),
        ({"LOCAL_RANK": "1"}, Layout(), "LOCAL_RANK", "unset LOCAL_RANK"),
    ],
)
def test_mistakes_of_a_job_are_named(environment: dict[str, str], layout: Layout, subject: str, remedy: str) -> None:
    found = bad(check_slurm(environment, layout))
    assert [(one.level, one.subject) for one in found] == [("problem", subject)]
    assert remedy in found[0].remedy


@pytest.mark.parametrize(
    "environment",
    [
        STEP,
        {**STEP, "MASTER_ADDR": "node1"},
        {**STEP, "MASTER_ADDR": "node1.cluster.example", "MASTER_PORT": "29500"},
        {**STEP, "SLURM_JOB_NAME": "train.sbatch"},
        {**STEP, "SLURM_JOB_NAME": "interactive"},
    ],
)
def test_a_right_job_has_no_mistakes(environment: dict[str, str]) -> None:
    assert not bad(check_slurm(environment, RIGHT))
    assert not bad(check_slurm({}, Layout()))


ONE_TASK = {
    "SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "node1", "SLURM_NNODES": "1", "SLURM_NTASKS": "1", "SLURM_TASKS_PER_NODE": "1",
}  # fmt: skip


@pytest.mark.parametrize("name", ["train", "bash", "interactive"])
@pytest.mark.parametrize("environment", [STEP, BATCH, ONE_TASK, {**ONE_TASK, "SLURM_STEP_ID": "0"}, {"SLURM_JOB_ID": "7"}])
@pytest.mark.parametrize("layout", [Layout(1, 1), Layout(1, 2), Layout(2, 2), Layout(2, 8)])
def test_what_fit_refuses_is_a_problem_and_nothing_else_is(
    name: str, environment: dict[str, str], layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oracle is `fit`'s own check of its tasks."""
    for known in STEP:
        monkeypatch.delenv(known, raising=False)
    given = {**environment, "SLURM_JOB_NAME": name}
    for key, value in given.items():
        monkeypatch.setenv(key, value)
    refused = False
    try:
        check_tasks(layout.devices or 0, layout.nodes)
    except SettingError:
        refused = True
    found = [one for one in check_slurm(given, layout) if one.level == "problem"]
    assert bool(found) == refused, found
    assert is_task(given) == Slurm.detect()


def test_another_name_of_the_first_node() -> None:
    """As JUWELS has it: ``jwb0001i`` is ``jwb0001`` on the network between the nodes."""
    nodes = {"SLURM_JOB_NODELIST": "jwb[0001-0002]", "SLURM_STEP_NODELIST": "jwb[0001-0002]"}
    job = STEP | nodes | {"MASTER_ADDR": "jwb0001i", "SLURM_NODEID": "0"}
    assert not list(check_master(job, RIGHT, is_own=lambda address: True))
    (wrong,) = check_master(job, RIGHT, is_own=lambda address: False)
    assert (wrong.level, wrong.subject) == ("problem", "MASTER_ADDR")
    (unknown,) = check_master({**job, "SLURM_NODEID": "1"}, RIGHT)
    assert unknown.level == "warning"
    assert "another name of jwb0001" in unknown.remedy
    assert _is_own("127.0.0.1")
    assert not _is_own("192.0.2.1")  # of no machine (RFC 5737)
    assert not _is_own("no.such.host.invalid")


def test_on_one_node_the_loopback_is_right() -> None:
    one = STEP | {"SLURM_JOB_NODELIST": "node1", "SLURM_STEP_NODELIST": "node1", "SLURM_STEP_NUM_NODES": "1"}
    one |= {"SLURM_STEP_TASKS_PER_NODE": "2", "MASTER_ADDR": "127.0.0.1"}
    assert not bad(check_slurm(one, Layout(1, 2)))


def test_cores_that_srun_does_not_take_over_are_a_warning() -> None:
    alone = {"SLURM_JOB_ID": "7", "SLURM_CPUS_PER_TASK": "8"}
    (found,) = bad(check_slurm(alone, Layout()))
    assert found.level == "warning"
    assert "SRUN_CPUS_PER_TASK" in found.remedy


def test_node_lists() -> None:
    """By hand, as `scontrol show hostnames` of SLURM 22.05 expands them."""
    assert hosts_of("node[1-2]") == ["node1", "node2"]
    assert hosts_of("gpu[08-10,12],login") == ["gpu08", "gpu09", "gpu10", "gpu12", "login"]
    assert hosts_of("r[1,3]n[1-2]") == ["r1n1", "r1n2", "r3n1", "r3n2"]
    assert hosts_of("") == []
    assert tasks_per_node({"SLURM_TASKS_PER_NODE": "4(x2),3"}) == [4, 4, 3]
    assert tasks_per_node({}) is None


def test_layout_as_options_or_settings_say() -> None:
    assert layout_of({"devices": "auto", "num_nodes": 2}, None, None, {}) == Layout(2, None)
    assert layout_of({"devices": "4"}, None, None, {}) == Layout(1, 4)
    assert layout_of({"devices": 1}, 2, 8, {}) == Layout(2, 8)
    assert layout_of({"devices": "0,1"}, None, None, {}) == Layout(1, 2)
    with pytest.raises(SettingError, match="expected 1 or more"):
        layout_of({}, 0, None, {})


def test_all_devices_are_those_that_the_job_sees() -> None:
    step = {**ONE_TASK, "SLURM_STEP_ID": "0"}
    assert layout_of({"devices": "auto"}, None, None, step, 8) == Layout(1, 8)
    (found,) = bad(check_slurm(step, layout_of({"devices": "auto"}, None, None, step, 8)))
    assert (found.level, found.subject) == ("problem", "tasks")
    assert "--ntasks-per-node=8" in found.remedy
    assert layout_of({"devices": -1, "accelerator": "cpu"}, None, None, step, 8) == Layout(1, 1)  # as Lightning takes it
    assert layout_of({"devices": "auto"}, None, None, ONE_TASK, 0) == Layout(1, None)  # the shell of salloc may be on a login node
    assert layout_of({"devices": "auto"}, None, None, {}, 8) == Layout(1, None)
    assert layout_of({}, None, None, step, 8) == Layout(1, None)  # no run is named


def test_arguments_of_a_strategy_are_read() -> None:
    named = {"class_path": "clinical_ie.strategies.zero.Zero", "init_args": {"stage": 3, "offload": True}}
    assert strategy_named(_strategy(named)) == "zero3_offload"
    assert strategy_named(_strategy({"class_path": "clinical_ie.strategies.zero.Zero"})) == "zero2"
    assert strategy_named(_strategy("ddp")) == "ddp"


def test_a_network_that_compute_nodes_lack() -> None:
    (found,) = bad(check_network({"SLURM_JOB_ID": "7"}, "bert-large-uncased"))
    assert "bert-large-uncased" in found.text
    assert "export HF_HUB_OFFLINE=1" in found.remedy
    assert not bad(check_network({"SLURM_JOB_ID": "7", "HF_HUB_OFFLINE": "1"}, "bert-large-uncased"))


def test_folders_that_other_nodes_do_not_see() -> None:
    places = {"run folder": "/tmp/runs/a", "cache of models": "/scratch/local/hub", "model": "/shared/llama", "absent": None}
    found = check_shared({"SLURM_TMPDIR": "/scratch/local"}, places, 2)
    assert [(one.level, one.subject) for one in found] == [("problem", "run folder"), ("problem", "cache of models")]
    assert "all nodes share" in found[0].remedy
    assert not check_shared({}, places, 1)
    (other,) = check_shared({}, places, 1, elsewhere=True)
    assert (other.level, other.subject) == ("problem", "run folder")
    assert "the one of the job" in other.text


def test_all_that_a_run_reads_must_be_seen_by_all_nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b", "notes", "run", "model"):
        (tmp_path / name).mkdir()
    settings = {
        "run_dir": "runs/a", "init_from": "run", "ckpt_path": "run/checkpoints/last.ckpt", "resume": "auto",
        "data": {
            "corpora": [{"class_path": "A", "init_args": {"root": "a"}}, {"class_path": "B", "init_args": {"root": "/shared/b"}}],
            "roots": {"b": "b"}, "texts": "notes", "batch_budget": 8,
        },
        "model": {"init_args": {"backbone": "model"}},
    }  # fmt: skip
    assert places_of(settings) == {
        "init_from": f"{tmp_path}/run", "ckpt_path": f"{tmp_path}/run/checkpoints/last.ckpt",
        "data.corpora.0.init_args.root": f"{tmp_path}/a", "data.corpora.1.init_args.root": "/shared/b", "data.roots.b": f"{tmp_path}/b",
        "data.texts": f"{tmp_path}/notes", "model.init_args.backbone": f"{tmp_path}/model",
    }  # fmt: skip
    assert settings["init_from"] == "run", "a copy is looked at"
    subjects = [one.subject for one in check_shared({"TMPDIR": str(tmp_path)}, places_of(settings), 2)]
    assert {"init_from", "data.texts", "data.roots.b"} <= set(subjects)
    assert "data.corpora.1.init_args.root" not in subjects


def test_gpus_hidden_from_a_task() -> None:
    (found,) = check_visible_devices({"CUDA_VISIBLE_DEVICES": "0", "SLURM_JOB_ID": "7"}, 4)
    assert found.level == "problem"
    assert "--gpus-per-node=4" in found.remedy
    assert not check_visible_devices({"CUDA_VISIBLE_DEVICES": "0,1,2,3"}, 4)
    assert not check_visible_devices({}, 4)


GOOD = """#!/bin/bash
#SBATCH --job-name=train
#SBATCH --nodes=2 --ntasks-per-node=4 --gpus-per-node=4
#SBATCH --requeue --open-mode=append --signal=USR1@300

set -e
export HF_HUB_OFFLINE=1
export MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
srun clinical-ie fit -c task/entity_tagging --run_dir=runs/a --resume=auto
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "train.sbatch"
    path.write_bytes(text.encode())
    return path


def test_a_right_script_has_no_mistakes(tmp_path: Path) -> None:
    assert [one.level for one in check_script(written(tmp_path, GOOD), Layout(2, 4))] == ["ok"]


@pytest.mark.parametrize(
    ("old", "new", "line", "remedy"),
    [
        ("#SBATCH --job-name=train\n", "cd runs\n#SBATCH --job-name=train\n", 3, "move it above line 2"),
        ("--job-name=train", "--job-name=$NAME", 2, "write the value itself"),
        ("--job-name=train", "--jobname=train", 2, "--job-name"),
        ("--job-name=train", "-J 'train", 2, "close it"),
        ("--job-name=train", "job-name=train", 2, "--NAME=VALUE"),
        (" --open-mode=append", "", 4, "--open-mode=append"),
        ("srun clinical-ie", "clinical-ie", 9, "srun clinical-ie fit"),
        ("--ntasks-per-node=4", "--ntasks-per-node=1", 3, "--ntasks-per-node=4"),
        ("--nodes=2", "--nodes=1", 3, "--nodes=2"),
        ("--gpus-per-node=4", "--gpus-per-task=1", 3, "--gpus-per-node=N"),
        ("$(scontrol show hostnames \"$SLURM_JOB_NODELIST\" | head -n 1)", "127.0.0.1", 8, "scontrol show hostnames"),
        ("--signal=USR1@300", "--signal=B:USR1@300", 4, "--signal=USR1@300"),
        ("#!/bin/bash\n", "", 1, "#!/bin/bash"),
        ("\n", "\r\n", 1, "dos2unix"),
        ("--job-name=train", "--job-name=train --output=nowhere/%j.log", 2, "mkdir -p nowhere"),
        ("#SBATCH --job-name=train", "# SBATCH --job-name=train", 2, "#SBATCH"),
        ("export HF_HUB_OFFLINE=1\n", "", 8, "export HF_HUB_OFFLINE=1"),
        ("set -e\n", "", 9, "exit $status"),
        ("--job-name=train", "--job-name=train --dependency=afterok:7", 2, "--kill-on-invalid-dep=yes"),
        ("--job-name=train", "--job-name=train -c 8", 2, "SRUN_CPUS_PER_TASK"),
    ],
)  # fmt: skip
def test_mistakes_of_a_script_are_named(tmp_path: Path, old: str, new: str, line: int, remedy: str) -> None:
    text = GOOD + ("echo done\n" if old == "set -e\n" else "")
    found = bad(check_script(written(tmp_path, text.replace(old, new)), Layout(2, 4)))
    assert any(one.subject.endswith(f":{line}") and remedy in one.remedy for one in found), found


@pytest.mark.parametrize(
    ("old", "new"),
    [
        *((" --gpus-per-node=4", f" --gres=gpu:{kind}:4") for kind in ("2080ti", "4090", "1g.10gb", "nvidia-a100", "a100")),
        ("--gpus-per-node=4", "--gpus-per-node=nvidia-a100:4"),
        (" --resume=auto", ""),  # a job that is started again goes on by itself (`TrainingCLI`)
        ("--job-name=train", "--job-name=bash"),  # srun starts several tasks (`Slurm.detect`)
        ("--job-name=train", "--job-name=train --chdir={folder} --output=logs/%j.log"),
    ],
)
def test_what_is_right_in_a_script_is_no_mistake(tmp_path: Path, old: str, new: str) -> None:
    (tmp_path / "logs").mkdir()
    text = GOOD.replace(old, new.format(folder=tmp_path))
    assert text != GOOD
    assert not bad(check_script(written(tmp_path, text), Layout(2, 4)))


def test_kinds_of_gpus_are_told_from_their_number(tmp_path: Path) -> None:
    """By the syntax in sbatch(1): ``--gres=name[[:type]:count]``, the count 1 where it is missing."""
    kinds = {"gpu:4": 4, "gpu:a100:2,gpu:v100:1": 3, "gpu:2080ti:4(S:0-1)": 4, "gpu:h100": 1, "gpu": 1, "nvme:2": None, "": None}
    assert {value: gpus_in(value) for value in kinds} == kinds
    (found,) = bad(check_script(written(tmp_path, GOOD.replace("--gpus-per-node=4", "--gres=gpu:2080ti:8")), Layout(2, 4)))
    assert found.remedy == "one task a GPU: #SBATCH --ntasks-per-node=8"


def test_a_shell_starts_processes_for_its_gpus_itself(tmp_path: Path) -> None:
    text = GOOD.replace("train", "interactive").replace("--nodes=2 --ntasks-per-node=4", "--nodes=1 --ntasks-per-node=1")
    assert not bad(check_script(written(tmp_path, text), Layout(1, 4)))


def test_memory_of_a_node(tmp_path: Path) -> None:
    for options, gibibytes in (
        ("--mem=64G", 64), ("--mem=2048", 2), ("--mem-per-cpu=2G --cpus-per-task=8", 64), ("--mem-per-gpu=16G", 64),
        ("--mem=0", None), ("--comment=none", None),
    ):  # fmt: skip
        found = memory_in_script(written(tmp_path, GOOD.replace("--job-name=train", f"--job-name=train {options}")))
        assert found == (None if gibibytes is None else gibibytes * 2**30), options
    assert memory_of_node({"SLURM_MEM_PER_NODE": "65536"}) == 64 * 2**30
    assert memory_of_node({"SLURM_MEM_PER_CPU": "1024", "SLURM_CPUS_ON_NODE": "16"}) == 16 * 2**30
    assert memory_of_node({"SLURM_MEM_PER_NODE": "0"}) is None
    assert memory_of_node({}) is None


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
