"""The controls of a run: each a run of its own beneath the run's directory, over the same pairs in the same way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from actsim.data.pairs import PairSet
from actsim.errors import NumericError
from actsim.models.controls import controlled
from actsim.models.loading import LoadedModel
from actsim.pipelines.correlation import ControlScores
from actsim.stats.bands import Band
from actsim.store import Run

if TYPE_CHECKING:
    from actsim.studies.evaluate import Statistics


def control_scores(
    pairs: PairSet,
    loaded: LoadedModel,
    measure: str,
    band: Band,
    statistics: Statistics,
    directory: Path,
    beside: Callable[..., Run],
) -> Iterator[ControlScores]:
    """Run every control of ``statistics`` and yield the scores of its layers, one control after the other.

    Args:
        pairs: the pairs of the run.
        loaded: its model.
        measure: the headline measure.
        band: the headline band.
        statistics: which controls, their seed, and how they are summed up.
        directory: the run's own; a control has the directory ``control_folder`` there.
        beside: ``evaluate`` with the scoring and the other settings of the run.

    Raises:
        NumericError: a control has no scores: fresh weights may leave a read-out constant.
    """
    alone = replace(statistics, layers=band.name, select_on=None, controls=())
    for name in statistics.controls:
        control = controlled(loaded, name, statistics.control_seed)
        out = directory / control_folder(name, statistics.control_seed)
        with named_in_errors(name):
            run = beside(pairs, control, statistics=alone, out=out)
        yield ControlScores(name, statistics.control_seed, run.layer_scores(measure).to_numpy())


@contextmanager
def named_in_errors(control: str) -> Iterator[None]:
    """Within it a NumericError names the control that has no scores."""
    try:
        yield
    except NumericError as error:
        raise NumericError(f"control {control}: {error} Leave this control out to go without it.") from error


def control_folder(name: str, seed: int) -> str:
    """``control-random-weights``; with a seed other than 0 ``control-random-weights-seed7``, so that both may stay."""
    return f"control-{name}{f'-seed{seed}' if seed else ''}"
