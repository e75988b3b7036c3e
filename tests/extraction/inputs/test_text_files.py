"""Folders of notes, good and bad."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

import pytest

from clinical_ie.errors import SettingError
from clinical_ie.extraction.inputs import BadNote, Note, read


def put(folder: Path, **files: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / f"{name}.txt").write_bytes(data)
    return folder


def test_notes_of_a_folder_and_its_sub_folders(tmp_path: Path) -> None:
    put(tmp_path, b=b"Two\r\nlines ", a="Fièvre 😀".encode())
    put(tmp_path / "ward", c=b"Three")
    (tmp_path / "ward" / "d.TXT").write_bytes(b"Four")
    (tmp_path / "readme.md").write_bytes(b"no note")
    assert list(read(tmp_path)) == [Note("a", "Fièvre 😀"), Note("b", "Two\r\nlines "), Note("ward/c", "Three"), Note("ward/d", "Four")]


def test_bad_notes_never_stop_the_others(tmp_path: Path) -> None:
    put(
        tmp_path,
        binary=b"\x89PNG\r\n\x1a\n\x00\xff\xfe",
        blank=b" \r\n\t",
        control=b"\x01\x02\x03\x04abc",
        empty=b"",
        good=b"Fever",
        large=b"x" * 101,
        larger=b"x" * 401,
        marked=b"\xef\xbb\xbfFever",
        nul=b"Fe\0ver",
        only_a_mark=b"\xef\xbb\xbf \n",
        rtf=b"{\\rtf1 Fever}",
        wide="Fièvre".encode("utf-16"),
        western="Fièvre".encode("latin-1"),
    )
    counts: Counter[str] = Counter()
    notes = {note.id: note for note in read(tmp_path, most_characters=100, counts=counts)}
    assert {name: note.text for name, note in notes.items() if isinstance(note, Note)} == {
        "good": "Fever",
        "marked": "\ufeffFever",
        "wide": "Fièvre",
        "western": "Fièvre",
    }
    reasons = {name: note.reason for name, note in notes.items() if isinstance(note, BadNote)}
    assert reasons["binary"].startswith("byte 0 is not UTF-8, and the encoding cannot be told")
    assert reasons["nul"].startswith("character 2 is NUL")
    assert reasons["blank"] == reasons["only_a_mark"] == "white space only"
    assert reasons["empty"] == "empty"
    assert reasons["large"].startswith("101 characters, more than the limit of 100")
    assert reasons["larger"].startswith("401 bytes, more than the limit of 100")
    assert reasons["control"].startswith("binary data")
    assert reasons["rtf"].startswith("RTF, not plain text")
    assert counts == {"read as cp1252": 1, "read as utf-16": 1, "byte order mark kept as a character": 1}
    assert isinstance(notes["wide"], Note)
    assert notes["wide"].meta == {"encoding": "utf-16"}


def test_what_is_left_out_is_counted_and_what_cannot_be_read_is_a_bad_note(tmp_path: Path) -> None:
    put(tmp_path / "ward", a=b"One")
    put(tmp_path / ".ipynb_checkpoints", a=b"One")
    (tmp_path / "._b.txt").write_bytes(b"mac")
    (tmp_path / "ward" / "gone.txt").symlink_to(tmp_path / "nowhere")
    (tmp_path / "ward" / "A.txt").write_bytes(b"Another")
    (tmp_path / "ward" / "a.TXT").write_bytes(b"Twice")
    (tmp_path / "loop").symlink_to(tmp_path / "ward")
    counts: Counter[str] = Counter()
    notes = list(read(tmp_path, counts=counts))
    assert [note for note in notes if isinstance(note, Note)] == [Note("ward/A", "Another"), Note("ward/a", "Twice")]
    bad = {note.id: note.reason for note in notes if isinstance(note, BadNote)}
    assert set(bad) == {"ward/gone.txt", "ward/a.txt"}
    assert "cannot be read" in bad["ward/gone.txt"]
    assert counts == {"not read: hidden folder": 1, "not read: hidden file": 1, "not read: folder met before": 1}


def test_a_folder_is_read_as_notes_are_wanted(tmp_path: Path) -> None:
    put(tmp_path, **{f"n{number:03}": b"x" for number in range(100)})
    notes = read(tmp_path)
    assert [note.id for note in itertools.islice(notes, 3)] == ["n000", "n001", "n002"]
    (tmp_path / "n003.txt").unlink()
    assert next(notes) == BadNote("n003", "the file cannot be read (No such file or directory)")


def test_one_file(tmp_path: Path) -> None:
    put(tmp_path, n1=b"Fever")
    assert list(read(tmp_path / "n1.txt")) == [Note("n1", "Fever")]


def test_a_folder_without_notes(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="no notes in this folder; expected a folder of"):
        read(tmp_path)


def test_sources_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="no such file or folder"):
        read(tmp_path / "nowhere")
    (tmp_path / "notes.docx").write_bytes(b"PK")
    with pytest.raises(SettingError, match="cannot be read"):
        read(tmp_path / "notes.docx")


@pytest.mark.parametrize("setting", [{"most_characters": 0}, {"encoding": "klingon"}])
def test_settings_that_cannot_work(tmp_path: Path, setting: dict[str, object]) -> None:
    with pytest.raises(SettingError):
        read(tmp_path, **setting)  # type: ignore[arg-type]


def test_one_line_of_a_megabyte_is_no_note(tmp_path: Path) -> None:
    (tmp_path / "dump.txt").write_text("QUJD" * 250_000, encoding="utf-8")
    (tmp_path / "stay.txt").write_text(("No fever. " * 40 + "\n") * 2_500, encoding="utf-8")
    dump, stay = read(tmp_path)
    assert isinstance(dump, BadNote)
    assert dump.reason == "a line of 1,000,000 characters, more than the limit of 500,000: data, not a note; break it into lines"
    assert isinstance(stay, Note)
    assert len(stay.text) > 1_000_000
