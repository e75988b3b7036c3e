"""``clinical-ie doctor``: what would stop a run, or spoil it, said before it waits in a queue.

It runs on a login node without GPUs, and inside a job, where it is started as `fit` would be (``srun clinical-ie doctor ...``).
"""

from __future__ import annotations

import argparse
import copy
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from clinical_ie.commands.arguments import Parser
from clinical_ie.commands.doctor_findings import Finding, Report
from clinical_ie.commands.doctor_machine import (
    check_disk,
    check_extras,
    check_gpus,
    check_versions,
    driver_version,
    installed,
    is_malicious,
    requirements,
)
from clinical_ie.commands.doctor_slurm import (
    Layout,
    check_network,
    check_shared,
    check_slurm,
    check_visible_devices,
    in_job,
    in_step,
    memory_of_node,
)
from clinical_ie.errors import ClinicalIEError, SettingError

if TYPE_CHECKING:
    from clinical_ie.commands.doctor_memory import Run
    from clinical_ie.commands.training import TrainingCLI
    from clinical_ie.modules.tuned_module import TunedModule

_PACKAGES = (
    "torch", "lightning", "pytorch-lightning", "transformers", "tokenizers", "safetensors", "peft", "accelerate", "torchmetrics",
    "jsonargparse", "tensorboard", "sentencepiece", "tiktoken", "numpy", "pyyaml", "rich", "matplotlib", "deepspeed", "bitsandbytes",
)  # fmt: skip
_MORE = """All other options are those of `clinical-ie fit`: give the command line that is to train.

Exit codes: 0 fine, warnings allowed; 2 where a problem stands."""


def run(arguments: Sequence[str]) -> int:
    """Look at everything, and print what was found."""
    parser = _parser()
    if not arguments[1:]:
        parser.parse_args([])
    options, of_fit = parser.parse_known_args(list(arguments[1:]))
    if int(os.environ.get("SLURM_PROCID") or 0) > 0:
        return 0  # the first task says it
    report = Report()
    if options.trace is not None:
        from clinical_ie.commands.doctor_trace import read_traces, who_waits

        report.add(who_waits(read_traces(options.trace)))
        report.show()
        return report.exit_code
    _examine(report, options, of_fit, os.environ)
    report.show()
    return report.exit_code


def _parser() -> Parser:
    parser = Parser(
        prog="clinical-ie doctor",
        description="Checks a run before it waits in a queue: settings, files, model, versions, SLURM. Nothing is trained, nothing loaded.",
        example="clinical-ie doctor -c task/entity_tagging -c model/minilm -c data/demo --run_dir=runs/a --nodes 2 --devices 8",
        epilog=_MORE,
    )
    parser.add_argument("--nodes", type=int, metavar="N", help="machines of the run (trainer.num_nodes)")
    parser.add_argument("--devices", type=int, metavar="N", help="GPUs on each of them (trainer.devices)")
    parser.add_argument("--gpu-memory", type=float, metavar="GB", help="of each GPU; by default that of a GPU that is seen here")
    elsewhere = "the run is for another machine, which has neither the GPUs that are seen here nor what lies in /tmp"
    parser.add_argument("--elsewhere", action="store_true", help=elsewhere)
    parser.add_argument("--script", type=Path, metavar="FILE", help="a job script to read, too")
    parser.add_argument("--trace", type=Path, metavar="RUN_DIR", help="who waited for whom in a run that hangs; nothing else is looked at")
    return parser


def _examine(report: Report, options: argparse.Namespace, of_fit: Sequence[str], environment: Mapping[str, str]) -> None:
    versions = installed(_PACKAGES)
    settings: Mapping[str, Any] = {}
    if of_fit:
        from clinical_ie.commands.merged_settings import merged_settings

        with report.checking("settings"):
            settings = merged_settings(of_fit)
    trainer, model = dict(settings.get("trainer") or {}), dict((settings.get("model") or {}).get("init_args") or {})
    strategy, quantized = _strategy(trainer.get("strategy")), model.get("quantized")
    extras = [extra for extra, wanted in (("deepspeed", "zero" in strategy.casefold()), ("qlora", bool(quantized))) if wanted]
    declared = [one for one in requirements() if not one.startswith(("deepspeed", "bitsandbytes")) or installed([one.partition(">")[0]])]
    report.add(found := check_versions(versions, declared, extras))
    if is_malicious(found):
        return
    report.add(check_extras(versions, strategy, quantized))
    with report.checking("settings"):
        seen = 0 if options.elsewhere else _seen()
        layout = layout_of(trainer, options.nodes, options.devices, environment, seen)
        report.add(check_slurm(environment, layout))
        if not options.elsewhere:
            report.add(check_visible_devices(environment, layout.devices))
        if options.script is not None:
            from clinical_ie.commands.doctor_script import check_script

            report.add(check_script(options.script, layout if of_fit else None))
        report.add(_gpus(trainer, layout, environment, seen, elsewhere=options.elsewhere))
        if settings:
            _examine_run(report, of_fit, settings, layout, environment, options)


