"""Writing a run that may be killed at any moment and goes on where it stopped."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from actsim.config import RunConfig
from actsim.errors import ResumeError, UsageError
from actsim.store.files import (
    LOCK_NAME,
    TEMPORARY_PREFIX,
    DirectoryLock,
    cannot,
    remove,
    remove_leftovers,
    sync_directory,
    write_atomic,
)
from actsim.store.manifest import (
    MANIFEST_NAME,
    PAIRS_NAME,
    SUMMARY_NAME,
    UnusableManifest,
    clear_run,
    new_manifest,
    read_manifest,
    record_changes,
    refuse_foreign,
    refuse_other_run,
    timestamp,
    to_json,
    write_manifest,
)
from actsim.store.parts import (
    PARTS_FOLDER,
    Layout,
    PartLayout,
    encode_parquet,
    join_parts,
    part_number,
    scan_parts,
)

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


class RunStore:
    """The directory of a run, held for writing by this process alone.

    The parts are the truth about what has been scored. The manifest is written on opening, closing and finishing;
    a run whose process was killed is found with status ``running`` and a session without an end. Use as a context
    manager: leaving it by an exception marks the session as interrupted, and the run can be resumed.

    Attributes:
        directory: where the run lies.
        warnings: one line for each damaged file that was removed and has to be computed again.
    """

    def __init__(self, directory: Path, layout: Layout, manifest: dict[str, Any], lock: DirectoryLock) -> None:
        self.directory = directory
        self.warnings: list[str] = []
        self._layout = layout
        self._manifest = manifest
        self._lock = lock
        self._started = time.monotonic()
        self._last_part = self._started
        self._parts_written = 0
        self._rows_written = 0
        self._columns: list[str] | None = None
        self._open = True

    @classmethod
    def open(
        cls,
        directory: str | Path,
        config: RunConfig,
        *,
        groups: Sequence[tuple[int, str]],
        part_pairs: Sequence[Sequence[int]],
        record: Mapping[str, Any],
        fresh: bool = False,
    ) -> Self:
        """Begin a run over sentence pairs in ``directory``, or go on with the one that is there.

        Args:
            directory: absent, empty, or holding a run of the same configuration.
            config: what the numbers depend on; its digest guards the directory.
            groups: the (layer, kind) of each score value, by layer, ``"all"`` first.
            part_pairs: the pairs of each part; together each of 0 … n-1 once.
            record, fresh: see ``begin``.

        Raises:
            UsageError, ResumeError: see ``begin``.
            ValueError: groups or parts are not as described.
        """
        plan = tuple(tuple(int(pair) for pair in pairs) for pairs in part_pairs)
        layout = PartLayout(
            digest=config.digest(),
            measures=config.scoring.measures,
            groups=tuple((int(layer), str(kind)) for layer, kind in groups),
            counts=tuple(map(len, plan)),
            part_pairs=plan,
        )
        return cls.begin(directory, config.to_dict(), layout, record=record, fresh=fresh)

    @classmethod
    def begin(
        cls,
        directory: str | Path,
        config: dict[str, Any],
        layout: Layout,
        *,
        record: Mapping[str, Any],
        fresh: bool = False,
    ) -> Self:
        """Begin a run whose parts are as ``layout`` says in ``directory``, or go on with the one that is there.

        Args:
            directory: absent, empty, or holding a run of the same configuration.
            config: what the numbers depend on, ready for JSON; its digest, the layout's, guards the directory.
            layout: what every part looks like.
            record: JSON-ready circumstances kept in the manifest: versions, device, threads, machine, seeds, sources.
            fresh: remove what actsim made in the directory and start over.

        Raises:
            UsageError: the path is a file, or no directory can be made there.
            ResumeError: the directory is foreign, in use, damaged, or belongs to another configuration.
        """
        wanted = new_manifest(config, layout, json.loads(to_json(dict(record))))
        path = Path(directory)
        _make_directory(path)
        lock = DirectoryLock(path)
        try:
            remove_leftovers(path)
            remove_leftovers(path / PARTS_FOLDER)
            manifest = _take_over(path, wanted, fresh=fresh)
            store = cls(path, layout, manifest, lock)
            store._begin_session(record_changes(manifest, wanted))
            _make_parts_folder(path / PARTS_FOLDER)
        except BaseException:
            lock.release()
            raise
        return store

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(interrupted=kind is not None)

    @property
    def digest(self) -> str:
        """The digest of the run's configuration."""
        return self._layout.digest

    @property
    def n_parts(self) -> int:
        """Number of parts of the whole run."""
        return len(self._layout.counts)

    @property
    def seconds(self) -> float:
        """Seconds spent scoring in all sessions that came to an end; a killed session's are not known."""
        return sum(session["seconds"] or 0.0 for session in self._manifest["sessions"])

    @property
    def manifest(self) -> dict[str, Any]:
        """The manifest as it stands, with the seconds of this session up to the last part counted in."""
        so_far = self.seconds + (self._last_part - self._started if self._open else 0.0)
        return self._manifest | {"seconds": round(so_far, 3)}

    def missing(self) -> list[int]:
        """The parts still to be computed, after verifying every file; damaged files are removed, with a warning."""
        parts = self._scan()
        return [number for number in range(self.n_parts) if number not in parts]

    def write_part(self, number: int, table: pa.Table) -> None:
        """Store the rows of part ``number``; when this returns, they survive a crash of the machine.

        Raises:
            ValueError: columns, types, lengths or pairs are not those of the part.
            NumericError: a value is not finite; NaN is stored as null where a score may be undefined.
            ResumeError: the part cannot be written.
        """
        self._check_open()
        if not 0 <= number < self.n_parts:
            raise ValueError(f"part {number}: the run has parts 0 … {self.n_parts - 1}")
        name, data = self._layout.encode(number, table)
        if self._columns is None:
            self._columns = sorted(table.schema.names)
        if sorted(table.schema.names) != self._columns:
            raise ValueError(f"part {number}: columns {sorted(table.schema.names)}, other parts have {self._columns}")
        folder = self.directory / PARTS_FOLDER
        write_atomic(folder / name, data)
        for path in folder.iterdir():
            if part_number(path) == number and path.name != name:
                remove(path)
        self._last_part = time.monotonic()
        self._parts_written += 1
        self._rows_written += table.num_rows

    def read_parts(self) -> pa.Table:
        """All rows, sorted by their key; a ResumeError unless every row is there exactly once."""
        return join_parts(self._scan(), self._layout)

    def update_manifest(self, **entries: Any) -> None:
        """Add ``entries`` to the manifest's record: what is known only after scoring, such as memory used."""
        self._check_open()
        self._manifest["record"] |= json.loads(to_json(entries))
        write_manifest(self.directory, self._manifest)

    def finish(self, pairs: pd.DataFrame | None, summary: Mapping[str, Any], texts: Mapping[str, str | bytes]) -> None:
        """Write the results of a run that has all its parts, and mark it complete.

        Args:
            pairs: one row per pair in the order of the PairSet: id, gold, sentences; written to pairs.parquet. None
                for a run that is not over pairs.
            summary: JSON-ready statistics; written to summary.json.
            texts: further files, name -> content, such as layers.csv, report.md and figures.

        Raises:
            ResumeError: parts are missing.
            ValueError: a wrong number of pairs, a summary with NaN, a file name that is not a plain one.
        """
        self._check_open()
        if missing := self.missing():
            raise ResumeError(f"parts missing: {len(missing)} of {self.n_parts}; run the same command again.")
        contents = {name: text.encode() if isinstance(text, str) else text for name, text in texts.items()}
        for name in contents:
            _check_name(name)
        contents[SUMMARY_NAME] = to_json(dict(summary))
        if pairs is not None:
            contents[PAIRS_NAME] = self._encode_pairs(pairs)
        earlier = set(self._manifest["files"])
        self._manifest |= {"status": "running", "files": sorted(earlier | contents.keys())}
        write_manifest(self.directory, self._manifest)
        for name, data in contents.items():
            write_atomic(self.directory / name, data)
        for name in earlier - contents.keys():
            remove(self.directory / Path(name).name)
        self._manifest |= {"status": "complete", "files": sorted(contents)}
        self._end_session(interrupted=False)

    def _encode_pairs(self, pairs: pd.DataFrame) -> bytes:
        import pyarrow as pa

        if len(pairs) != self._layout.n_rows:
            raise ValueError(f"{len(pairs)} rows of pairs for a run of {self._layout.n_rows}")
        return encode_parquet(pa.Table.from_pandas(pairs, preserve_index=False).replace_schema_metadata(None))

    def close(self, *, interrupted: bool = False) -> None:
        """End the session, unless ``finish`` has, and let others write; a second call does nothing."""
        if not self._open:
            return
        self._open = False
        try:
            if self._manifest["sessions"][-1]["ended"] is None:
                self._end_session(interrupted=interrupted)
        finally:
            self._lock.release()

    def _check_open(self) -> None:
        if not self._open:
            raise ValueError(f"the store of {self.directory} is closed")

    def _scan(self) -> dict[int, pa.Table]:
        self._check_open()
        parts, rejected = scan_parts(self.directory, self._layout)
        for path, reason in rejected:
            remove(path)
            self.warnings.append(f"{PARTS_FOLDER}/{path.name} removed: {reason}.")
        if parts:
            self._columns = sorted(next(iter(parts.values())).schema.names)
        return parts

    def _begin_session(self, changes: list[str]) -> None:
        sessions = self._manifest["sessions"]
        if sessions and sessions[-1]["ended"] is None:
            sessions[-1]["interrupted"] = True
        session = {"started": timestamp(), "ended": None, "seconds": None}
        session |= {"parts_written": None, "rows_written": None, "interrupted": None}
        sessions.append(session | ({"changes": changes} if changes else {}))
        write_manifest(self.directory, self._manifest)

    def _end_session(self, *, interrupted: bool) -> None:
        """Close the session's entry; its seconds end with the last part written, or with the interruption."""
        end = time.monotonic() if interrupted else self._last_part
        self._manifest["sessions"][-1] |= {
            "ended": timestamp(),
            "seconds": round(end - self._started, 3),
            "parts_written": self._parts_written,
            "rows_written": self._rows_written,
            "interrupted": interrupted,
        }
        self._manifest["seconds"] = round(self.seconds, 3)
        write_manifest(self.directory, self._manifest)


