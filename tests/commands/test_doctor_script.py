"""Planted mistakes in job scripts: each must be named, with a remedy that mends it."""

from __future__ import annotations

from pathlib import Path

import pytest

from clinical_ie.commands.doctor_script import check_script, gpus_in
from clinical_ie.commands.doctor_script import memory_of_node as memory_in_script
from clinical_ie.commands.doctor_slurm import (
    Layout,
    memory_of_node,
)
from tests.commands.findings import bad

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
