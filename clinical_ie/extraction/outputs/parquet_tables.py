"""Parquet tables of mentions, links and attributes, with the columns of the CSV tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, ClassVar, get_type_hints

from clinical_ie.document import Document
from clinical_ie.errors import SettingError
from clinical_ie.extraction.outputs.rows import AttributeRow, LinkRow, MentionRow, attribute_rows, link_rows, mention_rows
from clinical_ie.extraction.outputs.writer import Origin, PartWriter

_ROWS = 16_384
"""Of a row group, which is what is held in memory."""


class ParquetTables(PartWriter):
    """Each folder is a data set: ``pandas.read_parquet(folder)`` reads all its parts.

    Raises:
        SettingError: pyarrow is not installed.
    """

    places: ClassVar[tuple[str, ...]] = ("mentions/part-", "links/part-", "attributes/part-")
    ending: ClassVar[str] = ".parquet"

    def __init__(self, folder: Path, origin: Origin | None = None, counts: Counter[str] | None = None) -> None:
        super().__init__(folder, origin, counts)
        try:
            import pyarrow  # noqa: F401 (is it there?)
        except ImportError:
            raise SettingError("Parquet tables need pyarrow: pip install 'clinical_ie[tables]'") from None
        self._tables: list[_Table] = []

    def begin(self, files: list[IO[bytes]]) -> None:
        """Start the three tables."""
        kinds = (MentionRow, LinkRow, AttributeRow)
        self._tables = [_Table(file, get_type_hints(kind)) for file, kind in zip(files, kinds, strict=True)]

    def add(self, document: Document, meta: Mapping[str, str]) -> None:
        """Take the rows of a document."""
        for table, rows in zip(self._tables, (mention_rows, link_rows, attribute_rows), strict=True):
            table.rows.extend(rows(document))
            if len(table.rows) >= _ROWS:
                table.flush()

    def end(self) -> None:
        """Write what is left, and the metadata."""
        for table in self._tables:
            table.close()

    def abandon(self) -> None:
        """Let go of the part."""
        self.end()
        super().abandon()


class _Table:
    def __init__(self, file: IO[bytes], columns: Mapping[str, Any]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        kinds = {str: (pa.string(), False), str | None: (pa.string(), True), int: (pa.int64(), False), float | None: (pa.float64(), True)}
        self.schema = pa.schema([pa.field(name, *kinds[kind]) for name, kind in columns.items()])
        self.writer: Any = pq.ParquetWriter(file, self.schema)
        self.rows: list[tuple[Any, ...]] = []

    def flush(self) -> None:
        """Write a row group."""
        import pyarrow as pa

        columns = list(zip(*self.rows, strict=True)) or [()] * len(self.schema)
        arrays = [pa.array(column, field.type) for column, field in zip(columns, self.schema, strict=True)]
        self.writer.write_table(pa.Table.from_arrays(arrays, schema=self.schema))
        self.rows.clear()

    def close(self) -> None:
        """Write the rest and the footer."""
        if self.rows:
            self.flush()
        self.writer.close()
