"""Parquet: a note a row, a few hundred at a time in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from clinical_ie.errors import SettingError, printable
from clinical_ie.extraction.inputs.acceptance import Acceptance
from clinical_ie.extraction.inputs.columns import Columns
from clinical_ie.extraction.inputs.note import BadNote, Note

ENDINGS = (".parquet",)
_ROWS = 256


def read_parquet(path: Path, columns: Columns, acceptance: Acceptance) -> Iterator[Note | BadNote]:
    """Notes of a table; texts may be strings or bytes, ids strings or numbers.

    Raises:
        SettingError: pyarrow is not installed, the file is no Parquet, or its columns cannot be told.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise SettingError(f"{printable(path)}: Parquet needs pyarrow: pip install 'clinical_ie[tables]'") from None
    try:
        table = pq.ParquetFile(path)
    except (OSError, pa.ArrowException) as error:
        raise SettingError(f"{printable(path)}: cannot be read as Parquet ({type(error).__name__})") from None
    with table:
        names = table.schema_arrow.names
        text, ident = (names[place] for place in columns.among(names, path))
        number = 0
        for batch in table.iter_batches(_ROWS, columns=[text, ident], use_threads=False):
            for value, name in zip(batch.column(text).to_pylist(), batch.column(ident).to_pylist(), strict=True):
                number += 1
                yield _note(value, name, f"{path.name}:{number}", acceptance)


def _note(value: object, name: object, place: str, acceptance: Acceptance) -> Note | BadNote:
    if type(name) is int:
        name = str(name)
    if not isinstance(name, str) or not name.strip():
        return BadNote(place, "its id is empty" if name is None or name == "" else "its id is neither a string nor a number")
    name = name.strip()
    if isinstance(value, bytes):
        return acceptance.of_bytes(name, value)
    if value is None:
        return BadNote(name, "empty")
    return acceptance.of_text(name, value) if isinstance(value, str) else BadNote(name, "its text is no string")
