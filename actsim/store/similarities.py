"""The rows of a run over the similarities of domains, and its cosines as arrays over layers, groups and samples.

A group holds two samples of each of D domains: sample 2d and 2d + 1 of a group are of domain d. A row is two of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from actsim.config import TOKEN_OBJECTIVES
from actsim.store.parts import WHOLE_LAYER
from actsim.store.reading import TableRun, open_table
from actsim.store.tables import Column

if TYPE_CHECKING:
    import pyarrow as pa

STUDY = "domains"
KEYS = ("group", "sample_a", "sample_b")
COSINE, HIDDEN, TFIDF, SAME_TOKEN = "cosine", "hidden_mean", "tfidf", "same_token"

Floats = npt.NDArray[np.float64]


def similarity_columns(groups: Sequence[tuple[int, str]], objective: str) -> tuple[Column, ...]:
    """The columns of a part: keys, cosines of the patterns by (layer, kind), those they are set against, read-outs.

    Where the read-out is of a token, one of those is whether it is the same token for both samples, 1 or 0.
    """
    n_layers = len({layer for layer, _ in groups})
    return (
        Column("group", "int32"),
        Column("sample_a", "int32"),
        Column("sample_b", "int32"),
        Column(COSINE, "list<double>", width=len(groups), nullable=True),
        Column(HIDDEN, "list<double>", width=n_layers, nullable=True),
        Column(TFIDF, "double"),
        *([Column(SAME_TOKEN, "double")] if objective in TOKEN_OBJECTIVES else []),
        Column("readout_a", "double"),
        Column("readout_b", "double"),
    )


def open_domains(directory: str | Path) -> TableRun:
    """Open the finished run over domains in ``directory``; raises as ``open_table``."""

    def columns(manifest: dict[str, Any]) -> tuple[Column, ...]:
        return similarity_columns(groups_in(manifest), manifest["config"]["scoring"]["objective"])

    return open_table(directory, STUDY, columns, KEYS)


def groups_in(manifest: dict[str, Any]) -> tuple[tuple[int, str], ...]:
    """The (layer, kind) of the cosines of a run."""
    return tuple((group["layer"], group["kind"]) for group in manifest["groups"])


@dataclass(frozen=True, eq=False)
class Similarities:
    """Cosines of G groups of N samples.

    Attributes:
        table: the rows of all parts, sorted by their keys.
        groups: the (layer, kind) of the cosines.
    """

    table: pa.Table
    groups: tuple[tuple[int, str], ...]

    @cached_property
    def layers(self) -> tuple[int, ...]:
        """The layers, counted from 1."""
        return tuple(dict.fromkeys(layer for layer, _ in self.groups))

    @cached_property
    def kinds(self) -> tuple[str, ...]:
        """The module kinds in order of appearance, without the whole layer."""
        return tuple(dict.fromkeys(kind for _, kind in self.groups if kind != WHOLE_LAYER))

    def cosines(self, kind: str = WHOLE_LAYER) -> Floats:
        """float64 [layers, G, N, N] of the patterns; NaN where they are not defined or a layer has no such kind."""
        found = self._lists(COSINE, len(self.groups))
        missing = np.full_like(found[0], np.nan)
        return np.stack(
            [
                found[self.groups.index((layer, kind))] if (layer, kind) in self.groups else missing
                for layer in self.layers
            ]
        )

    def hidden(self) -> Floats:
        """float64 [layers, G, N, N] of the mean hidden states after each layer."""
        return self._lists(HIDDEN, len(self.layers))

    def without_layers(self) -> dict[str, Floats]:
        """float64 [1, G, N, N] each: what is the same for all layers, the words' TF-IDF and, where known, the token."""
        names = [name for name in (TFIDF, SAME_TOKEN) if name in self.table.schema.names]
        return {name: self._matrices(self.table[name].to_numpy()[:, np.newaxis]) for name in names}

    def _lists(self, column: str, width: int) -> Floats:
        values = self.table[column].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        return self._matrices(values.astype(np.float64).reshape(-1, width))

    def _matrices(self, rows: Floats) -> Floats:
        """Values [rows, layers] of two samples each as symmetric matrices, 1 on the diagonal."""
        group, a, b = (self.table[name].to_numpy() for name in KEYS)
        samples = int(b.max()) + 1
        found = np.ones((rows.shape[1], int(group.max()) + 1, samples, samples))
        found[:, group, a, b] = found[:, group, b, a] = rows.T
        return found
