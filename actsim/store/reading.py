"""Reading a finished run; nothing is written, nothing is locked."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actsim.errors import ResumeError, UsageError
from actsim.store.files import read_bytes
from actsim.store.manifest import MANIFEST_NAME, PAIRS_NAME, SUMMARY_NAME, read_manifest, stored_layout
from actsim.store.parts import join_parts, scan_parts
from actsim.store.scores import PairScores

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Run(PairScores):
    """A finished run: its scores, and the files beside them.

    Attributes:
        directory: where it lies.
        manifest: configuration, digest, record, sessions; see ``actsim.store.manifest.new_manifest``.
    """

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


def open_run(directory: str | Path) -> Run:
    """Open the finished run in ``directory`` and verify its parts.

    Raises:
        UsageError: there is no run.
        ResumeError: the run is not finished, or damaged; says how many parts are missing.
    """
    path = Path(directory)
    if not path.is_dir():
        raise UsageError(f"{path}: no such directory; give the --out of an actsim run.")
    manifest = read_manifest(path)
    if manifest is None:
        raise UsageError(f"{path} is not an actsim run: it has no {MANIFEST_NAME}. Give the --out of a run.")
    layout = stored_layout(path, manifest)
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
    table = join_parts(parts, layout)
    return Run(table=table, groups=layout.groups, measures=layout.measures, directory=path, manifest=manifest)