def replace_files(directory: Path, contents: Mapping[str, bytes]) -> None:
    """Write further files of a finished run anew, such as its report, and list them in its manifest.

    Raises:
        ResumeError: another process is writing there, the run is not finished, or a file cannot be written.
        ValueError: a file name that is not a plain one.
    """
    for name in contents:
        _check_name(name)
    lock = DirectoryLock(directory)
    try:
        manifest = read_manifest(directory)
        if manifest is None or manifest["status"] != "complete":
            raise ResumeError(f"{directory} is not finished; run the same command again to finish it.")
        manifest["files"] = sorted({*manifest["files"], *contents})
        write_manifest(directory, manifest)
        for name, data in contents.items():
            write_atomic(directory / name, data)
    finally:
        lock.release()


def check_directory(path: Path) -> None:
    """Raise, without touching anything, where no run can be written.

    Raises:
        UsageError: the path or one above it is a file, or may not be written into.
        ResumeError: the directory is foreign; a damaged manifest is reported by ``RunStore.open``.
    """
    if path.exists() and not path.is_dir():
        raise UsageError(f"{path} is a file; --out takes a directory.")
    place = next(place for place in (path, *path.absolute().parents) if place.exists())
    if not place.is_dir():
        raise UsageError(f"{place} is a file, so {path} cannot be made; give another --out.")
    if not os.access(place, os.W_OK | os.X_OK):
        raise UsageError(f"nothing may be written into {place}; fix its permissions, or give another --out.")
    if path.exists():
        refuse_foreign(path)
        with contextlib.suppress(UnusableManifest):  # reported once it is locked, unless it is to be replaced
            read_manifest(path)


