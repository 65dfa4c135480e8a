"""Rows are joined as they are stored; the split is the test split; files are taken as they are."""

from __future__ import annotations

import json

import pytest

from actsim.data.running_text import load_running_text
from actsim.errors import DataError, UsageError

ROWS = ["", " = A small river = \n", "", " The river runs under two bridges . \n", " It is quiet . \n"]


@pytest.fixture
def folder(tmp_path):
    for corpus, split, rows in (
        ("wikitext2", "test", ROWS),
        ("wikitext2", "train", ["a"]),
        ("c4", "validation", ["b"]),
    ):
        path = tmp_path / "domains" / corpus / f"{split}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps({"text": row}) + "\n" for row in rows), encoding="utf-8")
    return tmp_path


def test_rows_are_joined_by_blank_lines_with_their_own_line_ends_and_empty_rows(folder):
    found = load_running_text("wikitext2", data_dir=folder)
    assert found.text == "\n\n".join(ROWS)
    assert (found.name, found.split, found.rows) == ("wikitext2", "test", 5)
    assert found.identity()["characters"] == len(found.text)


def test_a_corpus_without_a_test_split_is_read_from_its_validation_split(folder):
    assert load_running_text("c4", data_dir=folder).text == "b"
    assert load_running_text("wikitext2:train", data_dir=folder).text == "a"


def test_files_are_taken_as_they_are(tmp_path):
    (tmp_path / "notes.txt").write_text("One line.\nAnother.\n", encoding="utf-8")
    (tmp_path / "more.txt").write_text("A third.", encoding="utf-8")
    assert load_running_text(str(tmp_path / "notes.txt")).text == "One line.\nAnother."
    assert load_running_text(f"mine={tmp_path}/*.txt").text == "A third.\n\nOne line.\nAnother."


def test_a_column_of_a_table_is_joined_repeated_rows_too(tmp_path):
    (tmp_path / "rows.csv").write_text("body,n\nx,1\ny,2\nx,3\n", encoding="utf-8")
    found = load_running_text(f"{tmp_path / 'rows.csv'}:body")
    assert (found.name, found.text, found.rows) == ("rows.csv", "x\n\ny\n\nx", 3)


@pytest.mark.parametrize(
    ("spec", "error", "says"),
    [
        ("wikitext", UsageError, "Did you mean 'wikitext2'"),
        ("wikitext2:dev", UsageError, "split of wikitext2"),
        ("nowhere.txt", UsageError, "no such file"),
        ("wikitext2:validation", UsageError, "no file for the split"),
        ("hellaswag", DataError, "no such folder"),
    ],
)
def test_what_cannot_be_read_is_refused(folder, spec, error, says):
    with pytest.raises(error, match=says):
        load_running_text(spec, data_dir=folder)
