"""What the studies over samples of domains have in common: configuration, record, and the way from rows to files."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from actsim.config import DomainConfig, Scoring
from actsim.data.domains import Domain
from actsim.models.costs import estimate_costs
from actsim.models.devices import free_memory
from actsim.models.loading import LoadedModel
from actsim.models.sampling import Samples
from actsim.store import RunStore
from actsim.store.manifest import SUMMARY_NAME
from actsim.studies.record import can_write_page, circumstances

LOG = logging.getLogger("actsim")

FREE_SHARE = 0.5
"""Share of the free memory that a study may keep where nothing is said; the rest is for what goes through the model."""


class Job(Protocol):
    """What is decided before the first pass, whatever the study."""

    @property
    def loaded(self) -> LoadedModel:
        """The model."""
        ...

    @property
    def scoring(self) -> Scoring:
        """Read-out, pattern and token budget."""
        ...

    @property
    def samples(self) -> tuple[Samples, ...]:
        """Those of every domain."""
        ...


def study_config(study: str, job: Job, settings: Mapping[str, Any]) -> DomainConfig:
    """What the numbers of a run depend on; ``settings`` are the study's own."""
    return DomainConfig(
        study=study,
        samples={own.domain: own.identity() for own in job.samples},
        model=job.loaded.identity(),
        scoring=job.scoring,
        settings=dict(settings),
    )


def study_record(job: Job, command: Sequence[str] | None) -> dict[str, Any]:
    """What is kept beside the configuration: how the run was made, and the ids of its samples."""
    ids = {own.domain: list(own.ids) for own in job.samples}
    return circumstances(job.loaded, command) | {"sample_ids": ids}


def missing_parts(store: RunStore) -> list[int]:
    """The parts still to be computed; damaged ones, which are among them, are told."""
    missing = store.missing()
    for line in store.warnings:
        LOG.warning("%s: %s It is computed again.", store.directory, line)
    return missing


def share_of_free_memory(job: Job) -> int:
    """Bytes that a study may keep on the model's devices."""
    return int(FREE_SHARE * sum(free_memory(device) for device in job.loaded.devices))


def batch_bytes(job: Job) -> int:
    """Bytes for weights and a batch of the longest samples."""
    longest = max(len(tokens) for own in job.samples for tokens in own.tokens)
    return estimate_costs(job.loaded, job.scoring, longest)[1].total


def study_summary(study: str, job: Job, chosen: Sequence[Domain], numbers: Mapping[str, Any]) -> dict[str, Any]:
    """The summary of a run: what it is of, then its ``numbers``, then notes."""
    return {
        "study": study,
        "model": job.loaded.identity(),
        "n_layers": job.loaded.n_layers,
        "objective": job.scoring.objective,
        "pattern": job.scoring.pattern,
        "domains": [_described(domain, own) for domain, own in zip(chosen, job.samples, strict=True)],
        **numbers,
        "notes": list(job.loaded.notes),
    }


def finish_study(
    store: RunStore,
    summary: Mapping[str, Any],
    *,
    report: bool,
    files: Callable[..., dict[str, bytes]],
    tables: Callable[[Mapping[str, Any]], dict[str, bytes]],
) -> None:
    """Write the results: with ``report`` all ``files`` of it, else the ``tables`` alone."""
    if report:
        page = can_write_page(store.directory)
        contents = files(summary, store.manifest, page=page, beside=[SUMMARY_NAME])
    else:
        contents = tables(summary)
    store.finish(None, summary, contents)


def _described(domain: Domain, samples: Samples) -> dict[str, Any]:
    """What a summary says of the samples of a domain."""
    return {
        "name": domain.name,
        "samples": len(samples),
        "tokens": sum(map(len, samples.tokens)),
        "truncated": samples.truncated,
        "running_text": domain.packed,
        "split": domain.split,
        "shots": domain.shots,
        "seed": samples.seed,
        "max_tokens": samples.max_tokens,
    }
