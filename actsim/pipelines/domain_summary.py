"""From the cosines of a run over domains to its summary: within and between domains, layer by layer, and matrices.

Every interval comes from the same resamples of the groups: it tells how much a figure depends on which samples were
drawn. Every p-value is of a permutation test: of the samples' domains for a gap, of the domains' names for a
correlation of two matrices.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from actsim.data.published import DOMAIN_SOURCE, published_domains
from actsim.stats.bands import Band
from actsim.stats.bootstrap import percentile_interval
from actsim.stats.domains import (
    bootstrap_groups,
    cluster_order,
    cross,
    domain_matrices,
    five_numbers,
    gap_test,
    pair_values,
    separation,
    within,
)
from actsim.stats.mantel import Mantel, mantel, mantel_replicates, partial_mantel
from actsim.stats.multiple import holm
from actsim.store.similarities import HIDDEN, SAME_TOKEN, TFIDF, Similarities

Floats = npt.NDArray[np.float64]
Row = dict[str, Any]

ACTIVATION, PUBLISHED = "activation", "published"

HIGHER, LOWER, OPEN = "higher", "lower", "not distinguishable"
"""What the deep half of the layers is, compared with the shallow one."""

BAND = "band"
"""The ``layer`` of distributions over the band."""

FEWEST_DOMAINS = 4
"""Of three domains a matrix has three cells and six orders: no correlation could tell anything."""


@dataclass(frozen=True)
class Draws:
    """What is drawn at random for a summary.

    Attributes:
        resamples: bootstrap resamples of the groups.
        permutations: of the samples' domains, and of the domains' names.
        level: coverage of the intervals.
        seed: of everything.
    """

    resamples: int
    permutations: int
    level: float
    seed: int

    def rng(self) -> np.random.Generator:
        """A generator in its first state: what is drawn for one figure does not move another."""
        return np.random.default_rng(self.seed)

    def means(self, values: Floats) -> Floats:
        """Means [resamples, ...] of values [groups, ...] over the groups of each resample; NaN where there is but one
        group, which could not be drawn differently."""
        if len(values) == 1:
            return np.full((self.resamples, *values.shape[1:]), np.nan)
        return bootstrap_groups(values, resamples=self.resamples, rng=self.rng())

    def estimate(self, values: Floats) -> Row:
        """The mean of a figure of every group, and its interval."""
        return self.with_interval(float(values.mean()), self.means(values))

    def with_interval(self, value: float, replicates: Floats) -> Row:
        """A figure and the interval of its replicates, ready for JSON."""
        found = percentile_interval(replicates, self.level)
        return {"value": plain(value), "ci_low": plain(found.low), "ci_high": plain(found.high)}


def plain(value: float) -> float | None:
    """A number, or None where it is undefined."""
    return None if math.isnan(value) else float(value)


def summarise_domains(similarities: Similarities, domains: Sequence[str], band: Band, draws: Draws) -> dict[str, Any]:
    """What ``summary.json`` holds of the numbers.

    Args:
        similarities: the cosines of the run.
        domains: their names, in the order of the run.
        band: the layers that are averaged for the matrix.
        draws: what is drawn at random.
    """
    own = [similarities.layers.index(layer) for layer in band.layers]
    layers = {ACTIVATION: similarities.cosines(), HIDDEN: similarities.hidden(), **similarities.without_layers()}
    over_band = {
        name: cosines if len(cosines) == 1 else cosines[own].mean(axis=0, keepdims=True)
        for name, cosines in layers.items()
    }
    matrices = {name: domain_matrices(cosines[0]) for name, cosines in over_band.items()}
    by_layer = {BAND: over_band[ACTIVATION][0], **_named(similarities.layers, layers[ACTIVATION])}
    return {
        "n_layers": len(similarities.layers),
        "n_groups": layers[ACTIVATION].shape[1],
        "band": {"name": band.name, "layers": list(band.layers)},
        "resamples": draws.resamples,
        "permutations": draws.permutations,
        "level": draws.level,
        "seed": draws.seed,
        "published": DOMAIN_SOURCE if published_domains(domains)[0] else None,
        "matrices": {name: list(_cells(own, domains, draws)) for name, own in matrices.items()}
        | {PUBLISHED: list(_published_cells(domains))},
        "order": [domains[place] for place in cluster_order(matrices[ACTIVATION].mean(axis=0))],
        "bands": list(_bands(over_band, draws)),
        "layers": list(_layers(layers[ACTIVATION], similarities.layers, draws)),
        "hidden_layers": [
            {"layer": layer} | row
            for layer, row in zip(similarities.layers, _figures(layers[HIDDEN], draws), strict=True)
        ],
        "agreement": list(_agreement(layers, domains, similarities.layers, draws)),
        "kinds": list(_kinds(similarities)),
        "domains_apart": list(_domains_apart(matrices[ACTIVATION], domains, draws)),
        "pairs": list(_pairs(by_layer, domains)),
        "spread": list(_spread(by_layer, domains)),
        "correlations": list(_correlations(matrices, domains, draws)),
        "depth": list(_depth(layers[ACTIVATION], similarities.layers, draws)),
    }


def _named(layers: Sequence[int], cosines: Floats) -> dict[str, Floats]:
    return {str(layer): own for layer, own in zip(layers, cosines, strict=True)}


def _figures(cosines: Floats, draws: Draws) -> list[Row]:
    """Of every layer the similarity within domains, between them, their gap with its p, and how they are apart."""
    matrices = domain_matrices(cosines)
    inside, between, apart = within(matrices), cross(matrices), separation(cosines)
    p_values = gap_test(cosines, permutations=draws.permutations, rng=draws.rng())
    return [
        {
            "within": draws.estimate(inside[layer]),
            "cross": draws.estimate(between[layer]),
            "gap": draws.estimate(inside[layer] - between[layer]) | {"p": float(p_values[layer])},
            "separation": draws.estimate(apart[layer]),
        }
        for layer in range(len(cosines))
    ]


def _layers(cosines: Floats, layers: Sequence[int], draws: Draws) -> Iterator[Row]:
    rows = _figures(cosines, draws)
    corrected = holm(np.array([row["gap"]["p"] for row in rows]))
    for layer, row, p_holm in zip(layers, rows, corrected, strict=True):
        row["gap"]["p_holm"] = float(p_holm)
        yield {"layer": layer} | row


def _bands(over_band: Mapping[str, Floats], draws: Draws) -> Iterator[Row]:
    """The figures over the band, of activation and of what it is set against; the last also as a difference."""
    apart = {name: separation(cosines)[0] for name, cosines in over_band.items()}
    for name, cosines in over_band.items():
        row: Row = {"name": name} | _figures(cosines, draws)[0]
        if name != ACTIVATION:
            row["separation_gained"] = draws.estimate(apart[ACTIVATION] - apart[name])
        yield row


def _cells(matrices: Floats, domains: Sequence[str], draws: Draws) -> Iterator[Row]:
    """The upper triangle of a matrix of means over the groups."""
    replicates, means = draws.means(matrices), matrices.mean(axis=0)
    for a, b in itertools.combinations_with_replacement(range(len(domains)), 2):
        found = draws.with_interval(float(means[a, b]), replicates[:, a, b])
        yield {"a": domains[a], "b": domains[b], "n": len(matrices) * (1 if a == b else 4)} | found


def _published_cells(domains: Sequence[str]) -> Iterator[Row]:
    known, table = published_domains(domains)
    for a, b in itertools.combinations_with_replacement(range(len(known)), 2):
        yield {"a": known[a], "b": known[b], "value": float(table[a, b])}


def _domains_apart(matrices: Floats, domains: Sequence[str], draws: Draws) -> Iterator[Row]:
    """Of every domain its similarity within, with the others, and the gap of the two, over the band."""
    for place, domain in enumerate(domains):
        others = np.delete(matrices[:, place], place, axis=1).mean(axis=1)
        inside = matrices[:, place, place]
        yield {
            "domain": domain,
            "within": draws.estimate(inside),
            "cross": draws.estimate(others),
            "gap": draws.estimate(inside - others),
        }


def _pairs(cosines: Mapping[str, Floats], domains: Sequence[str]) -> Iterator[Row]:
    """The distribution of the cosines of every pair of domains, over the band and at every layer."""
    for layer, own in cosines.items():
        for a, b in itertools.combinations_with_replacement(range(len(domains)), 2):
            yield {"layer": layer, "a": domains[a], "b": domains[b]} | _distribution(pair_values(own, a, b))


def _spread(cosines: Mapping[str, Floats], domains: Sequence[str]) -> Iterator[Row]:
    """The distribution of all cosines within domains, and of all between them, over the band and at every layer."""
    pairs = list(itertools.combinations_with_replacement(range(len(domains)), 2))
    for layer, own in cosines.items():
        for name, same in (("within", True), ("cross", False)):
            values = [pair_values(own, a, b) for a, b in pairs if (a == b) is same]
            yield {"layer": layer, "which": name} | _distribution(np.concatenate(values))


def _distribution(values: Floats) -> Row:
    """Number, mean, minimum, quartiles and maximum."""
    names = ("minimum", "lower_quartile", "median", "upper_quartile", "maximum")
    numbers = dict(zip(names, map(float, five_numbers(values)), strict=True))
    return {"n": len(values), "mean": float(values.mean()), **numbers}


def _kinds(similarities: Similarities) -> Iterator[Row]:
    """The figures of every module kind of every layer, over the groups in which all cosines are defined."""
    for kind in similarities.kinds:
        for layer, cosines in zip(similarities.layers, similarities.cosines(kind), strict=True):
            known = cosines[np.isfinite(cosines).all(axis=(1, 2))]
            if (layer, kind) not in similarities.groups:
                continue
            row: Row = {"layer": layer, "kind": kind, "n_groups": len(known)}
            matrices = domain_matrices(known)
            for name, values in (
                ("within", within(matrices)),
                ("cross", cross(matrices)),
                ("separation", separation(known)),
            ):
                row[name] = float(values.mean()) if len(known) else None
            yield row


def _correlations(matrices: Mapping[str, Floats], domains: Sequence[str], draws: Draws) -> Iterator[Row]:
    """Of every two matrices over the band, and of each with the published one; some with vocabulary held constant."""
    if len(domains) < FEWEST_DOMAINS:
        return
    for a, b in itertools.combinations(matrices, 2):
        yield _correlation(matrices, a, b, draws)
    without_layers = [name for name in (TFIDF, SAME_TOKEN) if name in matrices]
    for held in without_layers:
        yield _correlation(matrices, ACTIVATION, HIDDEN, draws, held=held)
    common = _with_published(matrices, domains)
    if common is not None:
        for name in matrices:
            yield _correlation(common, name, PUBLISHED, draws)
        yield _correlation(common, ACTIVATION, PUBLISHED, draws, diagonal=True)
        for held in without_layers:
            yield _correlation(common, ACTIVATION, PUBLISHED, draws, held=held)


def _with_published(matrices: Mapping[str, Floats], domains: Sequence[str]) -> dict[str, Floats] | None:
    """The matrices of those domains that are in the published one, and that; None where they are too few."""
    known, table = published_domains(domains)
    if len(known) < FEWEST_DOMAINS:
        return None
    rows = [domains.index(name) for name in known]
    return {name: own[:, rows][:, :, rows] for name, own in matrices.items()} | {PUBLISHED: table[np.newaxis]}


def _correlation(
    matrices: Mapping[str, Floats], a: str, b: str, draws: Draws, *, held: str | None = None, diagonal: bool = False
) -> Row:
    """Spearman's ρ of two matrices, with Mantel's test; an interval over the groups where no third one is held."""
    means = [matrices[name].mean(axis=0) for name in (a, b, *([held] if held else []))]
    test = mantel if held is None else partial_mantel
    found: Mantel = test(*means, rng=draws.rng(), permutations=draws.permutations, diagonal=diagonal)
    row: Row = {"value": plain(found.rho), "ci_low": None, "ci_high": None}
    if held is None:
        row = _rho(matrices, a, b, draws, diagonal=diagonal)
    return {
        "a": a,
        "b": b,
        "held": held,
        "diagonal": diagonal,
        "domains": len(means[0]),
        **row,
        "p": plain(found.p),
        "permutations": found.permutations,
        "exact": found.exact,
    }


def _rho(matrices: Mapping[str, Floats], a: str, b: str, draws: Draws, *, diagonal: bool = False) -> Row:
    """Spearman's ρ of two matrices of means over the groups, which are resampled; the published one stays."""
    means = (matrices[name].mean(axis=0, keepdims=True) for name in (a, b))
    replicates = (matrices[name] if name == PUBLISHED else draws.means(matrices[name]) for name in (a, b))
    rho = float(mantel_replicates(*means, diagonal=diagonal)[0])
    return draws.with_interval(rho, mantel_replicates(*replicates, diagonal=diagonal))


