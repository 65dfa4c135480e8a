"""From a study to its finished grid: every cell prunes a dense model anew, and is measured; what is there is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from actsim.config import DEFAULT_BATCH_TOKENS, digest_of
from actsim.core.sparsity import Floats
from actsim.data.domains import Domain
from actsim.models.loading import LoadedModel
from actsim.models.sampling import Samples
from actsim.pipelines.pruning import pruned_blocks
from actsim.report.study_files import study_files
from actsim.report.study_tables import study_csvs
from actsim.store import RunStore, TableRun
from actsim.store.cells import (
    ACHIEVED,
    DENSE,
    PLANNED,
    PROFILE,
    STUDY,
    CellValues,
    cell_table,
    cells_layout,
    open_study,
)
from actsim.store.parts import scan_parts
from actsim.store.tables import TableLayout
from actsim.studies import default_path
from actsim.studies.evaluations import Evaluation, item_counts, load_evaluations
from actsim.studies.grid_summary import summarise
from actsim.studies.intervals import Intervals
from actsim.studies.over_samples import finish_study, missing_parts
from actsim.studies.pruning import Calibration, Request, prune
from actsim.studies.record import circumstances
from actsim.studies.study_file import Cell, Study
from actsim.studies.transfer import DomainMatrices, check_similar

Progress = Callable[[int, int], None]
"""Told how many cells are done, and of how many."""
Load = Callable[[], LoadedModel]
"""Loads the dense model; asked for again before every cell, once the last one's is gone."""
Draws = dict[tuple[str, int], Samples]
"""Calibration and seed -> its samples."""
Profiles = dict[tuple[str, str | None, int | None], Floats | None]
"""Allocation, calibration and seed -> what blocks are allocated by; cells of other scores and sparsities share it."""


class Dense:
    """The dense model of a study: kept until it is taken to be pruned, and loaded again after that.

    There is never a second one in memory as long as whoever took one has dropped it before asking again.

    Args:
        load: loads it.
    """

    def __init__(self, load: Load) -> None:
        self._load = load
        self._kept: LoadedModel | None = None

    def look(self) -> LoadedModel:
        """The model, not to be changed."""
        if self._kept is None:
            self._kept = self._load()
        return self._kept

    def take(self) -> LoadedModel:
        """The model, to be changed: it is not kept."""
        loaded, self._kept = self.look(), None
        return loaded


@dataclass(frozen=True)
class GridRequest:
    """A study that may be begun: everything about it is decided.

    Attributes:
        study: what was asked for.
        dense: the dense model.
        identity: of that model, with its type and number of blocks.
        evaluations: what every model is measured on.
        calibrations: name -> texts.
        drawn: the samples that were drawn already.
        record: circumstances for the manifest.
        data_dir: where corpora were looked for.
    """

    study: Study
    dense: Dense
    identity: dict[str, Any]
    evaluations: tuple[Evaluation, ...]
    calibrations: dict[str, Domain]
    drawn: Draws
    record: dict[str, Any]
    data_dir: str | Path | None = None

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """Those that are pruned; cell 0 is the dense model, the first of these is cell 1."""
        return self.study.cells()

    @cached_property
    def config(self) -> dict[str, Any]:
        """What the values depend on, ready for JSON."""
        study = self.study
        return {
            "study": STUDY,
            **self.identity,
            "cells": [cell.to_dict() for cell in self.cells],
            "allocations": {own.label: dict(own.settings) for own in study.allocations},
            "samples": study.samples,
            "seq_len": study.seq_len,
            "calibrations": {name: domain.identity() for name, domain in self.calibrations.items()},
            "evaluations": [own.to_dict() for own in self.evaluations],
        }

    @property
    def default_directory(self) -> Path:
        """``reports/study-<model>-<first eight digits of the digest>``."""
        return default_path(STUDY, self.identity["model"]["name"], digest_of(self.config))


def request_study(study: Study, load: Load, data_dir: str | Path | None = None) -> GridRequest:
    """Read all data and check what is asked for; nothing is pruned.

    Args:
        study: from ``read_study``.
        load: loads the dense model.
        data_dir: where corpora and benchmarks are looked for.

    Raises:
        ActsimError: see ``load_evaluations``, ``load_domain`` and ``Calibration.draw``.
    """
    dense = Dense(load)
    loaded = dense.look()
    identity = {"model": loaded.identity(), "dtype": loaded.dtype, "n_layers": loaded.n_layers}
    evaluations = load_evaluations(study, loaded, data_dir)
    needed = dict.fromkeys(cell.calibration for cell in study.cells() if cell.calibration is not None)
    first = study.seeds[0]
    calibrations = {name: _calibration(study, name, first, data_dir).load() for name in needed}
    drawn = {
        (name, first): _calibration(study, name, first, data_dir).draw(domain, loaded)
        for name, domain in calibrations.items()
    }
    record = circumstances(loaded, None)
    return GridRequest(study, dense, identity, evaluations, calibrations, drawn, record, data_dir)


def _calibration(study: Study, name: str, seed: int, data_dir: str | Path | None) -> Calibration:
    return Calibration(name, study.samples, study.seq_len, seed, data_dir)


