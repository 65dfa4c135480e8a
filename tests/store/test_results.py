"""A run is complete with all its results; what is read is what was written."""

from __future__ import annotations

import errno
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from store_runs import (
    GROUPS,
    N_PAIRS,
    PART_PAIRS,
    RECORD,
    SUMMARY,
    TEXTS,
    content,
    make_config,
    make_pairs,
    make_table,
    manifest_of,
    open_store,
    pair_values,
    part_file,
    refused,
    score,
)

from actsim.errors import ResumeError, UsageError
from actsim.store import PairScores, open_run, replace_files


def test_a_run_is_complete_only_with_all_its_results(tmp_path, monkeypatch):
    directory = tmp_path / "run"
    replace = Path.replace

    def fail_on_summary(self: Path, target: Path) -> Path:
        if target.name == "summary.json":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return replace(self, target)

    score(directory)
    with monkeypatch.context() as patch, refused(ResumeError, "cannot write", "summary.json"):
        patch.setattr(Path, "replace", fail_on_summary)
        score(directory)
    assert manifest_of(directory)["status"] == "running"
    with refused(ResumeError, "has all its parts, but no results yet", "run the same command again"):
        open_run(directory)
    score(directory)
    assert open_run(directory).summary == SUMMARY


def test_finishing_again_drops_files_that_are_no_longer_results(run):
    with open_store(run) as store:
        store.finish(make_pairs(), SUMMARY, {"layers.csv": "new\n"})
    names = {path.name for path in run.iterdir()}
    assert names == {"manifest.json", ".lock", "parts", "pairs.parquet", "summary.json", "layers.csv"}
    assert (run / "layers.csv").read_text() == "new\n"
    assert manifest_of(run)["files"] == ["layers.csv", "pairs.parquet", "summary.json"]


@pytest.mark.parametrize("name", ["../out.csv", "a/b.csv", "", "..", "manifest.json", "summary.json", ".lock", "parts"])
def test_results_cannot_be_written_elsewhere_or_over_the_runs_own_files(run, finished, name):
    with open_store(run) as store, pytest.raises(ValueError, match="cannot be the name"):
        store.finish(make_pairs(), SUMMARY, {name: "x"})
    assert content(run) == content(finished)
    assert manifest_of(run)["status"] == "complete"


@pytest.mark.parametrize(
    ("pairs", "summary", "message"),
    [
        (make_pairs().head(3), SUMMARY, "3 rows of pairs for a run of 12"),
        (make_pairs(), {"spearman": math.nan}, "JSON compliant"),
    ],
)
def test_results_that_do_not_fit_leave_the_earlier_ones(run, finished, pairs, summary, message):
    with open_store(run) as store, pytest.raises(ValueError, match=message):
        store.finish(pairs, summary, TEXTS)
    assert content(run) == content(finished)


def test_a_closed_store_writes_nothing(tmp_path):
    with open_store(tmp_path) as store:
        pass
    before = manifest_of(tmp_path)
    store.close()
    with pytest.raises(ValueError, match="is closed"):
        store.write_part(1, make_table(PART_PAIRS[1]))
    with pytest.raises(ValueError, match="is closed"):
        store.missing()
    assert manifest_of(tmp_path) == before


def test_manifest_holds_configuration_plan_and_record(finished):
    manifest = manifest_of(finished)
    assert (manifest["format"], manifest["status"], manifest["n_parts"]) == (1, "complete", 5)
    assert manifest["config"] == make_config().to_dict()
    assert manifest["digest"] == make_config().digest()
    assert manifest["parts"] == [len(pairs) for pairs in PART_PAIRS]
    assert [(group["layer"], group["kind"]) for group in manifest["groups"]] == list(GROUPS)
    assert manifest["record"] == RECORD
    assert manifest["files"] == sorted([*TEXTS, "pairs.parquet", "summary.json"])


def test_what_is_known_late_joins_the_record(tmp_path):
    with open_store(tmp_path) as store:
        store.update_manifest(peak_memory=12, threads=4)
        assert manifest_of(tmp_path)["record"] == RECORD | {"peak_memory": 12, "threads": 4}


def test_rows_are_sorted_by_pair_and_equal_to_what_was_written(run):
    with open_store(run) as store:
        rows = store.read_parts()
    expected = make_table(list(range(N_PAIRS)))
    assert sorted(rows.schema.names) == sorted(expected.schema.names)
    assert rows.select(expected.schema.names).to_pylist() == expected.to_pylist()
    assert open_run(run).table.equals(rows)


