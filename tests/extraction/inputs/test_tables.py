"""Tables of notes: CSV, JSON lines, Parquet; good and bad rows."""

from __future__ import annotations

import builtins
import csv
import gzip
import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinical_ie.errors import SettingError
from clinical_ie.extraction.inputs import BadNote, Note, read
from tests.conftest import corpora_folder

NOTES = [("n1", 'Takes "aspirin",\r\ndaily\n\n😀 '), ("n2", "Fièvre;\tok"), ("n3", "plain")]


def good(path: Path, **settings: Any) -> list[tuple[str, str]]:
    notes = list(read(path, **settings))
    assert all(isinstance(note, Note) for note in notes), notes
    return [(note.id, note.text) for note in notes if isinstance(note, Note)]


def bad(path: Path, **settings: Any) -> dict[str, str]:
    return {note.id: note.reason for note in read(path, **settings) if isinstance(note, BadNote)}


def put(path: Path, data: str | bytes) -> Path:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def written(rows: list[Any], **dialect: Any) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, **dialect).writerows(rows)
    return text.getvalue()


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".csv.gz", ".TAB"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_csv(tmp_path: Path, ending: str, encoding: str) -> None:
    delimiter = "," if ".csv" in ending else "\t"
    data = written([("note_id", "seen", "TEXT"), *((name, "x", text) for name, text in NOTES)], delimiter=delimiter).encode(encoding)
    counts: Counter[str] = Counter()
    assert good(put(tmp_path / f"a{ending}", gzip.compress(data) if ending.endswith("gz") else data), counts=counts) == NOTES
    assert counts == ({f"read as {encoding}": 3} if encoding in ("utf-16", "utf-32") else {})


def test_csv_of_a_spreadsheet_with_semicolons(tmp_path: Path) -> None:
    assert good(put(tmp_path / "a.csv", "id;text\n1;37,5 Grad\n")) == [("1", "37,5 Grad")]


