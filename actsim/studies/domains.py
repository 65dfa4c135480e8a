"""From domains to a finished run over their similarities: what is missing is compared, then summed up and written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from actsim.config import DomainConfig, Scoring
from actsim.data.domains import Domain
from actsim.errors import UsageError
from actsim.models.loading import LoadedModel
from actsim.pipelines.domain_summary import Draws, summarise_domains
from actsim.pipelines.domains import Job, Runner, prepare, run_groups, trace_bytes
from actsim.report.domain_files import domain_files
from actsim.report.domain_tables import domain_csvs
from actsim.stats.bands import Band
from actsim.stats.bootstrap import check_level
from actsim.store import RunStore, TableRun
from actsim.store.similarities import STUDY, Similarities, open_domains
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


@dataclass(frozen=True)
class Comparison:
    """How similarities are summed up; changes none of them, so a finished run is summed up again at once.

    Attributes:
        layers: the band that is averaged for the matrix, see ``Band.parse``.
        resamples: bootstrap resamples of the groups of samples.
        permutations: of the permutation tests.
        level: coverage of the intervals.
        seed: of resamples and permutations.
    """

    layers: str = "deep"
    resamples: int = 2000
    permutations: int = 4999
    level: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse before anything is compared what cannot be summed up."""
        for name in ("resamples", "permutations"):
            if getattr(self, name) < 1:
                raise UsageError(f"--{name} must be at least 1, got {getattr(self, name)}.")
        if self.seed < 0:
            raise UsageError(f"the seed must be at least 0, got {self.seed}.")
        check_level(self.level)

    @property
    def draws(self) -> Draws:
        """What is drawn at random."""
        return Draws(self.resamples, self.permutations, self.level, self.seed)


@dataclass(frozen=True)
class Outlook:
    """What a run is going to take.

    Attributes:
        groups: groups of samples that are still to be compared.
        samples: of one group.
        runs: how often a group goes through, for some of the layers each time.
        traces: bytes of the traces that wait for the last samples of a group, at most.
        memory: bytes in all: weights, the samples that go through together, traces.
        seconds: by the time that a few samples took.
    """

    groups: int
    samples: int
    runs: int
    traces: int
    memory: int
    seconds: float


@dataclass(frozen=True)
class Request:
    """A run that may be begun: everything about it is decided.

    Attributes:
        chosen: the domains.
        job: model, scoring and samples.
        band: the layers that are averaged.
        comparison: how it is summed up.
    """

    chosen: tuple[Domain, ...]
    job: Job
    band: Band
    comparison: Comparison

    @cached_property
    def config(self) -> DomainConfig:
        """What the similarities depend on."""
        return study_config(STUDY, self.job, {})

    @property
    def default_directory(self) -> Path:
        """``reports/domains-<model>-<first eight digits of the digest>``."""
        return default_directory(self.config)


def request_domains(
    domains: Sequence[Domain],
    loaded: LoadedModel,
    scoring: Scoring | None = None,
    drawing: Drawing | None = None,
    comparison: Comparison | None = None,
) -> Request:
    """Draw the samples and check what is asked for; nothing is written.

    Args:
        domains: from ``Drawing.load``, or made by hand; at least two.
        loaded: the model.
        scoring: read-out, pattern and token budget; default ``loaded.default_scoring()``. The measure is the cosine.
        drawing: how samples are drawn.
        comparison: how similarities are summed up.

    Raises:
        ActsimError: see ``draw_samples``, ``prepare`` and ``Band.parse``.
    """
    comparison = comparison or Comparison()
    band = Band.parse(comparison.layers, loaded.n_layers)
    samples = (drawing or Drawing()).draw(domains, loaded)
    job = prepare(loaded, samples, scoring or loaded.default_scoring())
    return Request(tuple(domains), job, band, comparison)


def compare_domains(
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
    """Compare the activation patterns of samples within and between domains, and write it all to a directory.

    A run that was interrupted goes on where it stopped; a finished one is summed up again without a pass.

    Args:
        request: from ``request_domains``.
        out: the run's directory; default ``request.default_directory``.
        fresh: start over where the directory holds a run already, this one or another.
        memory: bytes that the traces of a group may take; default half of what is free.
        report: also write report.html (where actsim[report] is installed), report.md and figures.
        command: the command line that repeats the run, for its report.
        progress: told of every group that is done: samples, and their total.
        announce: told what is going to be done, before it is.

    Returns:
        The finished run: ``summary``, ``table`` and its ``directory``.

    Raises:
        ActsimError: see ``RunStore.begin`` and ``run_groups``.
    """
    job, config = request.job, request.config
    directory = Path(out) if out is not None else request.default_directory
    record, layout = study_record(job, command), job.layout(config.digest())
    with RunStore.begin(directory, config.to_dict(), layout, record=record, fresh=fresh) as store:
        _compare(job, store, memory, progress, announce)
        store.update_manifest(command=record["command"])
        similarities = Similarities(store.read_parts(), tuple(job.groups))
        finish_study(store, _summary(request, similarities), report=report, files=domain_files, tables=domain_csvs)
    return open_domains(directory)


def _compare(
    job: Job,
    store: RunStore,
    memory: int | None,
    progress: Progress | None,
    announce: Callable[[Outlook], None] | None,
) -> None:
    """Compare the groups that the store misses."""
    missing = missing_parts(store)
    if not missing:
        return
    runner = Runner(job, memory if memory is not None else share_of_free_memory(job))
    if announce is not None:
        announce(_outlook(runner, missing))
    total = job.group_size * job.n_groups
    counter = pair_counter(progress, total - job.group_size * len(missing), total)
    run_groups(runner, store, progress=counter)


def _outlook(runner: Runner, missing: Sequence[int]) -> Outlook:
    job = runner.job
    traces = max(trace_bytes(job, layers) for layers in runner.runs)
    return Outlook(
        groups=len(missing),
        samples=job.group_size,
        runs=len(runner.runs),
        traces=traces,
        memory=batch_bytes(job) + traces,
        seconds=runner.seconds(missing),
    )


def _summary(request: Request, similarities: Similarities) -> dict[str, Any]:
    """The summary of a run out of its cosines."""
    names = [own.domain for own in request.job.samples]
    numbers = summarise_domains(similarities, names, request.band, request.comparison.draws)
    return study_summary(STUDY, request.job, request.chosen, numbers)
