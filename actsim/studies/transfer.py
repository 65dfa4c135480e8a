"""The second validation: which calibration serves which text, set against the similarities of a domains run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.stats

from actsim.errors import UsageError
from actsim.stats.transfer import FEWEST_DOMAINS, REMOVED, additive_effects, transfer
from actsim.store.similarities import open_domains
from actsim.studies.intervals import Intervals, t_interval

Floats = npt.NDArray[np.float64]

MOST = 1 - 1e-9
"""The largest ρ whose artanh is taken."""


@dataclass(frozen=True, eq=False)
class DomainMatrices:
    """What a finished run of ``actsim domains`` says of its domains.

    Attributes:
        model: identity of the run's model.
        source: which run it is and how it was made, ready for JSON.
        names: of the domains.
        matrices: kind of similarity -> symmetric matrix over ``names``, NaN where a cell is unknown.
    """

    model: Mapping[str, Any]
    source: dict[str, Any]
    names: tuple[str, ...]
    matrices: dict[str, Floats]

    def place(self, name: str) -> int | None:
        """Where the domain of that name stands, or the only one out of the same corpus; None where there is none."""
        if name in self.names:
            return self.names.index(name)
        found = [place for place, own in enumerate(self.names) if corpus_of(own) == corpus_of(name)]
        return found[0] if len(found) == 1 else None


def corpus_of(name: str) -> str:
    """``boolq`` of ``boolq`` and of ``boolq:train``."""
    return name.partition(":")[0]


def read_matrices(directory: str | Path) -> DomainMatrices:
    """The matrices of a finished run over domains.

    Raises:
        UsageError: no such run.
        ResumeError: the run is not finished, or damaged.
    """
    run = open_domains(directory)
    summary = run.summary
    names = tuple(row["name"] for row in summary["domains"])
    source = {name: summary[name] for name in ("objective", "pattern", "band", "n_groups")}
    matrices = {kind: _matrix(names, rows) for kind, rows in summary["matrices"].items() if rows}
    return DomainMatrices(summary["model"], {"digest": run.manifest["digest"], **source}, names, matrices)


def _matrix(names: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> Floats:
    found = np.full((len(names), len(names)), np.nan)
    for row in rows:
        a, b = names.index(row["a"]), names.index(row["b"])
        found[a, b] = found[b, a] = np.nan if row["value"] is None else row["value"]
    return found


@dataclass(frozen=True, eq=False)
class Grid:
    """What models that were pruned in one way are worth, calibration by calibration and text by text.

    Attributes:
        calibrations, texts: their names; a task is a text here.
        quality: [seeds, calibrations, texts], the higher, the better, on a scale on which differences are additive.
        same_rows: (calibration, text) that are one split of one corpus.
    """

    calibrations: tuple[str, ...]
    texts: tuple[str, ...]
    quality: Floats
    same_rows: frozenset[tuple[str, str]]


def check_similar(
    similar: DomainMatrices, model: Mapping[str, Any], calibrations: Sequence[str], texts: Sequence[str]
) -> None:
    """Raise UsageError where the run is of another model than the study, or shares too few domains with it."""
    if similar.model["sha256"] != model["sha256"]:
        raise UsageError(
            f"--similarity: a run of {similar.model['name']}, whose weights are not those of {model['name']}; give a "
            "run of this model, or leave it out."
        )
    places = [
        [place for name in names if (place := similar.place(name)) is not None] for names in (calibrations, texts)
    ]
    if not _are_enough(*places):
        raise UsageError(
            f"--similarity: of its domains {', '.join(similar.names)} the study has "
            f"{len(set(places[0]))} as calibrations and {len(set(places[1]))} as texts or tasks; two of each, and "
            f"{FEWEST_DOMAINS} in all, are needed."
        )


def _are_enough(calibrations: Sequence[int], texts: Sequence[int]) -> bool:
    """Whether there are several domains of each, and FEWEST_DOMAINS in all."""
    return min(len(set(calibrations)), len(set(texts))) > 1 and len({*calibrations, *texts}) >= FEWEST_DOMAINS


def transfer_rows(grid: Grid, similar: DomainMatrices, intervals: Intervals) -> Iterator[dict[str, Any]]:
    """ρ of quality and every kind of similarity, see ``stats.transfer.transfer``; none where too little is known.

    Beside the interval over the domains there is one over the seeds: Student's t of artanh of the ρ of every seed.
    """
    for kind, matrix in similar.matrices.items():
        rows, columns = (
            [(number, place) for number, name in enumerate(names) if (place := similar.place(name)) is not None]
            for names in (grid.calibrations, grid.texts)
        )
        known = _complete(matrix, [place for _, place in (*rows, *columns)])
        rows, columns = ([own for own in side if own[1] in known] for side in (rows, columns))
        places = [place for _, place in rows], [place for _, place in columns]
        if not _are_enough(*places):
            continue
        quality = grid.quality[:, [number for number, _ in rows]][:, :, [number for number, _ in columns]]
        for removed in REMOVED:
            yield {"similarity": kind, "removed": removed, **_row(quality, matrix, places, removed, intervals)}


def _complete(matrix: Floats, places: Sequence[int]) -> set[int]:
    """Those places whose similarities with all others of these are known; the least known are dropped first."""
    found = set(places)
    while found:
        order = sorted(found)
        unknown = np.isnan(matrix[np.ix_(order, order)]) & ~np.eye(len(order), dtype=bool)
        if not unknown.any():
            return found
        found.discard(order[int(unknown.sum(axis=1).argmax())])
    return found


def _row(
    quality: Floats, matrix: Floats, places: tuple[list[int], list[int]], removed: str, intervals: Intervals
) -> dict[str, Any]:
    def correlate(values: Floats) -> Any:
        return transfer(
            values,
            matrix,
            *places,
            removed=removed,
            rng=np.random.default_rng(intervals.seed),
            permutations=intervals.permutations,
            level=intervals.level,
        )

    found = correlate(quality.mean(axis=0))
    ends = t_interval(np.arctanh(np.clip([correlate(own).rho for own in quality], -MOST, MOST)), intervals.level)
    low, high = (None if end is None else math.tanh(end) for end in ends)
    numbers = {name: None if np.isnan(value) else value for name, value in found._asdict().items()}
    return {**numbers, "seeds": len(quality), "seeds_low": low, "seeds_high": high}


def own_domain(grid: Grid, level: float) -> Iterator[dict[str, Any]]:
    """How much better texts fare with a calibration of their own domain than the other cells let one expect.

    An additive fit to all cells of two different domains, of a level for every text ("text"), or for every text and
    every calibration ("both"), says what to expect. The mean over the texts of quality minus that, and Student's t
    interval over the texts. Where both are the same rows, the cell is left out. None where fewer than two texts are
    left.
    """
    quality = grid.quality.mean(axis=0)
    of_domain = [[corpus_of(a) == corpus_of(b) for b in grid.texts] for a in grid.calibrations]
    own = np.array(of_domain)
    for removed in REMOVED:
        left = quality - _expected(quality, ~own, removed)
        cells = [
            left[row, column]
            for row, column in zip(*np.nonzero(own), strict=True)
            if (grid.calibrations[row], grid.texts[column]) not in grid.same_rows
        ]
        if len(cells) > 1:
            low, high = t_interval(np.array(cells), level)
            differ = np.ptp(cells) > 1e-9 * np.abs(cells).max()  # by more than rounding
            p = float(scipy.stats.ttest_1samp(cells, 0.0).pvalue) if differ else None
            numbers = {"difference": float(np.mean(cells)), "ci_low": low, "ci_high": high, "p": p}
            yield {"removed": removed, "texts": len(cells), **numbers}


def _expected(quality: Floats, known: npt.NDArray[np.bool_], removed: str) -> Floats:
    """What an additive least-squares fit to the known cells says of every cell."""
    design, used = additive_effects(quality.shape, removed), known.ravel()
    fitted = np.linalg.lstsq(design[used], quality.ravel()[used], rcond=None)[0]
    return (design @ fitted).reshape(quality.shape)
