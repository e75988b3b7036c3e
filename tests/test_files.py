from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from clinical_ie.errors import FileFormatError, InputError, RunError
from clinical_ie.files import bring_to_disk, is_partial, place_of, read_text, write_bytes, write_text, writing, writing_folder


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


@pytest.mark.parametrize(
    ("data", "line", "problem"),
    [
        ("kalt und naß".encode("utf-16"), 0, "the file is UTF-16"),
        ("a\nkalt".encode("utf-16-le"), 1, "byte 1 is NUL"),
        (b"a\nb\0c", 2, "byte 3 is NUL"),
    ],
)
def test_what_is_no_utf_8_text_is_refused_with_the_remedy(tmp_path: Path, data: bytes, line: int, problem: str) -> None:
    (tmp_path / "n.txt").write_bytes(data)
    with pytest.raises(FileFormatError, match=r"iconv -f UTF-16") as caught:
        read_text(tmp_path / "n.txt")
    assert (caught.value.line, caught.value.problem) == (line, problem)


@pytest.mark.parametrize("name", ["a\0b", "half \ud800 a pair", "x" * 300])
def test_a_path_that_cannot_be_is_an_error_of_the_input(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_text(tmp_path / name)
    with pytest.raises(InputError, match="cannot be written"):
        write_text(tmp_path / name, "x")


def test_a_link_stays_and_its_target_is_written(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "real.txt").write_text("old")
    link, dangling = tmp_path / "link.txt", tmp_path / "dangling.txt"
    link.symlink_to("store/real.txt")
    dangling.symlink_to("store/new.txt")
    write_text(link, "new")
    write_text(dangling, "first")
    assert link.is_symlink()
    assert dangling.is_symlink()
    assert sorted((path.name, path.read_text()) for path in (tmp_path / "store").iterdir()) == [("new.txt", "first"), ("real.txt", "new")]


def test_a_failure_behind_a_link_leaves_its_target(tmp_path: Path) -> None:
    (tmp_path / "real.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to("real.txt")
    with pytest.raises(RuntimeError), writing(tmp_path / "link.txt") as file:  # noqa: PT012
        file.write("half")
        raise RuntimeError
    assert (tmp_path / "real.txt").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 2


def test_a_pipe_is_written_to_and_stays(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    received: list[str] = []
    reader = threading.Thread(target=lambda: received.append(pipe.read_text()))
    reader.start()
    write_text(pipe, "through")
    reader.join(timeout=10)
    assert received == ["through"]
    assert pipe.is_fifo()


@pytest.mark.parametrize("piped", [True, False])
def test_standard_output_can_be_written_to_by_name(tmp_path: Path, piped: bool) -> None:
    """Through a pipe and into a file, in the order of the prints around it, and the device stays what it is."""
    before = os.lstat("/dev/stdout")
    code = "from clinical_ie.files import write_text\nprint('before'); write_text('/dev/stdout', 'figures\\n'); print('behind')"
    with open(tmp_path / "out", "w") as out:
        done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE if piped else out, check=True, text=True)
    assert (done.stdout if piped else (tmp_path / "out").read_text()) == "before\nfigures\nbehind\n"
    assert os.lstat("/dev/stdout").st_mode == before.st_mode


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
def test_new_files_have_the_mode_of_the_umask_and_old_ones_keep_theirs(tmp_path: Path, umask: int) -> None:
    (tmp_path / "private.txt").write_text("old")
    (tmp_path / "private.txt").chmod(0o600)
    before = os.umask(umask)
    try:
        write_text(tmp_path / "new.txt", "x")
        write_text(tmp_path / "private.txt", "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new.txt").stat().st_mode) == 0o666 & ~umask
    assert stat.S_IMODE((tmp_path / "private.txt").stat().st_mode) == 0o600


def test_a_folder_is_no_place_for_a_file(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    for path, reason in [("folder", "it is a folder"), ("file/n.txt", "is not a folder")]:
        with pytest.raises(InputError, match=reason):
            write_text(tmp_path / path, "x")


def test_a_place_without_permission_is_an_error_of_the_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a patch, because these tests may run as root, whom no mode stops."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(InputError, match=r"n\.txt: cannot be written \(Permission denied\)"):
        write_text(tmp_path / "n.txt", "x")


def test_a_full_disk_ends_the_run_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="No space left"), writing(tmp_path / "n.txt"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert not list(tmp_path.iterdir())


def test_a_character_without_utf_8_form_is_an_error_of_the_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"U\+D83D"):
        write_text(tmp_path / "n.txt", "half \ud83d a pair")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["note1", "ward/note 1", "a.b", "Ärzte/ß", "x" * 251, "n:1", "a..b"])
