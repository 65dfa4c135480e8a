"""The run of a configuration: opened where it is finished, otherwise evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from actsim.config import RunConfig, Scoring
from actsim.data.pairs import PairSet
from actsim.errors import ResumeError, UsageError
from actsim.models.loading import LoadedModel
from actsim.store import Run, open_run
from actsim.studies.evaluate import Progress, Statistics, default_directory, evaluate


def finished_run(
    pairs: PairSet,
    loaded: LoadedModel,
    scoring: Scoring,
    *,
    statistics: Statistics,
    command: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> Run:
    """The run of that configuration in its default directory: opened when it is finished, otherwise evaluated.

    A finished one is left as it is, whatever statistics it was summed up with.

    Raises:
        ActsimError: see ``evaluate``.
    """
    config = RunConfig(pairs.identity(), loaded.identity(), scoring)
    directory = default_directory(config)
    return open_finished(directory, config) or evaluate(
        pairs, loaded, scoring, statistics=statistics, out=directory, command=command, progress=progress
    )


def open_finished(directory: Path, config: RunConfig) -> Run | None:
    """The finished run of that configuration in ``directory``; None where there is none, or another."""
    try:
        run = open_run(directory)
    except (UsageError, ResumeError):
        return None
    return run if run.manifest["digest"] == config.digest() else None
