"""Jobs as they are rendered, checked and submitted, with commands of SLURM that note how they were called."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from clinical_ie.cli import main
from clinical_ie.commands import submit_queue, submit_study
from clinical_ie.commands.job_script import parsed
from clinical_ie.commands.submit_lint import problems
from clinical_ie.commands.submit_options import Wanted
from clinical_ie.commands.submit_scripts import Scripts, packaged
from clinical_ie.studies.plan import Content, Run, waves
from clinical_ie.studies.store import Store
from tests.job_scripts.fake_slurm import FakeSlurm

GOLDEN = Path(__file__).with_name("golden")
CHAIN = ("-c", "task/entity_tagging", "-c", "model/minilm", "-c", "data/demo")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory of its own, and nothing of a cluster in the surroundings."""
    for name in [name for name in os.environ if name.startswith(("SBATCH_", "SLURM_"))]:
        monkeypatch.delenv(name)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    return FakeSlurm(tmp_path / "bin", monkeypatch)


def settings(text: str) -> dict[str, str]:
    return {name: one.value for name, one in parsed(text).options.items()}


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main([*arguments, "--dry-run"]) == 0
    return capsys.readouterr().out


def golden(name: str, text: str, work: Path) -> None:
    """The same script as the file has, but for where the test runs; written anew with GOLDEN=1."""
    environment = (packaged() / "env.sh").read_text(encoding="utf-8")
    begin, end = text.index("# ----- "), text.index("\n# ----- end of ")
    assert text[begin:end].splitlines()[3:9] == environment.splitlines()[3:9]
    whole = text[:begin] + "ENV.SH" + text[text.index("\n", end + 1) :]
    found = whole.replace(str(work), "WORK")
    file = GOLDEN / name
    if os.environ.get("GOLDEN"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(found, encoding="utf-8")
    assert found == file.read_text(encoding="utf-8")


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


def test_help_of_a_submission(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["fit", "--submit", "--help"])
    assert "--gpus-per-node N" in capsys.readouterr().out


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
        (("--run_dir=r", "--time=5"), "--signal=USR1@300 may come 360 s before the end of 300 s"),
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
    looked: list[tuple[list[str], bool]] = []

    def look(line: list[str], *, check: bool, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
        looked.append((line[3:], "SLURM_JOB_ID" in env))
        return subprocess.CompletedProcess(line, 2)

    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "run", look)
        patch.setattr(submit_queue, "refuse_second", lambda folder, what: None)
        assert main(["fit", "--submit", *CHAIN, "--run_dir=r", "--gpus-per-node=4"]) == 2
    assert looked == [(["doctor", *CHAIN, "--run_dir=r", "--resume=auto", "--nodes=1", "--devices=4"], False)]
    assert "`clinical-ie doctor` found problems" in capsys.readouterr().err
    assert slurm.calls() == []


def test_without_slurm_nothing_can_be_submitted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PATH", "")
    assert main(["fit", "--submit", "--unchecked", *CHAIN, "--run_dir=r"]) == 2
    assert "submit on a login node" in capsys.readouterr().err


def test_a_study_is_an_array_for_each_wave(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "study", "submit", "smoke", "--root=runs/smoke", "--throttle=3", "--partition=gpu")
    first, second, report = re.split(r"^# ===== ", text, flags=re.MULTILINE)[1:]
    assert first.startswith("WAVE1=$(sbatch --parsable wave1.sbatch)\n")
    assert second.startswith("WAVE2=$(sbatch --parsable --dependency=afterany:WAVE1 --kill-on-invalid-dep=yes wave2.sbatch)\n")
    assert report.startswith("REPORT=$(sbatch --parsable --dependency=afterany:WAVE2 ")
    assert settings(first.partition("\n")[2])["array"] == "0-6%3"
    assert settings(report.partition("\n")[2])["partition"] == "gpu"
    assert "gpus-per-node" not in settings(report.partition("\n")[2])
    assert re.search(r"^  --code=[0-9a-f]{12}$", report, re.MULTILINE), "of the runs that were submitted, though the code may change"
    keyless = re.sub(r"^  [0-9a-f]{16}-[0-9a-f]{12} ", "  KEY ", second.partition("\n")[2].strip("\n") + "\n", flags=re.MULTILINE)
    golden("study_wave2.sbatch", keyless, place)
    assert not (place / "runs" / "smoke" / "slurm").exists()


def test_a_task_whose_run_has_changed_since_does_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "run", "smoke", "--root=r", "--only=0123456789abcdef-0123456789ab"]) == 2
    assert "smoke has no such run; its settings, its data or the code have changed" in capsys.readouterr().err


