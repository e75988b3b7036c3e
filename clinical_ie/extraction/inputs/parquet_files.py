"""Parquet: a note a row, a few hundred at a time in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from clinical_ie.errors import SettingError, printable
from clinical_ie.extraction.inputs.acceptance import Acceptance
from clinical_ie.extraction.inputs.columns import Columns
from clinical_ie.extraction.inputs.note import BadNote, Note

ENDINGS = (".parquet",)
_ROWS = 256


def read_parquet(path: Path, columns: Columns, acceptance: Acceptance) -> Iterator[Note | BadNote]:
    """Notes of a table; texts may be strings or bytes, ids strings or numbers.

    Strings are UTF-8; one that is not is read as other bytes are (see `Acceptance.of_bytes`).

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
        batches = table.iter_batches(_ROWS, columns=[text, ident], use_threads=False)
        while True:
            try:
                batch = next(batches, None)
            except (OSError, pa.ArrowException):
                yield BadNote(f"{path.name}:{number + 1}", "the file is damaged from here on; the rest of it is not read")
                return
            if batch is None:
                return
            for value, name in zip(_values(batch.column(text)), _values(batch.column(ident)), strict=True):
                number += 1
                yield _note(value, name, f"{path.name}:{number}", acceptance)


def _values(column: Any) -> Iterator[Any]:
    """Strings, bytes, whole numbers and nulls of a column as Python has them; of a string that is not UTF-8 its bytes.

    One after the other, so that texts are not in memory twice. Values of other types, which are neither texts nor ids, are empty tuples.
    """
    import pyarrow as pa

    kinds = pa.types
    if kinds.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = column.type
    if kinds.is_string(kind) or kinds.is_large_string(kind) or kinds.is_string_view(kind):
        # one bad string would end a conversion of all
        for scalar in column.cast(pa.large_binary()):
            value = scalar.as_py()
            yield None if value is None else _decoded(value)
    elif (
        kinds.is_binary(kind)
        or kinds.is_large_binary(kind)
        or kinds.is_fixed_size_binary(kind)
        or kinds.is_integer(kind)
        or kinds.is_null(kind)
    ):
        yield from (scalar.as_py() for scalar in column)
    else:
        yield from [()] * len(column)


def _decoded(value: bytes) -> str | bytes:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


def _note(value: object, name: object, place: str, acceptance: Acceptance) -> Note | BadNote:
    if type(name) is int:
        name = str(name)
    elif isinstance(name, bytes):  # some programs write all strings so
        name = _decoded(name)
    if isinstance(name, bytes):
        return BadNote(place, "its id is not UTF-8")
    if not isinstance(name, str) or not name.strip():
        return BadNote(place, "its id is neither a string nor a number" if name == () else "its id is empty")
    name = name.strip()
    if isinstance(value, bytes):
        return acceptance.of_bytes(name, value)
    if value is None:
        return BadNote(name, "empty")
    return acceptance.of_text(name, value) if isinstance(value, str) else BadNote(name, "its text is no string")
