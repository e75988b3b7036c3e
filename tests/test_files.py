from __future__ import annotations

from pathlib import Path

import pytest

from clinical_ie.errors import FileFormatError, InputError
from clinical_ie.files import read_text, write_text, writing


def test_line_ends_are_never_translated(tmp_path: Path) -> None:
    path = tmp_path / "note.txt"
    path.write_bytes(b"a\r\nb\rc\n\xe2\x80\xa8d")
    assert read_text(path) == "a\r\nb\rc\n\u2028d"
    write_text(path, "x\r\ny\n")
    assert path.read_bytes() == b"x\r\ny\n"


def test_characters_outside_the_basic_plane(tmp_path: Path) -> None:
    write_text(tmp_path / "n.txt", "🫀 Ödem")
    assert (tmp_path / "n.txt").read_bytes() == "🫀 Ödem".encode()
    assert read_text(tmp_path / "n.txt") == "🫀 Ödem"


@pytest.mark.parametrize("name", ["missing.txt", "."])
def test_what_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=tmp_path.name):
        read_text(tmp_path / name)


def test_other_encodings_are_refused_with_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "latin.txt"
    path.write_bytes("fine\nfièvre Smithson\n".encode("latin-1"))
    with pytest.raises(FileFormatError) as caught:
        read_text(path)
    assert caught.value.line == 2
    assert str(caught.value).startswith(f"{path}:2: ")
    assert "UTF-8" in str(caught.value)
    assert "Smithson" not in str(caught.value)


def test_writing_makes_the_folders(tmp_path: Path) -> None:
    write_text(tmp_path / "a" / "b" / "n.txt", "x")
    assert (tmp_path / "a" / "b" / "n.txt").read_text() == "x"


def test_a_file_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "n.txt"
    with writing(path) as file:
        file.write("half")
        file.flush()
        assert not path.exists()
    assert path.read_text() == "half"


def test_a_failure_leaves_what_stood_there(tmp_path: Path) -> None:
    path = tmp_path / "n.txt"
    path.write_text("old")

    def fail() -> None:
        with writing(path) as file:
            file.write("new, but not all of it")
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        fail()
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["n.txt"]


def test_a_format_error_says_where_what_and_how() -> None:
    error = FileFormatError("a.ann", 3, "not a mention", expected="T1<tab>...", remedy="mend it")
    assert str(error) == "a.ann:3: not a mention; expected T1<tab>...; mend it"
    assert str(FileFormatError("a.ann", 0, "empty")) == "a.ann: empty"
    assert isinstance(error, InputError)
