"""One configuration and one writer per directory; what actsim did not make is left alone."""

from __future__ import annotations

import errno
import json
import os
import subprocess
from pathlib import Path

import pytest
from store_runs import (
    GROUPS,
    N_PAIRS,
    RECORD,
    content,
    manifest_of,
    open_store,
    part_file,
    program,
    refused,
    score,
)

from actsim.errors import ResumeError, UsageError
from actsim.store import open_run
from actsim.store.manifest import refuse_other_run


def test_a_second_process_is_refused_until_the_first_is_dead(tmp_path):
    directory = tmp_path / "run"
    holder = program("hold", directory, stdin=subprocess.PIPE)
    assert holder.stdout.readline() == "held\n"
    before = (directory / "manifest.json").read_bytes()
    for fresh in (False, True):
        with refused(ResumeError, "another process is writing into", str(directory), "give another --out"):
            open_store(directory, fresh=fresh)
    assert (directory / "manifest.json").read_bytes() == before
    holder.kill()
    holder.communicate()
    open_store(directory).close()
    assert [session["interrupted"] for session in manifest_of(directory)["sessions"]] == [True, False]


def test_a_refused_opening_does_not_keep_the_lock(run):
    with refused(ResumeError, "another configuration"):
        open_store(run, "next-token")
    with open_store(run) as store:
        assert store.missing() == []


def test_another_configuration_is_refused_with_the_difference_in_one_line(run):
    before = content(run)
    with refused(
        ResumeError, "another configuration", r"\(scoring.objective: 'nll' -> 'next-token'\)", "--fresh", "--out"
    ) as caught:
        open_store(run, "next-token")
    assert "\n" not in str(caught.value)
    assert content(run) == before


@pytest.mark.parametrize(
    ("options", "name"),
    [({"part_pairs": [[pair] for pair in range(N_PAIRS)]}, "plan, parts"), ({"groups": GROUPS[:-1]}, "groups")],
)
def test_another_plan_under_the_same_digest_is_refused(run, options, name):
    with refused(ResumeError, f"whose {name} differ", "--fresh"):
        open_store(run, **options)


def test_other_circumstances_are_allowed_and_noted_in_the_session(run):
    open_store(run, record=RECORD | {"threads": 2}).close()
    manifest = manifest_of(run)
    assert manifest["record"]["threads"] == 1
    assert "changes" not in manifest["sessions"][0]
    assert manifest["sessions"][1]["changes"] == ["threads: 1 -> 2"]


def test_fresh_removes_what_actsim_made_and_nothing_else(run):
    for name in ("notes.txt", "my.svg", "parts/readme"):
        (run / name).write_text("mine")
    (run / "kinds.csv").write_text("of an earlier version")
    open_store(run, "next-token", fresh=True).close()
    left = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
    assert left == {"manifest.json", ".lock", "notes.txt", "my.svg", "parts/readme"}
    manifest = manifest_of(run)
    assert manifest["config"]["scoring"]["objective"] == "next-token"
    assert (manifest["status"], len(manifest["sessions"])) == ("running", 1)


def test_fresh_on_the_same_configuration_scores_everything_again(run, finished):
    with open_store(run, fresh=True) as store:
        assert store.missing() == list(range(5))
    score(run)
    assert content(run) == content(finished)


def test_fresh_on_a_new_directory_is_a_new_run(tmp_path):
    with open_store(tmp_path / "a" / "b", fresh=True) as store:
        assert store.missing() == list(range(5))


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("name", ["thesis.tex", "parts/part-00000-0123456789abcdef.parquet", "report.md"])
def test_a_directory_that_actsim_did_not_make_is_refused_and_left_alone(tmp_path, name, fresh):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("mine")
    with refused(ResumeError, "is not empty and holds no actsim run", "nothing was touched", "--out"):
        open_store(tmp_path, fresh=fresh)
    assert [entry for entry in tmp_path.rglob("*") if entry.is_file()] == [path]
    assert path.read_text() == "mine"


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("text", ['{"name": "web app"}', "[]", "null", "not JSON"])
def test_another_programs_manifest_is_refused_and_left_alone(tmp_path, text, fresh):
    (tmp_path / "manifest.json").write_text(text)
    with refused(ResumeError, "actsim", "nothing was touched", "--out"):
        open_store(tmp_path, fresh=fresh)
    assert [entry.name for entry in tmp_path.iterdir()] == ["manifest.json"]
    assert (tmp_path / "manifest.json").read_text() == text


def damage_manifest(directory: Path, kind: str) -> None:
    path = directory / "manifest.json"
    data = path.read_bytes()
    manifest = json.loads(data)
    if kind == "no parts":
        del manifest["parts"]
    elif kind == "odd parts":
        manifest["sessions"] = 3
    damaged = {"empty": b"", "half": data[: len(data) // 2], "bytes": b"\xff\xfe" + data}
    path.write_bytes(damaged.get(kind, json.dumps(manifest).encode()))


@pytest.mark.parametrize("kind", ["empty", "half", "bytes", "no parts", "odd parts"])
def test_a_damaged_manifest_says_so_and_fresh_is_the_way_out(run, kind):
    damage_manifest(run, kind)
    for attempt_ in (open_store, open_run):
        with refused(ResumeError, "manifest.json is damaged", "--fresh") as caught:
            attempt_(run)
        assert "\n" not in str(caught.value)
    assert part_file(run, 0).exists()
    with open_store(run, fresh=True) as store:
        assert store.missing() == list(range(5))


def test_a_manifest_of_a_later_format_is_refused(run):
    (run / "manifest.json").write_text(json.dumps(manifest_of(run) | {"format": 2}))
    with refused(ResumeError, "has format 2, this actsim reads format 1", "--fresh"):
        open_store(run)
    open_store(run, fresh=True).close()
    assert manifest_of(run)["format"] == 1


def test_a_manifest_that_names_files_elsewhere_removes_nothing_there(run):
    outside = run.parent / "precious.txt"
    outside.write_text("mine")
    (run / "manifest.json").write_text(json.dumps(manifest_of(run) | {"files": ["../precious.txt"]}))
    open_store(run, fresh=True).close()
    assert outside.read_text() == "mine"


def test_a_path_that_is_a_file_is_a_usage_error(tmp_path):
    (tmp_path / "file").write_text("mine")
    with refused(UsageError, "is a file; --out takes a directory"):
        open_store(tmp_path / "file")
    with refused(UsageError, "is a file, so", "cannot be made", "--out"):
        open_store(tmp_path / "file" / "run")


def test_a_directory_that_cannot_be_written_is_one_line(tmp_path, monkeypatch):
    def denied(*arguments: object, **options: object) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    (tmp_path / "run").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", denied)
        with refused(UsageError, "cannot make the directory", "Permission denied"):
            open_store(tmp_path / "new")
    sync_done = os.open
    monkeypatch.setattr(
        os, "open", lambda path, *rest: denied() if Path(path).name == ".lock" else sync_done(path, *rest)
    )
    with refused(ResumeError, "cannot write", "Permission denied") as caught:
        open_store(tmp_path / "run")
    assert "\n" not in str(caught.value)


def test_a_run_of_another_command_is_called_by_its_name():
    with refused(ResumeError, "holds a run of actsim eval, this is one of actsim density"):
        refuse_other_run(Path("run"), {"config": {}}, {"config": {"study": "density"}})
