from __future__ import annotations

import csv
import hashlib
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actsim.data.files import FORMATS, Table, parse_csv, parse_jsonl, parse_parquet, parse_tsv, read_table
from actsim.errors import DataError, UsageError

characters = st.characters(codec="utf-8")
any_text = st.text(characters)
odd_texts = [
    "NA",
    "null",
    "None",
    "nan",
    "",
    " edge ",
    "&amp;",
    "\u00a0x\u200b",
    "a\u0085b\u2028c",
    "\x0c\x1c\x00",
    '"open',
]
rows_of_text = st.lists(st.tuples(any_text, st.sampled_from(odd_texts)), min_size=1, max_size=6)
rows_for_tsv = st.lists(
    st.tuples(st.text(st.characters(codec="utf-8", exclude_characters="\t\n\r"), min_size=1), st.just("x")),
    min_size=1,
    max_size=6,
)


def columns_of(rows: list[tuple[str, str]]) -> dict[str, list[str]]:
    return {"a": [row[0] for row in rows], "b": [row[1] for row in rows]}


@given(rows_of_text)
def test_jsonl_gives_texts_back_unchanged(rows: list[tuple[str, str]]) -> None:
    data = "".join(json.dumps({"a": a, "b": b}, ensure_ascii=False) + "\n" for a, b in rows).encode()
    assert parse_jsonl(data, "x.jsonl").columns == columns_of(rows)


@given(rows_of_text)
def test_parquet_gives_texts_back_unchanged(rows: list[tuple[str, str]]) -> None:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns_of(rows)), sink)
    assert parse_parquet(sink.getvalue(), "x.parquet").columns == columns_of(rows)


@given(rows_for_tsv, st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_tsv_gives_texts_back_unchanged(rows: list[tuple[str, str]], end: str, bom: bool) -> None:
    data = end.join(["a\tb", *("\t".join(row) for row in rows), ""]).encode("utf-8-sig" if bom else "utf-8")
    assert parse_tsv(data, "x.tsv").columns == columns_of(rows)


@given(rows_of_text, st.sampled_from(["\n", "\r\n"]))
def test_csv_gives_quoted_texts_back_unchanged(rows: list[tuple[str, str]], end: str) -> None:
    sink = io.StringIO(newline="")
    csv.writer(sink, quoting=csv.QUOTE_ALL, lineterminator=end).writerows([("a", "b"), *rows])
    assert parse_csv(sink.getvalue().encode(), "x.csv").columns == columns_of(rows)


def test_tsv_takes_unbalanced_quotes_as_text() -> None:
    table = parse_tsv(b'a\tb\n"open\tsays "hi\n', "x.tsv")
    assert table.columns == {"a": ['"open'], "b": ['says "hi']}


def test_only_line_feeds_end_a_line() -> None:
    text = "form\x0cfeed\x0b\x1c\x1d\x1e\u0085\u2028\u2029cr\rx"
    assert parse_tsv(f"a\tb\n{text}\ty\n".encode(), "x.tsv").columns["a"] == [text]
    assert parse_jsonl(f'{{"a": "{text}"}}\n'.encode(), "x.jsonl").columns["a"] == [text]


@pytest.mark.parametrize("parse", [parse_csv, parse_tsv, parse_jsonl])
def test_invalid_utf8_names_line_and_offset(parse) -> None:
    data = b"\xef\xbb\xbfa\tb\nx\ty\ncaf\xe9\tz\n"
    offset = data.index(b"\xe9")
    with pytest.raises(DataError, match=rf"x\.txt: line 3: byte 0xe9 at offset {offset} is not UTF-8"):
        parse(data, "x.txt")


def test_rows_know_their_lines_although_a_field_has_line_ends() -> None:
    table = parse_csv(b'a,b\n"one\n\ntwo",x\nthree,y\n', "x.csv")
    assert table.where(0) == "x.csv: data row 1 (line 2)"
    assert table.where(1) == "x.csv: data row 2 (line 5)"


@pytest.mark.parametrize(
    ("parse", "data", "message"),
    [
        (parse_tsv, b"a\tb\nx\ty\nx\n", "line 3 has 1 fields, the header has 2"),
        (parse_csv, b"a,b\nx,y\nx,y,z\n", "line 3 has 3 fields, the header has 2"),
        (parse_csv, b"a,b\n\nx,y\n", "line 2 has 0 fields"),
        (parse_csv, b'a,b\nx,y\n"open,y\n', "line 3: not valid csv"),
        (parse_csv, b'a,b\n"x"y,z\n', "line 2: not valid csv"),
        (parse_csv, b"", "the file is empty"),
        (parse_tsv, b"\n\n", "the file is empty"),
        (parse_tsv, b"a\ta\nx\ty\n", "names the column 'a' twice"),
        (parse_jsonl, b'{"a": 1}\n{"a": \n', "line 2: not valid JSON"),
        (parse_jsonl, b'[{"a": 1}]\n', "line 1: a JSON list, not an object"),
        (parse_parquet, b"PAR1 no", "not a readable parquet file"),
    ],
)
def test_a_malformed_file_is_an_error_in_one_line(parse, data: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        parse(data, "x")
    assert "\n" not in str(caught.value)


def test_blank_lines_at_the_end_are_left_out() -> None:
    for parse, data in (
        (parse_csv, b"a,b\nx,y\n\n\n"),
        (parse_tsv, b"a\tb\r\nx\ty\r\n\r\n"),
        (parse_jsonl, b'{"a":1}\n\n'),
    ):
        assert len(parse(data, "x")) == 1


def test_a_key_missing_in_one_line_is_a_missing_value() -> None:
    assert parse_jsonl(b'{"a": 1}\n{"b": 2, "a": null}\n', "x").columns == {"a": [1, None], "b": [None, 2]}


def test_float32_columns_give_the_decimals_that_were_stored() -> None:
    sink = io.BytesIO()
    pq.write_table(pa.table({"score": pa.array([3.6, None, 1.1, 4.0], type=pa.float32())}), sink)
    assert parse_parquet(sink.getvalue(), "x").columns == {"score": [3.6, None, 1.1, 4.0]}


def test_read_table_records_the_hash_of_the_file(tmp_path) -> None:
    path = tmp_path / "pairs.TSV"
    path.write_bytes(b"a\tb\nx\ty\n")
    table = read_table(path)
    assert table.label == "pairs.TSV"
    assert table.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_read_table_refuses_an_unknown_ending_and_lists_the_known(tmp_path) -> None:
    path = tmp_path / "pairs.xlsx"
    path.write_bytes(b"")
    with pytest.raises(UsageError) as caught:
        read_table(path)
    assert all(ending in str(caught.value) for ending in FORMATS)


def test_an_empty_table_has_no_rows() -> None:
    assert len(Table("x", {})) == 0
