"""Is the first-order estimate any good? Weights and neurons are set to zero and the read-out is measured again."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from actsim.core.objectives import OBJECTIVES
from actsim.core.removal import TOP_TOKEN_OBJECTIVES, Removal, measure_removals
from actsim.errors import UsageError
from actsim.models.tokenise import sentence_batch
from actsim.stats.correlation import spearman

if TYPE_CHECKING:
    from actsim.config import Scoring
    from actsim.models.loading import LoadedModel

ROUNDINGS = 16
"""A change of D below this many units of D's own rounding counts as not measured."""


@dataclass(frozen=True)
class Agreement:
    """How well an estimate agrees with the true |ΔD| over removals and texts.

    Attributes:
        n: number of (removal, text) points.
        spearman: rank correlation of estimate and |ΔD|; None where one of them is constant.
        ratio_median: median of |ΔD| / estimate over the points whose estimate is above rounding; None without any.
        ratio_p10: 10 % quantile of the same.
        ratio_p90: 90 % quantile of the same.
        below_rounding: points whose |ΔD| is within the rounding of D: they are kept, but say little.
    """

    n: int
    spearman: float | None
    ratio_median: float | None
    ratio_p10: float | None
    ratio_p90: float | None
    below_rounding: int


@dataclass(frozen=True)
class LayerEstimate:
    """Agreement in one layer, or in all of them.

    Attributes:
        layer: counted from 1; None for all layers together.
        weights: |w ∂D/∂w| against the removal of one weight.
        neurons: |Σ_j w_ij ∂D/∂w_ij|, the first-order estimate of a joint removal, against the removal of a row.
        neurons_absolute: Σ_j |w_ij ∂D/∂w_ij| against the same removals.
    """

    layer: int | None
    weights: Agreement
    neurons: Agreement
    neurons_absolute: Agreement


@dataclass(frozen=True)
class EstimateCheck:
    """The first-order estimate against what removing weights and neurons does.

    Attributes:
        objective: the read-out D.
        dtype: the model's floating point type.
        texts: number of texts.
        weights_per_layer: weights removed in each layer.
        neurons_per_layer: neurons removed in each layer.
        layers: layer by layer.
        overall: all layers together.
        notes: one line each, what a reader must know.
    """

    objective: str
    dtype: str
    texts: int
    weights_per_layer: int
    neurons_per_layer: int
    layers: tuple[LayerEstimate, ...]
    overall: LayerEstimate
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """A plain copy, ready for JSON."""
        return asdict(self)


def check_estimate(
    loaded: LoadedModel,
    texts: Sequence[str],
    scoring: Scoring,
    *,
    weights_per_layer: int = 64,
    neurons_per_layer: int = 8,
    rng: np.random.Generator,
    progress: Callable[[int, int], None] | None = None,
) -> EstimateCheck:
    """Compare |w ∂D/∂w| with the true |D(s, w) - D(s, 0)|, per layer, for single weights and whole neurons.

    Of each layer's sample one half is drawn uniformly, the other in proportion to the estimate's mean over the texts,
    without replacement. Every removal is one forward pass over all texts; the exact bits are put back afterwards.

    The change of D that one weight makes is some 1e-6 of D: load the model in float64 for this check. The parts that
    an architecture computes in float32 whatever its type (a Llama's norms) stay so.

    Args:
        loaded: from ``load_model``.
        texts: sentences; all of them go through side by side, within ``scoring.batch_tokens``.
        scoring: read-out, length and batch size; its pattern must be the one that is checked, absolute-weighted.
        weights_per_layer: how many weights of each layer are removed, one at a time (all, where there are fewer).
        neurons_per_layer: how many rows of each layer's maps, likewise.
        rng: draws the sample.
        progress: told of every removal that is measured, and of how many there are.

    Raises:
        UsageError: no or too many texts, a model in half precision, another pattern, or an impossible number.
        NumericError: D or a gradient is not finite, or D hardly depends on the activations.
    """
    _check_request(loaded, texts, scoring, weights_per_layer, neurons_per_layer)
    batch = sentence_batch(loaded, texts, scoring)
    if batch.input_ids.numel() > scoring.batch_tokens:
        raise UsageError(
            f"{len(texts)} texts of up to {batch.input_ids.shape[1]} tokens are {batch.input_ids.numel()} padded "
            f"tokens, more than --batch-tokens {scoring.batch_tokens}; give fewer texts or raise it."
        )
    weights, neurons = measure_removals(
        loaded,
        batch,
        OBJECTIVES[loaded.family].get(scoring.objective),
        weights_per_layer=weights_per_layer,
        neurons_per_layer=neurons_per_layer,
        rng=rng,
        progress=progress,
    )
    rounding = float(torch.finfo(loaded.maps[0].parameter.dtype).eps)
    layers = _layer_estimates(loaded.n_layers, weights, neurons, rounding)
    overall = _layer_estimate(None, weights, neurons, rounding)
    return EstimateCheck(
        objective=scoring.objective,
        dtype=loaded.dtype,
        texts=len(texts),
        weights_per_layer=weights_per_layer,
        neurons_per_layer=neurons_per_layer,
        layers=layers,
        overall=overall,
        notes=tuple(_notes(loaded, scoring, overall)),
    )


