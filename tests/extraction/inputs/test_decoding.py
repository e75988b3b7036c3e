"""Encodings that notes come in; what is expected is Python's own encoder."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinical_ie.errors import SettingError
from clinical_ie.extraction.inputs.decoding import UndecodableError, check_encoding, decode

WESTERN = "Café au lait spots, 37,5 °C; µg/dl – “naïve” patient’s Übelkeit, œdème, ±2 m²"


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_utf_8_stays_what_it_is(text: str) -> None:
    data = text.encode()
    if not data.startswith((b"\xff\xfe", b"\xfe\xff")):
        assert decode(data) == (text, "utf-8")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_a_byte_order_mark_is_believed(encoding: str) -> None:
    assert decode("Fieber\r\n38 °C 😀".encode(encoding)) == ("Fieber\r\n38 °C 😀", encoding)


def test_the_mark_of_utf_8_is_a_character() -> None:
    assert decode("\ufeffFever".encode()) == ("\ufeffFever", "utf-8")


def test_western_text_is_read_as_cp1252() -> None:
    assert decode(WESTERN.encode("cp1252")) == (WESTERN, "cp1252")
    assert decode("né à Zürich, 5° flexion".encode("latin-1")) == ("né à Zürich, 5° flexion", "cp1252")


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Больной жалуется на боль", "cp1251"),
        ("Больной жалуется на боль", "koi8-r"),
        ("患者は頭痛を訴える", "shift-jis"),
        ("Zürich, für Ärzte", "mac-roman"),
        ("café, 38 °C", "mac-roman"),
        ("für Zürich", "cp437"),
        ("Paweł jest zdrów", "cp1250"),
    ],
)
def test_other_encodings_are_not_guessed(text: str, encoding: str) -> None:
    data = text.encode(encoding)
    first = next(place for place, byte in enumerate(data) if byte > 127)
    with pytest.raises(UndecodableError, match=f"byte {first} is not UTF-8"):
        decode(data)
    assert decode(data, encoding) == (text, encoding)


def test_two_encodings_in_one_note_are_not_guessed() -> None:
    with pytest.raises(UndecodableError, match="byte 7 is not UTF-8"):
        decode("café ".encode() + "né".encode("latin-1") + " café".encode())


def test_a_named_encoding_that_does_not_fit() -> None:
    with pytest.raises(UndecodableError, match="byte 1 is not utf-8"):
        decode(b"n\xe9", "utf-8")


@pytest.mark.parametrize("name", ["klingon", "base64", "a\0b"])
def test_encodings_that_do_not_exist(name: str) -> None:
    with pytest.raises(SettingError, match="no such encoding"):
        check_encoding(name)
