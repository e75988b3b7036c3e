"""A small study in a process of its own, with `fake_fit` in place of training: the tests kill it."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

from clinical_ie.commands.pipeline import run_process
from clinical_ie.reports.study_files import write_report
from clinical_ie.reports.study_rows import StudyCell
from clinical_ie.studies.grid import Cell
from clinical_ie.studies.plan import Content, Run, distinct, plan
from clinical_ie.studies.runner import Outcome, run_missing
from clinical_ie.studies.store import Store

FAKE = Path(__file__).with_name("fake_fit.py")
CELLS = [
    Cell("loo", {"model": "small"}, ("small",), ("uw",)),
    Cell("loo", {"model": "large"}, ("large",), ("uw",)),
    *(Cell("few", {"model": "small", "start": "others", "draw": d}, ("few", d), ("uw",), "loo model=small") for d in "01"),
    *(Cell("few", {"model": "small", "start": "base", "draw": d}, ("few", d), ("uw",)) for d in "01"),
]


def content(chain: Sequence[str]) -> Content:
    """Names stand for settings here."""
    return Content(hashlib.sha256("\n".join(chain).encode()).hexdigest()[:16], chain[0], (), 4, 250)


def runs() -> dict[str, Run]:
    """Cell -> its run."""
    return plan(CELLS, content, "code")


def do(root: Path, failing: str = "") -> list[Outcome]:
    """Do what is missing; runs of a chain that begins with `failing` fail."""
    store = Store(root)

    def start(run: Run, lock: int) -> int:
        what = "fails" if run.chain[0] == failing else "works"
        line = [sys.executable, str(FAKE), run.key, str(store.folder(run.key)), what]
        with (root / "begun.txt").open("a", encoding="utf-8") as file:
            file.write(f"{run.key}\n")
        return run_process(line, log=store.log(run.key), inherited=(lock,))

    return run_missing(distinct(runs().values()), store, "tiny", start, pause=0.02)


def report(root: Path) -> Path:
    """Write the report of what is there."""
    store, found = Store(root), []
    for cell in CELLS:
        run = runs()[cell.name]
        state = store.state(run)
        results = store.results(run.key) if state == "done" else None
        found.append(StudyCell(cell.grid, cell.axes, cell.tested, run.key, results, state, store.failure(run.key)))
    return write_report(root / "reports", "tiny", "A test.", found, ["draw"], {"start": "base"}, "")


if __name__ == "__main__":
    sys.exit(any(outcome.state != "done" for outcome in do(Path(sys.argv[1]))))
