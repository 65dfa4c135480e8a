"""Weights of a model set to zero, block after block, each block fed by the already pruned ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from actsim.config import NOfM, Scoring
from actsim.core import wanda
from actsim.core.batch import Batch, pad
from actsim.core.blockwise import BlockStates, block_states
from actsim.core.consumers import distinct_maps
from actsim.core.density import MeanPatterns
from actsim.core.linears import LinearMap
from actsim.core.objectives import OBJECTIVES
from actsim.core.passes import consume
from actsim.core.scoring import Pattern, default_backend
from actsim.core.sparsity import Floats
from actsim.errors import ModelError
from actsim.models.devices import free_memory, lent

if TYPE_CHECKING:
    from actsim.models.loading import LoadedModel
    from actsim.models.sampling import Samples

Progress = Callable[[int, int], None]
"""Told how many blocks, or for ``mean_patterns`` samples, are done, and of how many."""

ACCUMULATOR_BYTES = 8
"""Of a parameter while mean patterns are added up."""


@dataclass(frozen=True)
class PrunedBlock:
    """What became of a block.

    Attributes:
        layer: counted from 1.
        parameters: weights of its linear maps.
        zeros: how many of them are zero now.
    """

    layer: int
    parameters: int
    zeros: int

    @property
    def achieved(self) -> float:
        """The share of its weights that is zero."""
        return self.zeros / self.parameters


def block_sizes(loaded: LoadedModel) -> Floats:
    """Weights of the linear maps of every block; what several maps share counts once."""
    return np.array([sum(m.weight.numel() for m in maps) for maps in _maps(loaded)], dtype=np.float64)


def wanda_profile(
    loaded: LoadedModel,
    samples: Samples,
    measure: Callable[[Sequence[LinearMap], wanda.SquaredNorms], float],
    batch_tokens: int,
    progress: Progress | None = None,
) -> Floats:
    """``measure`` of the Wanda scores of every block of the dense model.

    Raises:
        ModelError: see ``block_states``.
        NumericError: see ``core.wanda.scores``.
    """
    report = progress or _tell_nobody
    report(0, loaded.n_layers)
    states = _calibration_states(loaded, samples, batch_tokens)
    found = []
    for block, maps in enumerate(_maps(loaded)):
        with lent(loaded.blocks[block], loaded.block_device):
            with wanda.squared_input_norms(_uses(loaded, block)) as norms:
                states.advance(block)
            found.append(measure(maps, norms))
        report(block + 1, loaded.n_layers)
    return np.array(found)


def mean_patterns(
    loaded: LoadedModel, samples: Samples, scoring: Scoring, progress: Progress | None = None
) -> MeanPatterns:
    """Σ |w · ∂D/∂w| of every weight over the samples, of the dense model.

    Raises:
        UsageError: an objective of another family.
        ModelError: the accumulators do not fit into memory.
        NumericError: see ``core.passes.consume``.
    """
    maps = [linear for own in _maps(loaded) for linear in own]
    needed = ACCUMULATOR_BYTES * sum(linear.weight.numel() for linear in maps)
    free = sum(free_memory(device) for device in loaded.devices)
    if needed > free:
        raise ModelError(
            f"the score activation adds up the patterns of all weights: {needed / 2**30:.1f} GiB, and "
            f"{free / 2**30:.1f} GiB are free; use --score wanda, or a machine with more memory."
        )
    readout = OBJECTIVES[loaded.family].get(scoring.objective)
    sums = MeanPatterns(maps, Pattern(), default_backend(loaded.scoring_device, loaded.dtype))
    report, done = progress or _tell_nobody, 0
    report(done, len(samples))
    for batch in _batches(loaded, samples, scoring.batch_tokens):
        taken: set[int] = set()
        consume(loaded, batch, readout, partial(sums.batch, taken))
        done += len(batch.labels)
        report(done, len(samples))
    return sums


class Cut:
    """Which weights of a map go, by its scores: so many of every row, or all but N of every M.

    Args:
        sparsities: of every block, by position.
        n_of_m: N:M in place of them, or None.
    """

    def __init__(self, sparsities: Floats, n_of_m: NOfM | None) -> None:
        self._sparsities, self._n_of_m = sparsities, n_of_m

    def apply(self, linear: LinearMap, scores: Tensor) -> None:
        """Set what goes to zero."""
        if self._n_of_m is None:
            removed = wanda.lowest_of_rows(scores, float(self._sparsities[linear.layer - 1]))
        else:
            removed = wanda.lowest_of_groups(scores, self._n_of_m.kept, self._n_of_m.group)
        wanda.remove(linear, removed)

    def check(self, maps: Sequence[LinearMap]) -> None:
        """Raise UsageError, before anything is set to zero, where the inputs of a map do not divide into groups."""
        if self._n_of_m is not None:
            wanda.check_groups(maps, self._n_of_m.group)


def prune_by_inputs(
    loaded: LoadedModel, samples: Samples, cut: Cut, batch_tokens: int, progress: Progress | None = None
) -> tuple[PrunedBlock, ...]:
    """Wanda: the norms of a block's inputs are taken, its weights go, and its new outputs are the next one's inputs.

    The model is changed in place; there is never a second copy of a weight.

    Raises:
        UsageError: see ``Cut.check``.
        ModelError: see ``block_states``.
        NumericError: see ``core.wanda.scores``.
    """
    cut.check(loaded.maps)
    report = progress or _tell_nobody
    report(0, loaded.n_layers)
    states = _calibration_states(loaded, samples, batch_tokens)
    for block, maps in enumerate(_maps(loaded)):
        with lent(loaded.blocks[block], loaded.block_device):
            with wanda.squared_input_norms(_uses(loaded, block)) as norms:
                states.observe(block)
            for linear in maps:
                cut.apply(linear, wanda.scores(linear, norms[id(linear.parameter)]))
            states.advance(block)
        report(block + 1, loaded.n_layers)
    return pruned_blocks(loaded)


def prune_by_scores(loaded: LoadedModel, scores: Callable[[LinearMap], Tensor], cut: Cut) -> tuple[PrunedBlock, ...]:
    """The weights go by scores that are known beforehand; the model is changed in place.

    Raises:
        UsageError: see ``Cut.check``.
    """
    cut.check(loaded.maps)
    for block, maps in enumerate(_maps(loaded)):
        with lent(loaded.blocks[block], loaded.block_device):
            for linear in maps:
                cut.apply(linear, scores(linear))
    return pruned_blocks(loaded)


def pruned_blocks(loaded: LoadedModel) -> tuple[PrunedBlock, ...]:
    """How many weights of every block there are, and how many are zero."""
    return tuple(
        PrunedBlock(layer, sum(m.weight.numel() for m in maps), wanda.zeros(maps))
        for layer, maps in enumerate(_maps(loaded), start=1)
    )


def _maps(loaded: LoadedModel) -> list[list[LinearMap]]:
    """The maps of every block, of those that share a parameter the first."""
    by_layer: Mapping[int, list[LinearMap]] = distinct_maps(loaded.maps)
    return [by_layer[layer] for layer in sorted(by_layer)]


def _uses(loaded: LoadedModel, block: int) -> list[LinearMap]:
    """Every map of a block, those that share a parameter too."""
    return [linear for linear in loaded.maps if linear.layer == block + 1]


def _calibration_states(loaded: LoadedModel, samples: Samples, batch_tokens: int) -> BlockStates:
    return block_states(loaded.model, loaded.blocks, list(_batches(loaded, samples, batch_tokens)))


def _batches(loaded: LoadedModel, samples: Samples, batch_tokens: int) -> Iterator[Batch]:
    """The samples in batches of one size: as many as fit, and as divide their number."""
    most = max(1, batch_tokens // max(map(len, samples.tokens))) if loaded.batchable else 1
    size = max(size for size in range(1, min(most, len(samples)) + 1) if len(samples) % size == 0)
    for first in range(0, len(samples), size):
        labels = [f"{samples.domain} sample {name}" for name in samples.ids[first : first + size]]
        yield pad(samples.tokens[first : first + size], labels, pad_token=loaded.pad_token, device=loaded.device)


def _tell_nobody(_done: int, _total: int) -> None:
    """Stands for a progress that nobody asked for."""
