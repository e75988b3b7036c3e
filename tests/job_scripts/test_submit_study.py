"""Arrays of a study as they are rendered, checked and submitted."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from clinical_ie.cli import main
from clinical_ie.commands import submit_study
from clinical_ie.commands.submit_options import Wanted
from clinical_ie.commands.submit_scripts import Scripts, packaged
from clinical_ie.studies.plan import Content, Run, waves
from clinical_ie.studies.store import Store
from tests.job_scripts.fake_slurm import FakeSlurm
from tests.job_scripts.rendered import golden, settings, shown

pytestmark = pytest.mark.usefixtures("place")


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
