"""Bytes of a note to its characters: UTF-8, what a byte order mark announces, and Western European code pages where there is no doubt."""

from __future__ import annotations

import codecs
import re

from clinical_ie.errors import SettingError

UTF_8 = "utf-8"
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_DOUBTFUL = re.compile(
    rb"[\x00-\x08\x0e-\x1f\x7f\x81\x8d-\x90\x9d\x9e]"  # control characters, and what is no sign of cp1252 or hardly one
    rb"|[\x80-\xff]{3}"  # words of another script
    rb"|[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}"  # UTF-8 beside other bytes
    rb"|[A-Za-z][\x80-\x8b\x91\x93-\x9b\x9f\xa1-\xa9\xab-\xb4\xb6\xb8\xb9\xbb-\xbf](?=[A-Za-z])"  # a symbol inside a word
    rb"|[A-Za-ln-z][\xb2\xb3\xb9]"  # a power of something else than metres
    rb"|[A-Za-z0-9][\xa1\xbf]"  # a mark that opens a sentence, behind a word
)


class UndecodableError(Exception):
    """Bytes that are no text in any encoding that could be told.

    Args:
        reason: What was found, with the offset of the first byte at fault.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


def check_encoding(encoding: str | None) -> None:
    """Make sure that Python knows an encoding.

    Raises:
        SettingError: It doesn't.
    """
    try:
        if encoding is not None and not codecs.lookup(encoding)._is_text_encoding:
            raise LookupError
    except (LookupError, ValueError):
        raise SettingError(f"encoding {encoding!r}: no such encoding of texts; expected one such as utf-8, cp1252 or latin-1") from None


def decode(data: bytes, encoding: str | None = None) -> tuple[str, str]:
    """The characters of a note and the encoding that was found, line ends as they stand.

    A byte order mark of UTF-8 stays a character, as it does for readers of annotated corpora; those of UTF-16 and UTF-32 are
    part of the encoding. What is not UTF-8 is read as cp1252 (which latin-1 is a part of, but for control characters) only where
    nothing speaks against it: no control characters, no UTF-8 beside it, no three such bytes in a row, no symbols inside
    words. Offsets would be right in any encoding of one byte a character.

    Args:
        data: The bytes.
        encoding: The encoding, where it is known.

    Raises:
        UndecodableError: Another encoding, or no text.
    """
    if encoding is None:
        encoding = next((name for mark, name in _MARKS if data.startswith(mark)), None)
    if encoding is not None:
        try:
            return data.decode(encoding), encoding
        except UnicodeDecodeError as error:
            raise UndecodableError(f"byte {error.start} is not {encoding}") from None
    try:
        return data.decode(UTF_8), UTF_8
    except UnicodeDecodeError as error:
        if _DOUBTFUL.search(data):
            reason = f"byte {error.start} is not UTF-8, and the encoding cannot be told; convert it, or name it with --encoding"
            raise UndecodableError(reason) from None
    return data.decode("cp1252"), "cp1252"
