"""The shape of the house: layers, light entry, no junk drawers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from clinical_ie.cli import COMMANDS, main

REPOSITORY = Path(__file__).parents[1]
HEAVY = ("torch", "lightning", "transformers", "peft", "deepspeed", "matplotlib", "numpy", "rich", "yaml")


def test_help_imports_nothing_heavy() -> None:
    code = f"import sys; from clinical_ie.cli import main; main(['--help']); print([n for n in {HEAVY} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("[]")
    assert all(name in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("command", ["score", "corpus", "demo", "study", "view", "errors"])
def test_text_commands_need_no_torch_to_explain_themselves(command: str) -> None:
    code = f"import sys\nfrom clinical_ie.cli import main\ntry: main(['{command}', '--help'])\nexcept SystemExit: pass\n"
    code += "print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("False")


@pytest.mark.parametrize(("given", "code"), [([], 2), (["--help"], 0), (["--version"], 0), (["nonsense"], 2)])
def test_exit_codes(given: list[str], code: int) -> None:
    assert main(given) == code


def test_import_layers() -> None:
    done = subprocess.run([str(Path(sys.executable).parent / "lint-imports")], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_no_junk_drawers_and_no_giants() -> None:
    files = list((REPOSITORY / "clinical_ie").rglob("*.py"))
    assert len(files) > 60
    assert not [path for path in files if path.stem in ("utils", "helpers", "common", "misc")]
    assert not [path for path in files if len(path.read_text(encoding="utf-8").splitlines()) > 400]


def test_malicious_lightning_releases_are_excluded() -> None:
    text = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    assert "!=2.6.2" in text
    assert "!=2.6.3" in text