def _make_directory(path: Path) -> None:
    """Create the run's directory; raise, without touching anything, where there is something foreign."""
    check_directory(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        sync_directory(path.parent)
    except OSError as error:
        raise UsageError(f"cannot make the directory {path}: {error.strerror}. Give another --out.") from error


def _take_over(path: Path, wanted: dict[str, Any], *, fresh: bool) -> dict[str, Any]:
    """The manifest to go on with in the locked directory ``path``: the one there, or ``wanted`` for a new run."""
    manifest: dict[str, Any] | None = None
    try:
        manifest = read_manifest(path)
    except UnusableManifest:
        if not fresh:
            raise
    if fresh:
        clear_run(path, manifest["files"] if manifest else [])
        manifest = None
    if manifest is None:
        return wanted
    refuse_other_run(path, manifest, wanted)
    return manifest


def _make_parts_folder(folder: Path) -> None:
    """Create ``folder`` inside a run that has its manifest already; without one it would look foreign."""
    try:
        folder.mkdir(exist_ok=True)
        sync_directory(folder.parent)
    except OSError as error:
        raise cannot("make", folder, error) from error


def _check_name(name: str) -> None:
    reserved = (MANIFEST_NAME, PAIRS_NAME, SUMMARY_NAME, PARTS_FOLDER, LOCK_NAME, "", "..")
    if name in reserved or name.startswith(TEMPORARY_PREFIX) or Path(name).name != name:
        raise ValueError(f"{name!r} cannot be the name of a further file of a run")
