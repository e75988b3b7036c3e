"""Which texts are notes: the one place where a reader decides between `Note` and `BadNote`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from clinical_ie.errors import SettingError
from clinical_ie.extraction.inputs.decoding import UTF_8, UndecodableError, check_encoding, decode
from clinical_ie.extraction.inputs.note import BadNote, Note
from clinical_ie.files import unfit

MOST_CHARACTERS = 2_000_000
"""The longest note by default; a long stay in hospital, all notes in one, has some 500,000."""
_MOST_IN_A_LINE = 500_000
"""Characters: as long as all notes of a long stay, without one end of a line; data or a dump, no note."""
_HALF = re.compile(r"[\ud800-\udfff]")
_CONTROL = bytes([*range(1, 9), *range(14, 28), 127])
_SAMPLE = 4096
_MARKUP = (("{\\rtf", "RTF"), ("%PDF-", "PDF"))


@dataclass(slots=True)
class Acceptance:
    """What makes a text a note, and what was met on the way.

    Attributes:
        most_characters: The longest note.
        encoding: The encoding of bytes, where it is known; see `decode`.
        counts: What was read otherwise than as plain UTF-8, or not read because it is no note, by kind.
    """

    most_characters: int = MOST_CHARACTERS
    encoding: str | None = None
    counts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        if self.most_characters < 1:
            raise SettingError(f"most_characters is {self.most_characters}; expected 1 or more")
        check_encoding(self.encoding)

    def of_bytes(self, note_id: str, data: bytes, meta: Mapping[str, str] | None = None, *, encoding: str | None = None) -> Note | BadNote:
        """The note that bytes hold."""
        try:
            text, found = decode(data, encoding or self.encoding)
        except UndecodableError as error:
            return BadNote(note_id, error.reason)
        return self.of_text(note_id, text, meta, encoding=found)

    def of_text(self, note_id: str, text: str, meta: Mapping[str, str] | None = None, *, encoding: str = UTF_8) -> Note | BadNote:
        """A text as a note.

        Args:
            note_id: Its document id.
            text: Its characters.
            meta: What else is known of it.
            encoding: The encoding that it was read from.
        """
        meta = {} if meta is None else meta
        if reason := self._refusal(text):
            return BadNote(note_id, reason)
        if fault := unfit(note_id):
            return BadNote(note_id, f"its id cannot be the name of a file: {fault}")
        if encoding != UTF_8:
            self.counts[f"read as {encoding}"] += 1
            meta = {**meta, "encoding": encoding}
        elif text[0] == "\ufeff":
            self.counts["byte order mark kept as a character"] += 1
        return Note(note_id, text, meta)

    def _refusal(self, text: str) -> str:
        """Why a text is no note; empty where it is one."""
        if len(text) > self.most_characters:
            return self.too_long(f"{len(text):,} characters")
        if len(text) > _MOST_IN_A_LINE and (longest := max(map(len, text.splitlines()))) > _MOST_IN_A_LINE:
            return f"a line of {longest:,} characters, more than the limit of {_MOST_IN_A_LINE:,}: data, not a note; break it into lines"
        if not text.strip().lstrip("\ufeff"):
            return "white space only" if text else "empty"
        if (nul := text.find("\0")) >= 0:
            return f"character {nul} is NUL: binary data, or UTF-16 without a byte order mark"
        if not text.isascii() and (half := _HALF.search(text)):
            return f"character {half.start()} is half of a surrogate pair, no character"
        sample = text[:_SAMPLE].encode()
        if len(sample.translate(None, _CONTROL)) * 10 < len(sample) * 9:
            return "binary data: more than a tenth of the first characters are control characters"
        for opening, name in _MARKUP:
            if text.startswith(opening):
                return f"{name}, not plain text; convert it first"
        return ""

    def too_long(self, size: str) -> str:
        """Why a note of some size is refused."""
        return f"{size}, more than the limit of {self.most_characters:,} characters; split it, or raise --most_characters"
