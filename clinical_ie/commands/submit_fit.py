"""``clinical-ie fit --submit``: the same command as a job of SLURM, on as many nodes and GPUs as its settings or options say."""

from __future__ import annotations

import re
import shlex
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clinical_ie.commands import submit_queue
from clinical_ie.commands.arguments import Parser
from clinical_ie.commands.merged_settings import merged_settings
from clinical_ie.commands.submit_options import Shape, Wanted, add_options, split
from clinical_ie.commands.submit_scripts import Scripts
from clinical_ie.errors import SettingError
from clinical_ie.files import write_text

OF_DOCTOR = {
    "--devices": "--gpus-per-node=N says how many GPUs a node has, and so processes",
    "--elsewhere": "leave it out, a submission says so to doctor itself",
    "--script": "leave it out, a script that is submitted is checked; --scripts=DIR names the folder of job scripts",
    "--trace": "`clinical-ie doctor --trace RUN_DIR` shows who waits in a run that hangs",
}
"""Options of `clinical-ie doctor` that neither `fit` nor a submission has -> what to do."""


def run(arguments: Sequence[str]) -> int:
    """Submit, or show what would be submitted.

    Args:
        arguments: Everything behind ``fit``.
    """
    own, fit = split(arguments)
    parser = Parser(
        prog="clinical-ie fit --submit",
        description="Submit a training as a job of SLURM. All other options are those of `clinical-ie fit`.",
        example="clinical-ie fit -c task/entity_tagging -c model/minilm -c data/demo --run_dir=runs/demo --gpus-per-node=2 --submit",
    )
    parser.add_argument("--submit", action="store_true", help="submit; without it --dry-run shows the job")
    parser.add_argument("--unchecked", action="store_true", help="submit without a look of `clinical-ie doctor`")
    parser.add_argument("--gpu-memory", type=float, metavar="GB", help="of each GPU, for doctor: does the run fit?")
    add_options(parser)
    options = parser.parse_args(own or ["--submit"])
    _refuse_doctors(fit)
    if not options.dry_run:
        submit_queue.require()
    given = [part for part in fit if part != "--resume=auto"]
    settings = merged_settings(given)
    folder = _run_dir(settings, given)
    wanted = Wanted.of(options)
    scripts = Scripts.find(options.scripts)
    shape = shape_of(settings, wanted, scripts.options("train"))
    name = {"job-name": "fit-" + re.sub(r"[^\w.+-]", "_", folder.name)}
    placed = place_of(folder, "slurm-%j.out")
    text = scripts.rendered("train", {**name, **scripts.site(), **placed, **shape.options(), **wanted.others}, given)
    if options.dry_run:
        print(text, end="")
        return 0
    submit_queue.refuse_second(folder, str(folder))
    if not options.unchecked:
        memory = [] if options.gpu_memory is None else [f"--gpu-memory={options.gpu_memory:g}"]
        size = [f"--nodes={shape.nodes}", f"--devices={shape.devices}", *memory]
        submit_queue.examine([*given, "--resume=auto", *size], scripts.folder / "env.sh")
    return _submit(text, folder, shape, scripts)


def _refuse_doctors(fit: Sequence[str]) -> None:
    """Options of doctor alone: it would take them for its own, and fit refuse them when the job begins."""
    for name in (part.partition("=")[0] for part in fit):
        if name in OF_DOCTOR:
            raise SettingError(f"{name} is an option of doctor, which fit does not know; {OF_DOCTOR[name]}")


def shape_of(settings: Mapping[str, Any], wanted: Wanted, script: Mapping[str, str]) -> Shape:
    """The nodes and processes of a run: by options, else by its settings, else (of devices: auto) by the script."""
    trainer = settings.get("trainer") or {}
    devices, nodes = trainer.get("devices", 1), trainer.get("num_nodes", 1)
    if not isinstance(devices, int) or devices < 1:
        devices = int(script.get("ntasks-per-node", "1"))
    nodes = nodes if isinstance(nodes, int) and nodes > 0 else 1
    return wanted.shape(nodes, devices, script, gpus=trainer.get("accelerator") != "cpu")


def place_of(folder: Path, log: str) -> dict[str, str]:
    """Options that say where a job works, and where its log goes: into a folder that must exist when it begins."""
    return {"chdir": str(Path.cwd()), "output": f"{str(folder.absolute()).replace('%', '%%')}/{log}"}


def _run_dir(settings: Mapping[str, Any], given: Sequence[str]) -> Path:
    if not settings.get("run_dir"):
        raise SettingError("--run_dir is missing: the folder where checkpoints, predictions and results go, on a path that all nodes see")
    if settings.get("ckpt_path"):
        raise SettingError("a job goes on with --resume=auto; leave out --ckpt_path (--init_from begins with the weights of another run)")
    if any(part.partition("=")[0] in ("-h", "--print_config") for part in given):
        raise SettingError("--submit submits a training; --dry-run shows the job, and without --submit --print_config shows the settings")
    return Path(str(settings["run_dir"]))


def _submit(text: str, folder: Path, shape: Shape, scripts: Scripts) -> int:
    script = folder / "job.sbatch"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingError(f"--run_dir={folder}: {error.strerror}; give a folder of your own") from None
    write_text(script, text)
    when = submit_queue.check(script)
    job = submit_queue.submit(script)
    submit_queue.note(folder, [job])
    print(f"Submitted job {job}, {shape}" + (f"; it could begin at {when}" if when else ""))
    rows = [
        ("job", f"{script} (from {scripts.folder})"),
        ("queue", f"squeue --jobs={job}"),
        ("log", shlex.join(["tail", "-F", f"{folder}/slurm-{job}.out"])),
        ("TensorBoard", tensorboard(folder / "tensorboard")),
        ("cancel", f"scancel {job}"),
    ]
    for name, what in rows:
        print(f"  {name:<12}{what}")
    return 0


def tensorboard(folder: Path) -> str:
    """How to look at a folder of events from elsewhere."""
    shown = shlex.join(["tensorboard", "--logdir", str(folder), "--port", "6006"])
    return f"{shown} (from your machine: ssh -L 6006:localhost:6006 {socket.gethostname()})"