@given(st.lists(st.text(st.sampled_from('ab,"\r\n\t é😀\ufeff'), min_size=1, max_size=12).filter(lambda text: text.strip(" \r\n\t\ufeff"))))
def test_any_field_of_csv_comes_back_as_it_is(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    rows = [(f"n{rank}", text) for rank, text in enumerate(texts)]
    path = put(tmp_path_factory.mktemp("csv") / "a.csv", written([("id", "text"), *rows], quoting=csv.QUOTE_ALL))
    assert good(path) == rows


def test_bad_rows_of_csv_never_stop_the_others(tmp_path: Path) -> None:
    rows = [
        b"id,text,ward",
        b"n1,good,a",
        b"n2,too few",
        b"n3,too,many,fields",
        b'n4,"never ended,a',
        b"n5,good,a",
        b'n6,"said "ow" twice",a',
        b"n7,  ,a",
        b"n8,b\x00d,a",
        "n9,né à Zürich,a".encode("latin-1"),
        "n10,Больной жалуется,a".encode("cp1251"),
        b"n1,again,a",
        b",nameless,a",
        b"../n11,outside,a",
        b"",
        b'n12,"good\r\nline",a',
        b"n\xe9,bad id,a",
    ]
    path, counts = put(tmp_path / "a.csv", b"\n".join(rows)), Counter[str]()
    found = list(read(path, counts=counts))
    assert [(note.id, note.text) for note in found if isinstance(note, Note)] == [
        ("n1", "good"), ("n5", "good"), ("n9", "né à Zürich"), ("n12", "good\r\nline"),
    ]  # fmt: skip
    reasons = {note.id: note.reason for note in found if isinstance(note, BadNote)}
    expected = {
        "a.csv:3": "2 fields, expected 3 as in the header",
        "a.csv:4": "4 fields, expected 3 as in the header",
        "a.csv:5": "a quotation mark where none can stand",
        "a.csv:7": "a quotation mark where none can stand",
        "n7": "white space only",
        "n8": "character 1 is NUL",
        "n10": "byte 0 is not UTF-8",
        "n1": "a note before has the same id",
        "a.csv:13": "its id is empty",
        "../n11": "its id cannot be the name of a file",
        "a.csv:18": "its id is not utf-8",
    }
    assert reasons.keys() == expected.keys()
    assert all(reasons[name].startswith(reason) for name, reason in expected.items()), reasons
    assert counts == {"read as cp1252": 1}


def test_a_quotation_mark_that_nothing_ends_costs_its_row(tmp_path: Path) -> None:
    path = put(tmp_path / "a.csv", 'id,text\nn1,"lost\nn2,kept\nn3,kept\n')
    assert list(read(path)) == [
        BadNote("a.csv:2", 'a quotation mark where none can stand, or none where one must; expected "..." with "" for each inside'),
        Note("n2", "kept"),
        Note("n3", "kept"),
    ]


def test_a_table_that_is_cut_off(tmp_path: Path) -> None:
    data = gzip.compress(written([("id", "text"), *((f"n{rank}", f"text {rank}" * 50) for rank in range(2000))]).encode())
    found = list(read(put(tmp_path / "a.csv.gz", data[: len(data) // 2])))
    assert found[0] == Note("n0", "text 0" * 50)
    assert isinstance(found[-1], BadNote)
    assert found[-1].reason == "the file is damaged from here on; the rest of it is not read"


@pytest.mark.parametrize(
    ("header", "settings", "message"),
    [
        ("seen,words", {}, "which column holds the texts of notes. Name it with --text_column; its columns are 'seen', 'words'"),
        ("text,words", {}, "which column holds the ids of notes"),
        ("text,id", {"text_column": "txt"}, "--text_column is 'txt', but its columns are 'text', 'id'; did you mean 'text'"),
        ("text,id,text", {"text_column": "text"}, "2 columns have the name 'text'"),
        ("", {}, "the first line is empty"),
        ('"id" x,text', {}, "not CSV"),
        ("n1," + "A long note about a patient " * 4, {}, "2 that don't all look like names"),
    ],
)
def test_columns_that_cannot_be_told(tmp_path: Path, header: str, settings: dict[str, str], message: str) -> None:
    with pytest.raises(SettingError, match=message) as raised:
        read(put(tmp_path / "a.csv", f"{header}\n1,2\n"), **settings)  # type: ignore[arg-type]
    assert "patient" not in str(raised.value)


def test_columns_that_are_named(tmp_path: Path) -> None:
    path = put(tmp_path / "a.csv", "id,text,Words,row\n1,2,3,4\n")
    assert good(path, text_column="words", id_column="row") == [("4", "3")]


def test_the_index_that_pandas_writes_is_an_id(tmp_path: Path) -> None:
    assert good(put(tmp_path / "a.csv", ",transcription\n0,Fever\n")) == [("0", "Fever")]


def test_mtsamples() -> None:
    path = corpora_folder() / "mtsamples_subset" / "data" / "mtsamples.csv"
    if not path.exists():
        pytest.skip("MTSamples is not here")
    with path.open(newline="", encoding="utf-8") as file:
        rows = [(row[""], row["transcription"]) for row in csv.DictReader(file)]
    found = list(read(path))
    assert [(note.id, note.text) for note in found if isinstance(note, Note)] == [row for row in rows if row[1]]
    assert [note.id for note in found if isinstance(note, BadNote)] == [name for name, text in rows if not text]


def test_json_lines(tmp_path: Path) -> None:
    records = [{"document_id": name, "body": text, "seen": True} for name, text in NOTES] + [{"body": "number", "document_id": 4}]
    data = "\ufeff\n" + "\n\n".join(map(json.dumps, records))
    assert good(put(tmp_path / "a.jsonl", data)) == [*NOTES, ("4", "number")]
    assert good(put(tmp_path / "a.ndjson.gz", gzip.compress(data.encode()))) == [*NOTES, ("4", "number")]


def test_bad_lines_never_stop_the_others(tmp_path: Path) -> None:
    lines = [
        b"{not json",
        b'{"id": "n1", "text": "good"}',
        b"[]",
        b'{"id": "n2", "text": "f\xe9ver"}',
        b'{"id": "n3", "text": null}',
        b'{"id": "n4"}',
        b'{"text": "nameless"}',
        b'{"id": "n5", "text": "half \\ud83d"}',
        b'{"id": "n6", "text": 6}',
        b'{"id": "n7", "text": "' + b"x" * 101 + b'"}',
        b'{"id": "n8", "text": "' + b"x" * 2_000_000 + b'"}',
        b'{"id": "n9", "text": "good"}',
    ]
    path = put(tmp_path / "a.jsonl", b"\n".join(lines))
    found = list(read(path, most_characters=100))
    assert [note.id for note in found if isinstance(note, Note)] == ["n1", "n9"]
    reasons = {note.id: note.reason for note in found if isinstance(note, BadNote)}
    expected = {
        "a.jsonl:1": "not JSON",
        "a.jsonl:3": "no JSON object",
        "a.jsonl:4": "byte 23 of the line is not UTF-8",
        "n3": "empty",
        "n4": "its text is missing",
        "a.jsonl:7": "its id is missing",
        "a.jsonl:8": "half a surrogate pair",
        "n6": "its text is missing or no string",
        "n7": "101 characters, more than the limit of 100",
        "a.jsonl:11": "a line of more bytes than any note needs, more than the limit",
    }
    assert reasons.keys() == expected.keys()
    assert all(reasons[name].startswith(reason) for name, reason in expected.items()), reasons


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.binary()])
def test_parquet(tmp_path: Path, kind: pa.DataType) -> None:
    texts = [text.encode() if kind == pa.binary() else text for _, text in NOTES]
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"seen": [1, 2, 3], "note_text": pa.array(texts, kind), "note_id": [name for name, _ in NOTES]}), path)
    assert good(path) == NOTES


