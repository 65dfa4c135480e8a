"""Parts of runs over samples of domains: what is stored comes back, and nothing else passes."""

from __future__ import annotations

import math
from pathlib import Path

import pyarrow as pa
import pytest
import store_runs

from actsim.errors import NumericError, ResumeError, UsageError
from actsim.store import Column, RunStore, TableLayout, open_run, open_table, study_in

COLUMNS = (
    Column("domain", "string"),
    Column("layer", "int32"),
    Column("size", "double"),
    Column("gini", "double", nullable=True),
    Column("counts", "list<int64>", width=2),
)
ROWS = ((("a", 1), ("a", 2)), (("b", 1), ("b", 2)))
CONFIG = {"study": "density", "settings": {"folds": 2}}


def layout(digest: str = "d1") -> TableLayout:
    groups = ((1, "all"), (2, "all"))
    return TableLayout(digest, groups, tuple(map(len, ROWS)), COLUMNS, ("domain", "layer"), ROWS)


def part(number: int, **columns: pa.Array) -> pa.Table:
    keys = ROWS[number][::-1]
    table = {
        "domain": pa.array([domain for domain, _ in keys]),
        "layer": pa.array([layer for _, layer in keys], pa.int32()),
        "size": pa.array([1.5, 2.5]),
        "gini": pa.array([0.5, math.nan]),
        "counts": pa.array([[1, 2], [3, 4]], pa.list_(pa.int64())),
    }
    return pa.table(table | columns)


def begin(directory: Path, digest: str = "d1", config: dict = CONFIG) -> RunStore:
    return RunStore.begin(directory, config, layout(digest), record={})


def write_run(directory: Path) -> None:
    with begin(directory) as store:
        for number in store.missing():
            store.write_part(number, part(number))
        store.finish(None, {"n": 4}, {"density.csv": "a,b\n"})


def opened(directory: Path, study: str = "density"):
    return open_table(directory, study, lambda config: COLUMNS, ("domain", "layer"))


def test_what_is_written_is_read_in_the_order_of_the_keys(tmp_path):
    write_run(tmp_path)
    run = opened(tmp_path)
    assert list(zip(run.table["domain"].to_pylist(), run.table["layer"].to_pylist(), strict=True)) == [
        key for part in ROWS for key in part
    ]
    assert run.table["gini"].to_pylist() == [None, 0.5, None, 0.5]
    assert run.table["counts"].to_pylist()[:2] == [[3, 4], [1, 2]]
    assert (run.summary, study_in(tmp_path)) == ({"n": 4}, "density")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": pa.array([1, 2])}, "columns"),
        ({"more": pa.array([1, 2])}, "columns"),
        ({"layer": pa.array([1, 1], pa.int32())}, "its rows are not the 2 of the part"),
        ({"domain": pa.array(["b", "b"])}, "its rows are not the 2 of the part"),
        ({"size": pa.array([1.0, None])}, "column size has a missing row"),
        ({"counts": pa.array([[1], [2, 3]], pa.list_(pa.int64()))}, "column counts must have 2 values in every row"),
    ],
)
def test_what_is_not_the_part_is_refused(tmp_path, changes, message):
    with begin(tmp_path) as store, pytest.raises(ValueError, match=message):
        store.write_part(0, part(0, **changes))


@pytest.mark.parametrize(("column", "value"), [("size", math.nan), ("size", math.inf), ("gini", math.inf)])
def test_a_number_that_is_none_names_its_row(tmp_path, column, value):
    with begin(tmp_path) as store, pytest.raises(NumericError, match=rf"domain a, layer 2, column {column}: (nan|inf)"):
        store.write_part(0, part(0, **{column: pa.array([value, 1.0])}))


def test_a_damaged_part_is_told_and_computed_again(tmp_path):
    with begin(tmp_path) as store:
        store.write_part(0, part(0))
        store.write_part(1, part(1))
    path = store_runs.part_file(tmp_path, 1)
    path.write_bytes(path.read_bytes()[:-1])
    with begin(tmp_path) as store:
        assert store.missing() == [1]
        assert [line.startswith(f"parts/{path.name} removed: ") for line in store.warnings] == [True]


def test_another_configuration_is_refused_with_what_differs(tmp_path):
    write_run(tmp_path)
    with pytest.raises(ResumeError, match=r"settings\.folds: 2 -> 3"):
        begin(tmp_path, "d2", {"study": "density", "settings": {"folds": 3}})


def test_a_run_of_another_command_is_no_run_of_this_one(tmp_path):
    write_run(tmp_path / "density")
    with pytest.raises(UsageError, match=r"is a run of actsim density; give the --out of an actsim eval"):
        open_run(tmp_path / "density")
    store_runs.score(tmp_path / "eval")
    with pytest.raises(UsageError, match=r"is a run of actsim eval; give the --out of an actsim density"):
        opened(tmp_path / "eval")