def test_scores_by_layer_and_kind_are_the_values_of_their_groups(finished):
    run = open_run(finished)
    matrix = run.scores("ruzicka")
    expected = [pair_values(pair, "ruzicka", len(GROUPS)) for pair in range(N_PAIRS)]
    assert np.isnan(matrix).any()
    np.testing.assert_array_equal(matrix, np.array(expected, dtype=float))
    layers, kinds = run.layer_scores("ruzicka"), run.kind_scores("ruzicka")
    assert layers.columns.tolist() == [1, 2]
    assert kinds.columns.tolist() == [(1, "q"), (1, "up"), (2, "q"), (2, "up")]
    for index, (layer, kind) in enumerate(GROUPS):
        values = layers[layer] if kind == "all" else kinds[(layer, kind)]
        np.testing.assert_array_equal(values.to_numpy(), matrix[:, index])


def test_baselines_readouts_and_pairs_stand_in_the_order_of_the_pairs(finished):
    run = open_run(finished)
    expected = [pair_values(pair, "hidden_mean", 2) for pair in range(N_PAIRS)]
    hidden = run.hidden_scores("hidden_mean")
    assert hidden.columns.tolist() == [1, 2]
    np.testing.assert_array_equal(hidden.to_numpy(), np.array(expected, dtype=float))
    assert run.embedding_scores().tolist() == make_table(list(range(N_PAIRS)))["embedding"].to_pylist()
    readouts = run.readouts()
    assert readouts["tokens_a"].tolist() == [5 + pair for pair in range(N_PAIRS)]
    assert {"truncated_b", "readout_a"} <= set(readouts.columns)
    pd.testing.assert_frame_equal(run.pairs, make_pairs().rename_axis("pair"), check_dtype=False)
    assert run.baselines == ("hidden_mean", "embedding")


def test_names_that_are_not_stored_are_usage_errors_with_those_that_are(finished):
    run = open_run(finished)
    with refused(UsageError, "unknown measure of this run 'cosin'", "known: cosine, ruzicka", "Did you mean 'cosine'"):
        run.scores("cosin")
    with refused(UsageError, "no baseline 'hidden_last'", "stored: hidden_mean, embedding"):
        run.hidden_scores("hidden_last")
    bare = PairScores(run.table.drop_columns(["embedding"]), run.groups, run.measures)
    with refused(UsageError, "no baseline 'embedding'", "stored: hidden_mean"):
        bare.embedding_scores()


def test_reading_changes_nothing_and_does_not_need_the_lock(run):
    def state() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in run.rglob("*") if path.is_file()}

    part_file(run, 0).with_name("part-00000-0000000000000000.parquet").write_bytes(b"damaged, one too many")
    with open_store(run) as store:
        before = state()
        assert open_run(run).table.num_rows == N_PAIRS
        assert state() == before
        assert store.missing() == []


def test_opening_what_is_no_finished_run_says_what_it_is(tmp_path):
    with refused(UsageError, "no such directory"):
        open_run(tmp_path / "nowhere")
    with refused(UsageError, "is not an actsim run"):
        open_run(tmp_path)
    with open_store(tmp_path / "begun") as store:
        store.write_part(1, make_table(PART_PAIRS[1]))
    with refused(ResumeError, "is incomplete: parts missing: 4 of 5; run the same command again"):
        open_run(tmp_path / "begun")


@pytest.mark.parametrize(("name", "attribute"), [("summary.json", "summary"), ("pairs.parquet", "pairs")])
def test_a_damaged_or_missing_result_is_one_line(run, name, attribute):
    (run / name).write_bytes(b"{")
    with refused(ResumeError, f"{name} is damaged", "run the same command again"):
        getattr(open_run(run), attribute)
    (run / name).unlink()
    with refused(ResumeError, "cannot read", name, "No such file"):
        getattr(open_run(run), attribute)


def test_importing_the_store_is_cheap():
    code = "import actsim.store, sys; print({'pandas', 'pyarrow', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_files_of_a_finished_run_are_replaced_and_listed(tmp_path):
    score(tmp_path)
    before = content(tmp_path)
    replace_files(tmp_path, {"report.md": b"new", "page.html": b"page"})
    assert (tmp_path / "report.md").read_bytes() == b"new"
    assert {"page.html", "report.md", "layers.csv"} <= set(manifest_of(tmp_path)["files"])
    after = content(tmp_path)
    assert {name for name in after if after[name] != before.get(name)} == {"report.md", "page.html"}


def test_files_are_not_replaced_while_another_process_writes(tmp_path):
    score(tmp_path)
    with open_store(tmp_path), refused(ResumeError, "another process is writing"):
        replace_files(tmp_path, {"report.md": b"new"})
    assert (tmp_path / "report.md").read_bytes() != b"new"


@pytest.mark.parametrize("name", ["manifest.json", "pairs.parquet", "../report.md", ".lock"])
def test_files_that_are_the_run_itself_are_not_replaced(tmp_path, name):
    score(tmp_path)
    with pytest.raises(ValueError, match="cannot be the name"):
        replace_files(tmp_path, {name: b""})