def test_bad_rows_of_parquet(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"id": [1, None, 3], "text": ["good", "nameless", None]}), path)
    assert list(read(path)) == [Note("1", "good"), BadNote("a.parquet:2", "its id is empty"), BadNote("3", "empty")]
    with pytest.raises(SettingError, match="cannot be read as Parquet"):
        read(put(tmp_path / "b.parquet", "no parquet"))


def test_strings_of_parquet_that_are_no_utf_8_stop_no_other(tmp_path: Path) -> None:
    """They ended everything with a traceback; now they are read, or not, as bytes of other files are."""
    texts = [b"good", b"caf\xe9 au lait", b"\x81\x8d\xff", "fi\u00e8vre".encode(), b"more"]
    ids = [b"a", b"b", b"c", b"d", b"\xe9"]
    path = tmp_path / "a.parquet"
    expected = [
        Note("a", "good"),
        Note("b", "caf\u00e9 au lait", {"encoding": "cp1252"}),
        BadNote("c", "byte 0 is not UTF-8, and the encoding cannot be told; convert it, or name it with --encoding"),
        Note("d", "fi\u00e8vre"),
        BadNote("a.parquet:5", "its id is not UTF-8"),
    ]
    for kind in (pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string()), pa.binary()):
        strings = [pa.array(values, pa.large_binary() if kind == pa.large_string() else pa.binary()) for values in (ids, texts)]
        if pa.types.is_dictionary(kind):
            columns = [values.view(pa.string()).dictionary_encode() for values in strings]
        else:
            columns = [values.view(kind) for values in strings]
        pq.write_table(pa.table(columns, ["id", "text"]), path)
        assert list(read(path)) == expected, kind


def test_other_types_of_parquet_are_no_texts_and_no_ids(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"id": [1.5, 2.5], "text": ["a", "b"]}), path)
    assert bad(path) == {f"a.parquet:{row}": "its id is neither a string nor a number" for row in (1, 2)}
    pq.write_table(pa.table({"id": [1, 2], "text": [["a"], None]}), path)
    assert bad(path) == dict.fromkeys(("1", "2"), "its text is no string")


def test_a_damaged_group_of_parquet_ends_its_file_alone(tmp_path: Path) -> None:
    table = pa.table({"id": [f"n{number}" for number in range(40)], "text": [f"Note {number} says so." * 9 for number in range(40)]})
    path = tmp_path / "a.parquet"
    pq.write_table(table, path, row_group_size=10, compression="zstd")
    column = pq.ParquetFile(path).metadata.row_group(2).column(1)
    data = bytearray(path.read_bytes())
    data[column.data_page_offset : column.data_page_offset + column.total_compressed_size // 2] = b"\xff" * (
        column.total_compressed_size // 2
    )
    path.write_bytes(data)
    put(tmp_path / "b.csv", "id,text\nlast,One\n")
    found = list(read(tmp_path))
    good_ones = [note.id for note in found if isinstance(note, Note)]
    assert good_ones == [*table["id"].to_pylist()[: len(good_ones) - 1], "last"]
    assert [note for note in found if isinstance(note, BadNote)] == [
        BadNote(f"a.parquet:{len(good_ones)}", "the file is damaged from here on; the rest of it is not read")
    ]


def test_parquet_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *arguments: Any) -> Any:
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(SettingError, match=r"pip install 'clinical_ie\[tables\]'"):
        read(put(tmp_path / "a.parquet", ""))


def test_a_folder_of_tables(tmp_path: Path) -> None:
    put(tmp_path / "part-0.csv", "id,text\n1,One\n")
    put(tmp_path / "part-1.jsonl", '{"id": 2, "text": "Two"}\n')
    put(tmp_path / "part-2.csv", "a,b\n1,One\n")
    put(tmp_path / "_SUCCESS", "")
    found = list(read(tmp_path))
    assert found[:2] == [Note("1", "One"), Note("2", "Two")]
    assert isinstance(found[2], BadNote)
    assert found[2].id == "part-2.csv"


def test_tables_beside_txt_files_are_no_notes(tmp_path: Path) -> None:
    put(tmp_path / "a.txt", "One")
    put(tmp_path / "metadata.csv", "a,b\n1,2\n")
    assert list(read(tmp_path)) == [Note("a", "One")]
