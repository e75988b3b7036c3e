"""How long ``clinical-ie --help`` and ``clinical-ie fit --help`` take, beside the help of the same command line without lazy imports."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

_EAGER = """
from clinical_ie.commands.quiet import quieten
quieten()
import clinical_ie.commands.training
from clinical_ie.cli import main
main(['--help'])
"""


def seconds(command: list[str], runs: int = 5) -> float:
    """Median wall time of a whole process."""
    found = []
    for _ in range(runs):
        begun = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        found.append(time.perf_counter() - begun)
    return statistics.median(found)


def main() -> None:
    lazy = seconds([sys.executable, "-m", "clinical_ie", "--help"])
    fit = seconds([sys.executable, "-m", "clinical_ie", "fit", "--help"])
    whole = seconds([sys.executable, "-m", "clinical_ie", "fit", "--help=all"], runs=3)
    eager = seconds([sys.executable, "-c", _EAGER], runs=3)
    print("| start | seconds |\n|---|---|")
    print(f"| `clinical-ie --help` | {lazy:.3f} |")
    print(f"| `clinical-ie fit --help` | {fit:.3f} |")
    print(f"| `clinical-ie fit --help=all` | {whole:.2f} |")
    print(f"| `clinical-ie --help` with Lightning and torch imported first | {eager:.2f} |")
    print(f"| ratio | {eager / lazy:.0f} |")


if __name__ == "__main__":
    main()