def _agreement(
    cosines: Mapping[str, Floats], domains: Sequence[str], layers: Sequence[int], draws: Draws
) -> Iterator[Row]:
    """Of every layer ρ of its matrix with that of the hidden states there, of vocabulary, and the published one."""
    if len(domains) < FEWEST_DOMAINS:
        return
    for position, layer in enumerate(layers):
        own = {name: domain_matrices(values[position % len(values)]) for name, values in cosines.items()}
        for name in (name for name in own if name != ACTIVATION):
            yield {"layer": layer, "with": name} | _rho(own, ACTIVATION, name, draws)
        common = _with_published(own, domains)
        if common is not None:
            yield {"layer": layer, "with": PUBLISHED} | _rho(common, ACTIVATION, PUBLISHED, draws)


def _depth(cosines: Floats, layers: Sequence[int], draws: Draws) -> Iterator[Row]:
    """Means over the deep half of the layers minus those over the shallow half, and what becomes of the finding."""
    half = len(layers) // 2
    if half == 0:
        return
    matrices = domain_matrices(cosines)
    series = {"cross": cross(matrices), "within": within(matrices), "separation": separation(cosines)}
    series["gap"] = series["within"] - series["cross"]
    for name, values in series.items():
        found = draws.estimate(values[half:].mean(axis=0) - values[:half].mean(axis=0))
        verdict = OPEN
        if found["ci_low"] is not None and (found["ci_low"] > 0 or found["ci_high"] < 0):
            verdict = HIGHER if found["ci_low"] > 0 else LOWER
        shallow, deep = list(layers[:half]), list(layers[half:])
        yield {"figure": name, "shallow": shallow, "deep": deep, **found, "deep_half_is": verdict}
