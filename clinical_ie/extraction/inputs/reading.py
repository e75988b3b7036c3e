"""Notes of any source, one after the other."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from clinical_ie.errors import SettingError, printable
from clinical_ie.extraction.inputs.acceptance import MOST_CHARACTERS, Acceptance
from clinical_ie.extraction.inputs.note import BadNote, Note
from clinical_ie.extraction.inputs.text_files import file_id, read_file, read_folder


def read(
    source: Path | str,
    *,
    encoding: str | None = None,
    most_characters: int = MOST_CHARACTERS,
    counts: Counter[str] | None = None,
) -> Iterator[Note | BadNote]:
    """Notes of a source as they are wanted, in a fixed order; nothing of one is kept when the next is read, but for its id's hash.

    Args:
        source: A folder of ``.txt`` files, or one such file.
        encoding: What the bytes of notes are; found out when left out (see `decode`).
        most_characters: Longer notes are bad notes.
        counts: Gets what was read otherwise than as plain UTF-8, and what was left out because it is no note, by kind.

    Raises:
        SettingError: The source is missing or of no known kind.
    """
    acceptance = Acceptance(most_characters, encoding, Counter() if counts is None else counts)
    notes = _once(_reader(Path(source), acceptance))
    first = list(itertools.islice(notes, 1))  # so that what is wrong with the source is said at once
    return itertools.chain(first, notes)


def _reader(path: Path, acceptance: Acceptance) -> Iterator[Note | BadNote]:
    if path.is_dir():
        return read_folder(path, acceptance)
    if not path.exists():
        raise SettingError(f"{printable(path)}: no such file or folder")
    if path.suffix.lower() == ".txt":
        return iter([read_file(path, file_id(path), acceptance)])
    raise SettingError(f"{printable(path)}: notes in a file of this kind cannot be read; expected a folder of .txt files, or a .txt file")


def _once(notes: Iterator[Note | BadNote]) -> Iterator[Note | BadNote]:
    """The notes, those whose id stood there before as bad ones."""
    seen: set[int] = set()  # hashes, which take a tenth of the room; of a billion ids two would be taken for one with probability 0.03
    for note in notes:
        if isinstance(note, Note):
            mark = hash(note.id)
            if mark in seen:
                note = BadNote(note.id, "a note before has the same id; rename one of them")
            seen.add(mark)
        yield note
