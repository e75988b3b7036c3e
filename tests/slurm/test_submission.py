"""Runs and studies that are submitted by the command line, with the packaged job scripts, on real daemons."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from clinical_ie.commands.job_script import parsed
from tests.conftest import MakeOnce, write_demo_notes
from tests.slurm.cluster import Cluster
from tests.slurm.fits import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
SMALL = ("--mem=1500", "--cpus-per-task=1", "--time=15")
STUDY = """
name: tiny
axes:
  kind:
    sound: [--trainer.max_steps=4]
    failing: [--trainer.max_steps=4, --trainer.limit_val_batches=1]
    wide: [strategy/ddp, --trainer.accelerator=cpu, --trainer.devices=2, --trainer.max_steps=2]
with:
  - task/entity_tagging
  - data/demo
  - --model.init_args.backbone={backbone}
  - --data.root={notes}
  - --trainer.accelerator=cpu
  - --trainer.max_epochs=-1
  - --trainer.precision=32-true
grids:
  begin:
    cells: {{kind: all}}
  go_on:
    cells: {{kind: [sound, failing]}}
    init_from: {{grid: begin}}
    with: [--seed_everything=1]
"""


@pytest.fixture(scope="module")
def notes(made_once: MakeOnce) -> str:
    return made_once("submission_notes", lambda folder: write_demo_notes(folder, train=6, dev=2, test=2))


def command(cluster: Cluster, *arguments: str) -> str:
    return cluster.run(sys.executable, "-m", "clinical_ie", *arguments)


def test_an_array_study_with_a_failing_cell(cluster: Cluster, tiny_bert: str, notes: str, tmp_path: Path) -> None:
    """A failure stops what begins with it, nothing else; a worker beside the arrays computes nothing a second time."""
    file, root = tmp_path / "tiny.yaml", tmp_path / "root"
    file.write_text(STUDY.format(backbone=tiny_bert, notes=notes), encoding="utf-8")
    said = command(cluster, "study", "submit", str(file), f"--root={root}", "--throttle=2", *SMALL)
    jobs = {name: int(job) for name, job in re.findall(r"^Submitted (\S+) as (\d+)", said, re.MULTILINE)}
    assert list(jobs) == ["wave1-1", "wave1-2", "wave2", "report"], "one array for each size of runs"
    worker = cluster.submit(
        f"srun {sys.executable} -m clinical_ie study run {file} --root={root}", "--mem=1500", "--time=15", log=tmp_path / "worker"
    )
    assert cluster.wait(jobs["report"], seconds=600)["JobState"] == "COMPLETED"
    logs = {path.name: path.read_text(encoding="utf-8") for path in (root / "slurm" / "tiny").glob("*.out")}
    rows = {row["cells"][0]: row for row in json.loads(command(cluster, "study", "plan", str(file), f"--root={root}", "--json"))["runs"]}
    assert {cell: row["state"] for cell, row in rows.items()} == {
        "begin kind=sound": "done", "begin kind=failing": "failed", "begin kind=wide": "done",
        "go_on kind=sound": "done", "go_on kind=failing": "waiting",
    }, "\n".join(logs.values())  # fmt: skip
    assert "limit_val_batches is 1" in rows["begin kind=failing"]["message"]
    refused = next(text for text in logs.values() if "go_on kind=failing: stopped" in text)
    assert f"begins with {rows['begin kind=failing']['key']}, which failed" in refused
    cluster.wait(worker)
    assert "1 runs are left to jobs of another size" in (tmp_path / "worker").read_text(encoding="utf-8")
    for cell, row in rows.items():
        log = root / "runs" / row["key"] / "log.txt"
        begun = log.read_text(encoding="utf-8").count("train: demo, 6 documents") if log.exists() else 0
        assert begun == ("failing" not in cell), (cell, log)
    assert "MEMBER: 2/2" in (root / "runs" / rows["begin kind=wide"]["key"] / "log.rank1.txt").read_text(encoding="utf-8")
    assert "limit_val_batches is 1" in (root / "reports" / "tiny" / "tiny.md").read_text(encoding="utf-8")
    again = command(cluster, "study", "submit", str(file), f"--root={root}", "--dry-run", *SMALL)
    assert len(re.findall(r"^  [0-9a-f]{16}-\w+ # ", again, re.MULTILINE)) == 2, "what is done is not submitted"


def test_a_run_on_two_nodes_by_one_command_comes_back(cluster: Cluster, tiny_bert: str, notes: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    chain = ["-c", "task/entity_tagging", "-c", "data/demo", "-c", "strategy/ddp", f"--model.init_args.backbone={tiny_bert}"]
    own = [f"--data.root={notes}", f"--run_dir={run}", "--trainer.accelerator=cpu", "--trainer.max_epochs=5"]
    # the test's folder lies in /tmp, which nodes of a real cluster do not share, as doctor says
    said = command(cluster, "fit", "--submit", "--unchecked", *chain, *own, "--nodes=2", *SMALL)
    job = int(re.findall(r"Submitted job (\d+), 2 nodes x 1 process", said)[0])
    log = run / f"slurm-{job}.out"
    wait_for(log, "epoch 1/5")
    cluster.run("scancel", "--signal=USR1", str(job))
    ended = cluster.wait(job, restarts=1, seconds=600)
    text = log.read_text(encoding="utf-8")
    assert (ended["JobState"], ended["ExitCode"], ended["Restarts"]) == ("COMPLETED", "0:0", "1"), text[-4000:]
    assert text.count("MEMBER: 2/2") == 2, "before and after, in one log"
    assert "test" in json.loads((run / "results.json").read_text(encoding="utf-8"))["splits"]


def test_a_script_is_read_as_sbatch_reads_it(cluster: Cluster, tmp_path: Path) -> None:
    """Options in all ways of writing them, behind comments and commands; `job_script` against what SLURM says of the job."""
    lines = [
        " #SBATCH --partition=none", "# SBATCH --nodes=7", "##SBATCH --nodes=7", "", "  # indented",
        "#SBATCH -N1 --job-name='two words' # why",
        "#SBATCH --time 1:30 --comment=a#b --nodes=8", "#SBATCH --mail-t=NONE", "#SBATCH -p low", "#SBATCH --partition=main", "true # done",
        "#SBATCH --nodes=9",
    ]  # fmt: skip
    job = cluster.submit("\n".join(lines), "--hold", log=tmp_path / "log")
    told = cluster.run("scontrol", "show", "job", str(job))
    cluster.run("scancel", str(job))
    script = parsed((tmp_path / "log.sbatch").read_text(encoding="utf-8"))
    found = {name: one.value for name, one in script.options.items()}
    assert found == {
        "nodes": "1", "job-name": "two words", "comment": "a", "time": "1:30", "mail-type": "NONE", "partition": "main",
    }  # fmt: skip
    for said in ("JobName=two words", "NumNodes=1", "Comment=a ", "TimeLimit=00:02:00", "Partition=main"):
        assert said in told, told
    assert [one.line for one in script.misread] == [2, 3, 13]


def test_what_the_cluster_cannot_give_is_refused_before_it_waits(cluster: Cluster, tmp_path: Path) -> None:
    chain = ["-c", "task/entity_tagging", "-c", "model/minilm", "-c", "data/demo", f"--run_dir={tmp_path}", "--unchecked"]
    for more, remedy in (
        (("--mem=1G",), "asks for no GPU"),
        (("--trainer.accelerator=cpu", "--partition=gpu", "--mem=1G"), "`sinfo --summarize` lists partitions"),
        (("--trainer.accelerator=cpu", "--mem=1T"), "ask for less of them"),
        (("--trainer.accelerator=cpu", "--nodes=3", "--mem=1G"), "`sinfo"),
    ):
        with pytest.raises(RuntimeError, match="sbatch would refuse it") as refused:
            command(cluster, "fit", "--submit", *chain, *more)
        assert remedy in str(refused.value)
    assert cluster.run("squeue", "--noheader", f"--name=fit-{tmp_path.name}") == ""
