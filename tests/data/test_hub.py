"""Hub data sets, read out of a hub cache that is laid out here; no test needs a network."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hub_cache import add_snapshot

from actsim.data.benchmarks import PARQUET_REF, SICK, STS_B
from actsim.data.hub import read_snapshot
from actsim.data.pairs import load_pairs
from actsim.errors import DataError, UsageError

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache, and no network."""
    monkeypatch.delenv("ACTSIM_DATA_DIR", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "datasets")
    return tmp_path / "hub"


def stsb_rows(count: int, word: str) -> list[dict[str, object]]:
    return [{"sentence1": f"{word} {row}", "sentence2": " NA ", "score": 5 * row / (count - 1)} for row in range(count)]


def jsonl_gz(rows: list[dict[str, object]]) -> bytes:
    return gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode())


def sick_parquet(count: int) -> bytes:
    gold = [1 + (row % 41) / 10 for row in range(count)]
    table = pa.table(
        {
            "sentence_pair_id": pa.array(range(1, count + 1), type=pa.int64()),
            "premise": [f"First {row}" for row in range(count)],
            "hypothesis": [f"Second {row}" for row in range(count)],
            "relatedness_score": pa.array(gold, type=pa.float32()),
        }
    )
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return sink.getvalue().to_pybytes()


def test_the_pinned_commit_is_read_though_a_newer_one_is_cached(cache: Path) -> None:
    pinned = {"test.jsonl.gz": jsonl_gz(stsb_rows(1379, "Pinned")), "train.jsonl.gz": jsonl_gz(stsb_rows(4, "Train"))}
    add_snapshot(cache, "mteb/stsbenchmark-sts", str(STS_B.hub_revision), pinned)
    add_snapshot(cache, "mteb/stsbenchmark-sts", COMMIT, {"test.jsonl.gz": jsonl_gz(stsb_rows(9, "Newer"))}, "main")
    pairs = load_pairs("sts-b")
    assert pairs.sentences_a[:2] == ("Pinned 0", "Pinned 1")
    assert set(pairs.sentences_b) == {" NA "}
    assert pairs.source == {
        "kind": "hub",
        "path": "mteb/stsbenchmark-sts",
        "revision": STS_B.hub_revision,
        "revision_asked": STS_B.hub_revision,
        "sha256": None,
        "release": "stsbenchmark",
    }
    newer = load_pairs("sts-b", revision="main")
    assert newer.source["revision"] == COMMIT
    assert newer.source["release"] == "unknown, 9 rows"
    assert newer.sentences_a[0] == "Newer 0"


def test_a_moving_ref_is_recorded_as_the_commit_it_stood_for(cache: Path) -> None:
    files = {f"default/{split}/0000.parquet": sick_parquet(rows) for split, rows in SICK.release().rows.items()}
    add_snapshot(cache, str(SICK.hub_id), COMMIT, files, PARQUET_REF)
    pairs = load_pairs("sick")
    assert len(pairs) == 4927
    assert pairs.source["revision"] == COMMIT
    assert pairs.source["revision_asked"] == PARQUET_REF
    assert pairs.identity()["release"] == "semeval"
    assert pairs.ids[:2] == ("1", "2")
    np.testing.assert_array_equal(pairs.gold, [1 + (row % 41) / 10 for row in range(4927)])
    again = load_pairs("sick", revision=COMMIT)
    assert again.identity() == pairs.identity()


def test_hub_and_local_copies_of_one_split_have_one_identity(cache: Path, tmp_path: Path) -> None:
    add_snapshot(cache, "RobZamp/sick", COMMIT, {"default/validation/0000.parquet": sick_parquet(495)}, PARQUET_REF)
    (tmp_path / "local" / "sick").mkdir(parents=True)
    with (tmp_path / "local" / "sick" / "validation.tsv").open("w") as file:
        file.write("id\tsentence_A\tsentence_B\trelatedness_score\n")
        for row in range(495):
            file.write(f"{row + 1}\tFirst {row}\tSecond {row}\t{1 + row % 41 // 10}.{row % 41 % 10}\n")
    hub = load_pairs("sick", "validation", release="hub")
    assert hub.identity() == load_pairs("sick", "validation", data_dir=tmp_path / "local").identity()


def test_data_that_is_not_cached_is_an_error_with_a_way_out(cache: Path) -> None:
    with pytest.raises(
        DataError, match=r"set --data-dir or ACTSIM_DATA_DIR to a folder with stsb/test\.jsonl"
    ) as caught:
        load_pairs("sts-b")
    assert "\n" not in str(caught.value)
    assert str(STS_B.hub_revision) in str(caught.value)


def test_a_split_that_is_not_there_lists_those_found(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "train.jsonl").write_text('{"a": "x"}\n')
    (tmp_path / "set" / "test.jsonl").write_text('{"a": "y"}\n')
    with pytest.raises(UsageError, match="unknown split of set 'validation'; known: train, test"):
        read_snapshot(tmp_path / "set", "validation", "set")
    assert read_snapshot(tmp_path / "set", "test", "set").columns == {"a": ["y"]}


def test_unreadable_files_are_an_error(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    with pytest.raises(DataError, match="set: cannot be read"):
        read_snapshot(tmp_path / "set", "test", "set")
    (tmp_path / "set" / "test.parquet").write_bytes(b"no parquet")
    with pytest.raises(DataError, match="set: cannot be read"):
        read_snapshot(tmp_path / "set", "test", "set")