def _strategy(given: Any) -> str:
    """The name of a trainer's strategy; of a class with its arguments that decide what ranks hold."""
    if not isinstance(given, dict):
        return str(given)
    arguments = given.get("init_args") or {}
    stage = f", stage {arguments['stage']}" if "stage" in arguments else ""
    return f"{given.get('class_path')}{stage}{' with offload' if arguments.get('offload') else ''}"


def layout_of(trainer: Mapping[str, Any], nodes: int | None, devices: int | None, environment: Mapping[str, str], seen: int = 0) -> Layout:
    """Nodes and devices of the run: as the options of `doctor` say, else the settings.

    Args:
        trainer: Its settings; empty where no run is named.
        nodes: As the option says.
        devices: As the option says; else ``auto`` are, in a job, those that the trainer would find there.
        environment: As `os.environ`.
        seen: GPUs that torch sees.

    Raises:
        SettingError: Numbers below 1.
    """
    given = trainer.get("devices", "auto")
    if isinstance(given, str) and "," in given:
        given = [one for one in given.split(",") if one.strip()]
    if devices is None and isinstance(given, int | str) and str(given).isdecimal():
        devices = int(given)
    elif devices is None and isinstance(given, list):
        devices = len(given)
    elif devices is None and trainer and in_job(environment):
        accelerator = str(trainer.get("accelerator", "auto"))
        if accelerator != "cpu" and seen:
            devices = seen
        elif accelerator in ("auto", "cpu") and in_step(environment):  # the shell of `salloc` may be on a login node, and see none
            devices = 1  # of a CPU
    nodes = int(trainer.get("num_nodes") or 1) if nodes is None else nodes
    if nodes < 1 or (devices is not None and devices < 1):
        raise SettingError(f"{nodes} nodes with {devices} devices; expected 1 or more of each")
    return Layout(nodes, devices)


def _seen() -> int:
    """GPUs that torch sees here."""
    import torch

    return torch.cuda.device_count() if torch.version.cuda else 0


def _gpus(trainer: Mapping[str, Any], layout: Layout, environment: Mapping[str, str], seen: int, *, elsewhere: bool) -> list[Finding]:
    import torch

    if elsewhere and trainer.get("accelerator") != "cpu":
        return [Finding("ok", "GPUs", "those of the run are not seen from here; inside the job `srun clinical-ie doctor` looks at them")]
    return check_gpus(
        build=torch.version.cuda,
        driver=driver_version(),
        seen=seen,
        devices=layout.devices,
        accelerator=str(trainer.get("accelerator", "auto")),
        on_compute_node=in_job(environment),
    )


def _examine_run(
    report: Report,
    of_fit: Sequence[str],
    settings: Mapping[str, Any],
    layout: Layout,
    environment: Mapping[str, str],
    options: argparse.Namespace,
) -> None:
    from clinical_ie.commands.quiet import quieten

    quieten()
    from clinical_ie.commands import doctor_run
    from clinical_ie.commands.doctor_memory import check_memory

    backbone = str(settings["model"]["init_args"]["backbone"]) if "init_args" in settings.get("model", {}) else ""
    run_dir = Path(settings["run_dir"]).absolute() if settings.get("run_dir") else None
    is_folder = backbone.startswith((".", "/", "~", "package:")) or Path(backbone).exists()
    report.add(check_network(environment, None if is_folder else backbone))
    cache = environment.get("HF_HOME") or (None if is_folder else str(Path("~/.cache/huggingface").expanduser()))
    places = {"run folder": str(run_dir) if run_dir else None, "cache of models": None if is_folder else cache, **places_of(settings)}
    elsewhere = options.elsewhere or (options.script is not None and not in_job(environment))
    report.add(check_shared(environment, places, layout.nodes, elsewhere=elsewhere))
    report.add(doctor_run.check_corpora(settings))
    report.add(here := doctor_run.check_model(backbone, environment))
    if all(finding.level == "ok" for finding in here):
        report.add(doctor_run.check_tokenizer(backbone))
    resume, ckpt_path = settings.get("resume") == "auto", settings.get("ckpt_path")
    report.add(found := doctor_run.check_resume(run_dir, resume=resume, ckpt_path=ckpt_path))
    more = [] if resume or ckpt_path else ["--resume=auto"]  # to look at the rest, too
    saved = 0.0, 0.0
    with tempfile.TemporaryDirectory() as nowhere:
        arguments = [*of_fit, *more] if run_dir else [*of_fit, f"--run_dir={nowhere}/run"]
        try:
            made = doctor_run.check_settings(arguments)
            report.add([Finding("ok", "settings", "as fit would take them")])
            memory = _run(made, settings, layout, options.gpu_memory, elsewhere=options.elsewhere)
            limit = _limit(options.gpu_memory, elsewhere=options.elsewhere)
            report.add(check_memory(memory, limit, _of_node(environment, options.script)))
            with suppress(ClinicalIEError):  # what memory could not be estimated for has been told
                saved = memory.saved()
        except ClinicalIEError as error:
            report.add(
                [Finding("problem", "settings", str(error))]
                if all(one.level != "problem" or str(error) not in one.text for one in found)
                else []
            )
    if run_dir is not None:
        report.add(check_disk(run_dir, *saved))


