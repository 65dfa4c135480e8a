"""The rows of a run as arrays and data frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from actsim.errors import UsageError
from actsim.registry import unknown_name
from actsim.store.parts import EMBEDDING_BASELINE, HIDDEN_BASELINES, READOUT_COLUMNS, WHOLE_LAYER

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


@dataclass(frozen=True, eq=False)
class PairScores:
    """Scores of n pairs in G groups; the index of every data frame is the pair's position in the PairSet.

    Attributes:
        table: the rows of all parts, sorted by pair; columns as in ``actsim.store.parts``.
        groups: the (layer, kind) of each of the G values of a score.
        measures: the measures stored, the headline first.
    """

    table: pa.Table
    groups: tuple[tuple[int, str], ...]
    measures: tuple[str, ...]

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers, counted from 1."""
        return tuple(dict.fromkeys(layer for layer, _ in self.groups))

    @property
    def baselines(self) -> tuple[str, ...]:
        """Those of hidden_mean, hidden_last and embedding that are stored."""
        return tuple(name for name in (*HIDDEN_BASELINES, EMBEDDING_BASELINE) if name in self.table.schema.names)

    def scores(self, measure: str) -> npt.NDArray[np.float64]:
        """float64 [n, G]; NaN where a score is undefined. An unknown measure is a UsageError."""
        if measure not in self.measures:
            raise unknown_name("measure of this run", measure, self.measures, "Run again with that measure.")
        return self._matrix(measure)

    def layer_scores(self, measure: str) -> pd.DataFrame:
        """Pairs × layers: the score of the whole layer."""
        columns = [index for index, (_, kind) in enumerate(self.groups) if kind == WHOLE_LAYER]
        return self._frame(self.scores(measure)[:, columns], self.layers, ["layer"])

    def band_scores(self, measure: str, layers: Sequence[int]) -> npt.NDArray[np.float64]:
        """float64 [n]: the mean of the scores of these layers, counted from 1; NaN where one of them is undefined."""
        return self.layer_scores(measure)[list(layers)].to_numpy().mean(axis=1)

    def kind_scores(self, measure: str) -> pd.DataFrame:
        """Pairs × (layer, kind): the score of each kind of linear map alone."""
        columns = [index for index, (_, kind) in enumerate(self.groups) if kind != WHOLE_LAYER]
        return self._frame(self.scores(measure)[:, columns], [self.groups[i] for i in columns], ["layer", "kind"])

    def hidden_scores(self, name: str) -> pd.DataFrame:
        """Pairs × layers: the baseline ``hidden_mean`` or ``hidden_last``; one that is not stored is a UsageError."""
        self._check_baseline(name, HIDDEN_BASELINES)
        return self._frame(self._matrix(name), self.layers, ["layer"])

    def embedding_scores(self) -> npt.NDArray[np.float64]:
        """float64 [n]: cosine of the model's own sentence embeddings; a UsageError if it is not stored."""
        self._check_baseline(EMBEDDING_BASELINE, (EMBEDDING_BASELINE,))
        return self.table[EMBEDDING_BASELINE].to_numpy()

    def readouts(self) -> pd.DataFrame:
        """What was stored about the two sentences of each pair: tokens, truncation, read-out, top token, margin."""
        names = [name for name in READOUT_COLUMNS if name in self.table.schema.names]
        return self.table.select(names).to_pandas().rename_axis("pair")

    def _check_baseline(self, name: str, allowed: tuple[str, ...]) -> None:
        if name not in allowed or name not in self.baselines:
            stored = ", ".join(self.baselines) or "none"
            raise UsageError(f"this run has no baseline {name!r} of that form; stored: {stored}. Run with baselines.")

    def _matrix(self, column: str) -> npt.NDArray[np.float64]:
        values = self.table[column].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        return values.reshape(self.table.num_rows, -1)

    def _frame(self, values: npt.NDArray[np.float64], columns: Any, names: list[str]) -> pd.DataFrame:
        import pandas as pd

        if len(names) > 1:
            labels: pd.Index = pd.MultiIndex.from_tuples(columns, names=names)
        else:
            labels = pd.Index(columns, name=names[0])
        return pd.DataFrame(values, index=pd.RangeIndex(len(values), name="pair"), columns=labels)