def run_study(
    request: GridRequest,
    *,
    out: str | Path | None = None,
    fresh: bool = False,
    intervals: Intervals | None = None,
    similar: DomainMatrices | None = None,
    report: bool = True,
    command: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> TableRun:
    """Prune and measure every cell that the directory misses, then sum all of them up.

    A cell is written when it is complete: an interrupted study loses the one that was being made. A finished one is
    summed up again without pruning.

    Args:
        request: from ``request_study``.
        out: the study's directory; default ``request.default_directory``.
        fresh: start over where the directory holds a run already, this one or another.
        intervals: how cells are summed up.
        similar: a domains run of the model, which the grid of calibrations and texts is set against.
        report: whether to write report.html, report.md and the figures beside the tables.
        command: the command line that repeats the study, for its record.
        progress: told of every cell that is done.

    Returns:
        The finished study.

    Raises:
        ActsimError: see ``RunStore.begin``, ``prune`` and the evaluations.
    """
    if similar is not None:
        calibrations = [own.name for own in request.calibrations.values()]
        check_similar(similar, request.identity["model"], calibrations, [own.data for own in request.evaluations])
    directory = Path(out) if out is not None else request.default_directory
    blocks = dict.fromkeys((PLANNED, ACHIEVED, PROFILE), int(request.identity["n_layers"]))
    layout = cells_layout(digest_of(request.config), len(request.cells) + 1, blocks | item_counts(request.evaluations))
    record = request.record | {"command": list(command) if command else None}
    with RunStore.begin(directory, request.config, layout, record=record, fresh=fresh) as store:
        _fill(request, store, layout, progress)
        store.update_manifest(command=record["command"])
        summary = summarise(request.config, CellValues(store.read_parts()), intervals or Intervals(), similar)
        finish_study(store, summary, report=report, files=study_files, tables=study_csvs)
    return open_study(directory)


def _fill(request: GridRequest, store: RunStore, layout: TableLayout, progress: Progress | None) -> None:
    """Make the cells that the store misses."""
    missing = missing_parts(store)
    if not missing:
        return
    total = len(request.cells) + 1
    maker = _Maker(request, _stored_profiles(request, store, layout))
    for done, number in enumerate(missing, start=total - len(missing)):
        if progress is not None:
            progress(done, total)
        store.write_part(number, cell_table(number, maker.values(number)))
    if progress is not None:
        progress(total, total)


def _stored_profiles(request: GridRequest, store: RunStore, layout: TableLayout) -> Profiles:
    """The profiles that the cells in the store went by."""
    parts, _ = scan_parts(store.directory, layout)  # damaged ones are among the missing, and gone
    found: Profiles = {}
    for number in parts.keys() - {DENSE}:
        profile = CellValues(parts[number]).of(number, PROFILE)
        if not np.isnan(profile).any():
            found[_profile_key(request.cells[number - 1])] = profile
    return found


def _profile_key(cell: Cell) -> tuple[str, str | None, int | None]:
    return cell.allocation.label, cell.calibration, cell.seed


class _Maker:
    """Makes cells one after the other.

    Args:
        request: the study.
        profiles: those that are known.
    """

    def __init__(self, request: GridRequest, profiles: Profiles) -> None:
        self._request = request
        self._samples: Draws = dict(request.drawn)
        self._profiles = profiles

    def values(self, number: int) -> dict[str, list[float]]:
        """Every measure of a cell."""
        if number == DENSE:
            loaded = self._request.dense.look()
            zeros = [block.achieved for block in pruned_blocks(loaded)]
            found = {PLANNED: [0.0] * len(zeros), ACHIEVED: zeros, PROFILE: [np.nan] * len(zeros)}
        else:
            loaded = self._request.dense.take()
            found = self._prune(loaded, self._request.cells[number - 1])
        for evaluation in self._request.evaluations:
            found |= evaluation.measure(loaded)
        return found

    def _prune(self, loaded: LoadedModel, cell: Cell) -> dict[str, list[float]]:
        """Prune the model in place; what of every block was planned, done, and gone by."""
        request = Request(loaded, cell.recipe(DEFAULT_BATCH_TOKENS), self._drawn(cell, loaded))
        key = _profile_key(cell)
        if key not in self._profiles:
            self._profiles[key] = request.profile()
        profile = self._profiles[key]
        allocation = request.allocate(profile)
        blocks = prune(request, allocation)
        return {
            PLANNED: allocation.sparsities.tolist(),
            ACHIEVED: [block.achieved for block in blocks],
            PROFILE: [np.nan] * len(blocks) if profile is None else profile.tolist(),
        }

    def _drawn(self, cell: Cell, loaded: LoadedModel) -> Samples | None:
        """The calibration samples of a cell, drawn once; None where they do not matter."""
        if cell.calibration is None or cell.seed is None:
            return None
        key = cell.calibration, cell.seed
        if key not in self._samples:
            drawing = _calibration(self._request.study, *key, self._request.data_dir)
            self._samples[key] = drawing.draw(self._request.calibrations[cell.calibration], loaded)
        return self._samples[key]
