"""Jobs as they are rendered, checked and submitted, with commands of SLURM that note how they were called."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch

from clinical_ie.cli import main
from clinical_ie.commands import doctor, submit_environment, submit_fit, submit_queue
from clinical_ie.commands.doctor_slurm import Layout
from clinical_ie.commands.submit_environment import of_job, outside
from clinical_ie.commands.submit_lint import problems
from clinical_ie.commands.submit_options import split
from clinical_ie.commands.submit_scripts import Scripts, packaged
from tests.job_scripts.fake_slurm import FakeSlurm
from tests.job_scripts.rendered import CHAIN, golden, settings, shown

pytestmark = pytest.mark.usefixtures("place")


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("one_gpu", ("--data.root=/data/my notes",)),
        ("two_nodes", ("-c", "strategy/ddp", "--nodes=2", "--gpus-per-node", "8", "--time=2-00:00:00", "--partition=gpu", "--account=ward",
                       "--mem=200G", "--cpus-per-task=12", "--sbatch=--exclude=node7", "--sbatch=--exclusive", "--resume=auto")),
        ("cpus", ("--trainer.accelerator=cpu", "--trainer.devices=2", "--trainer.num_nodes=2")),
    ],
)  # fmt: skip
def test_a_training_is_rendered(name: str, more: tuple[str, ...], place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "fit", *CHAIN, "--run_dir=runs/demo", *more)
    golden(f"fit_{name}.sbatch", text, place)
    assert problems(text) == []
    assert f"clinical_ie=({sys.executable} -m clinical_ie)" in text
    assert not (place / "runs").exists(), "nothing is written"


def test_the_type_of_gpus_that_a_site_asks_for_stays(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = place / "slurm"
    shutil.copytree(packaged(), own)
    for name in ("train", "study"):
        text = (own / f"{name}.sbatch").read_text(encoding="utf-8")
        (own / f"{name}.sbatch").write_text(text.replace("--gpus-per-node=1", "--gpus-per-node=a100:1"), encoding="utf-8")
    fit, study = ("fit", *CHAIN, "--run_dir=r"), ("study", "submit", "smoke", "--root=r")
    for more, asked in (((), "a100:1"), (("--gpus-per-node=8",), "a100:8"), (("--gpus-per-node=h100:8",), "h100:8")):
        found = settings(shown(capsys, *fit, *more))
        assert (found["gpus-per-node"], found["ntasks-per-node"]) == (asked, asked.partition(":")[2])
    assert settings(shown(capsys, *study).partition("# ===== WAVE2")[0])["gpus-per-node"] == "a100:1"
    assert "gpus-per-node" not in settings(shown(capsys, *fit, "--trainer.accelerator=cpu", "--trainer.devices=2"))


@pytest.mark.parametrize("name", ["my project", "c#1", "it's", 'a "b"', "50%"])
def test_a_job_works_where_it_was_submitted(
    name: str, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In folders of names that sbatch would split, or cut off at a # as a comment."""
    folder = place / name
    folder.mkdir()
    monkeypatch.chdir(folder)
    found = settings(shown(capsys, "fit", *CHAIN, "--run_dir=r"))
    assert (found["chdir"], found["output"]) == (str(folder), f"{folder}/r/slurm-%j.out".replace("50%", "50%%"))


VALUES = {"comment": "two 'words' # and \\ \"more\"", "exclude": "node[1-3,7]", "mail-user": "a@b", "licenses": "x:1,y", "wckey": "*a"}


def test_values_are_read_by_sbatch_as_they_were_given() -> None:
    """Quoted where they must be: words by the rules of sbatch as well as by those of `shlex`."""
    text = Scripts(packaged()).rendered("train", dict(VALUES), ["-c", "x"])
    assert {name: settings(text)[name] for name in VALUES} == VALUES
    assert "\n#SBATCH --exclude=node[1-3,7]\n" in text, "and where they need not, they are not"
    assert {name: by_sbatch(text)[name] for name in VALUES} == VALUES


