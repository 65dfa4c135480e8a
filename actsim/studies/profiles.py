"""The shares of activated parameters that sparsities are allocated by: counted, or out of a density run."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from actsim.config import Scoring
from actsim.core.density import whole
from actsim.core.sparsity import Floats
from actsim.errors import UsageError
from actsim.models.loading import LoadedModel
from actsim.models.sampling import Samples
from actsim.pipelines import density
from actsim.store.densities import ALL_SAMPLES, Densities, open_density
from actsim.studies.density import memory_for_accumulators
from actsim.studies.evaluate import Progress, pair_counter


def counted_shares(
    loaded: LoadedModel, samples: Samples, scoring: Scoring, gamma: float, progress: Progress | None = None
) -> Floats:
    """N_i: the share of each block's parameters whose mean activation over the samples is above γ.

    Raises:
        ActsimError: see ``pipelines.density.prepare``, ``layer_groups`` and ``Runner``.
    """
    job = density.prepare(loaded, [samples], scoring, [gamma], folds=1)
    layers = sorted(job.maps)
    runner = density.Runner(job)
    shares: dict[int, float] = {}
    groups = density.layer_groups(job, layers, memory_for_accumulators(job))
    tell = pair_counter(progress, 0, len(groups) * len(samples))
    for group in groups:
        found = runner.profile(0, group, tell)[ALL_SAMPLES]
        for layer in group:
            histogram = whole(found[layer])
            shares[layer] = histogram.counts_over()[gamma] / histogram.n
    return np.array([shares[layer] for layer in layers])


def shares_of_run(directory: Path, loaded: LoadedModel, domain: str | None, gamma: float) -> tuple[Floats, str]:
    """N_i out of a finished density run, and the run's digest.

    Args:
        directory: of the run.
        loaded: the model, which has to be the run's.
        domain: whose counts are taken, where the run has several domains.
        gamma: one of the run's thresholds.

    Raises:
        UsageError: no density run, of another model, without the domain, or without the threshold.
        ResumeError: the run is not finished, or damaged.
    """
    run = open_density(directory)
    config = run.manifest["config"]
    if config["model"]["sha256"] != loaded.identity()["sha256"]:
        raise UsageError(
            f"{directory} is a run of {config['model']['name']}, whose weights are not those of "
            f"{loaded.source['name']}; give a run of this model, or leave --profile out."
        )
    densities = Densities(run.table, tuple(config["domains"]), tuple(config["settings"]["gammas"]))
    if len(densities.domains) > 1 and domain not in densities.domains:
        raise UsageError(
            f"{directory} has the domains {', '.join(densities.domains)}; counts are taken of the calibration's, which "
            f"is {domain}. Give a run of that or of a single domain, or leave --profile out."
        )
    if gamma not in densities.gammas:
        known = ", ".join(f"{known:g}" for known in densities.gammas)
        raise UsageError(f"--gamma {gamma:g}: {directory} has no counts over that, but over {known}; give one of them.")
    place = densities.domains.index(domain) if domain in densities.domains else 0
    return densities.shares()[place, :, ALL_SAMPLES, densities.gamma_index(gamma)], run.manifest["digest"]
