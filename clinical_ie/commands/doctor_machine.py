"""The machine on which a run is to start: packages, GPUs and their driver, disk space. Nothing heavy is imported to look at versions."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path

from clinical_ie.commands.doctor_findings import Finding, gigabytes

MALICIOUS = {"lightning": ("2.6.2", "2.6.3"), "pytorch-lightning": ("2.6.2", "2.6.3")}
"""Releases that steal credentials when they are imported (GHSA-w37p-236h-pfx3)."""
_LEAST_DRIVER = {11: (450, 80), 12: (525, 60), 13: (580, 65)}
"""Major version of CUDA -> the oldest Linux driver that runs it (NVIDIA, CUDA compatibility, table of minor version compatibility)."""
_CHECKPOINTS = 3
"""The last state, the best one, and the one that is being written before it replaces another."""


def installed(names: Iterable[str]) -> dict[str, str]:
    """Distribution -> version, of those that are there."""
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def requirements() -> list[str]:
    """What this package declares that it needs, extras included, as it was installed."""
    return metadata.requires("clinical_ie") or []


def check_versions(versions: Mapping[str, str], wanted: Iterable[str], extras: Iterable[str] = ()) -> list[Finding]:
    """Hold installed versions against what the package declares.

    Args:
        versions: Distribution -> version.
        wanted: Requirements, such as ``torch>=2.9,<2.14``.
        extras: Extras whose requirements count, too.
    """
    from packaging.requirements import Requirement

    found = [
        Finding(
            "problem",
            "versions",
            f"{name} {versions[name]} is a malicious release that steals credentials (GHSA-w37p-236h-pfx3)",
            f"remove it at once (pip uninstall {name}), change all secrets that this account can read, install another release",
        )
        for name, releases in MALICIOUS.items()
        if versions.get(name) in releases
    ]
    for one in map(Requirement, wanted):
        if one.marker is not None and not any(one.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            continue
        version = versions.get(one.name)
        if version in MALICIOUS.get(one.name, ()):
            continue
        if version is None:
            found.append(Finding("problem", "versions", f"{one.name} is not installed", f"pip install '{one.name}{one.specifier}'"))
        elif not one.specifier.contains(version, prereleases=True):
            text = f"{one.name} {version} is not what this package was tried with ({one.specifier})"
            found.append(Finding("problem", "versions", text, f"pip install '{one.name}{one.specifier}'"))
    shown = ", ".join(f"{name} {versions[name]}" for name in ("torch", "lightning", "transformers", "peft") if name in versions)
    return found or [Finding("ok", "versions", shown)]


def is_malicious(findings: Iterable[Finding]) -> bool:
    """Whether importing what is installed would do harm."""
    return any("malicious" in finding.text for finding in findings)


def check_extras(versions: Mapping[str, str], strategy: str, quantized: str | None) -> list[Finding]:
    """Whether what the run's strategy and quantisation need is installed.

    Args:
        versions: Distribution -> version.
        strategy: Name or class of the trainer's strategy.
        quantized: The model's setting.
    """
    found = []
    if re.search(r"zero|deepspeed", strategy, re.IGNORECASE) and "deepspeed" not in versions:
        text = f"strategy {strategy} needs DeepSpeed, which is not installed"
        found.append(
            Finding("problem", "DeepSpeed", text, "pip install 'clinical_ie[deepspeed]', or take -c strategy/fsdp2 or -c strategy/ddp")
        )
    if quantized and "bitsandbytes" not in versions:
        text = f"quantized: {quantized} needs bitsandbytes, which is not installed"
        found.append(Finding("problem", "quantization", text, "pip install 'clinical_ie[qlora]'"))
    return found


def driver_version() -> str | None:
    """The version of NVIDIA's driver on this machine; None where there is none."""
    try:
        text = Path("/proc/driver/nvidia/version").read_text(encoding="utf-8", errors="replace")
        if found := re.search(r"\b(\d{3,}\.\d+(?:\.\d+)?)\b", text):
            return found[1]
    except OSError:
        pass
    if shutil.which("nvidia-smi") is None:
        return None
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        shown = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False).stdout.split()
    except (OSError, subprocess.TimeoutExpired):
        return None
    return shown[0] if shown and re.fullmatch(r"[\d.]+", shown[0]) else None


