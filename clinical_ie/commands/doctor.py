"""``clinical-ie doctor``: what would stop a run, or spoil it, said before it waits in a queue.

It runs on a login node without GPUs, and inside a job, where it is started as `fit` would be (``srun clinical-ie doctor ...``).
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Mapping, Sequence
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
        layout = layout_of(trainer, options.nodes, options.devices, environment)
        report.add(check_slurm(environment, layout))
        report.add(check_visible_devices(environment, layout.devices))
        if options.script is not None:
            from clinical_ie.commands.doctor_script import check_script

            report.add(check_script(options.script, layout if of_fit else None))
        report.add(_gpus(trainer, layout, environment))
        if settings:
            _examine_run(report, of_fit, settings, layout, environment, options.gpu_memory)


def _strategy(given: Any) -> str:
    return str(given.get("class_path") if isinstance(given, dict) else given)


def layout_of(trainer: Mapping[str, Any], nodes: int | None, devices: int | None, environment: Mapping[str, str]) -> Layout:
    """Nodes and devices of the run: as the options of `doctor` say, else the settings; devices of ``auto`` as a job's tasks.

    Raises:
        SettingError: Numbers below 1.
    """
    given = trainer.get("devices", "auto")
    if devices is None and isinstance(given, int | str) and str(given).isdecimal():
        devices = int(given)
    elif devices is None and isinstance(given, list):
        devices = len(given)
    nodes = int(trainer.get("num_nodes") or 1) if nodes is None else nodes
    if nodes < 1 or (devices is not None and devices < 1):
        raise SettingError(f"{nodes} nodes with {devices} devices; expected 1 or more of each")
    return Layout(nodes, devices)


def _gpus(trainer: Mapping[str, Any], layout: Layout, environment: Mapping[str, str]) -> list[Finding]:
    import torch

    seen = torch.cuda.device_count() if torch.version.cuda else 0
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
    gpu_memory: float | None,
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
    places = {"run folder": str(run_dir) if run_dir else None, "cache of models": None if is_folder else cache}
    places |= {"model": str(Path(backbone).absolute()) if Path(backbone).exists() else None}
    report.add(check_shared(environment, places, layout.nodes))
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
            memory = _run(made, settings, layout, gpu_memory)
            report.add(check_memory(memory, _limit(gpu_memory)))
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


def _run(made: TrainingCLI, settings: Mapping[str, Any], layout: Layout, gpu_memory: float | None) -> Run:
    """What the run takes of memory and disk."""
    import torch

    from clinical_ie.commands.doctor_memory import Run

    trainer = dict(settings.get("trainer") or {})
    seen = torch.cuda.is_available()
    devices = layout.devices or (torch.cuda.device_count() if seen else 1)
    return Run(
        cast("TunedModule", made.model),
        made.datamodule,
        precision=_precision(trainer, made, seen or gpu_memory is not None),
        strategy=_strategy(trainer.get("strategy")),
        ranks=layout.nodes * devices,
        micro_steps=int(trainer.get("accumulate_grad_batches") or 1),
        on_gpu=trainer.get("accelerator") != "cpu" and (seen or gpu_memory is not None or layout.nodes * devices > 1),
        averaged=any("MovingAverage" in str(one.get("class_path")) for one in trainer.get("callbacks") or () if isinstance(one, dict)),
    )


def _limit(gpu_memory: float | None) -> float | None:
    """Bytes of a device: as said, else of the GPU that is seen here."""
    import torch

    if gpu_memory is not None:
        return gpu_memory * 1e9
    return float(torch.cuda.get_device_properties(0).total_memory) if torch.cuda.is_available() else None


def _precision(trainer: Mapping[str, Any], made: TrainingCLI, on_gpu: bool) -> str:
    """The trainer's; where it is left to the machine, that of a GPU which computes in bfloat16, though this one may have none."""
    return str(trainer.get("precision") or ("bf16-mixed" if on_gpu else made.settings["trainer.precision"]))
