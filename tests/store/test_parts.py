"""A part is exactly the rows it should be, or it is refused; a damaged file is found, reported and computed again."""

from __future__ import annotations

import hashlib
import io
import math
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_runs import (
    PART_PAIRS,
    SUMMARY,
    TEXTS,
    content,
    make_pairs,
    make_table,
    open_store,
    part_file,
    refused,
    score,
)

from actsim.config import RunConfig, Scoring
from actsim.errors import NumericError, ResumeError
from actsim.store import RunStore, open_run


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_one_changed_byte_anywhere_in_a_part_is_detected(finished, data):
    part = data.draw(st.integers(0, len(PART_PAIRS) - 1))
    original = part_file(finished, part).read_bytes()
    offset = data.draw(st.integers(0, len(original) - 1))
    damaged = bytearray(original)
    damaged[offset] ^= data.draw(st.integers(1, 255))
    with tempfile.TemporaryDirectory() as folder:
        with open_store(Path(folder)) as store:
            store.write_part(part, make_table(PART_PAIRS[part]))
            path = part_file(Path(folder), part)
            assert path.read_bytes() == original
            path.write_bytes(damaged)
            assert store.missing() == list(range(len(PART_PAIRS)))
            assert store.warnings == [f"parts/{path.name} removed: its checksum does not fit its name."]
        assert not path.exists()


@pytest.mark.parametrize("kept", [0, 4, 0.5, 0.99])
def test_a_truncated_part_is_removed_reported_and_computed_again(run, finished, kept):
    path = part_file(run, 2)
    data = path.read_bytes()
    path.write_bytes(data[: int(kept if kept >= 1 else kept * len(data))])
    with refused(ResumeError, "parts missing: 1 of 5", "damaged files: 1", "run the same command again"):
        open_run(run)
    with open_store(run) as store:
        assert store.missing() == [2]
        assert len(store.warnings) == 1
        assert "\n" not in store.warnings[0]
    score(run)
    assert content(run) == content(finished)


def test_a_missing_part_is_computed_again(run, finished):
    part_file(run, 3).unlink()
    with open_store(run) as store:
        assert store.missing() == [3]
        assert store.warnings == []
        with refused(ResumeError, r"parts missing: 1 of 5 \(3\)"):
            store.read_parts()
        with refused(ResumeError, "parts missing: 1 of 5;"):
            store.finish(make_pairs(), SUMMARY, TEXTS)
    score(run)
    assert content(run) == content(finished)


def rename_to_fit(path: Path, data: bytes, part: int) -> None:
    path.with_name(f"part-{part:05d}-{hashlib.sha256(data).hexdigest()[:16]}.parquet").write_bytes(data)


def test_a_part_under_another_number_or_beyond_the_last_is_removed(run):
    path = part_file(run, 1)
    data = path.read_bytes()
    path.unlink()
    rename_to_fit(path, data, 3)
    rename_to_fit(path, data, 5)
    with open_store(run) as store:
        assert store.missing() == [1]
        assert ["another part's number" in line for line in store.warnings] == [True, False]
        assert "only 5 parts" in store.warnings[1]


def test_a_part_of_another_configuration_is_removed(run, tmp_path):
    with open_store(tmp_path / "other", "next-token") as store:
        store.write_part(1, make_table(PART_PAIRS[1]))
    stranger = part_file(tmp_path / "other", 1)
    part_file(run, 1).unlink()
    (run / "parts" / stranger.name).write_bytes(stranger.read_bytes())
    with open_store(run) as store:
        assert store.missing() == [1]
        assert "another run's digest" in store.warnings[0]


def change_rows(table: pa.Table) -> pa.Table:
    return table.set_column(0, "pair", pa.array([*table["pair"].to_pylist()[:-1], 0], pa.int32()))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda table: table.slice(1), "rows that are not the 4 pairs"),
        (change_rows, "rows that are not the 4 pairs"),
        (lambda table: table.drop_columns(["cosine"]), "columns are missing: cosine"),
        (lambda table: table.drop_columns(["embedding"]), "columns are not those of the other parts"),
        (lambda table: table.append_column("other", table["pair"]), "unexpected columns: other int32"),
    ],
)
def test_a_part_with_the_right_checksum_but_other_rows_or_columns_is_removed(run, change, reason):
    path = part_file(run, 2)
    sink = io.BytesIO()
    pq.write_table(change(pq.read_table(path)), sink)
    path.unlink()
    rename_to_fit(path, sink.getvalue(), 2)
    with open_store(run) as store:
        assert store.missing() == [2]
        assert reason in store.warnings[0]


