"""A private, throw-away SLURM of two virtual nodes: real daemons, started by `cluster.sh` in namespaces of their own.

``python -m tests.slurm.cluster FOLDER`` starts one to try things on and says how to talk to it.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
_COMMANDS = ("slurmctld", "slurmd", "sbatch", "srun", "munged", "unshare", "nsenter", "ip")
_FOREIGN = re.compile(r"(SLURM|SLURMD|SBATCH|SALLOC|MASTER|PMI|PMIX)_.*|(WORLD_SIZE|RANK|LOCAL_RANK|NODE_RANK|GROUP_RANK|PYTEST_.*)")
"""Variables of the surroundings that a job on this cluster must not inherit."""
_NAMESPACES = ("--mount", "--uts", "--net", "--pid")
DONE = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "OUT_OF_MEMORY", "DEADLINE", "BOOT_FAIL"}


def obstacle() -> str | None:
    """Why no cluster can be started here; None where one can."""
    if sys.platform != "linux":
        return "namespaces are a thing of Linux"
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    missing = [name for name in _COMMANDS if shutil.which(name, path=path) is None]
    if missing:
        return f"not installed: {', '.join(missing)} (apt-get install --no-install-recommends slurmctld slurmd slurm-client munge iproute2)"
    if os.geteuid() != 0:
        return "only root can start the daemons in namespaces of their own"
    tried = subprocess.run(
        ["unshare", *_NAMESPACES, "--fork", "--mount-proc", "sh", "-c", "ip link add try type bridge && hostname try"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return None if tried.returncode == 0 else f"no namespaces here: {' '.join(tried.stderr.split())}"


class Cluster:
    """Two nodes, ``node1`` and ``node2``, and the partitions ``main`` and ``low``, whose jobs give way to those of ``main``.

    Args:
        folder: Where configuration, logs and state of the daemons go; an absolute path.
        cpus: CPUs that a node says it has.
        megabytes: Memory that a node says it has.
    """

    def __init__(self, folder: Path, *, cpus: int = 8, megabytes: int = 8000) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "cluster.log").open("wb") as log:
            self._process = subprocess.Popen(
                ["unshare", *_NAMESPACES, "--fork", "--kill-child", "--mount-proc",
                 "bash", str(Path(__file__).with_name("cluster.sh")), str(folder), "2", str(cpus), str(megabytes)],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=_environment(), preexec_fn=_end_with_parent,
            )  # fmt: skip
        end = time.monotonic() + 120
        while not (folder / "ready").exists():
            if self._process.poll() is not None or time.monotonic() > end:
                self.stop()
                raise RuntimeError("the cluster did not start:\n" + (folder / "cluster.log").read_text(encoding="utf-8")[-2000:])
            time.sleep(0.1)
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text(encoding="ascii").split()
        self.inside = ["nsenter", "--target", children[0], *_NAMESPACES, "--wdns=" + str(REPOSITORY)]

    def stop(self) -> None:
        """End everything on it, at once."""
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *raised: object) -> None:
        self.stop()

    def run(self, *command: str, environment: Mapping[str, str] | None = None, check: bool = True) -> str:
        """What a command prints that is called on the login node, which is the controller."""
        done = subprocess.run(
            [*self.inside, *command], capture_output=True, text=True, check=False, env=self.environment(environment or {}), timeout=120
        )
        if check and done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr}")
        return done.stdout

    def environment(self, more: Mapping[str, str]) -> dict[str, str]:
        """What a user's shell on the login node would have, and what jobs inherit."""
        return {**_environment(), "SLURM_CONF": str(self.folder / "etc" / "slurm.conf"), **more}

    def submit(self, script: str, *options: str, log: Path, environment: Mapping[str, str] | None = None) -> int:
        """Put a script into the queue: its job id.

        Args:
            script: Its lines without the first.
            options: For ``sbatch``.
            log: A file for what the job prints, through all its restarts.
            environment: Variables for the job.
        """
        file = log.with_suffix(".sbatch")
        file.write_text(f"#!/bin/bash\n{script}\n", encoding="utf-8")
        given = ["--parsable", f"--output={log}", "--open-mode=append", f"--chdir={REPOSITORY}", *options]
        return int(self.run("sbatch", *given, str(file), environment=environment))

    def kill_node(self, node: str) -> None:
        """End everything that runs on a node, at once, as if it lost its power."""
        self.run("ip", "link", "set", node, "down")  # or its connections would be closed, which a dead machine cannot do
        slurmd = next(one for one in _processes(self.folder) if one[1][:1] == ["slurmd"] and node in one[1])
        for process, words in _processes(self.folder):
            try:
                if os.readlink(f"/proc/{process}/ns/net") == os.readlink(f"/proc/{slurmd[0]}/ns/net") and words[0] not in ("bash", "sleep"):
                    os.kill(process, signal.SIGKILL)
            except OSError:
                continue

    def start_node(self, node: str) -> None:
        """Switch a node on again."""
        self.run("ip", "link", "set", node, "up")
        (self.folder / "boot" / node).touch()

    def node(self, node: str) -> str:
        """The state of a node, such as ``IDLE``, ``MIXED``, ``DOWN*``."""
        shown = self.run("scontrol", "show", "node", node, "--oneliner")
        return next(part.split("=", 1)[1] for part in shown.split() if part.startswith("State="))

    def job(self, job: int | str) -> dict[str, str]:
        """What SLURM knows of a job: ``JobState``, ``ExitCode``, ``Restarts``, ``Reason`` ..."""
        shown = self.run("scontrol", "show", "job", str(job), "--oneliner").splitlines()[-1]
        return dict(part.split("=", 1) for part in shown.split() if "=" in part)

    def wait(self, job: int | str, states: Iterable[str] = DONE, *, restarts: int = 0, seconds: float = 280) -> dict[str, str]:
        """What SLURM knows of a job once it is in one of these states, and has been started again so often."""
        end, wanted = time.monotonic() + seconds, set(states)
        while True:
            found = self.job(job)
            if found["JobState"] in wanted and int(found["Restarts"]) >= restarts:
                return found
            if time.monotonic() > end:
                raise TimeoutError(f"job {job} is {found['JobState']} ({found['Reason']}), not {sorted(wanted)}, after {seconds:.0f} s")
            time.sleep(0.2)


def _processes(folder: Path) -> Iterator[tuple[int, list[str]]]:
    """Processes of a cluster, and their command lines."""
    wanted = f"SLURM_CONF={folder}/etc/slurm.conf".encode()
    for found in Path("/proc").glob("[0-9]*"):
        try:
            if wanted in (found / "environ").read_bytes().split(b"\0"):
                yield int(found.name), (found / "cmdline").read_bytes().decode(errors="replace").rstrip("\0").split("\0")
        except OSError:
            continue


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not _FOREIGN.fullmatch(name)}
    return {**kept, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}


def _end_with_parent() -> None:
    """Let the kernel end this process when that which started it ends, however it does (prctl's PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


if __name__ == "__main__":
    reason = obstacle()
    if reason:
        sys.exit(reason)
    with Cluster(Path(sys.argv[1]).absolute()) as cluster:
        print(f"export SLURM_CONF={cluster.folder}/etc/slurm.conf; {' '.join(cluster.inside)} bash", flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})
