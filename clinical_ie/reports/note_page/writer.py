"""Writes the page: one file that loads nothing, whatever its notes hold.

Notes stand in it as gzip in base64, so that no note can end a script or begin one, and a chunk is unpacked only when one of its notes is
opened. The only script that may run is the page's own, named by its hash in the Content-Security-Policy; what a note might smuggle in
would not run. Documents are written as they come.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
from collections.abc import Collection, Iterable
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from types import TracebackType

from clinical_ie.document import Document
from clinical_ie.files import writing
from clinical_ie.reports.error_counts import ErrorCounts
from clinical_ie.reports.note_page.encoding import PAGE_OUTCOMES, DocumentEncoder, Encoded, Summary
from clinical_ie.reports.outcomes import outcome_rows
from clinical_ie.scoring.alignment import Alignment

MOST_DOCUMENTS = 20_000
"""That a page holds; how many are left out stands at its top."""
_CHUNK = 300_000
"""Characters of notes that are unpacked at once; texts apart from annotations, since a search needs texts alone."""
_SCRIPTS = ("data.js", "note.js", "arcs.js", "list.js", "filters.js", "panel.js", "main.js")
_VISIBLE = {code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\t\n\r"} | {0x7F: "\u2421"}
"""Control characters, which no page may hold, as the signs that stand for them."""


class NotePage:
    """A page that documents are added to; it appears under its name when the block ends without an error.

    Args:
        path: Where to.
        title: Of the page.
        compared: Whether documents are compared with gold.
        types: Types of mentions in the order of the legend; others are put behind them.
        most: How many documents the page holds; further ones are counted.
    """

    def __init__(self, path: Path | str, title: str, *, compared: bool, types: Iterable[str] = (), most: int = MOST_DOCUMENTS) -> None:
        self.counts, self.left_out = ErrorCounts(), 0
        self._compared, self._title, self._most = compared, title, most
        self._encoder = DocumentEncoder(types)
        self._documents: list[str] = []  # rows of the index as JSON, which takes a tenth of the memory of lists
        self._starts: list[int] = []
        self._chunk: list[Encoded] = []
        self._size = 0
        self._confidence = False
        self._writing = writing(path)

    def __enter__(self) -> NotePage:
        """Begin the file."""
        self._file = self._writing.__enter__()
        script = _script()
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
        title = html.escape(self._title.translate(_VISIBLE))
        self._file.write(
            f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{policy}">'
            f'<meta name="viewport" content="width=device-width,initial-scale=1"><meta name="referrer" content="no-referrer">'
            f"<title>{title}</title><style>{style('base.css', 'page.css')}</style></head><body>\n"
            + _asset("shell.html").replace("{{title}}", title)
        )
        return self

    @property
    def documents(self) -> int:
        """How many the page holds."""
        return len(self._documents)

    def add(
        self, document: Document, gold: Document | None = None, seen: Collection[str] | None = None, remark: str = "", links_apart: int = 0
    ) -> None:
        """Add a document.

        Args:
            document: As predicted.
            gold: As it should be, on a page that compares.
            seen: Ids of gold mentions whose strings training has seen; None where that is not known.
            remark: What the page says of the document.
            links_apart: Gold links that were left out of `gold`, because the predictions hold mentions alone.
        """
        alignment = None
        if self._compared:
            alignment = Alignment.of(gold or Document(document.id, document.text), document)
            self.counts.add_document(remark)
            self.counts.links_apart += links_apart
            for row in outcome_rows(alignment, seen):
                self.counts.add(row)
        if len(self._documents) == self._most:
            self.left_out += 1
            return
        encoded = self._encoder.compared(alignment, seen, remark) if alignment else self._encoder.alone(document)
        self._put(document.id, len(document.text), encoded)

    def _put(self, name: str, length: int, encoded: Encoded) -> None:
        if not self._chunk:
            self._starts.append(len(self._documents))
        self._chunk.append(encoded)
        self._size += length
        summaries = [_flat(encoded.mention_summary), _flat(encoded.link_summary)]
        self._confidence = self._confidence or any(key[2] >= 0 for key in (*encoded.mention_summary, *encoded.link_summary))
        row = [name.translate(_VISIBLE), length, encoded.mentions, encoded.links, *summaries]
        self._documents.append(json.dumps(row, separators=(",", ":")))
        if self._size >= _CHUNK:
            self._write_chunk()

    def _write_chunk(self) -> None:
        if self._chunk:
            for name, data in (("texts", [one.text for one in self._chunk]), ("notes", [one.row for one in self._chunk])):
                self._file.write(f'<script type="application/gzip;base64" class="{name}">{_packed(data)}</script>\n')
        self._chunk, self._size = [], 0

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """End the file; it appears if there was no error."""
        if kind is None:
            self._write_chunk()
            index = {
                "starts": self._starts,
                "types": list(self._encoder.types),
                "linkTypes": list(self._encoder.link_types),
                "outcomes": PAGE_OUTCOMES,
                "gold": self._compared,
                "confidence": self._confidence,
                "tables": [asdict(table) for table in self.counts.tables()] if self._compared else [],
                "warning": self._warning(),
            }
            whole = f'{{"documents":[{",".join(self._documents)}],{json.dumps(index)[1:]}'
            self._file.write(f'<script type="application/gzip;base64" id="index">{_zipped(whole.encode())}</script>\n')
            self._file.write(f"<script>{_script()}</script>\n</body></html>\n")
        self._writing.__exit__(kind, error, trace)

    def _warning(self) -> str:
        apart, there = self.counts.links_apart, len(self._documents)
        said = f"{apart:,} gold links are not compared: the predictions hold mentions alone. " if apart else ""
        if not self.left_out:
            return said.strip()
        return said + (
            f"This page holds the first {there:,} of {there + self.left_out:,} documents; all are in the files beside it"
            f"{', and all are counted in the tables of errors' if self._compared else ''}. `clinical-ie view --most N` shows more."
        )


def style(*names: str) -> str:
    """Style sheets of pages, one behind the other."""
    return "\n".join(_asset(name) for name in names)


def _script() -> str:
    """All scripts as one, whose names nobody else sees."""
    return f"(() => {{\n'use strict';\n{''.join(_asset(name) for name in _SCRIPTS)}}})();"


def _asset(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _flat(summary: Summary) -> list[int]:
    return [number for key, count in sorted(summary.items()) for number in (*key, count)]


def _packed(data: object) -> str:
    """JSON as gzip in base64, the same for the same data."""
    try:
        text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which only JSON's own escapes can say
        text = json.dumps(data, separators=(",", ":")).encode()
    return _zipped(text)


def _zipped(data: bytes) -> str:
    return base64.b64encode(gzip.compress(data, compresslevel=6, mtime=0)).decode()
