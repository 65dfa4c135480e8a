"""From the rows of a density run to its summary: densities with intervals, and what becomes of the paper's finding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from actsim.stats.folds import fold_interval
from actsim.store.densities import Densities

Floats = npt.NDArray[np.float64]

SHARE = "share"
THRESHOLD_FREE = ("participation", "gini")
SCALE = "mean"
"""No density: how large the activations are, which decides what a threshold counts."""
SPARSER_WHEN_LARGER = ("gini",)
"""Measures that are smaller for denser layers."""

HOLDS, OPPOSITE, OPEN = "holds", "opposite", "open"


@dataclass(frozen=True)
class Figure:
    """A measure of every domain, layer and fold, the first of which is all samples.

    Attributes:
        name: ``share``, ``participation``, ``gini``, or ``mean``.
        gamma: the threshold of a share.
        values: the measure [D, L, F].
        weights: what layers count in a mean over several [D, L, F]: their parameters for a share, else 1.
    """

    name: str
    gamma: float | None
    values: Floats
    weights: Floats

    def over(self, layers: npt.NDArray[np.bool_]) -> Floats:
        """The mean over some layers, [D, F]."""
        own, weights = self.values[:, layers], self.weights[:, layers]
        return (own * weights).sum(axis=1) / weights.sum(axis=1)

    @property
    def denser_when_larger(self) -> bool:
        """Whether a larger figure means that more is activated."""
        return self.name not in SPARSER_WHEN_LARGER


def summarise_density(
    densities: Densities, *, headline: Sequence[float], running_text: Sequence[str], level: float
) -> dict[str, Any]:
    """What ``summary.json`` holds of the numbers.

    Args:
        densities: the rows of the run.
        headline: the thresholds that are shown first.
        running_text: the domains of running text, which the paper finds denser in deep layers than tasks.
        level: coverage of the intervals.
    """
    figures = list(_figures(densities))
    scale = _plain_figure(densities, SCALE)
    return {
        "layers": list(densities.layers),
        "gammas": list(densities.gammas),
        "headline": list(headline),
        "folds": densities.n_folds,
        "level": level,
        "rows": list(_rows(densities)),
        "intervals": list(_intervals(densities, [*figures, scale], level)),
        "depth": list(_depth(densities, figures, level)),
        "running_text": list(_running_text(densities, figures, running_text, level)),
    }


def _figures(densities: Densities) -> Iterator[Figure]:
    """The shares over every γ, then the densities without one; of whole layers."""
    shares, parameters = densities.shares(), densities.measure("parameters")
    for index, gamma in enumerate(densities.gammas):
        yield Figure(SHARE, gamma, shares[..., index], parameters)
    for name in THRESHOLD_FREE:
        yield _plain_figure(densities, name)


def _plain_figure(densities: Densities, name: str) -> Figure:
    """A measure without a threshold, to which every layer counts alike."""
    values = densities.measure(name)
    return Figure(name, None, values, np.ones_like(values))


def _rows(densities: Densities) -> Iterator[dict[str, Any]]:
    """Counts and measures over all samples, by domain, layer and kind."""
    for kind in densities.kinds:
        counts = densities.counts(kind)[:, :, 0]
        whole_numbers = {name: densities.measure(name, kind)[:, :, 0] for name in ("parameters", "zeros")}
        measures = {
            name: densities.measure(name, kind)[:, :, 0] for name in ("mean", "gini", "gini_error", "participation")
        }
        for d, domain in enumerate(densities.domains):
            for place, layer in enumerate(densities.layers):
                if np.isfinite(whole_numbers["parameters"][d, place]):
                    yield {
                        "domain": domain,
                        "layer": layer,
                        "kind": kind,
                        **{name: int(values[d, place]) for name, values in whole_numbers.items()},
                        **{name: _plain(values[d, place]) for name, values in measures.items()},
                        "counts": [int(count) for count in counts[d, place]],
                    }


def _intervals(densities: Densities, figures: Sequence[Figure], level: float) -> Iterator[dict[str, Any]]:
    """For every domain and layer the intervals of all figures, within what can be; shares in the order of the γ."""
    ends = []
    for figure in figures:
        found = fold_interval(figure.values[..., 0], figure.values[..., 1:], level)
        ends.append([end.clip(0, np.inf if figure.name == SCALE else 1) for end in found])
    for d, domain in enumerate(densities.domains):
        for place, layer in enumerate(densities.layers):
            row: dict[str, Any] = {"domain": domain, "layer": layer, "share": []}
            for figure, (low, high) in zip(figures, ends, strict=True):
                own = [_plain(low[d, place]), _plain(high[d, place])]
                if figure.gamma is None:
                    row[figure.name] = own
                else:
                    row["share"].append(own)
            yield row


def _depth(densities: Densities, figures: Sequence[Figure], level: float) -> Iterator[dict[str, Any]]:
    """Shallow half minus deep half, of every domain and of their mean; nothing for a single layer."""
    layers = np.array(densities.layers)
    deep = layers > layers.max() // 2
    if deep.all():
        return
    for figure in figures:
        halves = [figure.over(~deep), figure.over(deep)]
        for d, domain in [*enumerate(densities.domains), (None, None)]:
            shallow, deeper = (half.mean(axis=0) if d is None else half[d] for half in halves)
            yield {"domain": domain, **_contrast(figure, "shallow", shallow, "deep", deeper, level)}


def _running_text(
    densities: Densities, figures: Sequence[Figure], running_text: Sequence[str], level: float
) -> Iterator[dict[str, Any]]:
    """In the deep half, the mean of the domains of running text minus that of the others; nothing without both."""
    layers = np.array(densities.layers)
    deep = layers > layers.max() // 2
    running = np.isin(densities.domains, running_text)
    if running.all() or not running.any():
        return
    for figure in figures:
        found = figure.over(deep)
        own = found[running].mean(axis=0), found[~running].mean(axis=0)
        yield _contrast(figure, "running", own[0], "tasks", own[1], level)


def _contrast(figure: Figure, a: str, of_a: Floats, b: str, of_b: Floats, level: float) -> dict[str, Any]:
    """The difference of two figures [F] with its interval over the folds, and whether a is the denser one."""
    difference = of_a - of_b
    low, high = (float(end) for end in fold_interval(difference[0], difference[1:], level))
    above, below = (low > 0, high < 0) if figure.denser_when_larger else (high < 0, low > 0)
    known = bool(np.isfinite([low, high]).all())
    return {
        "measure": figure.name,
        "gamma": figure.gamma,
        a: _plain(of_a[0]),
        b: _plain(of_b[0]),
        "difference": _plain(difference[0]),
        "ci_low": _plain(low),
        "ci_high": _plain(high),
        "verdict": (HOLDS if above else OPPOSITE if below else OPEN) if known else None,
    }


def _plain(value: float) -> float | None:
    """A number for JSON; None where it is undefined."""
    return float(value) if np.isfinite(value) else None