@pytest.mark.skipif(shutil.which("sbatch") is None, reason="SLURM's commands are not installed")
def test_sbatch_itself_reads_values_so(place: Path) -> None:
    """It tells what it found before it looks for GPUs, of which this configuration has none, and asks no daemon."""
    conf = ("ClusterName=none", "SlurmctldHost=localhost", "AuthType=auth/none", "NodeName=n1", "PartitionName=p Nodes=n1")
    (place / "slurm.conf").write_text("\n".join(conf) + "\n", encoding="utf-8")
    values = {**VALUES, "gpus-per-node": "a100:1", "time": "0", "chdir": str(place)}
    (place / "job").write_text(Scripts(packaged()).rendered("train", dict(values), ["-c", "x"]), encoding="utf-8")
    line = ["sbatch", "-vvv", "--test-only", "job"]
    environment = {**os.environ, "SLURM_CONF": str(place / "slurm.conf")}
    said = subprocess.run(line, env=environment, capture_output=True, text=True, check=False, timeout=60).stderr
    found = dict(re.findall(r'Found in script, argument "--([a-z-]+)=(.*)"$', said, re.MULTILINE))
    assert {name: found[name] for name in values} == values, said


def by_sbatch(text: str) -> dict[str, str]:
    """Options of a script as the C code of sbatch takes them from lines: a backslash stands for what follows, in quotes of both kinds."""
    found = {}
    for line in text.splitlines():
        if not line.startswith("#SBATCH "):
            continue
        word, quote, rest = "", "", iter(line.removeprefix("#SBATCH").lstrip())
        for letter in rest:
            if letter == "\\":
                word += next(rest)
            elif letter == quote:
                quote = ""
            elif not quote and letter in "\"'":
                quote = letter
            elif not quote and letter in " #":
                break
            else:
                word += letter
        name, _, value = word.removeprefix("--").partition("=")
        found[name] = value
    return found