def test_ids_that_are_file_names(tmp_path: Path, name: str) -> None:
    place = place_of(tmp_path, name, ".txt")
    write_text(place, "x")
    assert place.relative_to(tmp_path).as_posix() == f"{name}.txt"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "empty"), ("../up", "'..'"), ("/etc/x", "empty"), ("a//b", "empty"), ("a\\b", "backslash"), (".hidden", "hides"),
        ("ward/._n", "hides"), ("a\0b", "control"), ("a\nb", "control"), ("a\udce9", "not UTF-8"), ("x" * 252, "256 bytes"),
        ("é" * 126, "256 bytes"),
    ],
)  # fmt: skip
def test_ids_that_are_none(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(InputError, match=r"document id") as caught:
        place_of(tmp_path, name, ".txt")
    assert reason in str(caught.value)
    assert len(str(caught.value)) < 300 + len(str(tmp_path))
    assert str(caught.value).isprintable()


def test_a_folder_appears_whole_with_modes_of_the_umask(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.touch()
    with writing_folder(tmp_path / "model") as folder:
        (folder / "weights").touch(0o600)
        (folder / "inner").mkdir()
        (folder / "inner" / "more").touch(0o400)
        assert not (tmp_path / "model").exists()
    assert {path.stat().st_mode for path in (tmp_path / "model").rglob("*") if path.is_file()} == {plain.stat().st_mode}
    with pytest.raises(ZeroDivisionError), writing_folder(tmp_path / "model") as folder:
        (folder / "other").write_bytes(bytes([1 // 0]))
    assert {path.name for path in tmp_path.iterdir()} == {"plain", "model"}
    assert (tmp_path / "model" / "weights").exists(), "a failure leaves what was there"


def test_bytes_are_written_in_the_same_way(tmp_path: Path) -> None:
    (tmp_path / "link.png").symlink_to("picture.png")
    write_bytes(tmp_path / "link.png", b"\x89PNG\r\n\xff")
    assert (tmp_path / "picture.png").read_bytes() == b"\x89PNG\r\n\xff"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.png", "picture.png"]
    with pytest.raises(InputError, match="it is a folder"):
        write_bytes(tmp_path, b"")


def test_files_and_folders_are_brought_to_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_text("a")
    bring_to_disk([tmp_path / "a", tmp_path])

    def failing(number: int) -> None:
        def fsync(descriptor: int) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "fsync", fsync)

    failing(errno.EINVAL)
    bring_to_disk([tmp_path])  # some file systems cannot
    with pytest.raises(OSError, match="Invalid argument"):
        bring_to_disk([tmp_path / "a"])
    failing(errno.ENOSPC)
    with pytest.raises(RunError, match="No space left"):
        bring_to_disk([tmp_path / "a"])


def test_what_a_killed_process_left_is_known_by_its_name(tmp_path: Path) -> None:
    with writing(tmp_path / "a") as file:
        file.write("x")
        (beside,) = tmp_path.iterdir()
        assert is_partial(beside)
    assert not is_partial(tmp_path / "a")
    (tmp_path / ".mine.partial").touch()
    assert not is_partial(tmp_path / ".mine.partial")
