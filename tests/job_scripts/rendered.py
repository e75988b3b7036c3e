"""Job scripts as they are rendered."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from clinical_ie.cli import main
from clinical_ie.commands.job_script import parsed
from clinical_ie.commands.submit_scripts import packaged

GOLDEN = Path(__file__).with_name("golden")
CHAIN = ("-c", "task/entity_tagging", "-c", "model/minilm", "-c", "data/demo")


def settings(text: str) -> dict[str, str]:
    return {name: one.value for name, one in parsed(text).options.items()}


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main([*arguments, "--dry-run"]) == 0
    return capsys.readouterr().out


def golden(name: str, text: str, work: Path) -> None:
    """The same script as the file has, but for where the test runs; written anew with GOLDEN=1."""
    environment = (packaged() / "env.sh").read_text(encoding="utf-8")
    begin, end = text.index("# ----- "), text.index("\n# ----- end of ")
    assert text[begin:end].splitlines()[3:9] == environment.splitlines()[3:9]
    whole = text[:begin] + "ENV.SH" + text[text.index("\n", end + 1) :]
    found = whole.replace(str(work), "WORK")
    file = GOLDEN / name
    if os.environ.get("GOLDEN"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(found, encoding="utf-8")
    assert found == file.read_text(encoding="utf-8")
