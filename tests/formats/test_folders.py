from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clinical_ie.errors import FileFormatError, InputError, SettingError
from clinical_ie.formats import brat
from clinical_ie.formats.findings import Findings
from clinical_ie.formats.folders import find_files, find_folders, find_texts, text_of


def put(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("a" if path.suffix.lower() == ".txt" else "T1\tX 0 1\ta\n")


def names(folder: Path, findings: Findings | None = None) -> dict[str, list[str]]:
    found = find_files(folder, (".txt", ".ann"), findings or Findings())
    assert list(found) == sorted(found)
    return {name: sorted(paths) for name, paths in found.items()}


BOTH = [".ann", ".txt"]


def test_sub_folders_and_capitals(tmp_path: Path) -> None:
    put(tmp_path, "b/two.txt", "b/two.ann", "one.TXT", "one.Ann", "b/c.d/three.txt", "notes.md", "b/two.ann~")
    findings = Findings()
    assert names(tmp_path, findings) == {"b/c.d/three": [".txt"], "b/two": BOTH, "one": BOTH}
    assert not list(findings)
    found = find_files(tmp_path, (".txt",), findings)
    assert found["one"] == {".txt": str(tmp_path / "one.TXT")}


def test_folders_and_files_behind_links_are_read(tmp_path: Path) -> None:
    put(tmp_path, "store/site/n.txt", "store/site/deep/m.txt", "elsewhere.txt")
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "site_b").symlink_to("../store/site")
    (tmp_path / "corpus" / "x.txt").symlink_to("../elsewhere.txt")
    findings = Findings()
    assert list(names(tmp_path / "corpus", findings)) == ["site_b/deep/m", "site_b/n", "x"]
    assert not list(findings)


def test_links_that_form_a_loop_end_and_are_counted(tmp_path: Path) -> None:
    put(tmp_path, "n.txt", "sub/m.txt")
    (tmp_path / "sub" / "up").symlink_to("..")
    (tmp_path / "a_self").symlink_to(".")
    (tmp_path / "a_twin").symlink_to("sub")
    findings = Findings()
    assert list(names(tmp_path, findings)) == ["n", "sub/m"]
    assert findings.counts() == {"folder-met-before": 3}
    assert not findings.errors


def test_a_link_to_itself_and_one_that_leads_nowhere_are_errors(tmp_path: Path) -> None:
    put(tmp_path, "n.txt")
    (tmp_path / "loop.txt").symlink_to("loop.txt")
    (tmp_path / "site_b").symlink_to("/nowhere/at/all")
    findings = Findings(strict=False)
    assert list(names(tmp_path, findings)) == ["n"]
    assert sorted(Path(finding.path).name for finding in findings.errors) == ["loop.txt", "site_b"]
    with pytest.raises(FileFormatError, match="cannot be read"):
        names(tmp_path)


def test_hidden_copies_are_left_out_and_counted(tmp_path: Path) -> None:
    put(tmp_path, "n.txt", "n.ann", "._n.txt", "._n.ann", ".ipynb_checkpoints/n-checkpoint.txt", ".gitignore", "__MACOSX/._n.txt")
    findings = Findings()
    assert names(tmp_path, findings) == {"n": BOTH}
    assert findings.counts() == {"hidden-file": 3, "hidden-folder": 1}
    assert any(str(finding).startswith(f"{tmp_path / '.ipynb_checkpoints'}: ") for finding in findings)


def test_a_pipe_never_blocks(tmp_path: Path) -> None:
    put(tmp_path, "n.txt", "n.ann", "p.txt")
    os.mkfifo(tmp_path / "p.ann")
    findings = Findings(strict=False)
    assert [document.id for document in brat.read(tmp_path, findings)] == ["n"]
    assert findings.counts() == {"not-a-file": 1, "no-annotation-file": 1}
    with pytest.raises(FileFormatError, match=r"p\.ann: a pipe"):
        brat.read(tmp_path)


