"""The environment of a SLURM job held against the run that is to start in it: pure functions of environment variables.

What goes wrong here mostly ends in no error at all but in processes that wait for each other until the job's time is over.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from clinical_ie.commands.doctor_findings import Finding
from clinical_ie.commands.job_script import INTERACTIVE

LOOPBACK = ("localhost", "localhost.localdomain", "ip6-localhost", "::1", "0.0.0.0")  # noqa: S104 (to be refused)
MASTER = 'export MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1) in the job\'s script, before srun'
_GROUP = re.compile(r"\[([^\]]*)\]")


@dataclass(frozen=True, slots=True)
class Layout:
    """How a run is laid out.

    Args:
        nodes: Machines, `trainer.num_nodes`.
        devices: Processes on each of them, `trainer.devices`; None where it takes all that there are.
    """

    nodes: int = 1
    devices: int | None = None


def hosts_of(nodelist: str) -> list[str]:
    """The names that a node list of SLURM stands for, in its order.

    Example:
        >>> hosts_of("gpu[08-10,12],login1"), hosts_of("rack[1-2]n[1-2]")
        (['gpu08', 'gpu09', 'gpu10', 'gpu12', 'login1'], ['rack1n1', 'rack1n2', 'rack2n1', 'rack2n2'])
    """
    return [host for part in _parts(nodelist) if part for host in _expanded(part)]


def _parts(nodelist: str) -> list[str]:
    return re.split(r",(?![^\[]*\])", nodelist)


def _expanded(part: str) -> Iterator[str]:
    group = _GROUP.search(part)
    if group is None:
        yield part
        return
    for piece in group[1].split(","):
        first, _, last = piece.partition("-")
        numbers = range(int(first), int(last) + 1) if last else (int(first),)
        for number in numbers:
            for rest in _expanded(part[group.end() :]):
                yield f"{part[: group.start()]}{number:0{len(first)}d}{rest}"


def is_loopback(address: str) -> bool:
    """Whether an address means the machine itself, whichever it is."""
    return address.startswith("127.") or address.casefold() in LOOPBACK


def tasks_per_node(environment: Mapping[str, str]) -> list[int] | None:
    """Tasks on each node: of the step where there is one, else of the job; None where SLURM does not say.

    Example:
        >>> tasks_per_node({"SLURM_TASKS_PER_NODE": "2(x3),1"})
        [2, 2, 2, 1]
    """
    text = environment.get("SLURM_STEP_TASKS_PER_NODE") or environment.get("SLURM_TASKS_PER_NODE")
    if not text:
        return None
    found = [re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", part) for part in text.split(",")]
    return [int(one[1]) for one in found if one for _ in range(int(one[2] or 1))] or None


def in_job(environment: Mapping[str, str]) -> bool:
    """Whether this process runs inside an allocation."""
    return "SLURM_JOB_ID" in environment


def in_step(environment: Mapping[str, str]) -> bool:
    """Whether `srun` started this process: the batch script itself has SLURM_PROCID, but no step."""
    return "SLURM_STEP_ID" in environment


def is_task(environment: Mapping[str, str]) -> bool:
    """Whether `fit` takes this process for one of SLURM's tasks, as `strategies.slurm.Slurm.detect` does.

    In a shell (jobs that are called as ``salloc`` and ``srun --pty bash`` call theirs) it does not, unless srun starts several: it starts
    processes for its devices by itself.
    """
    tasks = _number(environment, "SLURM_NTASKS")
    if tasks is None:
        return False
    return (tasks > 1 and in_step(environment)) or environment.get("SLURM_JOB_NAME") not in INTERACTIVE


def _number(environment: Mapping[str, str], name: str) -> int | None:
    text = environment.get(name, "")
    return int(text) if text.isdecimal() else None


def memory_of_node(environment: Mapping[str, str]) -> float | None:
    """Bytes of a node's own memory that the job has there; None where SLURM does not say, or gives all of it.

    Example:
        >>> memory_of_node({"SLURM_MEM_PER_NODE": "1024"}), memory_of_node({"SLURM_MEM_PER_CPU": "512", "SLURM_CPUS_ON_NODE": "4"})
        (1073741824.0, 2147483648.0)
    """
    for name, times in (("NODE", None), ("CPU", "SLURM_CPUS_ON_NODE"), ("GPU", "SLURM_GPUS_ON_NODE")):
        each, many = _number(environment, f"SLURM_MEM_PER_{name}"), 1 if times is None else _number(environment, times)
        if each and many:
            return float(each * many) * 2**20
    return None


def check_slurm(environment: Mapping[str, str], layout: Layout) -> list[Finding]:
    """Hold the variables of a job against the run's layout.

    Args:
        environment: As `os.environ`; outside of a job only stray variables of launchers are looked for.
        layout: Of the run.
    """
    if not in_job(environment):
        return list(_check_stray(environment, layout))
    found = [
        *_check_srun(environment, layout),
        *_check_tasks(environment, layout),
        *check_master(environment, layout),
        *_check_interfaces(environment, layout),
        *_check_cpus(environment),
    ]
    return found or [Finding("ok", "SLURM", f"job {environment['SLURM_JOB_ID']}: tasks, nodes and devices agree")]


def _check_srun(environment: Mapping[str, str], layout: Layout) -> Iterator[Finding]:
    if in_step(environment) and is_task(environment):
        return
    tasks = _number(environment, "SLURM_NTASKS") or 1
    if is_task(environment) and tasks > 1:
        text = f"the job has {tasks} tasks, but srun did not start this process: fit would wait for {tasks - 1} ranks that never come"
    elif not is_task(environment) and layout.nodes > 1:
        text = f"this is a shell on one node, but the run is for {layout.nodes} nodes (trainer.num_nodes)"
    else:
        return
    yield Finding("problem", "srun", text, "start it with `srun clinical-ie fit ...` (and look at it with `srun clinical-ie doctor ...`)")


def _check_tasks(environment: Mapping[str, str], layout: Layout) -> Iterator[Finding]:
    if not is_task(environment):
        return
    nodes = int(environment.get("SLURM_STEP_NUM_NODES") or environment.get("SLURM_NNODES") or 1)
    if nodes != layout.nodes:
        yield Finding(
            "problem",
            "nodes",
            f"SLURM gives {nodes} nodes, the run is for {layout.nodes} (trainer.num_nodes)",
            f"give --trainer.num_nodes={nodes}, or ask for --nodes={layout.nodes}",
        )
    tasks = tasks_per_node(environment)
    if tasks is None:
        return
    if len(set(tasks)) > 1:
        yield Finding(
            "problem",
            "tasks",
            f"nodes have different numbers of tasks ({', '.join(map(str, tasks))})",
            "ask with --ntasks-per-node in place of --ntasks",
        )
    elif layout.devices is not None and tasks[0] != layout.devices:
        yield Finding(
            "problem",
            "tasks",
            f"SLURM starts {tasks[0]} tasks a node, the run has {layout.devices} devices a node (trainer.devices)",
            f"one task a device: #SBATCH --ntasks-per-node={layout.devices}, or --trainer.devices={tasks[0]}",
        )


def check_master(environment: Mapping[str, str], layout: Layout, is_own: Callable[[str], bool] | None = None) -> Iterator[Finding]:
    """Whether all nodes would look for rank 0 where it is.

    Args:
        environment: As `os.environ`.
        layout: Of the run.
        is_own: Whether an address is one of this machine; looked up when None.
    """
    hosts = _hosts(environment)
    several = max(layout.nodes, len(hosts)) > 1
    address, port = environment.get("MASTER_ADDR"), environment.get("MASTER_PORT")
    if address and several and is_loopback(address):
        text = f"MASTER_ADDR is {address}: on each of the nodes that is the node itself, so that the others wait for ever"
        yield Finding("problem", "MASTER_ADDR", text, MASTER)
    elif address and hosts and several and _short(address) != _short(hosts[0]):
        # it may be another name or network of the first node (n1i, n1-ib0), which only that node itself can tell
        on_first = environment.get("SLURM_NODEID") == "0"
        own = (is_own or _is_own)(address) if on_first else None
        certain = own is False or _short(address) in map(_short, hosts)
        text = f"MASTER_ADDR is {address}, but rank 0 runs on {hosts[0]}, the first of {environment.get('SLURM_JOB_NODELIST')}"
        if not own:
            remedy = MASTER if certain else f"where {address} is another name of {hosts[0]} all is well; else {MASTER}"
            yield Finding("problem" if certain else "warning", "MASTER_ADDR", text, remedy)
    elif not address and several and len(_GROUP.findall(_parts(environment.get("SLURM_JOB_NODELIST", ""))[0])) > 1:
        text = f"MASTER_ADDR is not set, and Lightning reads a wrong first node from {environment['SLURM_JOB_NODELIST']}"
        yield Finding("problem", "MASTER_ADDR", text, MASTER)
    if port and not (port.isdecimal() and 1024 <= int(port) < 65536):
        yield Finding("problem", "MASTER_PORT", f"MASTER_PORT is {port[:20]!r}", "give a number from 1024 to 65535, or unset it")


def _is_own(address: str) -> bool:
    """Whether a name or number is an address of this machine: only there a socket can be bound to it."""
    try:
        found = socket.getaddrinfo(address, 0, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False
    for family, kind, protocol, _, place in found:
        try:
            with socket.socket(family, kind, protocol) as tried:
                tried.bind(place)
                return True
        except OSError:
            continue
    return False


def _hosts(environment: Mapping[str, str]) -> list[str]:
    try:
        return hosts_of(environment.get("SLURM_STEP_NODELIST") or environment.get("SLURM_JOB_NODELIST", ""))
    except ValueError:
        return []


def _short(host: str) -> str:
    return host if re.fullmatch(r"[\d.:]+", host) else host.partition(".")[0].casefold()


def _check_interfaces(environment: Mapping[str, str], layout: Layout) -> Iterator[Finding]:
    for name in ("NCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME"):
        if layout.nodes > 1 and environment.get(name, "").strip("=") == "lo":
            yield Finding(
                "problem",
                name,
                f"{name} is lo, over which no other node can be reached",
                f"unset {name}, or name the network between the nodes",
            )


def _check_cpus(environment: Mapping[str, str]) -> Iterator[Finding]:
    wanted = environment.get("SLURM_CPUS_PER_TASK")
    if wanted and not in_step(environment) and "SRUN_CPUS_PER_TASK" not in environment:
        yield Finding(
            "warning",
            "cores",
            f"the job asks for {wanted} cores a task, but since SLURM 22.05 srun does not take that over: each task gets one",
            "export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK before srun",
        )


def _check_stray(environment: Mapping[str, str], layout: Layout) -> Iterator[Finding]:
    """Variables of launchers that are left over in a shell."""
    if "LOCAL_RANK" in environment and "TORCHELASTIC_RUN_ID" not in environment:
        yield Finding(
            "problem",
            "LOCAL_RANK",
            "LOCAL_RANK is set although no launcher started this process: Lightning takes it for one of several ranks, and waits",
            "unset LOCAL_RANK RANK WORLD_SIZE NODE_RANK",
        )
    if layout.nodes > 1 and "TORCHELASTIC_RUN_ID" not in environment:
        yield from check_master(environment, layout)


def check_network(environment: Mapping[str, str], hub_model: str | None) -> list[Finding]:
    """Whether compute nodes, which mostly have no network, would be told so.

    Args:
        environment: As `os.environ`.
        hub_model: The model, where it is one of the hub; None for folders.
    """
    offline = environment.get("HF_HUB_OFFLINE", "").casefold() in ("1", "true", "yes", "on")
    if offline:
        return [Finding("ok", "offline mode", "HF_HUB_OFFLINE is set: nothing is asked of a network")]
    what = f"{hub_model} would be looked up on the hub" if hub_model else "the hub might be asked"
    if in_job(environment):
        text = f"HF_HUB_OFFLINE is not set in this job: {what} by every rank, which takes minutes, or fails, without a network"
        return [Finding("warning", "offline mode", text, "export HF_HUB_OFFLINE=1 in the job's script, with the model fetched beforehand")]
    return [Finding("ok", "offline mode", "HF_HUB_OFFLINE is not set; compute nodes without a network want HF_HUB_OFFLINE=1")]


def check_shared(environment: Mapping[str, str], places: Mapping[str, str | None], nodes: int, *, elsewhere: bool = False) -> list[Finding]:
    """Whether what all nodes read and write lies where all of them see it.

    Args:
        environment: For the node's own temporary folders.
        places: What it is -> its absolute path; None is not looked at.
        nodes: Of the run; on this machine alone any folder will do.
        elsewhere: Whether the run is to be on other machines than this one, as a job.
    """
    if nodes < 2 and not elsewhere:
        return []
    has = f"each of the {nodes} nodes has" if nodes > 1 else "each machine has, the one of the job, too,"
    own = {"/tmp", "/var/tmp", "/dev/shm", "/run", *(environment[name] for name in ("TMPDIR", "SLURM_TMPDIR") if environment.get(name))}  # noqa: S108
    found = []
    for what, path in places.items():
        inside = next((folder for folder in sorted(own) if path and f"{path}/".startswith(f"{folder.rstrip('/')}/")), None)
        if inside is not None:
            text = f"{path} lies in {inside}, which {has} for itself"
            found.append(Finding("problem", what, text, "give a folder on a file system that all nodes share"))
    return found


def check_visible_devices(environment: Mapping[str, str], devices: int | None) -> list[Finding]:
    """Whether `CUDA_VISIBLE_DEVICES` shows as many GPUs as the run wants."""
    text = environment.get("CUDA_VISIBLE_DEVICES")
    if text is None or devices is None:
        return []
    shown: Sequence[str] = [part for part in text.split(",") if part.strip() and part.strip() != "-1" and part != "NoDevFiles"]
    if len(shown) >= devices:
        return []
    remedy = "unset it, or lower trainer.devices"
    if in_job(environment):
        remedy = f"ask for them by node (#SBATCH --gpus-per-node={devices} or --gres=gpu:{devices}), not by task, which hides the others"
    return [
        Finding(
            "problem", "GPUs", f"CUDA_VISIBLE_DEVICES={text or repr('')} shows {len(shown)} GPUs, the run wants {devices} a node", remedy
        )
    ]