def places_of(settings: Mapping[str, Any]) -> dict[str, str]:
    """Each setting that names a file or folder which a run reads -> where that lies."""
    from clinical_ie.commands.run_directory import make_paths_absolute

    whole = {name: copy.deepcopy(value) for name, value in settings.items() if name != "run_dir"}
    for name, value in dict((whole.get("data") or {}).get("roots") or {}).items():
        whole["data"]["roots"][name] = str(Path(value).expanduser().absolute())
    if whole.get("ckpt_path"):
        whole["ckpt_path"] = str(Path(whole["ckpt_path"]).absolute())
    make_paths_absolute(whole)
    return {name: value for name, value in _leaves(whole) if isinstance(value, str) and value.startswith("/")}


def _leaves(settings: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Plain values by their names with dots, and a number where a list has several."""
    if isinstance(settings, dict):
        for key, value in settings.items():
            yield from _leaves(value, f"{name}.{key}" if name else str(key))
    elif isinstance(settings, list):
        for number, value in enumerate(settings):
            yield from _leaves(value, f"{name}.{number}" if len(settings) > 1 else name)
    else:
        yield name, settings


def _of_node(environment: Mapping[str, str], script: Path | None) -> float | None:
    """Bytes of a node's own memory that the job has, where it is known."""
    if script is None:
        return memory_of_node(environment)
    from clinical_ie.commands import doctor_script

    return doctor_script.memory_of_node(script)


def _run(made: TrainingCLI, settings: Mapping[str, Any], layout: Layout, gpu_memory: float | None, *, elsewhere: bool) -> Run:
    """What the run takes of memory and disk; elsewhere it has GPUs, unless it wants none."""
    import torch

    from clinical_ie.commands.doctor_memory import Run

    trainer = dict(settings.get("trainer") or {})
    seen = elsewhere or torch.cuda.is_available()
    devices = layout.devices or (torch.cuda.device_count() if seen and not elsewhere else 1)
    return Run(
        cast("TunedModule", made.model),
        made.datamodule,
        precision=_precision(trainer, made, seen or gpu_memory is not None),
        strategy=_strategy(trainer.get("strategy")),
        ranks=layout.nodes * devices,
        nodes=layout.nodes,
        micro_steps=int(trainer.get("accumulate_grad_batches") or 1),
        on_gpu=trainer.get("accelerator") != "cpu" and (seen or gpu_memory is not None or layout.nodes * devices > 1),
        averaged=any("MovingAverage" in str(one.get("class_path")) for one in trainer.get("callbacks") or () if isinstance(one, dict)),
    )


def _limit(gpu_memory: float | None, *, elsewhere: bool) -> float | None:
    """Bytes of a device: as said, else of the GPU that is seen here, unless the run is for another machine."""
    import torch

    if gpu_memory is not None:
        return gpu_memory * 1e9
    return float(torch.cuda.get_device_properties(0).total_memory) if not elsewhere and torch.cuda.is_available() else None


def _precision(trainer: Mapping[str, Any], made: TrainingCLI, on_gpu: bool) -> str:
    """The trainer's; where it is left to the machine, that of a GPU which computes in bfloat16, though this one may have none."""
    return str(trainer.get("precision") or ("bf16-mixed" if on_gpu else made.settings["trainer.precision"]))
