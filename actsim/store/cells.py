"""The rows of a pruning study: what was measured of every model, item by item.

Cell 0 is the dense model. A measure is of items: the windows of a text, the questions of a task, the pairs of a
benchmark; or, under the names of PLAN_MEASURES, of the blocks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from actsim.store.reading import TableRun, open_table
from actsim.store.tables import Column, TableLayout

if TYPE_CHECKING:
    import pyarrow as pa

STUDY = "study"
KEYS = ("cell", "measure", "item")
COLUMNS = (
    Column("cell", "int32"),
    Column("measure", "string"),
    Column("item", "int32"),
    Column("value", "double", nullable=True),
)
PLANNED, ACHIEVED, PROFILE = "planned", "achieved", "profile"
PLAN_MEASURES = (PLANNED, ACHIEVED, PROFILE)
"""Of every block: S_i, the share that is zero, and what the allocation went by, undefined where it went by nothing."""
DENSE = 0

Floats = npt.NDArray[np.float64]


def cells_layout(digest: str, n_cells: int, items: Mapping[str, int]) -> TableLayout:
    """What the parts of a study look like: one for every cell.

    Args:
        digest: of the study's configuration.
        n_cells: the dense model among them.
        items: measure -> how many items it has, those of PLAN_MEASURES among them.
    """
    rows = tuple(
        tuple((cell, measure, item) for measure, count in items.items() for item in range(count))
        for cell in range(n_cells)
    )
    return TableLayout(digest, (), tuple(map(len, rows)), COLUMNS, KEYS, rows)


def cell_table(cell: int, values: Mapping[str, Sequence[float]]) -> pa.Table:
    """The rows of a cell: the values of every measure, item by item; NaN where one is undefined."""
    import pyarrow as pa

    names = [name for name, own in values.items() for _ in own]
    return pa.table(
        {
            "cell": pa.array([cell] * len(names), pa.int32()),
            "measure": pa.array(names, pa.string()),
            "item": pa.array([item for own in values.values() for item in range(len(own))], pa.int32()),
            "value": pa.array([float(value) for own in values.values() for value in own], pa.float64()),
        }
    )


@dataclass(frozen=True, eq=False)
class CellValues:
    """The values of some or all cells of a study.

    Attributes:
        table: rows of whole parts.
    """

    table: pa.Table

    @cached_property
    def _values(self) -> dict[tuple[int, str], Floats]:
        frame = self.table.select(["cell", "measure", "item", "value"]).to_pandas()
        ordered = frame.sort_values(["cell", "measure", "item"])
        return {
            (int(cell), str(measure)): own["value"].to_numpy(dtype=np.float64)
            for (cell, measure), own in ordered.groupby(["cell", "measure"], sort=False)
        }

    def of(self, cell: int, measure: str) -> Floats:
        """float64 [items]: the values of a measure of a cell."""
        return self._values[cell, measure]


def open_study(directory: str | Path) -> TableRun:
    """Open the finished pruning study in ``directory``; raises as ``open_table``."""
    return open_table(directory, STUDY, lambda manifest: COLUMNS, KEYS)