@pytest.mark.parametrize("time", ["0", "00:00:00", "UNLIMITED", "infinite"])
def test_a_job_without_a_limit_of_time(time: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert settings(shown(capsys, "fit", *CHAIN, "--run_dir=r", f"--time={time}"))["time"] == time


def test_options_that_replace_each_other(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    found = settings(shown(capsys, "fit", *CHAIN, "--run_dir=r", "--sbatch=--no-requeue"))
    assert ("no-requeue" in found, "requeue" in found) == (True, False)
    monkeypatch.setenv("SBATCH_MEM_PER_NODE", "100G")
    assert settings(shown(capsys, "fit", *CHAIN, "--run_dir=r"))["mem"] == "100G"
    found = settings(shown(capsys, "fit", *CHAIN, "--run_dir=r", "--sbatch=--mem-per-cpu=4G"))
    assert (found["mem-per-cpu"], "mem" in found) == ("4G", False)


def test_help_of_a_submission(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["fit", "--submit", "--help"])
    said = capsys.readouterr().out
    assert "--gpus-per-node [TYPE:]N" in said
    assert "--gpu-memory GB" in said


def test_a_job_that_waits_for_another_does_not_wait_for_ever(capsys: pytest.CaptureFixture[str]) -> None:
    found = settings(shown(capsys, "fit", *CHAIN, "--run_dir=r", "--sbatch=--dependency=afterok:17"))
    assert (found["dependency"], found["kill-on-invalid-dep"]) == ("afterok:17", "yes")


def test_settings_of_the_site_win_over_the_script_and_the_command_line_over_both(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(packaged(), place / "slurm")
    site = place / "slurm" / "env.sh"
    text = site.read_text(encoding="utf-8").replace("#export SBATCH_PARTITION=gpu", "export SBATCH_PARTITION=a100 # the large ones")
    site.write_text(text.replace("#export SBATCH_QOS=normal", "export SBATCH_QOS='long'"), encoding="utf-8")
    monkeypatch.setenv("SBATCH_ACCOUNT", "mine")
    monkeypatch.setenv("SBATCH_QOS", "short")
    found = settings(shown(capsys, "fit", *CHAIN, "--run_dir=r", "--partition=h100"))
    assert (found["partition"], found["account"], found["qos"]) == ("h100", "mine", "long")
    assert settings(shown(capsys, "fit", *CHAIN, "--run_dir=r"))["partition"] == "a100"
    for line, told in (
        ("SBATCH_QOS='long", "a quotation mark is missing"),
        ("SBATCH_QOS=$MINE", "sbatch puts in no variables"),
        ("export SBATCH_QOS=a SBATCH_WAIT=1", "SBATCH_WAIT is not carried over"),
    ):
        site.write_text(f"{text}\n{line}\n", encoding="utf-8")
        assert main(["fit", *CHAIN, "--run_dir=r", "--dry-run"]) == 2
        assert told in capsys.readouterr().err
    site.write_text(text.replace("clinical_ie=(clinical-ie)", "clinical_ie=(apptainer exec --nv image.sif clinical-ie)"), encoding="utf-8")
    assert "\nclinical_ie=(apptainer exec" in shown(capsys, "fit", *CHAIN, "--run_dir=r"), "a program that the site names is left alone"


def test_a_script_of_ones_own_is_taken_and_its_mistakes_are_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = place / "slurm"
    own.mkdir()
    shutil.copy(packaged() / "env.sh", own)
    assert "srun" in shown(capsys, "fit", *CHAIN, "--run_dir=r"), "scripts that are not there are the packaged ones"
    text = (packaged() / "train.sbatch").read_text(encoding="utf-8")
    (own / "train.sbatch").write_text(text.replace("--nodes=1", "--nodes=1\n#SBATCH --exclusive"), encoding="utf-8")
    assert "exclusive" in settings(shown(capsys, "fit", *CHAIN, "--run_dir=r"))
    (own / "train.sbatch").write_text(text.replace("#SBATCH --requeue\n", ""), encoding="utf-8")
    assert main(["fit", *CHAIN, "--run_dir=r", "--dry-run"]) == 2
    assert "slurm/train.sbatch:1: no --requeue" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ((), "--run_dir is missing"),
        (("--run_dir=r", "--ckpt_path=x.ckpt"), "leave out --ckpt_path"),
        (("--run_dir=r", "--job-name=interactive"), "Lightning takes such a job for a shell"),
        (("--run_dir=r", "--sbatch=-N2"), "expected a long option of sbatch"),
        (("--run_dir=r", "--sbatch=--exclud=node7"), "did you mean '--exclude'?"),
        (("--run_dir=r", "--sbatch=--array=1-2"), "the submission sets it"),
        (("--run_dir=r", "--nodes=none"), "'none' is no number of them"),
        (("--run_dir=r", "--gpus-per-node=a100"), "'a100' is no number of GPUs; expected N or TYPE:N"),
        (("--run_dir=r", "--gpus-per-node=a100:0"), "'a100:0' is no number of GPUs"),
        (("--run_dir=r", "--sbatch=--gres=gpu:a100:4"), "--gres asks for GPUs in another way"),
        (("--run_dir=r", "--time=5"), "--signal=USR1@300 may come 360 s before the end of 300 s"),
        (("--run_dir=r", "--time=soon"), "--time=soon is no time"),
        (("--run_dir=r", "--sbatch=--comment=two\nlines"), "a quotation mark is missing"),
        (("--run_dir=r", "--devices=8"), "--devices is an option of doctor, which fit does not know; --gpus-per-node=N"),
        (("--run_dir=r", "--devices", "8"), "--devices is an option of doctor, which fit does not know; --gpus-per-node=N"),
        (("--run_dir=r", "--script=a.sbatch"), "--script is an option of doctor"),
        (("--run_dir=r", "--sbatch=--gpus-per-task=1"), "--gpus-per-task shows a process one GPU only"),
        (("--run_dir=r", "--scripts=nowhere"), "--scripts=nowhere: there is no env.sh"),
    ],
)
def test_what_cannot_be_submitted_is_refused(more: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "--dry-run", *CHAIN, *more]) == 2
    assert told in capsys.readouterr().err


