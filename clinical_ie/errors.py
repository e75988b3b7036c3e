"""The exceptions of the package.

::

    ClinicalIEError
    ├── InputError             what the user gave is wrong (exit code 2)
    │   ├── FileFormatError    a file breaks its format: names file, line, expectation, remedy
    │   ├── DocumentError      annotations that contradict their text or each other
    │   └── SettingError       a setting, a name or a combination that cannot work
    └── RunError               a run cannot go on although its input was fine (exit code 1)

No message holds note text: document ids, offsets and line numbers say where to look.
"""

from __future__ import annotations

from pathlib import Path


class ClinicalIEError(Exception):
    """Anything that this package raises on purpose."""


class InputError(ClinicalIEError):
    """What the user gave is wrong; the command line answers with exit code 2."""


class FileFormatError(InputError):
    """A file that breaks its format.

    Args:
        path: The file.
        line: Its line, from 1; 0 where no single line is at fault.
        problem: What was found (never note text).
        expected: What should have stood there.
        remedy: What the user can do about it.
    """

    def __init__(self, path: Path | str, line: int, problem: str, *, expected: str = "", remedy: str = "") -> None:
        where = f"{path}:{line}" if line else f"{path}"
        parts = [f"{where}: {problem}"]
        if expected:
            parts.append(f"expected {expected}")
        if remedy:
            parts.append(remedy)
        super().__init__("; ".join(parts))
        self.path, self.line, self.problem = str(path), line, problem


class DocumentError(InputError):
    """Annotations that contradict their text or each other."""


class SettingError(InputError):
    """A setting, a name or a combination of them that cannot work."""


class RunError(ClinicalIEError):
    """A run cannot go on although its input was fine."""
