"""Annotations of one text, moved onto another copy of it with other line ends.

Offsets can only be compared inside one text. A system that brings a text of its own was given a copy: where that copy differs
from gold's by its line ends (CRLF, LF, CR), which changes every offset behind the first, offsets are moved; where it differs
by anything else, nothing that was scored would mean anything.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import replace
from typing import TypeVar

from clinical_ie.document import Document, Fragment, Span
from clinical_ie.errors import InputError, printable
from clinical_ie.formats.brat_literal import LiteralNote, Mention
from clinical_ie.formats.findings import Findings

_PAIR = re.compile(r"\r\n")
N = TypeVar("N", Document, LiteralNote)


class LineEndMap:
    """Offsets of one text -> offsets of another that differs from it by line ends only.

    Offsets that the text does not have (below 0, behind its end) are moved along with its ends. An offset between CR and LF goes
    to the start of the other text's line end as the start of a span, and behind it as the end of one.
    """

    def __init__(self, text: str, other: str) -> None:
        self._here = [match.start() for match in _PAIR.finditer(text)]
        self._there = [match.start() - place for place, match in enumerate(_PAIR.finditer(other))]

    def start(self, offset: int) -> int:
        """Where a span starts that starts at `offset`."""
        return self._moved(offset - bisect_left(self._here, offset))

    def end(self, offset: int) -> int:
        """Where a span ends that ends at `offset`."""
        return self._moved(offset - bisect_left(self._here, offset - 1))

    def _moved(self, plain: int) -> int:
        """The offset in the other text, given that in a text with line ends of one character."""
        return plain + bisect_left(self._there, plain)


def on_texts(notes: Iterable[N], texts: dict[str, str], source: str, findings: Findings) -> list[N]:
    """The notes with their offsets in gold's texts; those of which gold has no text stay as they are.

    Args:
        notes: What a system predicted.
        texts: Document id -> gold's text.
        source: Where the notes come from, for messages.
        findings: Counts the notes whose line ends differ.

    Raises:
        InputError: A text differs from gold's by more than its line ends.
    """
    found = []
    for note in notes:
        text = texts.get(note.id)
        if text is not None and note.text is not None and text != note.text:
            if _plain(text) != _plain(note.text):
                raise InputError(_difference(note.id, note.text, text, source))
            findings.warning(
                source, 0, "other-line-ends", f"document {printable(note.id)}: offsets were moved to the line ends of gold's text"
            )
            note = _moved_document(note, text) if isinstance(note, Document) else _moved_note(note, text)
        found.append(note)
    return found


def _plain(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _difference(name: str, text: str, gold: str, source: str) -> str:
    """Names the first character that differs; a line end that only is another one is no difference."""
    ours, theirs = _plain(text), _plain(gold)
    place = next((place for place, (one, other) in enumerate(zip(ours, theirs, strict=False)) if one != other), min(len(ours), len(theirs)))
    line = ours.count("\n", 0, place) + 1
    offset = LineEndMap(ours, text).start(place)
    return (
        f"{printable(source)}: document {printable(name)}: its text differs from gold's, first at offset {offset} (line {line});"
        f" it has {len(text)} characters, gold's {len(gold)}; offsets of different texts cannot be compared:"
        " let the system annotate gold's text, or remove its own texts if its offsets are those of gold's"
    )


def _moved_document(document: Document, text: str) -> Document:
    """The same annotations on gold's text."""
    moved = LineEndMap(document.text, text)

    def span(old: Span) -> Span:
        fragments: list[Fragment] = []
        for start, end in old.fragments:
            # two fragments may share a CRLF that is one character in the other text
            first, last = max(moved.start(start), fragments[-1][1] if fragments else 0), moved.end(end)
            if first < last:
                fragments.append((first, last))
        return Span(tuple(fragments))

    return replace(document, text=text, entities=tuple([replace(e, span=span(e.span)) for e in document.entities]))


def _moved_note(note: LiteralNote, text: str) -> LiteralNote:
    moved = LineEndMap(note.text or "", text)

    def mention(old: Mention) -> Mention:
        kind, start, end = old
        return kind, moved.start(start), moved.end(end)

    links = tuple([(kind, mention(head), mention(tail)) for kind, head, tail in note.links])
    return LiteralNote(note.id, text, tuple([mention(one) for one in note.mentions]), links)