def _of_layer(removals: Sequence[Removal], layer: int) -> list[Removal]:
    return [removal for removal in removals if removal.linear.layer == layer]


def _check_request(
    loaded: LoadedModel, texts: Sequence[str], scoring: Scoring, weights_per_layer: int, neurons_per_layer: int
) -> None:
    if isinstance(texts, str) or not texts:
        raise UsageError("the check of the estimate takes a list of at least one text; pass [text].")
    if loaded.dtype in ("float16", "bfloat16"):
        raise UsageError(
            f"the model is in {loaded.dtype}, whose rounding is larger than what one weight changes; load it with "
            "--dtype float64 (or float32) to check the estimate."
        )
    if scoring.pattern != "absolute-weighted":
        raise UsageError(
            f"the check is of |w dD/dw|, the pattern absolute-weighted; got {scoring.pattern!r}, which estimates no "
            "removal."
        )
    for name, number in (("--weights", weights_per_layer), ("--neurons", neurons_per_layer)):
        if number < 1:
            raise UsageError(f"{name} must be at least 1, got {number}.")


def _notes(loaded: LoadedModel, scoring: Scoring, overall: LayerEstimate) -> Iterator[str]:
    if OBJECTIVES[loaded.family].get(scoring.objective) in TOP_TOKEN_OBJECTIVES:
        yield "the next token is kept at the likeliest one of the unchanged model"
    lost = overall.weights.below_rounding
    if lost:
        advice = "" if loaded.dtype == "float64" else "; load the model with --dtype float64"
        yield (
            f"{lost} of {overall.weights.n} changes by single weights are within the rounding of D in "
            f"{loaded.dtype}{advice}"
        )


def _layer_estimates(
    n_layers: int, weights: Sequence[Removal], neurons: Sequence[Removal], rounding: float
) -> tuple[LayerEstimate, ...]:
    return tuple(
        _layer_estimate(layer, _of_layer(weights, layer), _of_layer(neurons, layer), rounding)
        for layer in range(1, n_layers + 1)
    )


def _layer_estimate(
    layer: int | None, weights: Sequence[Removal], neurons: Sequence[Removal], rounding: float
) -> LayerEstimate:
    return LayerEstimate(
        layer,
        _agreement(weights, [removal.estimate for removal in weights], rounding),
        _agreement(neurons, [removal.estimate for removal in neurons], rounding),
        _agreement(neurons, [removal.absolute_sum for removal in neurons], rounding),
    )


def _agreement(removals: Sequence[Removal], estimates: Sequence[np.ndarray], rounding: float) -> Agreement:
    if not removals:
        return Agreement(0, None, None, None, None, 0)
    estimate = np.concatenate(estimates)
    change = np.concatenate([removal.change for removal in removals])
    floor = ROUNDINGS * rounding * np.abs(np.concatenate([removal.readouts for removal in removals]))
    above = estimate > floor
    ratios = change[above] / estimate[above]
    quantiles = np.quantile(ratios, (0.5, 0.1, 0.9)).tolist() if len(ratios) else (None, None, None)
    rho = spearman(estimate, change)
    return Agreement(
        len(change),
        None if math.isnan(rho) else rho,
        quantiles[0],
        quantiles[1],
        quantiles[2],
        int((change < floor).sum()),
    )
