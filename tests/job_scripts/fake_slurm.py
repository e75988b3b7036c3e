"""Commands of SLURM that note how they were called, and answer as real ones do (messages of SLURM 22.05)."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path

import pytest

_PROGRAM = """#!{python}
import json, os, sys
from pathlib import Path
folder = Path({folder!r})
name = Path(sys.argv[0]).name
with (folder / "calls.jsonl").open("a", encoding="utf-8") as file:
    file.write(json.dumps([name, sys.argv[1:], dict(os.environ)]) + "\\n")
answers = json.loads((folder / "answers.json").read_text(encoding="utf-8"))
calls = [json.loads(line) for line in (folder / "calls.jsonl").read_text(encoding="utf-8").splitlines()]
if name == "sbatch" and "--test-only" in sys.argv:
    refusal = answers.get("test-only")
    print(refusal or "sbatch: Job 7 to start at 2026-11-26T07:00:00 using 1 processors on nodes node1 in partition main", file=sys.stderr)
    sys.exit(bool(refusal))
if name == "sbatch":
    number = sum(call[0] == "sbatch" and "--test-only" not in call[1] for call in calls)
    if number == answers.get("refused"):
        print("sbatch: error: Batch job submission failed: Job violates accounting/QOS policy", file=sys.stderr)
        sys.exit(1)
    print(100 + number)
if name == "squeue":
    print("\\n".join(job for job in answers.get("queue", []) if f"--jobs={{job}}" in sys.argv))
if name == "scontrol":
    print("MaxArraySize            = " + str(answers.get("largest", 1001)))
"""


class FakeSlurm:
    """``sbatch``, ``squeue`` and ``scontrol`` in front of the PATH."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        folder.mkdir()
        for name in ("sbatch", "squeue", "scontrol"):
            program = folder / name
            program.write_text(_PROGRAM.format(python=sys.executable, folder=str(folder)), encoding="utf-8")
            program.chmod(program.stat().st_mode | stat.S_IXUSR)
        self.answer()
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def answer(self, **answers: object) -> None:
        """Answer so from here on."""
        (self.folder / "answers.json").write_text(json.dumps(answers), encoding="utf-8")

    def calls(self, name: str = "sbatch") -> list[list[str]]:
        """The arguments of each call."""
        return [arguments for called, arguments, _ in self._noted() if called == name]

    def environment(self) -> dict[str, str]:
        """That of the last call."""
        return dict(self._noted()[-1][2])

    def _noted(self) -> list[list[object]]:
        file = self.folder / "calls.jsonl"
        return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []
