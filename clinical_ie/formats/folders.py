"""Which files of a folder are notes: found in one way by every reader of folders.

Links are followed, endings may be in capitals, and sub-folders count. What is left out (hidden files and folders such
as ``.ipynb_checkpoints`` or ``._note.txt``, folders that several links lead to) is named and counted; what cannot be
read is an error.
"""

from __future__ import annotations

import os
import stat
import unicodedata
from collections import deque
from collections.abc import Collection, Iterator
from pathlib import Path

from clinical_ie.errors import FileFormatError, InputError, SettingError, did_you_mean_path, printable
from clinical_ie.files import read_text, unfit
from clinical_ie.formats.findings import Findings

Files = dict[str, dict[str, str]]
"""Document id -> ending in small letters -> path."""


def find_files(folder: Path | str, endings: Collection[str], findings: Findings) -> Files:
    """Files of a folder and its sub-folders with one of some endings, sorted by document id.

    The id is the path inside the folder without its ending, in Unicode's form NFC. Every folder is read once, however many
    links lead to it, so links that form a loop end there.

    Raises:
        InputError: The folder does not exist, is no folder, or cannot be read.
        FileFormatError: Something inside cannot be read, or two files have one id, in strict mode.
    """
    root = os.fspath(folder)
    try:
        mode = Path(root).stat().st_mode
    except (FileNotFoundError, ValueError) as error:
        raise InputError(
            f"{printable(root)}: no such folder; expected one with {_listed(endings)} files{did_you_mean_path(root)}"
        ) from error
    except OSError as error:
        raise InputError(f"{printable(root)}: cannot be read ({error.strerror})") from error
    if not stat.S_ISDIR(mode):
        raise InputError(f"{printable(root)}: not a folder; expected one with {_listed(endings)} files")
    walk = _Walk(root, frozenset(endings), findings)
    walk.run()
    return {name: walk.files[name] for name in sorted(walk.files)}


def stream_files(folder: Path | str, endings: Collection[str], findings: Findings) -> Iterator[tuple[str, str, str]]:
    """Document id, ending in small letters and path of the files that `find_files` finds, without holding more than one folder in memory.

    Files of a folder are sorted by document id and come before those of its sub-folders.

    Raises:
        InputError: The folder cannot be read.
        FileFormatError: Something inside cannot be read, or two files of a folder have one id, in strict mode.
    """
    walk = _Walk(os.fspath(folder), frozenset(endings), findings)
    for _ in walk.steps():
        files, walk.files = walk.files, {}
        for name in sorted(files):
            for ending, path in files[name].items():
                yield name, ending, path


def find_file(folder: Path, document_id: str, ending: str) -> Path | None:
    """The file of one document, its ending in small letters or capitals; None where there is none.

    Ids have Unicode's form NFC, names of files either form.
    """
    for form in ("NFC", "NFD"):
        stem = folder / unicodedata.normalize(form, document_id)
        for path in (Path(f"{stem}{ending}"), Path(f"{stem}{ending.upper()}")):
            if path.is_file():
                return path
    return None


def find_folders(folder: Path | str) -> list[str]:
    """Sub-folders at any depth, relative to the folder and in the order of the walk.

    Links are followed; those that lead to a folder met before are named, and not what is in it. Hidden folders are left out.
    """
    walk = _Walk(os.fspath(folder), frozenset(), Findings(strict=False))
    walk.run()
    return [prefix.removesuffix("/") for prefix in walk.visited if prefix]


def find_texts(path: Path | str, findings: Findings) -> list[tuple[str, str]]:
    """Document id and path of every ``.txt`` file of a folder, or of the one file that is named.

    Raises:
        SettingError: Neither a folder with ``.txt`` files nor a ``.txt`` file.
        InputError: See `find_files`.
    """
    given = os.fspath(path)
    if os.path.isdir(given):
        found = [(name, paths[".txt"]) for name, paths in find_files(given, (".txt",), findings).items()]
        if not found:
            raise SettingError(f"{printable(given)}: no .txt file in this folder")
        return found
    if not Path(given).exists():
        raise SettingError(
            f"{printable(given)}: no such file or folder; expected a folder with .txt files, or a .txt file{did_you_mean_path(given)}"
        )
    name, ending = os.path.splitext(unicodedata.normalize("NFC", os.path.basename(given)))
    if ending.lower() != ".txt":
        raise SettingError(f"{printable(given)}: not a .txt file; expected a folder with .txt files, or a .txt file")
    if reason := unfit(name):
        raise SettingError(f"{printable(given)}: the name of the file cannot be a document's id: {reason}; rename it")
    return [(name, given)]


