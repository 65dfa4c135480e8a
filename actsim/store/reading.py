"""Reading a finished run; nothing is written, nothing is locked."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actsim.errors import ResumeError, UsageError
from actsim.store.files import read_bytes
from actsim.store.manifest import (
    MANIFEST_NAME,
    PAIRS_NAME,
    SUMMARY_NAME,
    read_manifest,
    stored_groups,
    stored_layout,
)
from actsim.store.parts import Layout, join_parts, scan_parts
from actsim.store.scores import PairScores
from actsim.store.tables import Column, TableLayout

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

EVALUATION = "eval"
"""The command whose runs are over sentence pairs; other runs say in their configuration which study they are."""


class _Finished:
    """What every finished run has beside its rows."""

    directory: Path
    manifest: dict[str, Any]

    @cached_property
    def summary(self) -> dict[str, Any]:
        """The statistics of the run, as in summary.json."""
        path = self.directory / SUMMARY_NAME
        try:
            return json.loads(read_bytes(path))
        except ValueError as error:
            raise ResumeError(f"{path} is damaged (it is not JSON); run the same command again.") from error


@dataclass(frozen=True, eq=False)
class Run(PairScores, _Finished):
    """A finished run: its scores, and the files beside them.

    Attributes:
        directory: where it lies.
        manifest: configuration, digest, record, sessions; see ``actsim.store.manifest.new_manifest``.
    """

    directory: Path
    manifest: dict[str, Any]

    @cached_property
    def pairs(self) -> pd.DataFrame:
        """One row per pair: id, gold, and the sentences unless they were left out; indexed by position."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = self.directory / PAIRS_NAME
        data = read_bytes(path)
        try:
            table = pq.read_table(pa.BufferReader(data))
        except (pa.ArrowException, OSError) as error:
            raise ResumeError(f"{path} is damaged (it is not a parquet file); run the same command again.") from error
        return table.to_pandas().rename_axis("pair")


@dataclass(frozen=True, eq=False)
class TableRun(_Finished):
    """A finished run over samples of domains.

    Attributes:
        table: the rows of all parts, sorted by their key.
        directory: where it lies.
        manifest: see ``Run``.
    """

    table: pa.Table
    directory: Path
    manifest: dict[str, Any]


def open_run(directory: str | Path) -> Run:
    """Open the finished run in ``directory`` and verify its parts.

    Raises:
        UsageError: there is no run over sentence pairs.
        ResumeError: the run is not finished, or damaged; says how many parts are missing.
    """
    path, manifest = _manifest_of(directory, EVALUATION)
    layout = stored_layout(path, manifest)
    table = _rows(path, manifest, layout)
    return Run(table=table, groups=layout.groups, measures=layout.measures, directory=path, manifest=manifest)


def open_table(
    directory: str | Path, study: str, columns: Callable[[dict[str, Any]], tuple[Column, ...]], keys: tuple[str, ...]
) -> TableRun:
    """Open the finished run of ``study`` in ``directory`` and verify its parts.

    Args:
        directory: of the run.
        study: the command it has to be of.
        columns: what the columns are of a run with a manifest.
        keys: those that tell rows apart.

    Raises:
        UsageError, ResumeError: as ``open_run``.
    """
    path, manifest = _manifest_of(directory, study)
    groups, counts = stored_groups(path, manifest)
    layout = TableLayout(manifest["digest"], groups, counts, columns(manifest), keys)
    return TableRun(_rows(path, manifest, layout), path, manifest)


def study_in(directory: str | Path) -> str:
    """The command that made the run in ``directory``: eval, density, …

    Raises:
        UsageError: there is no run.
    """
    return _study_of(_read(directory)[1])


def _study_of(manifest: dict[str, Any]) -> str:
    return str(manifest["config"].get("study", EVALUATION))


def _manifest_of(directory: str | Path, study: str) -> tuple[Path, dict[str, Any]]:
    """The run's directory and its manifest, which has to be of ``study``."""
    path, manifest = _read(directory)
    if _study_of(manifest) != study:
        raise UsageError(f"{path} is a run of actsim {_study_of(manifest)}; give the --out of an actsim {study}.")
    return path, manifest


def _read(directory: str | Path) -> tuple[Path, dict[str, Any]]:
    path = Path(directory)
    if not path.is_dir():
        raise UsageError(f"{path}: no such directory; give the --out of an actsim run.")
    manifest = read_manifest(path)
    if manifest is None:
        raise UsageError(f"{path} is not an actsim run: it has no {MANIFEST_NAME}. Give the --out of a run.")
    return path, manifest


def _rows(path: Path, manifest: dict[str, Any], layout: Layout) -> pa.Table:
    """The rows of a run that has to be finished."""
    parts, rejected = scan_parts(path, layout)
    missing = len(layout.counts) - len(parts)
    if missing:
        damaged = f" (damaged files: {len(rejected)})" if rejected else ""
        raise ResumeError(
            f"{path} is incomplete: parts missing: {missing} of {len(layout.counts)}{damaged}; "
            "run the same command again to finish it."
        )
    if manifest["status"] != "complete":
        raise ResumeError(f"{path} has all its parts, but no results yet; run the same command again to finish it.")
    return join_parts(parts, layout)
