"""The commands of README.md and of the pages in docs/, as somebody would type them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).parents[2]
MADE = ("commands.md", "settings.md", "configurations.md", "classes.md")
"""Pages of docs/reference that the build of the site writes."""


class Command(NamedTuple):
    """A line of a ``bash`` block."""

    page: str
    line: int
    text: str

    @property
    def words(self) -> list[str]:
        return shlex.split(self.text, comments=True)

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[Path]:
    """README.md and every page that a person writes."""
    docs = sorted((REPOSITORY / "docs").rglob("*.md"))
    return [REPOSITORY / "README.md", *(path for path in docs if "_build" not in path.parts and path.name not in MADE)]


def commands(page: Path) -> list[Command]:
    """All lines of its ``bash`` blocks, continued ones as one."""
    found, inside, held, begun = [], False, "", 0
    name = page.relative_to(REPOSITORY).as_posix()
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("```"):
            inside = line == "```bash"
            continue
        if inside and line.strip() and not line.startswith("#"):
            held, begun = held + line.removesuffix("\\"), begun or number
            if not line.endswith("\\"):
                found.append(Command(name, begun, held))
                held, begun = "", 0
    return found


def python_of(page: Path) -> str:
    """The lines of its ``pycon`` blocks, one behind the other."""
    return "\n\n".join(re.findall(r"^```pycon\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE))
