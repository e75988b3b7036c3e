"""The job scripts of ``slurm/``: what ShellCheck and our own lint say of them, and of each mistake that the lint is for."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from clinical_ie.commands.job_script import OPTIONS
from clinical_ie.commands.submit_lint import problems
from clinical_ie.commands.submit_scripts import packaged

FOLDER = Path(__file__).parents[2] / "slurm"
SCRIPTS = sorted(FOLDER.glob("*.sbatch"))
TRAIN = (FOLDER / "train.sbatch").read_text(encoding="utf-8")


def test_they_are_all_here() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {
        "apptainer.def", "env.sh", "evaluate.sbatch", "report.sbatch", "study.sbatch", "train.sbatch",
    }  # fmt: skip


def test_an_installed_package_has_them() -> None:
    project = tomllib.loads((FOLDER.parent / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]["slurm"] == "clinical_ie/slurm"
    assert packaged() == FOLDER


def test_the_container_gets_all_that_the_package_is_made_of() -> None:
    """A line of ``%files`` is a source and a destination: the parser takes two words and drops the rest, the destination with it."""
    text = (FOLDER / "apptainer.def").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^%(\w+)\n(.*?)(?=^%|\Z)", text, re.MULTILINE | re.DOTALL))
    lines = [line.split() for line in sections["files"].splitlines() if line.strip() and not line.strip().startswith("#")]
    assert {len(words) for words in lines} == {2}, lines
    copied = dict(lines)
    assert [source for source in copied if not (FOLDER.parent / source).exists()] == []
    root = "/opt/clinical_ie"
    assert copied == {source: f"{root}/{source}" for source in copied}, "the checkout as it is"
    named = set(re.findall(rf"{root}/([\w./]+)", sections["post"]))
    assert named
    project = tomllib.loads((FOLDER.parent / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    built = {project["project"]["readme"], *project["project"]["license-files"], *wheel["packages"], *wheel["force-include"]}
    assert {"pyproject.toml", *named, *built} <= copied.keys()


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="ShellCheck is not installed (apt-get install shellcheck)")
def test_shellcheck_finds_nothing() -> None:
    line = ["shellcheck", "--external-sources", *map(str, SCRIPTS), str(FOLDER / "env.sh")]
    done = subprocess.run(line, cwd=FOLDER.parent, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_our_scripts_are_clean(path: Path) -> None:
    assert problems(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("#SBATCH --requeue\n", "", "1: no --requeue"),
        ("#SBATCH --requeue\n", "##SBATCH --requeue\n", "1: no --requeue"),
        ("#SBATCH --open-mode=append\n", "", "1: no --open-mode=append"),
        ("open-mode=append", "open-mode=truncate", "1: no --open-mode=append"),
        ("#SBATCH --output=%x-%j.out\n", "", "1: no --output"),
        ("#SBATCH --signal=USR1@300\n", "", "1: no --signal=USR1@SECONDS"),
        ("#SBATCH --ntasks-per-node=1\n", "", "1: no --ntasks-per-node"),
        ("USR1@300", "B:USR1@300", "--signal=B:USR1@300; expected USR1@SECONDS, without B:"),
        ("--job-name=clinical_ie-fit", "--job-name=bash", "Lightning takes a job named bash for a shell"),
        ("--nodes=1", "--nodes=$NODES", "sbatch puts in no variables"),
        ("#SBATCH --nodes=1", "#SBATCH -N 1", "not a long option; write --NAME=VALUE"),
        ("#SBATCH --nodes=1", "#SBATCH --node=1", "sbatch has no option --node; did you mean --nodefile?"),
        ("#SBATCH --time=", "#SBATCH --timme=", "sbatch has no option --timme; did you mean '--time'?"),
        ("#SBATCH --time=", "#SBATCH --signa=USR1@30\n#SBATCH --time=", "--signa is not an option's full name; write --signal"),
        ("#SBATCH --nodes=1", " #SBATCH --nodes=1", "sbatch reads only lines that begin with #SBATCH"),
        ("#SBATCH --nodes=1", "#SBATCH --comment='a b\n#SBATCH --nodes=1", "a quotation mark is missing; close it"),
        ("#SBATCH --nodes=1\n", "#SBATCH --nodes=1 --exclusive\n", "several options; write one a line"),
        ("#SBATCH --nodes=1", "# SBATCH --nodes=1", "sbatch reads only lines that begin with #SBATCH"),
        ("#SBATCH --nodes=1", "#sbatch --nodes=1", "sbatch reads only lines that begin with #SBATCH"),
        ("set -uo pipefail\n", "set -uo pipefail\n#SBATCH --exclusive\n", "ignores it, as it stands behind the first command"),
        ("--gpus-per-node=1", "--gpus-per-node=a100:4", "1 tasks and a100:4 GPUs on a node"),
        ("--gpus-per-node=1", "--gpus-per-node=a100", "--gpus-per-node=a100; expected N or TYPE:N"),
        ("--gpus-per-node=1", "--gres=gpu:a100:1", "--gres asks for GPUs in another way than a submission does"),
        ("--gpus-per-node=1", "--gpus-per-task=1", "--gpus-per-task shows a process one GPU only"),
        ("--time=24:00:00", "--time=10:00", "--signal=USR1@300 may come 360 s before the end of 600 s"),
        ("--time=24:00:00", "--time=soon", "--time=soon is no time"),
        ("--output=%x-%j.out", "--output=%j.out\n#SBATCH --error=%j.err", "--error divides the log"),
        ("#!/usr/bin/env bash\n", "", "1: no interpreter"),
        ('srun "${clinical_ie[@]}"', '"${clinical_ie[@]}"', "the last command is not srun"),
        ('"$SLURM_NTASKS_PER_NODE"\n', '"$SLURM_NTASKS_PER_NODE"\necho done\n', "the last command is not srun"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_and_nothing_else(before: str, after: str, told: str) -> None:
    assert TRAIN.count(before) >= 1
    found = problems(TRAIN.replace(before, after, 1))
    assert any(told in line for line in found), found
    assert len(found) <= 2, found


@pytest.mark.skipif(shutil.which("sbatch") is None, reason="SLURM's commands are not installed")
def test_sbatch_has_the_options_that_we_know() -> None:
    """Those of its own help; ours has some of later versions, and aliases, too."""
    done = subprocess.run(["sbatch", "--help"], capture_output=True, text=True, check=False)
    own = {word.split("=")[0].split("[")[0][2:].rstrip(",") for word in done.stdout.split() if word.startswith("--") and len(word) > 2}
    assert own - OPTIONS <= {"help", "usage", "version", "wrap"}
