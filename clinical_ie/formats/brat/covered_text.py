"""The covered text of ``T`` records: a copy of the mention that bears witness to its offsets."""

from __future__ import annotations

import re
from collections.abc import Sequence

from clinical_ie.document import Fragment

_WHITE_SPACE = re.compile(r"\s*").match
_LINE_END = re.compile(r"\r\n|\r|\n").match
_CR_BEFORE_RECORD = re.compile(r"\r(?=[TREAMN#*]\S*\t)")


def lines_of(annotation: str) -> list[str]:
    r"""The lines of an annotation file, whichever line ends it has; a byte order mark is none of its characters.

    A single CR ends a line where a record begins behind it or the file has no other line ends; elsewhere it is part of a
    covered text or a note.

    Example:
        >>> lines_of("\ufeffT1\tX 0 1\ta\rT2\tX 1 2\tb\r")
        ['T1\tX 0 1\ta', 'T2\tX 1 2\tb', '']
    """
    annotation = annotation.removeprefix("\ufeff")
    if "\r" in annotation:
        annotation = annotation.replace("\r\n", "\n")
        if "\n" in annotation:
            records = annotation.rstrip("\r")
            annotation = _CR_BEFORE_RECORD.sub("\n", records) + "\n" * (len(annotation) - len(records))
        else:
            annotation = annotation.replace("\r", "\n")
    return annotation.split("\n")


def last_line(text: str, fragments: Sequence[Fragment], covered: str, lines: Sequence[str], number: int) -> int:
    """The last line of a record whose covered text agrees with the text but for white space; 0 where it does not.

    Covered text with line breaks in it goes on in the following lines.

    Args:
        text: The document's.
        fragments: Non-empty ranges inside it.
        covered: The covered text in the record's own line.
        lines: All lines of the file.
        number: The record's line, from 1.
    """
    start, end = fragments[0]
    if len(fragments) > 1:
        if sum(b - a for a, b in fragments) > len(text):
            return 0  # the fragments overlap, and joining them might take room and time without bound
        text = " ".join([text[a:b] for a, b in fragments])
        start, end = 0, len(text)
    if end - start == len(covered) and text.startswith(covered, start):
        return number
    return _continued(text, start, end, covered, lines, number) or (number if _same_words(text, start, end, covered) else 0)


def _continued(text: str, start: int, end: int, covered: str, lines: Sequence[str], number: int) -> int:
    """The last line of a covered text that is as long as the mention and has its line breaks; 0 where there is none."""
    line = covered
    while text.startswith(line, start, end):
        start += len(line)
        if start == end:
            return number
        found = _LINE_END(text, start, end)
        if not found or number == len(lines):
            return 0
        start, line = found.end(), lines[number]
        number += 1
    return 0


def _same_words(text: str, start: int, end: int, covered: str) -> bool:
    """Whether a range of the text and its covered text are equal but for white space; looks no further than they are."""
    for word in covered.split():
        start = _white_space_end(text, start, end)
        if not text.startswith(word, start, end):
            return False
        start += len(word)
        if start < end and not text[start].isspace():
            return False
    return _white_space_end(text, start, end) == end


def _white_space_end(text: str, start: int, end: int) -> int:
    match = _WHITE_SPACE(text, start, end)
    return match.end() if match else start
