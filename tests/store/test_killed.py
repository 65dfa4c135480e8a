"""Whatever ends the writer, and whenever: the run goes on where it stopped and ends with identical bytes."""

from __future__ import annotations

import errno
import json
import os
import random
from pathlib import Path

import pytest
from store_runs import (
    N_PAIRS,
    PART_PAIRS,
    content,
    make_table,
    manifest_of,
    open_store,
    program,
    refused,
    score,
)

from actsim.errors import ResumeError


def test_a_run_killed_at_ten_times_random_operations_ends_with_identical_bytes(tmp_path, finished):
    output, _ = program("kill-and-resume", tmp_path).communicate()
    operations, *lines = output.splitlines()
    reports = [json.loads(line) for line in lines]
    assert int(operations) > 50
    assert len(reports) == 10
    assert sum(report["kills"] for report in reports) >= 10
    assert [report["broken"] for report in reports] == [0] * 10
    expected = content(finished)
    for seed in range(10):
        assert content(tmp_path / str(seed)) == expected
        assert manifest_of(tmp_path / str(seed))["sessions"][-1]["interrupted"] is False


@pytest.mark.parametrize("seed", range(2))
def test_a_run_killed_from_outside_ends_with_identical_bytes(seed, tmp_path, finished):
    writer = program("score", tmp_path / "run")
    for _ in range(random.Random(seed).randint(1, 3)):
        writer.stdout.readline()
    writer.kill()
    writer.communicate()
    assert manifest_of(tmp_path / "run")["status"] in ("running", "complete")
    score(tmp_path / "run")
    assert content(tmp_path / "run") == content(finished)


def test_a_killed_session_keeps_its_start_and_no_invented_end(tmp_path):
    store = open_store(tmp_path)
    store.write_part(1, make_table(PART_PAIRS[1]))
    store._lock.release()  # what the operating system does when the process dies
    before = manifest_of(tmp_path)
    assert before["status"] == "running"
    assert before["sessions"][0]["ended"] is None
    score(tmp_path)
    first, second = manifest_of(tmp_path)["sessions"]
    assert first["started"] == before["sessions"][0]["started"]
    assert [first[key] for key in ("ended", "seconds", "parts_written", "rows_written")] == [None] * 4
    assert first["interrupted"] is True
    assert (second["parts_written"], second["rows_written"], second["interrupted"]) == (4, N_PAIRS - 1, False)


def test_an_interrupted_session_says_so_and_the_rest_is_scored_once(tmp_path, finished):
    with pytest.raises(KeyboardInterrupt), open_store(tmp_path) as store:
        store.write_part(0, make_table(PART_PAIRS[0]))
        raise KeyboardInterrupt
    manifest = manifest_of(tmp_path)
    assert (manifest["status"], manifest["sessions"][0]["interrupted"]) == ("running", True)
    assert manifest["sessions"][0]["parts_written"] == 1
    with open_store(tmp_path) as store:
        assert store.missing() == [1, 2, 3, 4]
    score(tmp_path)
    manifest = manifest_of(tmp_path)
    assert content(tmp_path) == content(finished)
    assert [session["parts_written"] for session in manifest["sessions"]] == [1, 0, 4]
    assert manifest["seconds"] == pytest.approx(sum(session["seconds"] for session in manifest["sessions"]), abs=1e-3)


def test_temporary_files_of_a_killed_writer_are_removed_and_foreign_files_are_not(run):
    leftovers = [run / ".actsim-tmp-1-manifest.json", run / "parts" / ".actsim-tmp-1-part-00000-00.parquet"]
    foreign = [run / "notes.txt", run / ".hidden", run / "parts" / "part-1.parquet"]
    for path in leftovers + foreign:
        path.write_text("x")
    open_store(run).close()
    assert not any(path.exists() for path in leftovers)
    assert all(path.read_text() == "x" for path in foreign)


def test_a_failed_write_leaves_the_old_content_and_no_temporary_file(run, monkeypatch):
    def full_disk(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = sorted(path.name for path in run.rglob("*")), manifest_of(run)
    store = open_store(run)
    opened = manifest_of(run)
    monkeypatch.setattr(os, "fsync", full_disk)
    with refused(ResumeError, "cannot write", "No space left on device"):
        store.close()
    assert sorted(path.name for path in run.rglob("*")) == before[0]
    assert manifest_of(run) == opened


def test_a_file_is_synced_before_it_is_moved_into_place_and_its_directory_after(tmp_path, monkeypatch):
    events: list[tuple[str, str]] = []
    replace = Path.replace

    def note_sync(descriptor: int) -> None:
        events.append(("sync", str(Path(f"/proc/self/fd/{descriptor}").readlink())))

    def note_move(self: Path, target: Path) -> Path:
        events.append(("move", str(self)))
        return replace(self, target)

    with open_store(tmp_path) as store:
        monkeypatch.setattr(os, "fsync", note_sync)
        monkeypatch.setattr(Path, "replace", note_move)
        store.write_part(1, make_table(PART_PAIRS[1]))
        (first, temporary), (second, moved), last = events
        events.clear()
    assert (first, second, last) == ("sync", "move", ("sync", str(tmp_path / "parts")))
    assert temporary == moved
    assert Path(temporary).parent == tmp_path / "parts"
    assert [kind for kind, _ in events] == ["sync", "move", "sync"]


def test_a_file_system_that_cannot_sync_directories_is_no_obstacle(tmp_path, monkeypatch, finished):
    def files_only(descriptor: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):  # noqa: PTH112 - a descriptor, not a path
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(os, "fsync", files_only)
    score(tmp_path / "run")
    assert content(tmp_path / "run") == content(finished)
