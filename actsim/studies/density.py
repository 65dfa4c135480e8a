"""From domains to a finished density run: what is missing is accumulated, then summed up and written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from actsim.config import DEFAULT_FOLDS, PUBLISHED_GAMMAS, DomainConfig, Scoring
from actsim.data.domains import Domain
from actsim.errors import UsageError
from actsim.models.loading import LoadedModel
from actsim.pipelines.density import Job, Plan, Runner, accumulator_bytes, plan_passes, prepare, run_passes
from actsim.pipelines.density_summary import summarise_density
from actsim.report.density_files import density_files, density_tables
from actsim.store import RunStore, TableRun
from actsim.store.densities import STUDY, Densities, open_density
from actsim.studies.drawing import Drawing, default_directory
from actsim.studies.evaluate import Progress, pair_counter
from actsim.studies.over_samples import (
    batch_bytes,
    finish_study,
    missing_parts,
    share_of_free_memory,
    study_config,
    study_record,
    study_summary,
)

SWEEP = tuple(float(f"{digit}e{power}") for power in range(-8, -2) for digit in (1, 2, 5))
"""Thresholds that are counted in every run: what is dense for one read-out is empty for another."""


@dataclass(frozen=True)
class Thresholds:
    """What is counted, and how it is summed up.

    Attributes:
        gammas: thresholds γ that are shown first; those of SWEEP are counted as well.
        folds: groups that the samples of a domain are taken apart into for the intervals; 1 for none.
        level: coverage of the intervals.
    """

    gammas: tuple[float, ...] = PUBLISHED_GAMMAS
    folds: int = DEFAULT_FOLDS
    level: float = 0.95

    def __post_init__(self) -> None:
        """Refuse before anything is computed what cannot be summed up."""
        if not self.gammas:
            raise UsageError("no threshold given; give --gamma at least once.")
        for gamma in self.gammas:
            if not 0 <= gamma < float("inf"):
                raise UsageError(f"--gamma must be a finite number of at least 0, got {gamma}.")
        if not 0 < self.level < 1:
            raise UsageError(f"--level must be between 0 and 1, got {self.level}; 0.95 is usual.")

    @property
    def all(self) -> tuple[float, ...]:
        """Every γ that is counted, in increasing order."""
        return tuple(sorted({*map(float, self.gammas), *SWEEP}))


@dataclass(frozen=True)
class Outlook:
    """What a run is going to take.

    Attributes:
        domains: that still have something to be done.
        samples: samples that go through, one for each pass over it.
        groups: the most groups of layers, and so passes, that a domain has.
        accumulators: bytes of the accumulators of the largest group.
        memory: bytes in all: weights, a batch of the longest samples, accumulators.
        seconds: by the time that a first batch took.
    """

    domains: int
    samples: int
    groups: int
    accumulators: int
    memory: int
    seconds: float


@dataclass(frozen=True)
class Request:
    """A density run that may be begun: everything about it is decided.

    Attributes:
        chosen: the domains.
        job: model, scoring and samples.
        thresholds: what is counted.
    """

    chosen: tuple[Domain, ...]
    job: Job
    thresholds: Thresholds

    @cached_property
    def config(self) -> DomainConfig:
        """What the numbers depend on."""
        settings = {"gammas": list(self.job.gammas), "folds": self.job.folds}
        return study_config(STUDY, self.job, settings)

    @property
    def default_directory(self) -> Path:
        """``reports/density-<model>-<first eight digits of the digest>``."""
        return default_directory(self.config)


def request_density(
    domains: Sequence[Domain],
    loaded: LoadedModel,
    scoring: Scoring | None = None,
    drawing: Drawing | None = None,
    thresholds: Thresholds | None = None,
) -> Request:
    """Draw the samples and check what is asked for; nothing is written.

    Args:
        domains: from ``Drawing.load``, or made by hand.
        loaded: the model.
        scoring: read-out, pattern and token budget; default ``loaded.default_scoring()``. Its measures do not matter.
        drawing: how samples are drawn.
        thresholds: what is counted.

    Raises:
        ActsimError: see ``draw_samples`` and ``prepare``.
    """
    thresholds = thresholds or Thresholds()
    samples = (drawing or Drawing()).draw(domains, loaded)
    job = prepare(loaded, samples, scoring or loaded.default_scoring(), thresholds.all, thresholds.folds)
    return Request(tuple(domains), job, thresholds)


def density(
    request: Request,
    *,
    out: str | Path | None = None,
    fresh: bool = False,
    memory: int | None = None,
    report: bool = True,
    command: Sequence[str] | None = None,
    progress: Progress | None = None,
    announce: Callable[[Outlook], None] | None = None,
) -> TableRun:
    """Count how many parameters of each layer the samples of each domain activate, and write it all to a directory.

    A run that was interrupted goes on where it stopped; a finished one is summed up again without a pass.

    Args:
        request: from ``request_density``.
        out: the run's directory; default ``request.default_directory``.
        fresh: start over where the directory holds a run already, this one or another.
        memory: bytes that accumulators may take; default half of what is free.
        report: also write report.html (where actsim[report] is installed), report.md and figures.
        command: the command line that repeats the run, for its report.
        progress: told of every batch that is done: samples, and their total.
        announce: told what is going to be done, before it is.

    Returns:
        The finished run: ``summary``, ``table`` and its ``directory``.

    Raises:
        ActsimError: see ``RunStore.begin``, ``plan_passes`` and ``run_passes``.
    """
    job, config = request.job, request.config
    directory = Path(out) if out is not None else request.default_directory
    record = study_record(job, command)
    layout = job.layout(config.digest())
    with RunStore.begin(directory, config.to_dict(), layout, record=record, fresh=fresh) as store:
        _accumulate(job, store, memory, progress, announce)
        store.update_manifest(command=record["command"])
        densities = Densities(store.read_parts(), tuple(own.domain for own in job.samples), job.gammas)
        finish_study(store, _summary(request, densities), report=report, files=density_files, tables=density_tables)
    return open_density(directory)


def _accumulate(
    job: Job,
    store: RunStore,
    memory: int | None,
    progress: Progress | None,
    announce: Callable[[Outlook], None] | None,
) -> None:
    """Do what the store misses."""
    missing = missing_parts(store)
    if not missing:
        return
    plan = plan_passes(job, missing, memory if memory is not None else memory_for_accumulators(job))
    runner = Runner(job)
    if announce is not None:
        announce(_outlook(runner, plan))
    run_passes(runner, plan, store, progress=pair_counter(progress, 0, plan.samples(job)))


def memory_for_accumulators(job: Job) -> int:
    """Half of what is free, but never less than the largest layer needs: nothing works with less."""
    largest = max(accumulator_bytes(job, [layer]) for layer in job.maps)
    return max(share_of_free_memory(job), largest)


def _outlook(runner: Runner, plan: Plan) -> Outlook:
    job = runner.job
    groups = [domain for domain, _ in plan.passes]
    return Outlook(
        domains=len(set(groups)),
        samples=plan.samples(job),
        groups=max(groups.count(domain) for domain in groups),
        accumulators=plan.accumulators,
        memory=batch_bytes(job) + plan.accumulators,
        seconds=runner.seconds(plan),
    )


def _summary(request: Request, densities: Densities) -> dict[str, Any]:
    """The summary of a run out of its rows."""
    thresholds = request.thresholds
    numbers = summarise_density(
        densities,
        headline=[float(gamma) for gamma in thresholds.gammas],
        running_text=[domain.name for domain in request.chosen if domain.packed],
        level=thresholds.level,
    )
    return study_summary(STUDY, request.job, request.chosen, numbers)
