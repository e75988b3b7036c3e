"""The surroundings that commands of SLURM are called in, and those that a job will have, as far as they can be told from here."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from pathlib import Path

_LEFT = re.compile(
    r"SBATCH_.*|(MASTER_|TORCHELASTIC_|PMI_|PMIX_).*|RANK|LOCAL_RANK|GROUP_RANK|NODE_RANK|WORLD_SIZE|LOCAL_WORLD_SIZE"
    r"|\w+_VISIBLE_DEVICES|GPU_DEVICE_ORDINAL"
)
_OF_SLURM = re.compile(r"SLURMD?_(?!CONF$|CLUSTERS$|TIME_FORMAT$).*")
_READ = 'exec 3>&1 >&2; trap "/usr/bin/env -0 >&3" EXIT; . "$1"'
"""Says the variables behind a script on whichever way it ends; what it prints goes elsewhere."""
_SECONDS = 60
_LINES = 5


def outside() -> dict[str, str]:
    """The surroundings without what a job that we may be in would tell the next: its variables, and which GPUs of its node it has."""
    return {name: value for name, value in os.environ.items() if not (_LEFT.fullmatch(name) or _OF_SLURM.fullmatch(name))}


def of_job(file: Path) -> tuple[dict[str, str], str]:
    """The variables that a job has behind its ``env.sh``: sbatch hands on those of this shell, and the script sets others.

    It is read by bash, here: what there is in jobs only (modules of compute nodes, mostly) it does not find, and goes on as far as it can.

    Args:
        file: The site's settings.

    Returns:
        The variables, and what to tell about them: what the script said, and whether it came to its end.
    """
    surroundings = outside()
    with tempfile.TemporaryFile() as found, tempfile.TemporaryFile() as said:  # a process that it leaves behind would hold a pipe open
        try:
            line = ["bash", "-c", _READ, "bash", str(file.absolute())]
            ended = subprocess.run(
                line, check=False, env=surroundings, stdin=subprocess.DEVNULL, stdout=found, stderr=said, timeout=_SECONDS
            ).returncode
            how = f"; it ended early, with status {ended}, and what stands behind is not looked at" if ended else ""
        except subprocess.TimeoutExpired:
            how = f"; it was not done within {_SECONDS} s, and nothing of it is looked at"
        except OSError as error:
            how = f"; bash cannot be started ({error.strerror}), and nothing of it is looked at"
        found.seek(0)
        said.seek(0)
        rows = os.fsdecode(found.read()).split("\0")
        lines = [line.strip() for line in said.read().decode(errors="replace").splitlines() if line.strip()]
    read = dict(row.partition("=")[::2] for row in rows if "=" in row)
    more = [f"... ({len(lines) - _LINES} lines more)"] * (len(lines) > _LINES)
    told = f"{file}, read on this machine{how}" + "".join(f"\n  {line}" for line in [*lines[:_LINES], *more])
    return read or surroundings, told if how or lines else ""