def test_an_unreadable_sub_folder_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "n.txt", "closed/m.txt")
    scan = os.scandir

    def refuse(path: Any) -> Iterator[Any]:
        if str(path).endswith("closed"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(FileFormatError, match=r"closed: this folder cannot be read \(Permission denied\)"):
        names(tmp_path)
    findings = Findings(strict=False)
    assert names(tmp_path, findings) == {"n": [".txt"]}
    assert findings.counts() == {"unreadable-folder": 1}
    with pytest.raises(InputError, match="cannot be read"):
        names(tmp_path / "closed", Findings(strict=False))


def test_two_files_of_one_id_are_an_error(tmp_path: Path) -> None:
    put(tmp_path, "a.txt", "a.TXT")
    if len(list(tmp_path.iterdir())) < 2:
        pytest.skip("this file system does not tell capitals")
    with pytest.raises(FileFormatError, match="the same document as"):
        names(tmp_path)
    findings = Findings(strict=False)
    names(tmp_path, findings)
    assert findings.counts() == {"duplicate-document-id": 1}


@pytest.mark.parametrize("name", [b"pr\xe9nom.txt", b"line\nend.txt"])
def test_names_that_are_no_ids_are_errors_that_can_be_printed(tmp_path: Path, name: bytes) -> None:
    put(tmp_path, "n.txt")
    try:
        Path(os.fsdecode(bytes(tmp_path) + b"/" + name)).write_text("x")
    except OSError:
        pytest.skip("this file system has no such names")
    with pytest.raises(FileFormatError, match="rename it") as caught:
        names(tmp_path)
    assert str(caught.value).isprintable()
    findings = Findings(strict=False)
    assert names(tmp_path, findings) == {"n": [".txt"]}
    assert str(findings.errors[0]).isprintable()


def test_missing_empty_and_no_folder_have_their_own_messages(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    put(tmp_path, "texts/n.txt", "file.ann")
    messages = []
    for name in ("missing", "empty", "texts", "file.ann", "na\0me"):
        with pytest.raises(InputError) as caught:
            brat.read(tmp_path / name)
        messages.append(str(caught.value).removeprefix(f"{tmp_path}/"))
    assert messages == [
        "missing: no such folder; expected one with .txt and .ann files",
        "empty: neither a .txt nor an .ann file in this folder; expected BRAT files (.txt beside .ann)",
        "texts: no .ann file, only .txt files in this folder; expected BRAT files (.txt beside .ann)",
        "file.ann: not a folder; expected one with .txt and .ann files",
        "na\\x00me: no such folder; expected one with .txt and .ann files",
    ]


def test_one_bad_file_never_costs_a_lenient_reader_the_folder(tmp_path: Path) -> None:
    put(tmp_path, "a.txt", "a.ann", "b.txt", "b.ann", "c.txt", "c.ann")
    (tmp_path / "a.txt").write_bytes(b"f\xe8vre")
    (tmp_path / "b.ann").write_bytes("T1".encode("utf-16"))
    findings = Findings(strict=False)
    assert [document.id for document in brat.read(tmp_path, findings)] == ["c"]
    assert findings.counts() == {"unreadable-file": 2}
    with pytest.raises(FileFormatError, match=r"a\.txt:1: byte 1 is not UTF-8"):
        brat.read(tmp_path)


def test_texts_are_a_folder_or_one_file(tmp_path: Path) -> None:
    put(tmp_path, "in/B.TXT", "in/sub/a.txt", "in/sub/a.ann")
    findings = Findings()
    assert find_texts(tmp_path / "in", findings) == [("B", str(tmp_path / "in/B.TXT")), ("sub/a", str(tmp_path / "in/sub/a.txt"))]
    assert find_texts(tmp_path / "in" / "B.TXT", findings) == [("B", str(tmp_path / "in/B.TXT"))]
    for name, reason in [("missing", "no such file or folder"), ("in/sub/a.ann", "not a .txt file"), ("empty", "no .txt file in")]:
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(SettingError, match=reason):
            find_texts(tmp_path / name, findings)


def test_text_of_a_file_that_is_gone(tmp_path: Path) -> None:
    findings = Findings(strict=False)
    assert text_of(tmp_path / "gone.txt", findings) is None
    assert findings.counts() == {"unreadable-file": 1}
    with pytest.raises(FileFormatError):
        text_of(tmp_path / "gone.txt", Findings())


def test_sub_folders_by_name(tmp_path: Path) -> None:
    put(tmp_path, "store/site/test/n.txt", "corpus/a/b/n.txt", "corpus/.hidden/n.txt")
    (tmp_path / "corpus" / "site").symlink_to("../store/site")
    (tmp_path / "corpus" / "a" / "up").symlink_to("..")
    assert sorted(find_folders(tmp_path / "corpus")) == ["a", "a/b", "a/up", "site", "site/test"]


def test_accents_of_file_names_in_either_form_are_one_document(tmp_path: Path) -> None:
    together, apart = "M\u00fcller/\u00e9t\u00e9", "Mu\u0308ller/e\u0301te\u0301"
    put(tmp_path / "gold", f"{together}.txt", f"{together}.ann")
    put(tmp_path / "copy", f"{apart}.txt", f"{together}.ann")
    assert names(tmp_path / "gold") == names(tmp_path / "copy") == {together: BOTH}
    assert [name for name, _ in find_texts(tmp_path / "copy" / f"{apart}.txt", Findings())] == ["\u00e9t\u00e9"]
    put(tmp_path / "copy", f"{together}.txt")
    with pytest.raises(FileFormatError, match="the same document as"):
        names(tmp_path / "copy")
