"""Runs of two nodes on a private SLURM that get SIGUSR1 or SIGTERM at random moments: how many of the signals a run survives.

A job is sent a signal at a random moment after its processes have started, loading included, up to four times, each time after it was
started again; then it may end. A signal is survived when the job goes back into the queue, and in the end is COMPLETED with the same
losses of all steps and the same best and last weights, to the bit, as a run that was left alone. Needs root, Linux and SLURM's packages.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.conftest import _fill_tiny_bert, write_demo_notes
from tests.slurm.cluster import DONE, REPOSITORY, Cluster, obstacle
from tests.slurm.fits import TWO_NODES, fit_line, losses, same_weights

_PER_RUN = 4


@dataclass
class Counts:
    """What became of the signals."""

    tried: int = 0
    survived: int = 0
    equal: int = 0
    runs: int = 0
    moments: list[str] = field(default_factory=list)


def script(backbone: str, notes: str, run: Path) -> str:
    """A job as the packaged scripts are: site settings, and one line with srun."""
    line = fit_line(backbone, notes, run, "--resume=auto", "--test_after_fit=false").replace("--kill-on-bad-exit=1 ", "")
    return f". {REPOSITORY}/slurm/env.sh\nexport OMP_NUM_THREADS=1\n{line}"


def disturbed(cluster: Cluster, lines: str, log: Path, length: float, chance: random.Random) -> tuple[str, list[str]]:
    """The state in which a job ends, and the signals that came before it was done: name, seconds after the start, restarts before."""
    job, sent = cluster.submit(lines, *TWO_NODES, log=log), list[str]()
    for restarts in range(_PER_RUN):
        cluster.wait(job, {"RUNNING", *DONE}, restarts=restarts)
        while not cluster.run("squeue", "--steps", "--noheader", f"--jobs={job}") and cluster.job(job)["JobState"] not in DONE:
            time.sleep(0.1)
        moment, name = chance.uniform(0, length), chance.choice(["USR1", "TERM"])
        end = time.monotonic() + moment
        while time.monotonic() < end and cluster.job(job)["JobState"] not in DONE:
            time.sleep(min(0.5, max(0.0, end - time.monotonic())))
        if cluster.job(job)["JobState"] in DONE:
            break
        cluster.run("scancel", f"--signal={name}", str(job), check=False)
        while (found := cluster.job(job))["JobState"] not in DONE and int(found["Restarts"]) == restarts:
            time.sleep(0.2)
        if found["JobState"] == "COMPLETED":
            break  # it came when all was done
        sent.append(f"{name} after {moment:.0f} s")
        if found["JobState"] in DONE:
            break
    return cluster.wait(job)["JobState"], sent


def main() -> None:
    """Print the counts after each run, as a row of a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--signals", type=int, default=100)
    parser.add_argument("--minutes", type=float, default=600.0, help="begin no further run after so many")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    reason = obstacle()
    if reason:
        raise SystemExit(reason)
    chance, counts, begun = random.Random(options.seed), Counts(), time.monotonic()
    with tempfile.TemporaryDirectory() as name, Cluster(Path(name, "cluster")) as cluster:
        folder = Path(name)
        for place in ("bert", "notes"):
            (folder / place).mkdir()
        _fill_tiny_bert(folder / "bert")
        write_demo_notes(folder / "notes", train=24, dev=4, test=4)
        models = str(folder / "bert"), str(folder / "notes")
        start = time.monotonic()
        alone = cluster.wait(cluster.submit(script(*models, folder / "alone"), *TWO_NODES, log=folder / "alone.log"))
        if alone["JobState"] != "COMPLETED":
            raise SystemExit((folder / "alone.log").read_text(encoding="utf-8"))
        length = time.monotonic() - start
        print("| runs | signals | survived | runs COMPLETED with bit-equal losses and weights | last run |\n|---|---|---|---|---|")
        while counts.tried < options.signals and time.monotonic() - begun < 60 * options.minutes:
            run, log = folder / f"run{counts.runs}", folder / f"run{counts.runs}.log"
            state, sent = disturbed(cluster, script(*models, run), log, length, chance)
            good = state == "COMPLETED" and losses(run) == losses(folder / "alone") and same_weights(run, folder / "alone")
            counts.runs += 1
            counts.tried += len(sent)
            counts.survived += len(sent) if good else max(0, len(sent) - 1)
            counts.equal += good
            row = (counts.runs, counts.tried, counts.survived, f"{counts.equal} / {counts.runs}", f"{state}: {', '.join(sent)}")
            print(f"| {' | '.join(map(str, row))} |", flush=True)
            if not good:
                print(log.read_text(encoding="utf-8")[-3000:], flush=True)


if __name__ == "__main__":
    main()