def test_a_reader_refuses_parts_that_hold_a_pair_twice(run):
    path = part_file(run, 2)
    sink = io.BytesIO()
    pq.write_table(change_rows(pq.read_table(path)), sink)
    path.unlink()
    rename_to_fit(path, sink.getvalue(), 2)
    with refused(ResumeError, "do not hold each of 12 rows exactly once"):
        open_run(run)


def test_a_valid_checksum_over_something_else_than_parquet_is_removed(run):
    path = part_file(run, 0)
    path.unlink()
    rename_to_fit(path, b"PAR1 but not really", 0)
    with open_store(run) as store:
        assert store.missing() == [0]
        assert "not a parquet file" in store.warnings[0]


def test_of_two_files_for_a_part_the_valid_one_wins(run, finished):
    path = part_file(run, 2)
    for digits in ("0" * 16, "f" * 16):  # one sorts before, one after the valid file
        path.with_name(f"part-00002-{digits}.parquet").write_bytes(path.read_bytes())
    with open_store(run) as store:
        assert store.missing() == []
        assert len(store.warnings) == 2
    assert content(run) == content(finished)


def test_of_two_valid_files_for_a_part_one_is_kept(run):
    path = part_file(run, 1)
    table = pq.read_table(path)
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="none")
    rename_to_fit(path, sink.getvalue(), 1)
    assert len(list(path.parent.glob("part-00001-*"))) == 2
    with open_store(run) as store:
        assert store.missing() == []
        assert "another valid file holds the same part" in store.warnings[0]
    assert part_file(run, 1).exists()


def test_writing_a_part_again_replaces_its_file(run):
    old = part_file(run, 1)
    with open_store(run) as store:
        store.write_part(1, make_table([7], embedding=pa.array([0.25])))
        assert store.missing() == []
        assert store.warnings == []
        assert store.read_parts()["embedding"][7].as_py() == 0.25
    assert part_file(run, 1) != old


def test_bytes_of_a_part_do_not_depend_on_the_order_of_rows_and_columns_or_on_chunks(tmp_path):
    table = make_table(PART_PAIRS[2])
    turned = table.take([3, 1, 0, 2]).select(table.schema.names[::-1])
    chunked = pa.concat_tables([turned.slice(0, 1), turned.slice(1)])
    names = set()
    for index, variant in enumerate((table, turned, chunked)):
        with open_store(tmp_path / str(index)) as store:
            store.write_part(2, variant)
        names.add(part_file(tmp_path / str(index), 2).name)
    assert len(names) == 1


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"pair": pa.array([4, 0, 8], pa.int32())}, "not the 3 pairs"),
        ({"pair": pa.array([4, 0, 0], pa.int32())}, "not the 3 pairs"),
        ({"pair": pa.array([4, 0, 9], pa.int64())}, "unexpected columns: pair int64"),
        ({"pair": pa.array([4, 0, None], pa.int32())}, "pair has a missing row"),
        ({"cosine": pa.array([[1.0]] * 3)}, "cosine must have 6 values in every row"),
        ({"cosine": pa.array([[1.0] * 6, None, [1.0] * 6])}, "cosine has a missing row"),
        ({"cosine": pa.array([0.1, 0.2, 0.3])}, "unexpected columns: cosine double"),
        ({"cosine": pa.array([[1.0] * 6] * 3, pa.list_(pa.float32()))}, "unexpected columns: cosine list<"),
        ({"hidden_mean": pa.array([[1.0] * 3] * 3)}, "hidden_mean must have 2 values"),
        ({"jaccard": pa.array([[1.0] * 6] * 3)}, "unexpected columns: jaccard"),
        ({"readout_a": pa.array([1.0, None, 2.0])}, "readout_a has a missing row"),
    ],
)
def test_a_part_that_breaks_the_layout_is_refused_and_not_written(tmp_path, columns, message):
    with open_store(tmp_path) as store:
        with pytest.raises(ValueError, match=message):
            store.write_part(0, make_table(PART_PAIRS[0], **columns))
        assert store.missing() == list(range(5))


def test_a_part_with_other_columns_than_the_rest_is_refused(tmp_path):
    with open_store(tmp_path) as store:
        store.write_part(0, make_table(PART_PAIRS[0]))
        with pytest.raises(ValueError, match="other parts have"):
            store.write_part(1, make_table(PART_PAIRS[1]).drop_columns(["embedding"]))
    with open_store(tmp_path) as store:
        assert store.missing() == [1, 2, 3, 4]
        with pytest.raises(ValueError, match="other parts have"):
            store.write_part(1, make_table(PART_PAIRS[1]).drop_columns(["hidden_mean"]))


