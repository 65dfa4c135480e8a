"""The rows of a density run, and their numbers as arrays over domains, layers and folds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from actsim.store.parts import WHOLE_LAYER
from actsim.store.reading import TableRun, open_table
from actsim.store.tables import Column

if TYPE_CHECKING:
    import pyarrow as pa

STUDY = "density"
KEYS = ("domain", "layer", "fold", "kind")
ALL_SAMPLES = 0
"""The fold that stands for all samples together; the folds themselves count from 1."""

MEASURES = ("mean", "gini", "gini_error", "participation")

Floats = npt.NDArray[np.float64]


def density_columns(n_gammas: int) -> tuple[Column, ...]:
    """The columns of a part: keys, then what the distribution of Ā over the samples of the fold is."""
    return (
        Column("domain", "string"),
        Column("layer", "int32"),
        Column("fold", "int32"),
        Column("kind", "string"),
        Column("samples", "int32"),
        Column("parameters", "int64"),
        *(Column(name, "double", nullable=name != "mean") for name in MEASURES),
        Column("zeros", "int64"),
        Column("counts", "list<int64>", width=n_gammas),
    )


def open_density(directory: str | Path) -> TableRun:
    """Open the finished density run in ``directory``; raises as ``open_table``."""

    def columns(manifest: dict[str, Any]) -> tuple[Column, ...]:
        return density_columns(len(manifest["config"]["settings"]["gammas"]))

    return open_table(directory, STUDY, columns, KEYS)


@dataclass(frozen=True, eq=False)
class Densities:
    """Numbers of D domains, L layers and F folds, the first of which is all samples together.

    Attributes:
        table: the rows of all parts.
        domains: their names, in the order of the run.
        gammas: the thresholds γ of the counts, in increasing order.
    """

    table: pa.Table
    domains: tuple[str, ...]
    gammas: tuple[float, ...]

    @cached_property
    def layers(self) -> tuple[int, ...]:
        """The layers, counted from 1."""
        return tuple(sorted(set(self.table["layer"].to_pylist())))

    @cached_property
    def kinds(self) -> tuple[str, ...]:
        """The module kinds in order of appearance, the whole layer first."""
        return tuple(dict.fromkeys([WHOLE_LAYER, *self.table["kind"].to_pylist()]))

    @cached_property
    def n_folds(self) -> int:
        """Number of folds; 0 where the samples were not taken apart."""
        return max(self.table["fold"].to_pylist())

    def measure(self, name: str, kind: str = WHOLE_LAYER) -> Floats:
        """float64 [D, L, F]: a column of doubles or of whole numbers; NaN where it is undefined."""
        return self._array(name, kind)

    def counts(self, kind: str = WHOLE_LAYER) -> Floats:
        """float64 [D, L, F, γ]: the number of parameters with Ā > γ; NaN where a layer has no such kind."""
        return self._array("counts", kind, len(self.gammas))

    def shares(self, kind: str = WHOLE_LAYER) -> Floats:
        """float64 [D, L, F, γ]: the share of parameters with Ā > γ."""
        return self.counts(kind) / self.measure("parameters", kind)[..., np.newaxis]

    def gamma_index(self, gamma: float) -> int:
        """The position of a threshold among ``gammas``."""
        return self.gammas.index(gamma)

    def _array(self, column: str, kind: str, width: int | None = None) -> Floats:
        shape: tuple[int, ...] = (len(self.domains), len(self.layers), self.n_folds + 1)
        found = np.full(shape if width is None else (*shape, width), np.nan)
        rows, values = self._rows[kind], self._values(column)
        found[self._place(rows)] = values[rows]
        return found

    def _values(self, column: str) -> Floats:
        values = self.table[column].combine_chunks()
        if column == "counts":
            return values.flatten().to_numpy().reshape(-1, len(self.gammas)).astype(np.float64)
        return values.to_numpy(zero_copy_only=False).astype(np.float64)

    @cached_property
    def _rows(self) -> dict[str, npt.NDArray[np.intp]]:
        kinds = np.array(self.table["kind"].to_pylist())
        return {kind: np.flatnonzero(kinds == kind) for kind in self.kinds}

    def _place(self, rows: npt.NDArray[np.intp]) -> tuple[Any, ...]:
        """Where the rows stand in an array over domains, layers and folds."""

        def positions(column: str, order: Sequence[str | int]) -> list[int]:
            place = {value: position for position, value in enumerate(order)}
            values = self.table[column].to_pylist()
            return [place[values[row]] for row in rows]

        return (
            positions("domain", self.domains),
            positions("layer", self.layers),
            positions("fold", range(self.n_folds + 1)),
        )