def test_a_training_is_checked_and_submitted(
    place: Path, slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SLURM_NTASKS", "4")  # as in the shell of an interactive job
    monkeypatch.setenv("SBATCH_TIMELIMIT", "50")
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm.conf")
    assert main(["fit", "--submit", "--unchecked", *CHAIN, "--run_dir=runs/demo"]) == 0
    script = "runs/demo/job.sbatch"
    assert slurm.calls() == [["--test-only", script], ["--parsable", script]]
    text = (place / script).read_text(encoding="utf-8")
    assert settings(text)["time"] == "50", "what sbatch would have taken from the surroundings stands in the script"
    assert {"SLURM_NTASKS", "SBATCH_TIMELIMIT"}.isdisjoint(slurm.environment())
    assert slurm.environment()["SLURM_CONF"] == "/etc/slurm.conf"
    said = capsys.readouterr().out
    for part in (
        "Submitted job 101, 1 node x 1 GPU; it could begin at 2026-11-26T07:00:00",
        "squeue --jobs=101",
        "runs/demo/slurm-101.out",
        "scancel 101",
        "ssh -L 6006",
    ):
        assert part in said
    slurm.answer(queue=["101"])
    assert main(["fit", "--submit", "--unchecked", *CHAIN, "--run_dir=runs/demo"]) == 2
    assert "runs/demo is in the queue already, as 101" in capsys.readouterr().err
    slurm.answer()
    assert main(["fit", "--submit", "--unchecked", *CHAIN, "--run_dir=runs/demo"]) == 0, "it has ended"


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("sbatch: error: invalid partition specified: gpu\nallocation failure: Invalid partition name specified", "`sinfo --summarize`"),
        ("allocation failure: Requested node configuration is not available", "`sinfo --format='%P %D %c %m %G'`"),
        ("allocation failure: Invalid account or account/partition combination specified", "SBATCH_PARTITION"),
        ("allocation failure: Requested time limit is invalid (missing or exceeds some limit)", "ask for less by --time"),
        ("allocation failure: Unable to contact slurm controller (connect failure)", "`scontrol ping`"),
        ("allocation failure: Something new", ": allocation failure: Something new"),
    ],
)
def test_a_refusal_of_sbatch_comes_with_its_remedy(said: str, remedy: str, slurm: FakeSlurm, capsys: pytest.CaptureFixture[str]) -> None:
    slurm.answer(**{"test-only": said})
    assert main(["fit", "--submit", "--unchecked", *CHAIN, "--run_dir=r"]) == 2
    assert remedy in capsys.readouterr().err
    assert len(slurm.calls()) == 1, "nothing is submitted"


def test_doctor_looks_before_anything_is_submitted(
    slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    looked: list[tuple[list[str], dict[str, str]]] = []
    run = subprocess.run

    def look(line: list[str], **more: Any) -> subprocess.CompletedProcess[str]:
        if line[3:4] != ["doctor"]:
            return run(line, **more)
        looked.append((line[3:], more["env"]))
        return subprocess.CompletedProcess(line, 2)

    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "run", look)
        patch.setattr(submit_queue, "refuse_second", lambda folder, what: None)
        assert main(["fit", "--submit", *CHAIN, "--run_dir=r", "--gpus-per-node=a100:4", "--gpu-memory=80"]) == 2
    of_doctor = ["--nodes=1", "--devices=4", "--gpu-memory=80", "--elsewhere"]
    assert [line for line, _ in looked] == [["doctor", *CHAIN, "--run_dir=r", "--resume=auto", *of_doctor]]
    assert "SLURM_JOB_ID" not in looked[0][1]
    assert looked[0][1]["HF_HUB_OFFLINE"] == "1", "as env.sh has it for the job"
    assert "`clinical-ie doctor` found problems" in capsys.readouterr().err
    assert slurm.calls() == []


