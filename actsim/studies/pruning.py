"""From a model and calibration texts to a pruned model: profile of the blocks, allocation, pruning."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from actsim.config import DEFAULT_CALIBRATION_SAMPLES, LONGEST_CALIBRATION, Scoring, digest_of
from actsim.core import sparsity, wanda
from actsim.core.sparsity import Allocation, Floats
from actsim.data.domains import Domain, load_domain
from actsim.models.loading import LoadedModel
from actsim.models.sampling import Samples, draw_samples
from actsim.pipelines.pruning import (
    Cut,
    PrunedBlock,
    block_sizes,
    mean_patterns,
    prune_by_inputs,
    prune_by_scores,
    wanda_profile,
)
from actsim.store.plans import read_plan
from actsim.studies import default_path
from actsim.studies.profiles import counted_shares, shares_of_run
from actsim.studies.recipe import Recipe

STUDY = "prune"

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Calibration:
    """Which texts a model is calibrated on.

    Attributes:
        domain: by name, see ``load_domain``.
        samples: how many.
        tokens: of each; None for the smaller of 2048 and what the model takes.
        seed: of the draw.
        data_dir: where corpora are looked for.
    """

    domain: str = "c4"
    samples: int = DEFAULT_CALIBRATION_SAMPLES
    tokens: int | None = None
    seed: int = 0
    data_dir: str | Path | None = None

    def load(self) -> Domain:
        """The texts; raises as ``load_domain``."""
        return load_domain(self.domain, data_dir=self.data_dir)

    def draw(self, domain: Domain, loaded: LoadedModel) -> Samples:
        """The samples: prompts too are laid end to end, so that every sample has the same length.

        Raises:
            UsageError, DataError, ModelError: see ``draw_samples``.
        """
        length = self.tokens or min(LONGEST_CALIBRATION, loaded.max_tokens)
        packed = replace(domain, packed=True)
        return draw_samples(packed, loaded, samples=self.samples, max_tokens=length, seed=self.seed, option="--seq-len")


@dataclass(frozen=True)
class Request:
    """A pruning that may be begun: everything about it is decided.

    Attributes:
        loaded: the model; pruning changes it.
        recipe: how.
        samples: the calibration samples; None where they do not matter.
    """

    loaded: LoadedModel
    recipe: Recipe
    samples: Samples | None

    @cached_property
    def config(self) -> dict[str, Any]:
        """What the pruned model depends on, ready for JSON."""
        recipe = self.recipe
        return {
            "study": STUDY,
            "model": self.loaded.identity(),
            "dtype": self.loaded.dtype,
            "score": recipe.score,
            "allocation": "plan" if recipe.is_plan else recipe.allocation,
            "plan": self._given().tolist() if recipe.is_plan else None,
            "target": None if recipe.is_plan else recipe.target,
            "settings": recipe.full_settings,
            "n_of_m": None if recipe.n_of_m is None else str(recipe.n_of_m),
            "objective": self.scoring.objective if recipe.uses_patterns else None,
            "profile": None if recipe.profile is None else self._density[1],
            "calibration": None if self.samples is None else self.samples.identity(),
        }

    @cached_property
    def scoring(self) -> Scoring:
        """How patterns are formed."""
        scoring = replace(self.loaded.default_scoring(), batch_tokens=self.recipe.batch_tokens)
        return replace(scoring, objective=self.recipe.objective or scoring.objective)

    @cached_property
    def sizes(self) -> Floats:
        """m_i."""
        return block_sizes(self.loaded)

    @property
    def default_directory(self) -> Path:
        """``reports/prune-<model>-<first eight digits of the digest>``."""
        return default_path(STUDY, self.loaded.source["name"], digest_of(self.config))

    def _given(self) -> Floats:
        return np.array(read_plan(Path(self.recipe.allocation), self.loaded.n_layers))

    @cached_property
    def _density(self) -> tuple[Floats, str]:
        """The shares of activated parameters out of the density run, and the digest of that."""
        assert self.recipe.profile is not None
        calibration = None if self.samples is None else self.samples.domain
        return shares_of_run(self.recipe.profile, self.loaded, calibration, self.recipe.full_settings["gamma"])

    def profile(self, progress: Progress | None = None) -> Floats | None:
        """What the allocation goes by, block by block, of the dense model; None where it goes by nothing.

        Raises:
            ActsimError: see ``wanda_profile``, ``shares_of_run`` and ``pipelines.density.Runner``.
        """
        settings, samples = self.recipe.full_settings, self.samples
        if self.recipe.profile is not None:
            return self._density[0]
        if samples is None or self.recipe.allocation not in ("activation", "owl", "dlp"):
            return None
        if self.recipe.allocation == "activation":
            return counted_shares(self.loaded, samples, self.scoring, settings["gamma"], progress)
        measure = wanda.median_score
        if self.recipe.allocation == "owl":
            measure = partial(wanda.outlier_share, factor=settings["outlier_factor"])
        return wanda_profile(self.loaded, samples, measure, self.recipe.batch_tokens, progress)

    def allocate(self, profile: Floats | None) -> Allocation:
        """The sparsity of each block; raises as the functions of ``core.sparsity``."""
        recipe, sizes, target = self.recipe, self.sizes, self.recipe.target
        settings = recipe.full_settings
        if recipe.is_plan:
            return sparsity.planned(self._given(), sizes)
        if profile is None:
            uniform = recipe.allocation == "uniform"
            return sparsity.uniform(sizes, target) if uniform else sparsity.progression(sizes, target, **settings)
        if recipe.allocation == "activation":
            alpha, beta = settings["alpha"], settings["beta"]
            return sparsity.activation(profile, sizes, target, alpha=alpha, beta=beta)
        scaled = sparsity.owl if recipe.allocation == "owl" else sparsity.dlp
        return scaled(profile, sizes, target, width=settings["width"])


def prune(request: Request, allocation: Allocation, progress: Progress | None = None) -> tuple[PrunedBlock, ...]:
    """Set the weights of the model to zero as the request says, in place.

    Raises:
        ActsimError: see ``prune_by_inputs``, ``prune_by_scores`` and ``mean_patterns``.
    """
    recipe, loaded, samples = request.recipe, request.loaded, request.samples
    cut = Cut(allocation.sparsities, recipe.n_of_m)
    if recipe.score == "magnitude" or samples is None:
        return prune_by_scores(loaded, wanda.magnitudes, cut)
    if recipe.score == "activation":
        sums = mean_patterns(loaded, samples, request.scoring, progress)
        return prune_by_scores(loaded, sums.sums, cut)
    return prune_by_inputs(loaded, samples, cut, recipe.batch_tokens, progress)


def request_pruning(loaded: LoadedModel, recipe: Recipe, calibration: Calibration, domain: Domain | None) -> Request:
    """Draw the calibration samples and check what is asked for; nothing is changed.

    Args:
        loaded: the model.
        recipe: how it is pruned.
        calibration: how samples are drawn.
        domain: of the calibration; None where none is needed.

    Raises:
        ActsimError: see ``draw_samples``.
    """
    return Request(loaded, recipe, None if domain is None else calibration.draw(domain, loaded))


def plan_document(
    request: Request, profile: Floats | None, allocation: Allocation, blocks: Sequence[PrunedBlock]
) -> dict[str, Any]:
    """What plan.json holds: planned and achieved sparsity of every block and of all, ready for JSON."""
    config = request.config
    values = [None] * len(blocks) if profile is None else profile.tolist()
    planned, clipped = allocation.sparsities.tolist(), allocation.clipped.tolist()
    rows = [
        {
            "layer": block.layer,
            "parameters": block.parameters,
            "profile": values[place],
            "sparsity": planned[place],
            "clipped": clipped[place],
            "zeros": block.zeros,
            "achieved": block.achieved,
        }
        for place, block in enumerate(blocks)
    ]
    parameters, zeros = sum(block.parameters for block in blocks), sum(block.zeros for block in blocks)
    return {
        **{key: config[key] for key in ("study", "model", "score", "allocation", "settings", "n_of_m", "target")},
        "parameters": parameters,
        "sparsity": allocation.overall,
        "zeros": zeros,
        "achieved": zeros / parameters,
        "blocks": rows,
        "notes": _notes(request, profile, allocation),
    }


def _notes(request: Request, profile: Floats | None, allocation: Allocation) -> list[str]:
    """What a reader of the plan must know."""
    notes = []
    if profile is not None and sparsity.are_equal(profile):
        notes.append(
            f"the profile is {profile[0]:g} for every block: the allocation {request.recipe.allocation} has nothing to "
            "go by"
        )
    clipped = [str(block + 1) for block in np.flatnonzero(allocation.clipped)]
    if clipped:
        notes.append(f"clipped to [0, 1], and the difference shared out among the others: layers {', '.join(clipped)}")
    return [*notes, *request.loaded.notes]
