"""The runs that a study's cells need: each once, behind the one that it begins with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from clinical_ie.studies.grid import Cell


@dataclass(frozen=True, slots=True)
class Content:
    """What a chain of configurations comes to.

    Attributes:
        digest: Of its settings without paths, the files of its base, and the texts and annotations of its corpora.
        shape: Of what its cost depends on: the same but for seeds, draws, and which corpus is held out.
        options: Where this machine has what the settings name, as options.
        steps: Optimizer steps; None where they depend on the number of examples.
        tokens: Most sub-words of an optimizer step.
        absent: Corpora whose files are not on this machine; the digest is of their names only.
        nodes: Machines that it runs on.
        devices: Processes on each of them; 0 for as many as there are devices.
        gpus: Whether they need a GPU each.
    """

    digest: str
    shape: str
    options: tuple[str, ...] = ()
    steps: int | None = None
    tokens: int = 0
    absent: tuple[str, ...] = ()
    nodes: int = 1
    devices: int = 1
    gpus: bool = True


@dataclass(slots=True)
class Run:
    """A run of a study.

    Attributes:
        key: What it is known by, in every study and on every machine.
        chain: Names of configurations, and options.
        content: What they come to.
        begins_with: The run whose weights it begins with.
        cells: Names of the cells that it is for.
    """

    key: str
    chain: tuple[str, ...]
    content: Content
    begins_with: Run | None = None
    cells: list[str] = field(default_factory=list)


def plan(cells: Sequence[Cell], content: Callable[[Sequence[str]], Content], code: str) -> dict[str, Run]:
    """Cell -> its run, in an order in which every run comes behind the one that it begins with.

    Args:
        cells: Those of a study; a cell refers to ones before it.
        content: What a chain comes to.
        code: The version of the code that computes.
    """
    found: dict[str, Run] = {}
    runs: dict[str, Run] = {}
    for cell in cells:
        if cell.read_from is not None:
            run = found[cell.read_from]
        else:
            what = content(cell.chain)
            before = found[cell.init_from] if cell.init_from is not None else None
            key = run_key(what.digest, before.key if before is not None else None, code)
            run = runs.setdefault(key, Run(key, cell.chain, what, before))
        run.cells.append(cell.name)
        found[cell.name] = run
    return found


def waves(runs: Sequence[Run], done: Callable[[Run], bool]) -> list[list[Run]]:
    """Runs that are not done, by how many must be done before them: those of a wave are independent of each other.

    Args:
        runs: Each behind the one that it begins with.
        done: Whether one is.
    """
    place: dict[str, int] = {}
    found: list[list[Run]] = []
    for run in runs:
        if done(run):
            continue
        before = run.begins_with
        place[run.key] = place[before.key] + 1 if before is not None and before.key in place else 0
        found += [[] for _ in range(place[run.key] + 1 - len(found))]
        found[place[run.key]].append(run)
    return found


def distinct(runs: Iterable[Run]) -> list[Run]:
    """Each run once, in its order."""
    return list({run.key: run for run in runs}.values())


def run_key(content: str, begins_with: str | None, code: str) -> str:
    """What a run is known by: a digest of its content and of the run that it begins with, and the version of the code."""
    parts = (content, begins_with.rpartition("-")[0] if begins_with else None)
    return f"{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]}-{code}"
