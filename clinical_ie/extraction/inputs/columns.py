"""Which columns of a table hold the texts of notes and their ids."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from clinical_ie.errors import SettingError, did_you_mean, printable

TEXTS = ("text", "note_text", "transcription", "note", "content", "report_text", "report", "body", "document_text", "document")
"""Names of columns with texts, the surest first: n2c2 and MIMIC (``TEXT``), OMOP (``note_text``), MTSamples (``transcription``)."""
IDS = ("id", "note_id", "document_id", "doc_id", "row_id", "report_id", "text_id", "record_id", "filename", "file", "")
"""Names of columns with ids, the surest first; the nameless one is the index that pandas writes."""
_NAME = re.compile(r"(?:[\w()/.-]{1,40}(?: [\w()/.-]{1,40}){0,3})?").fullmatch


@dataclass(frozen=True, slots=True)
class Columns:
    """The names that the user gave; None where they are to be guessed."""

    text: str | None = None
    id: str | None = None

    def among(self, names: Sequence[str], path: Path | str) -> tuple[int, int]:
        """Where the two columns stand.

        Args:
            names: All columns of a table.
            path: Of the table, for messages.

        Raises:
            SettingError: One of them is not there, stands twice or cannot be guessed.
        """
        return _place(names, self.text, TEXTS, "text", path), _place(names, self.id, IDS, "id", path)


def _place(names: Sequence[str], given: str | None, guesses: Sequence[str], what: str, path: Path | str) -> int:
    option, where = f"--{what}_column", printable(path)
    if given is not None:
        found = [place for place, name in enumerate(names) if name == given]
        found = found or [place for place, name in enumerate(names) if name.casefold() == given.casefold()]
        if not found:
            raise SettingError(f"{where}: {option} is {given!r}, but its columns are {_listed(names)}{did_you_mean(given, names)}")
        if len(found) > 1:
            raise SettingError(f"{where}: {len(found)} columns have the name {given!r}; rename all but one")
        return found[0]
    plain = [name.strip().casefold() for name in names]
    for guess in guesses:
        if plain.count(guess) == 1:
            return plain.index(guess)
    raise SettingError(f"{where}: which column holds the {what}s of notes? Name it with {option}; its columns are {_listed(names)}")


def _listed(names: Sequence[str]) -> str:
    """Names of columns for a message; where one doesn't look like a name, the first row may be a note, and is not shown."""
    if not all(map(_NAME, names)):
        return f"{len(names)} that don't all look like names (is the first row a header?)"
    return ", ".join(repr(name) for name in names)