def check_gpus(
    *, build: str | None, driver: str | None, seen: int, devices: int | None, accelerator: str, on_compute_node: bool
) -> list[Finding]:
    """Whether torch sees the GPUs that the run wants.

    Args:
        build: The version of CUDA that torch was built with; None of a build for CPUs.
        driver: Of the machine; None where it has none.
        seen: How many GPUs torch sees.
        devices: How many the run wants on a node; None for all.
        accelerator: The trainer's.
        on_compute_node: Whether this is where the run will be; a login node need not have GPUs.
    """
    if accelerator == "cpu":
        return [Finding("ok", "GPUs", "none wanted (trainer.accelerator is cpu)")]
    if driver is not None and build is None:
        text = f"this machine has NVIDIA's driver {driver}, but torch is a build for CPUs"
        return [Finding("problem", "GPUs", text, "install torch from the index of its CUDA builds (https://pytorch.org/get-started)")]
    if driver is not None and build is not None:
        least = _LEAST_DRIVER.get(int(build.partition(".")[0]), (0, 0))
        if tuple(int(part) for part in driver.split(".")[:2]) < least:
            text = f"driver {driver} is too old for torch's CUDA {build}, which needs {least[0]}.{least[1]} or newer"
            return [
                Finding(
                    "problem", "GPUs", text, f"install a build of torch for CUDA {int(build.partition('.')[0]) - 1}, or update the driver"
                )
            ]
    wants = accelerator in ("gpu", "cuda") or (accelerator == "auto" and (devices or 0) > 1)
    if seen == 0 and on_compute_node and (wants or driver is not None):
        remedy = "ask SLURM for them (#SBATCH --gpus-per-node=N or --gres=gpu:N), or give --trainer.accelerator=cpu"
        return [Finding("problem", "GPUs", "torch sees no GPU on this node", remedy)]
    if seen == 0:
        text = "none seen here, as on a login node; inside the job `srun clinical-ie doctor` looks again"
        return [Finding("ok" if not on_compute_node else "warning", "GPUs", text)]
    if devices is not None and on_compute_node and seen < devices:
        remedy = f"ask for --gpus-per-node={devices}, or give --trainer.devices={seen}"
        return [Finding("problem", "GPUs", f"torch sees {seen} GPUs, the run wants {devices} a node", remedy)]
    return [Finding("ok", "GPUs", f"torch sees {seen} (CUDA {build}, driver {driver})")]


def check_disk(folder: Path, checkpoint_bytes: float, weight_bytes: float = 0, free: int | None = None) -> list[Finding]:
    """Whether a run's checkpoints fit on the disk.

    Args:
        folder: Of the run; it need not exist.
        checkpoint_bytes: Of one checkpoint; 0 where it is not known.
        weight_bytes: Of its weights alone, which the folder for transformers and PEFT holds beside the best one.
        free: Bytes on its file system; looked up when None.
    """
    there = next((place for place in (folder, *folder.absolute().parents) if place.exists()), Path("/"))
    if not os.access(there, os.W_OK | os.X_OK):
        return [Finding("problem", "run folder", f"{there} cannot be written to", "give a --run_dir of your own")]
    left = shutil.disk_usage(there).free if free is None else free
    needed = _CHECKPOINTS * checkpoint_bytes + weight_bytes
    text = f"{gigabytes(left)} free in {there}"
    if needed:
        parts = f"{_CHECKPOINTS} checkpoints of {gigabytes(checkpoint_bytes)}"
        parts += f" and a folder of weights of {gigabytes(weight_bytes)}" if weight_bytes else ""
        text += f"; the run takes {gigabytes(needed)} ({parts})"
    if needed > left:
        return [Finding("problem", "disk", text, "clear it, or give a --run_dir on another file system")]
    if left < 2e9:
        return [Finding("warning", "disk", text, "clear it: logs, predictions and checkpoints go there")]
    return [Finding("ok", "disk", text)]
