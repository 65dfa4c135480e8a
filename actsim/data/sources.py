"""Where tables come from: the package, a data directory, the hub, or a file of the user's."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from actsim.data.benchmarks import BENCHMARKS, Benchmark
from actsim.data.files import FORMATS, Table, parse_jsonl, read_table
from actsim.data.hub import fetch_snapshot, read_snapshot
from actsim.errors import DataError, UsageError
from actsim.registry import unknown_name

DATA_DIR_VARIABLE = "ACTSIM_DATA_DIR"
FILE_SPLIT = "all"
"""The split name of pairs out of a single file."""


KNOWN_COLUMNS: dict[str, tuple[str, ...]] = {
    "a": ("sentence1", "sentence_1", "sentence_a", "sentence_A", "text1", "text_1", "text_a", "text_A", "left", "a"),
    "b": ("sentence2", "sentence_2", "sentence_b", "sentence_B", "text2", "text_2", "text_b", "text_B", "right", "b"),
    "gold": ("score", "gold", "label", "similarity", "similarity_score", "relatedness_score"),
    "id": ("id", "pair_id", "pair_ID"),
}
"""Column names that are recognised in the user's own files, by role."""


@dataclass(frozen=True)
class Source:
    """A table, and what is known of it.

    Attributes:
        name: the benchmark's name, or the file's.
        split: the split's public name.
        known_columns: role -> names by which its column may be recognised.
        score_range: lowest and highest possible gold score, or None where it is not declared.
        record: where the table came from, for the manifest.
    """

    name: str
    split: str
    table: Table
    known_columns: Mapping[str, Sequence[str]]
    score_range: tuple[float, float] | None
    record: dict[str, Any]


def find_table(
    dataset: str,
    split: str | None,
    *,
    data_dir: str | Path | None,
    release: str | None,
    revision: str | None,
) -> Source:
    """Find and read the table that a data set's name or a path stands for; see ``load_pairs`` for the arguments.

    Raises:
        UsageError: an unknown name, split or release, or an option that has no meaning for this data set.
        DataError: the data is not there or cannot be read.
    """
    benchmark = BENCHMARKS.get(dataset)
    if benchmark is not None:
        split = split if split is not None else benchmark.default_split
        table, record = _read_benchmark(benchmark, split, data_dir, release, revision)
        return Source(benchmark.name, split, table, benchmark.columns, benchmark.score_range, record)
    path = _existing_file(dataset)
    for option, value in (("split", split), ("release", release), ("revision", revision)):
        if value is not None:
            raise UsageError(
                f"{path.name} is a single file: it has no {option}, got {value!r}; leave the {option} out."
            )
    table = read_table(path)
    record = {"kind": "file", "path": path.name, "sha256": table.sha256, "release": None}
    return Source(path.name, FILE_SPLIT, table, KNOWN_COLUMNS, None, record)


def _existing_file(dataset: str) -> Path:
    """The path that ``dataset`` names; UsageError when it is neither a file nor a known name."""
    path = Path(dataset).expanduser()
    if path.is_file():
        return path
    if path.is_dir():
        raise UsageError(
            f"{dataset} is a folder; give a file in it ({', '.join(FORMATS)}), "
            "or a data set's name with --data-dir for a folder of benchmarks."
        )
    if path.suffix.lower() in FORMATS or len(path.parts) > 1:
        raise UsageError(f"{dataset}: no such file; check the path (the working directory is {Path.cwd()}).")
    raise unknown_name("data set", dataset, BENCHMARKS, "A path to a csv, tsv, jsonl or parquet file works too.")