@pytest.mark.parametrize("number", [-1, 5])
def test_a_part_number_outside_the_plan_is_refused(tmp_path, number):
    with open_store(tmp_path) as store, pytest.raises(ValueError, match="the run has parts 0 … 4"):
        store.write_part(number, make_table([0]))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"cosine": pa.array([[0.0] * 6, [0.0] * 5 + [math.inf], [0.0] * 6])}, "pair 4, column cosine: inf"),
        ({"readout_b": pa.array([0.0, math.nan, 0.0])}, "pair 0, column readout_b: nan"),
        ({"embedding": pa.array([-math.inf, 0.0, 0.0])}, "pair 4, column embedding: -inf"),
    ],
)
def test_a_value_that_is_not_finite_is_a_numeric_error_with_the_pair(tmp_path, columns, message):
    if "cosine" in columns:  # rows are given in the order 4, 0, 9
        columns = {"cosine": columns["cosine"].take(pa.array([1, 0, 2]))}
    with open_store(tmp_path) as store, refused(NumericError, message):
        store.write_part(0, make_table(PART_PAIRS[0], **columns))


def test_nan_where_a_score_may_be_undefined_is_stored_as_null(tmp_path):
    scores = [[math.nan, 1.0, 2.0, 3.0, 4.0, None]]
    with open_store(tmp_path) as store:
        store.write_part(1, make_table([7], cosine=pa.array(scores), embedding=pa.array([math.nan])))
    row = pq.read_table(part_file(tmp_path, 1)).to_pylist()[0]
    assert row["cosine"] == [None, 1.0, 2.0, 3.0, 4.0, None]
    assert row["embedding"] is None


FINITE = st.floats(allow_nan=False, allow_infinity=False, width=64)


@settings(deadline=None, max_examples=40)
@given(
    values=st.lists(st.lists(FINITE | st.none(), min_size=2, max_size=2), min_size=1, max_size=5),
    texts=st.data(),
)
def test_any_finite_number_null_and_text_comes_back_bit_for_bit(values, texts):
    n = len(values)
    sentences = texts.draw(st.lists(st.text(), min_size=n, max_size=n))
    columns = {"cosine": pa.array(values, pa.list_(pa.float64()))}
    columns |= {f"tokens_{side}": pa.array([1] * n, pa.int32()) for side in "ab"}
    columns |= {f"truncated_{side}": pa.array([False] * n) for side in "ab"}
    columns |= {f"readout_{side}": pa.array([row[0] or 0.0 for row in values]) for side in "ab"}
    config = RunConfig({"name": "made-up"}, {"name": "tiny"}, Scoring("nll"))
    with tempfile.TemporaryDirectory() as folder:
        options = {"groups": [(1, "all"), (1, "q")], "part_pairs": [list(range(n))], "record": {"texts": sentences}}
        with RunStore.open(folder, config, **options) as store:
            store.write_part(0, pa.table({"pair": pa.array(range(n), pa.int32()), **columns}))
            store.finish(pd.DataFrame({"id": sentences, "sentence_a": sentences}), {"notes": sentences}, {})
        run = open_run(folder)
        expected = np.array([[math.nan if value is None else value for value in row] for row in values])
        assert run.scores("cosine").tobytes() == expected.tobytes()
        assert run.pairs["id"].tolist() == run.pairs["sentence_a"].tolist() == sentences
        assert run.summary["notes"] == run.manifest["record"]["texts"] == sentences


@pytest.mark.parametrize("parts", [[], [[0], []], [[0, 1], [1]], [[1, 2]], [[0], [2]]])
def test_a_plan_that_does_not_split_the_pairs_is_refused_before_anything_is_made(tmp_path, parts):
    with pytest.raises(ValueError, match="the parts must split the pairs"):
        open_store(tmp_path / "run", part_pairs=parts)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("groups", [[], [(1, "q")], [(2, "all"), (1, "all")], [(1, "all")] * 2, [(1, "q"), (1, "all")]])
def test_groups_out_of_order_are_refused_before_anything_is_made(tmp_path, groups):
    with pytest.raises(ValueError, match="groups must be distinct"):
        open_store(tmp_path / "run", groups=groups)
    assert not (tmp_path / "run").exists()
