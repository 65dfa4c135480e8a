"""Similarities within and between domains, from groups that hold two samples of each.

Sample 2d and 2d + 1 of a group are of domain d; a group has one cosine within each domain and four between any two.
Groups share no sample, so groups are what is resampled: intervals tell how much the figures depend on which samples
were drawn, for these domains and this model.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from actsim.errors import UsageError

CELLS_PER_CHUNK = 2**22
"""Permuted cosines held at once: 32 MiB."""

ROUNDING = 1e-12
"""Sums closer than this are equal: those in another order differ by less."""

QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)


def domain_matrices(
    cosines: Float[np.ndarray, "*layers groups samples samples"],
) -> Float[np.ndarray, "*layers groups domains domains"]:
    """Of every group the mean cosine of each pair of domains: one value on the diagonal, four elsewhere."""
    *outer, samples, _ = cosines.shape
    domains = samples // 2
    means = cosines.reshape(*outer, domains, 2, domains, 2).mean(axis=(-3, -1))
    own = np.arange(domains)
    means[..., own, own] = cosines[..., 2 * own, 2 * own + 1]
    return means


def pair_values(
    cosines: Float[np.ndarray, "*layers groups samples samples"], a: int, b: int
) -> Float[np.ndarray, "*layers values"]:
    """All cosines of domains ``a`` and ``b``: one a group where they are the same domain, else four."""
    if a == b:
        return cosines[..., 2 * a, 2 * a + 1]
    block = cosines[..., 2 * a : 2 * a + 2, 2 * b : 2 * b + 2]
    return block.reshape(*cosines.shape[:-3], -1)


def five_numbers(values: Float[np.ndarray, "*layers values"]) -> Float[np.ndarray, "*layers 5"]:
    """Minimum, quartiles and maximum along the last axis, quantiles by linear interpolation."""
    return np.moveaxis(np.quantile(values, QUANTILES, axis=-1), 0, -1)


def within(matrices: Float[np.ndarray, "*stack domains domains"]) -> Float[np.ndarray, "*stack"]:
    """The mean over the domains of their similarity within."""
    return np.diagonal(matrices, axis1=-2, axis2=-1).mean(axis=-1)


def cross(matrices: Float[np.ndarray, "*stack domains domains"]) -> Float[np.ndarray, "*stack"]:
    """The mean similarity over all pairs of different domains."""
    rows, columns = np.triu_indices(matrices.shape[-1], 1)
    return matrices[..., rows, columns].mean(axis=-1)


def bootstrap_groups(
    values: Float[np.ndarray, "groups ..."], *, resamples: int, rng: np.random.Generator
) -> Float[np.ndarray, "resamples ..."]:
    """Means over the groups of each resample, a resample being as many groups drawn with replacement.

    Everything that is drawn with a generator in one state, over as many groups, has the same resamples.

    Raises:
        UsageError: ``resamples`` is less than 1.
    """
    if resamples < 1:
        raise UsageError(f"--resamples must be at least 1, got {resamples}; 2000 is usual.")
    groups = len(values)
    shares = rng.multinomial(groups, np.full(groups, 1 / groups), size=resamples) / groups
    return (shares @ values.reshape(groups, -1)).reshape(resamples, *values.shape[1:])


def separation(cosines: Float[np.ndarray, "*layers groups samples samples"]) -> Float[np.ndarray, "*layers groups"]:
    """How often a sample is closer to the other one of its domain than to one of another domain, ties as half.

    In each group, the share over all samples s, their partner s' and all samples t of other domains of
    cos(s, s') > cos(s, t). It is ½ where domains mean nothing and 1 where they are apart, and as a matter of order it
    compares similarities of different scales.
    """
    samples = cosines.shape[-1]
    own = np.arange(samples)
    partner = own ^ 1
    others = own[:, None] // 2 != own[None, :] // 2
    closer = cosines[..., own, partner][..., None]
    won = (closer > cosines) + 0.5 * (closer == cosines)
    return (won * others).sum(axis=(-2, -1)) / others.sum()


def gap_test(
    cosines: Float[np.ndarray, "layers groups samples samples"], *, permutations: int, rng: np.random.Generator
) -> Float[np.ndarray, " layers"]:
    """One-sided p-values of the gap between the mean cosine within domains and that between them, by layer.

    The domain labels of the samples of each group are permuted, in every group for itself. Samples are drawn
    independently, so under the null hypothesis that the domains' samples are alike those of a group may be exchanged
    and every labelling of theirs is as likely: the test is exact. Cosines are known inside of groups only, hence no
    label leaves its group. p is the share of labellings, the true one among them, with a gap at least as large; all
    layers share them.

    Raises:
        UsageError: ``permutations`` is less than 1.
    """
    if permutations < 1:
        raise UsageError(f"--permutations must be at least 1, got {permutations}; 2000 is usual.")
    layers, groups, samples, _ = cosines.shape
    everywhere = np.arange(groups)[:, None]
    observed = _paired(cosines, everywhere, np.arange(samples)[None])
    floor = observed - ROUNDING * np.abs(observed)
    step = max(1, CELLS_PER_CHUNK // (layers * groups * samples))
    reached = np.ones(layers)
    for first in range(0, permutations, step):
        count = min(step, permutations - first)
        labels = rng.permuted(np.broadcast_to(np.arange(samples), (count, groups, samples)), axis=2)
        reached += (_paired(cosines, everywhere, labels) >= floor).sum(axis=1)
    return reached / (permutations + 1)


def _paired(cosines: np.ndarray, groups: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Sum of the cosines within domains, [layers, labellings]: all cosines together are the same for any labelling, so
    that the gap grows with it."""
    found = cosines[:, groups, labels[..., 0::2], labels[..., 1::2]]
    return found.sum(axis=(-2, -1)).reshape(len(cosines), -1)


def cluster_order(matrix: Float[np.ndarray, "domains domains"]) -> list[int]:
    """Positions of the domains so that similar ones stand together.

    The leaves of the tree of average linkage with the distance max s - s, s being the similarities of different
    domains, neighbours as close as the tree allows. Source: ``scipy.cluster.hierarchy``.
    """
    domains = len(matrix)
    if domains < 3:
        return list(range(domains))
    cells = np.triu_indices(domains, 1)
    distance = np.zeros_like(matrix)
    distance[cells] = matrix[cells].max() - matrix[cells]
    tree = linkage(squareform(distance + distance.T), method="average", optimal_ordering=True)
    return leaves_list(tree).tolist()
