"""The command line in processes of its own, one rank or several, forked from one that has imported everything.

Importing torch, Lightning and transformers takes longer than most of what these tests do.
"""

from __future__ import annotations

import copy
import json
import multiprocessing
import os
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

_SECONDS = 200.0
"""After which ranks that wait for each other are ended."""
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["clinical_ie.commands.training", "clinical_ie.commands.pipeline", "clinical_ie.commands.export"])


def _main(*arguments: str) -> None:
    sys.argv = ["clinical-ie", *arguments]
    from clinical_ie.cli import main

    sys.exit(main(list(arguments)))


def _run(function: Callable[..., None], arguments: tuple[Any, ...], environment: dict[str, str], output: str) -> None:
    os.environ.update(environment)
    with open(output, "w", encoding="utf-8") as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    from lightning.pytorch.utilities import rank_zero_only

    rank_zero_only.rank = int(environment.get("LOCAL_RANK", "0"))  # Lightning reads it once, when it is imported
    try:
        function(*arguments)
    finally:
        sys.stdout.flush()


def in_ranks(function: Callable[..., None], *arguments: Any, ranks: int = 1, seconds: float = _SECONDS) -> tuple[int, str]:
    """Calls a function in so many ranks: the first exit code that is not 0, and what all ranks printed."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    if ranks > 1:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(probe.getsockname()[1]), "WORLD_SIZE": str(ranks)}
    with tempfile.TemporaryDirectory() as folder:
        outputs = [os.path.join(folder, str(rank)) for rank in range(ranks)]
        places = [{"LOCAL_RANK": str(rank), "NODE_RANK": "0"} if ranks > 1 else {} for rank in range(ranks)]
        processes = [
            _FORKS.Process(target=_run, args=(function, arguments, environment | place, output))
            for place, output in zip(places, outputs, strict=True)
        ]
        for process in processes:
            process.start()
        end = time.monotonic() + seconds
        for process in processes:
            process.join(max(0.1, end - time.monotonic()))
        for process in processes:
            process.kill()
            process.join()
        codes = [process.exitcode or 0 for process in processes]
        printed = "".join(Path(output).read_text(encoding="utf-8") for output in outputs if os.path.exists(output))
    return next((code for code in codes if code), 0), printed


def forked(*arguments: str, ranks: int = 1) -> tuple[int, str]:
    """Runs ``clinical-ie`` with so many ranks: the first exit code that is not 0, and what all ranks printed."""
    return in_ranks(_main, *arguments, ranks=ranks)


def command(*arguments: str, ranks: int = 1) -> str:
    """Runs ``clinical-ie`` on the CPU with so many ranks, which must succeed: what it printed."""
    line = [*arguments, "--trainer.accelerator=cpu", f"--trainer.devices={ranks}", *(["--trainer.strategy=ddp"] if ranks > 1 else [])]
    code, printed = forked(*line, ranks=ranks)
    assert code == 0, printed[-4000:]
    return printed


def results(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "results.json").read_text(encoding="utf-8"))
    return found


def same_scores(*splits: dict[str, Any]) -> None:
    """Scores (corpus -> task) are equal; probabilities come from other batches, and their errors are equal but for rounding."""
    plain, errors = [], []
    for each in splits:
        left = copy.deepcopy(each)
        taken = [entry.pop("calibration", {}) for tasks in left.values() for entry in tasks.values()]
        plain.append(left)
        errors.append([kind[name] for found in taken for kind in found.values() for name in sorted(kind) if name.startswith("ece")])
    for left, other in zip(plain[1:], errors[1:], strict=True):
        assert left == plain[0]
        assert other == pytest.approx(errors[0], abs=1e-4)


def scored_by_ranks(subcommand: str, split: str, run: Path, folder: Path, *more: str) -> list[dict[str, Any]]:
    """What one rank and what two ranks find with the weights of a finished run: corpus -> task -> scores."""
    found = []
    for ranks in (1, 2):
        own = folder / f"run{ranks}"
        command(subcommand, "-c", str(run / "config.yaml"), f"--run_dir={own}", *more, ranks=ranks)
        found.append(results(own)["splits"][split])
    return found