def text_of(path: Path | str, findings: Findings) -> str | None:
    """The text of a file; None where it cannot be read and the reader is lenient.

    Raises:
        FileFormatError: It cannot be read, in strict mode.
    """
    try:
        return read_text(path)
    except FileFormatError as error:
        findings.failure(error, "unreadable-file")
        return None


def _listed(endings: Collection[str]) -> str:
    return " and ".join(endings)


class _Walk:
    """The folder tree, breadth first; what links lead to comes last, so that a real place wins over a link to it."""

    def __init__(self, root: str, endings: frozenset[str], findings: Findings) -> None:
        self.root, self.endings, self.findings = root, endings, findings
        self.files: Files = {}
        self.visited: list[str] = []
        self.seen: dict[tuple[int, int], str] = {}
        self.folders: deque[tuple[str, str]] = deque([("", root)])
        self.linked: deque[tuple[str, str]] = deque()

    def run(self) -> None:
        """Visit every folder once."""
        for _ in self.steps():
            pass

    def steps(self) -> Iterator[None]:
        """Visit every folder once, and stop behind each."""
        while self.folders or self.linked:
            prefix, where = (self.folders or self.linked).popleft()
            try:
                info = Path(where).stat()
                with os.scandir(where) as listing:
                    entries = sorted(listing, key=lambda entry: entry.name)
            except OSError as error:
                self._unreadable(where, "folder", error)
                continue
            self.visited.append(prefix)
            first = self.seen.setdefault((info.st_dev, info.st_ino), where)
            if first != where:
                self.findings.warning(where, 0, "folder-met-before", f"the same folder as {printable(first)}: not read again")
                continue
            for entry in entries:
                self._entry(prefix, entry)
            yield

    def _entry(self, prefix: str, entry: os.DirEntry[str]) -> None:
        stem, ending = os.path.splitext(entry.name)
        wanted = ending.lower() in self.endings
        try:
            folder = entry.is_dir()
            linked = entry.is_symlink()
            if linked and not entry.name.startswith("."):
                entry.stat()  # a link that leads nowhere may have been to a whole folder
        except OSError as error:
            self._unreadable(entry.path, "link", error)
            return
        if entry.name.startswith("."):
            if folder or wanted:
                kind = "folder" if folder else "file"
                self.findings.warning(entry.path, 0, f"hidden-{kind}", f"a hidden {kind}: not read")
        elif folder:
            (self.linked if linked else self.folders).append((f"{prefix}{entry.name}/", entry.path))
        elif wanted:
            self._file(f"{prefix}{stem}", ending.lower(), entry)

    def _file(self, name: str, ending: str, entry: os.DirEntry[str]) -> None:
        name = unicodedata.normalize("NFC", name)  # a copy by way of a Mac takes the accents of file names apart
        if not entry.is_file():
            self.findings.error(entry.path, 0, "not-a-file", "a pipe, a socket or a device", expected="a file", remedy="remove it")
        elif reason := unfit(name):
            problem = f"the name of the file cannot be a document's id: {reason}"
            self.findings.error(entry.path, 0, "file-name", problem, remedy="rename it")
        elif other := self.files.setdefault(name, {}).get(ending):
            problem = f"the same document as {printable(other)}"
            self.findings.error(entry.path, 0, "duplicate-document-id", problem, remedy="rename or remove one of them")
        else:
            self.files[name][ending] = entry.path

    def _unreadable(self, path: str, kind: str, error: OSError) -> None:
        problem = f"this {kind} cannot be read ({error.strerror})"
        if path == self.root:
            raise InputError(f"{printable(path)}: {problem}") from error
        self.findings.error(path, 0, f"unreadable-{kind}", problem, remedy="make it readable or remove it")
