"""Planted mistakes of SLURM jobs, as their variables show them: each must be named, with a remedy that mends it."""

from __future__ import annotations

from pathlib import Path

import pytest

from clinical_ie.commands.doctor import _strategy, layout_of, places_of
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
    tasks_per_node,
)
from clinical_ie.commands.memory_estimate import strategy_named
from clinical_ie.errors import SettingError
from clinical_ie.strategies.slurm import Slurm, check_tasks
from tests.commands.findings import bad

# what SLURM 22.05 gave the tasks of `srun` in a job of --nodes=2 --ntasks-per-node=2
STEP = {
    "SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "train", "SLURM_JOB_NODELIST": "node[1-2]", "SLURM_NNODES": "2", "SLURM_NTASKS": "4",
    "SLURM_NTASKS_PER_NODE": "2", "SLURM_TASKS_PER_NODE": "2(x2)", "SLURM_PROCID": "0", "SLURM_STEP_ID": "0",
    "SLURM_STEP_NODELIST": "node[1-2]", "SLURM_STEP_NUM_NODES": "2", "SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_TASKS_PER_NODE": "2(x2)",
}  # fmt: skip
BATCH = {name: value for name, value in STEP.items() if "_STEP_" not in name}  # SLURM_PROCID=0 is there, too
RIGHT = Layout(nodes=2, devices=2)


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