def test_under_srun_a_run_has_as_many_processes_as_it_needs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Else one process would do what is known as a run of two."""
    assert main(["study", "plan", "smoke", "--root=r", "--json"]) == 0
    key = json.loads(capsys.readouterr().out)["runs"][0]["key"]
    for name, value in {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_PROCID": "0", "SLURM_NTASKS": "2"}.items():
        monkeypatch.setenv(name, value)
    assert main(["study", "run", "smoke", "--root=r", f"--only={key}"]) == 2
    assert "the run has 1 processes, but srun has started 2" in capsys.readouterr().err
    assert main(["study", "run", "smoke", "--root=r"]) == 0
    assert "9 runs are left to jobs of another size" in capsys.readouterr().out
    assert not Path("r/runs").exists()


def test_a_study_of_larger_runs(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "study", "submit", "smoke", "--root=r", "--gpus-per-node=4", "--nodes=2")
    assert text.count("#SBATCH --gpus-per-node=4\n#SBATCH") == text.count("#SBATCH --nodes=2") == 2
    assert text.count("--with=--trainer.devices=4") == text.count("--with=--trainer.num_nodes=2") == 3, "the report looks at the same runs"


def test_a_study_is_checked_whole_before_any_of_it_is_submitted(place: Path, slurm: FakeSlurm, capsys: pytest.CaptureFixture[str]) -> None:
    slurm.answer(largest=5)  # arrays of four tasks at most
    assert main(["study", "submit", "smoke", "--root=runs/smoke"]) == 0
    folder = "runs/smoke/slurm/smoke"
    scripts = [f"{folder}/{name}.sbatch" for name in ("wave1-1", "wave1-2", "wave2", "report")]
    behind = [[], [], ["--dependency=afterany:101:102"], ["--dependency=afterany:103"]]
    assert slurm.calls() == [
        *(["--test-only", script] for script in scripts),
        *(
            ["--parsable", *after, *(["--kill-on-invalid-dep=yes"] if after else []), script]
            for after, script in zip(behind, scripts, strict=True)
        ),
    ]
    said = capsys.readouterr().out
    assert "Submitted wave1-1 as 101: 4 runs, 1 node x 1 GPU each" in said
    assert "scancel 101 102 103 104" in said
    slurm.answer(queue=["103"])
    assert main(["study", "submit", "smoke", "--root=runs/smoke"]) == 2
    assert "the study smoke is in the queue already, as 103" in capsys.readouterr().err


def test_a_study_that_is_refused_half_way_says_what_is_in_the_queue(slurm: FakeSlurm, capsys: pytest.CaptureFixture[str]) -> None:
    slurm.answer(refused=2)
    assert main(["study", "submit", "smoke", "--root=r"]) == 1
    assert "in the queue already: `scancel 101` takes it back" in capsys.readouterr().err


def test_runs_of_several_sizes_have_arrays_of_their_own() -> None:
    scripts, wanted = Scripts(packaged()), Wanted(None, None)
    sizes = {
        "a": Content("a", "a", devices=1),
        "b": Content("b", "b", devices=4, nodes=2),
        "c": Content("c", "c", devices=0),
        "d": Content("d", "d", gpus=False),
    }
    runs = [Run(name, (), content, cells=[name]) for name, content in sizes.items()]
    jobs = submit_study.arrays(runs, 1, "s", Store(Path("r")), scripts, wanted, ["s"], None, 1000)
    assert [(job.name, str(job.shape), job.runs) for job in jobs] == [
        ("wave1-1", "1 node x 1 GPU", 2), ("wave1-2", "2 nodes x 4 GPUs", 1), ("wave1-3", "1 node x 1 process", 1),
    ]  # fmt: skip
    assert "gpus-per-node" not in settings(jobs[2].text)


def test_waves_hold_what_is_not_done_by_what_must_be_done_before() -> None:
    content = Content("x", "x")
    first, done = Run("first", (), content), Run("done", (), content)
    chain = [first, done, Run("second", (), content, first), Run("free", (), content, done)]
    third = Run("third", (), content, chain[2])
    found = waves([*chain, third], lambda run: run is done)
    assert [[run.key for run in wave] for wave in found] == [["first", "free"], ["second"], ["third"]]