def test_a_model_that_the_job_will_not_find_is_a_problem_here(
    place: Path, slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The shell that submits may ask the network, and has a cache of its own; the job has those of env.sh."""
    shutil.copytree(packaged(), place / "slurm")
    site = place / "slurm" / "env.sh"
    text = site.read_text(encoding="utf-8")
    text = text.replace("#module load python/3.11 cuda/12.8", "module_of_compute_nodes load cuda")
    site.write_text(text.replace("#export HF_HOME=/shared/my_project/huggingface", f"export HF_HOME={place / 'shared'}"), encoding="utf-8")
    mine = place / "mine" / "hub" / "models--ward--tiny"
    (mine / "snapshots" / "1").mkdir(parents=True)
    (mine / "refs").mkdir()
    (mine / "refs" / "main").write_text("1", encoding="utf-8")
    (mine / "snapshots" / "1" / "config.json").write_text("{}", encoding="utf-8")
    monkeypatch.setenv("HF_HOME", str(place / "mine"))
    for name in ("HF_HUB_OFFLINE", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "TRANSFORMERS_CACHE"):
        monkeypatch.delenv(name, raising=False)
    chain = ("-c", "task/entity_tagging", "-c", "data/demo", "--model.init_args.backbone=ward/tiny")
    assert main(["fit", "--submit", *chain, "--run_dir=r"]) == 2
    told = " ".join("".join(capfd.readouterr()).split())
    assert "ward/tiny: not in the local cache, and HF_HUB_OFFLINE forbids to fetch it" in told
    assert "slurm/env.sh, read on this machine" in told
    assert "module_of_compute_nodes: command not found" in told
    assert slurm.calls() == []


def test_options_of_doctor_alone_are_those_that_a_submission_refuses() -> None:
    """Doctor takes its own options from anywhere among those of fit, and so hides them."""
    own = {name for action in doctor._parser()._actions for name in action.option_strings if name.startswith("--")}
    _, others = split([f"{name}=1" for name in sorted(own - {"--help"})])
    assert {part.partition("=")[0] for part in others} == submit_fit.OF_DOCTOR.keys()


def test_what_is_seen_of_gpus_here_is_not_the_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell on one GPU of a node has its number in the surroundings; the job has GPUs of its own, of another size perhaps."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setenv("ROCR_VISIBLE_DEVICES", "0")
    monkeypatch.setenv("GPU_DEVICE_ORDINAL", "0")
    assert not any("VISIBLE_DEVICES" in name or name == "GPU_DEVICE_ORDINAL" for name in outside())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: mock.Mock(total_memory=8e9))
    assert doctor._limit(None, elsewhere=False) == 8e9
    assert doctor._limit(None, elsewhere=True) is None
    assert doctor._limit(80, elsewhere=True) == 80e9
    monkeypatch.setattr(doctor, "driver_version", lambda: "1.0")  # too old, here
    assert [found.level for found in doctor._gpus({}, Layout(1, 8), {}, 0, elsewhere=True)] == ["ok"]


def test_surroundings_of_a_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are those of env.sh as far as bash comes here, and it says how far."""
    site = tmp_path / "my env.sh"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setenv("KEPT", "two\nlines")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    site.write_text('echo chatter\nexport HF_HOME="a b"\n', encoding="utf-8")
    found, told = of_job(site)
    assert (found["HF_HOME"], found["KEPT"], told.splitlines()[1:]) == ("a b", "two\nlines", ["  chatter"])
    assert {"CUDA_VISIBLE_DEVICES", "SLURM_JOB_ID"}.isdisjoint(found)
    site.write_text("export HF_HOME=early\nnowhere || exit 3\nexport HF_HOME=late\n", encoding="utf-8")
    found, told = of_job(site)
    assert found["HF_HOME"] == "early"
    assert "it ended early, with status 3" in told
    monkeypatch.setattr(submit_environment, "_SECONDS", 0.2)
    site.write_text("export HF_HOME=late\nsleep 20 & wait\n", encoding="utf-8")
    monkeypatch.setenv("HF_HOME", "shell")
    found, told = of_job(site)
    assert found["HF_HOME"] == "shell"
    assert "nothing of it is looked at" in told


def test_without_slurm_nothing_can_be_submitted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PATH", "")
    assert main(["fit", "--submit", "--unchecked", *CHAIN, "--run_dir=r"]) == 2
    assert "submit on a login node" in capsys.readouterr().err