def _read_benchmark(
    benchmark: Benchmark, split: str, data_dir: str | Path | None, asked: str | None, revision: str | None
) -> tuple[Table, dict[str, Any]]:
    """The table of a benchmark's split, and the record of where it came from."""
    stem = benchmark.hub_split(split)
    wanted = benchmark.release(asked)
    folder = data_folder(data_dir)
    if revision is not None and (wanted.hub_id is None or folder is not None):
        raise UsageError(
            f"the revision {revision!r} is for data from the hub, but {benchmark.name} is read from "
            f"{'the package' if wanted.hub_id is None else folder}; leave it out, or unset {DATA_DIR_VARIABLE}."
        )
    if wanted.hub_id is None:
        table, source = read_package(f"{stem}.jsonl", benchmark.name)
    elif folder is not None:
        local = folder / str(benchmark.local_folder)
        table, source = read_local(local, stem, benchmark.name, benchmark.splits.values())
    else:
        table, source = _read_hub(benchmark, wanted.hub_id, revision or str(wanted.hub_revision), stem)
    found = benchmark.recognise(split, len(table), asked)
    if asked is not None and found != asked:
        raise DataError(
            f"{table.label}: release {asked!r} of {benchmark.name} has {wanted.rows[split]} pairs in {split}, this "
            f"copy has {len(table)} (release: {found}); ask for the release that is there, or replace the copy."
        )
    return table, {**source, "release": found}


def data_folder(data_dir: str | Path | None) -> Path | None:
    """The folder with local copies: the given one, else what ACTSIM_DATA_DIR says; None where neither is there."""
    folder = data_dir if data_dir is not None else os.environ.get(DATA_DIR_VARIABLE) or None
    return None if folder is None else Path(folder)


def read_package(path: str, name: str) -> tuple[Table, dict[str, Any]]:
    """A jsonl file that ships with actsim, and the record of it.

    Args:
        path: inside ``actsim/data/sample``.
        name: of the data set, for messages.
    """
    resource = resources.files("actsim.data.sample") / path
    table = parse_jsonl(resource.read_bytes(), f"{name}/{resource.name}")
    return table, {"kind": "package", "path": table.label, "sha256": table.sha256}


def read_local(folder: Path, stem: str, name: str, stems: Collection[str]) -> tuple[Table, dict[str, Any]]:
    """The one file ``<folder>/<stem>.<ending>``, and the record of it.

    Args:
        folder: of the data set, inside the data directory.
        stem: the split's file name without its ending.
        name: of the data set, for messages.
        stems: what the files of all its splits are called.

    Raises:
        DataError: there is no such folder, or two files for the split.
        UsageError: there is no file for the split; lists those found.
    """
    if not folder.is_dir():
        raise DataError(
            f"{folder}: no such folder; {name} is looked for in {folder.name}/{stem}.jsonl (or "
            f"csv, tsv, parquet) there. Correct --data-dir, or unset {DATA_DIR_VARIABLE} to use the hub."
        )
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in FORMATS and path.is_file())
    candidates = [path for path in files if path.stem == stem]
    if len(candidates) > 1:
        names = " and ".join(path.name for path in candidates)
        raise DataError(f"{folder}: {names} could each be the split {stem!r}; keep one of them.")
    if not candidates:
        found = ", ".join(dict.fromkeys(path.stem for path in files if path.stem in stems))
        raise UsageError(
            f"{folder}: no file for the split {stem!r}; splits found: {found or 'none'}. Pass one of these."
        )
    table = read_table(candidates[0], label=f"{folder.name}/{candidates[0].name}")
    return table, {"kind": "local", "path": table.label, "sha256": table.sha256}


def local_copy_hint(local_folder: str, stem: str) -> str:
    """What to do where the hub cannot be reached: put a copy of the split into the data directory."""
    return f"set --data-dir or {DATA_DIR_VARIABLE} to a folder with {local_folder}/{stem}.jsonl (or csv, tsv, parquet)"


def hub_record(hub_id: str, commit: str, asked: str) -> dict[str, Any]:
    """Where a table from the hub came from: the commit that was read, and the revision that was asked for."""
    return {"kind": "hub", "path": hub_id, "revision": commit, "revision_asked": asked, "sha256": None}


def _read_hub(benchmark: Benchmark, hub_id: str, revision: str, stem: str) -> tuple[Table, dict[str, Any]]:
    """The split of a hub data set at one commit."""
    folder, commit = fetch_snapshot(hub_id, revision, otherwise=local_copy_hint(str(benchmark.local_folder), stem))
    table = read_snapshot(folder, stem, f"{hub_id} {stem}")
    return table, hub_record(hub_id, commit, revision)
