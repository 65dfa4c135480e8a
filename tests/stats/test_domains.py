"""Similarities within and between domains: naive loops, a known null, and what is planted."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.stats

from actsim.errors import UsageError
from actsim.stats.domains import (
    bootstrap_groups,
    cross,
    domain_matrices,
    five_numbers,
    gap_test,
    pair_values,
    separation,
    within,
)

LAYERS, GROUPS, DOMAINS = 2, 5, 3


def noise(rng: np.random.Generator, layers: int = LAYERS, groups: int = GROUPS, domains: int = DOMAINS) -> np.ndarray:
    values = rng.standard_normal((layers, groups, 2 * domains, 2 * domains))
    return values + values.swapaxes(2, 3)


def naive_gap(cosines: np.ndarray, domain_of: np.ndarray) -> float:
    """Mean within minus mean between of one group, pair by pair."""
    inside, between = [], []
    for i, j in itertools.combinations(range(len(cosines)), 2):
        (inside if domain_of[i] == domain_of[j] else between).append(cosines[i, j])
    return float(np.mean(inside) - np.mean(between))


def test_a_group_gives_one_cosine_within_and_four_between():
    cosines = noise(np.random.default_rng(0))
    matrices = domain_matrices(cosines)
    assert matrices.shape == (LAYERS, GROUPS, DOMAINS, DOMAINS)
    for a, b in itertools.product(range(DOMAINS), repeat=2):
        pairs = [(2 * a, 2 * a + 1)] if a == b else [(2 * a + i, 2 * b + j) for i in (0, 1) for j in (0, 1)]
        values = np.stack([cosines[..., i, j] for i, j in pairs], axis=-1)
        np.testing.assert_allclose(matrices[..., a, b], values.mean(axis=-1))
        found = pair_values(cosines, a, b)
        assert found.shape == (LAYERS, GROUPS * len(pairs))
        np.testing.assert_allclose(np.sort(found), np.sort(values.reshape(LAYERS, -1)))


def test_the_gap_is_the_mean_of_the_groups_gaps():
    cosines = noise(np.random.default_rng(1))
    matrices = domain_matrices(cosines)
    labels = np.repeat(np.arange(DOMAINS), 2)
    want = [[naive_gap(group, labels) for group in layer] for layer in cosines]
    np.testing.assert_allclose(within(matrices) - cross(matrices), want)


def test_five_numbers_are_numpys():
    values = np.random.default_rng(2).standard_normal((3, 11))
    want = [np.min(values, 1), *np.percentile(values, [25, 50, 75], axis=1), np.max(values, 1)]
    np.testing.assert_allclose(five_numbers(values), np.stack(want, axis=1))


def test_resamples_are_means_of_groups_drawn_with_replacement():
    values = np.random.default_rng(3).standard_normal((6, 2, 2))
    found = bootstrap_groups(values, resamples=4000, rng=np.random.default_rng(0))
    again = bootstrap_groups(values[:, 0, 0], resamples=4000, rng=np.random.default_rng(0))
    np.testing.assert_allclose(found[:, 0, 0], again)
    np.testing.assert_allclose(found.mean(axis=0), values.mean(axis=0), atol=0.05)
    np.testing.assert_allclose(found.std(axis=0), values.std(axis=0) / np.sqrt(6), rtol=0.06)
    assert found.shape == (4000, 2, 2)


def naive_separation(group: np.ndarray) -> float:
    won, tried = 0.0, 0
    for s, t in itertools.product(range(len(group)), repeat=2):
        if s // 2 != t // 2:
            closer, other = group[s, s ^ 1], group[s, t]
            won, tried = won + (closer > other) + 0.5 * (closer == other), tried + 1
    return won / tried


def test_separation_counts_sample_by_sample():
    cosines = np.round(noise(np.random.default_rng(4)), 1)
    want = [[naive_separation(group) for group in layer] for layer in cosines]
    np.testing.assert_allclose(separation(cosines), want)
    np.testing.assert_allclose(separation(np.exp(cosines)), want)
    assert (separation(np.ones((1, 2, 4, 4))) == 0.5).all()


def test_one_group_has_every_labelling_tried_as_a_loop_does():
    """Of four samples in two domains there are three labellings, each as likely."""
    cosines = noise(np.random.default_rng(5), groups=1, domains=2)
    p_values = gap_test(cosines, permutations=6000, rng=np.random.default_rng(0))
    for layer, p in zip(cosines[:, 0], p_values, strict=True):
        gaps = [naive_gap(layer, np.array(own)) for own in ((0, 0, 1, 1), (0, 1, 0, 1), (0, 1, 1, 0))]
        assert p == pytest.approx(np.mean([gap >= gaps[0] for gap in gaps]), abs=0.03)


def test_p_is_about_uniform_where_domains_mean_nothing():
    rng = np.random.default_rng(6)
    p_values = gap_test(noise(rng, layers=300), permutations=199, rng=rng)
    independent = [gap_test(noise(rng, layers=1), permutations=99, rng=rng)[0] for _ in range(200)]
    assert scipy.stats.kstest(independent, "uniform").pvalue > 0.01
    assert scipy.stats.kstest(p_values, "uniform").pvalue > 0.01


def test_a_planted_gap_is_found_in_its_layer_alone():
    rng = np.random.default_rng(7)
    cosines = noise(rng, groups=12)
    own = np.arange(2 * DOMAINS)
    cosines[1][:, own, own ^ 1] += 2
    p_values = gap_test(cosines, permutations=199, rng=rng)
    assert p_values[1] == 1 / 200 and p_values[0] > 0.05


def test_a_gap_below_zero_is_not_significant():
    rng = np.random.default_rng(8)
    cosines = noise(rng, groups=12) - 10
    own = np.arange(2 * DOMAINS)
    cosines[:, :, own, own ^ 1] -= 2
    assert (gap_test(cosines, permutations=199, rng=rng) == 1).all()
    assert (gap_test(np.full((1, 2, 4, 4), -0.3), permutations=19, rng=rng) == 1).all()


def test_the_chunks_of_a_test_do_not_matter(monkeypatch):
    cosines = noise(np.random.default_rng(9))
    want = gap_test(cosines, permutations=57, rng=np.random.default_rng(1))
    monkeypatch.setattr("actsim.stats.domains.CELLS_PER_CHUNK", 400)
    np.testing.assert_allclose(gap_test(cosines, permutations=57, rng=np.random.default_rng(1)), want)


def test_too_few_draws_are_refused():
    cosines, rng = noise(np.random.default_rng(9)), np.random.default_rng(0)
    with pytest.raises(UsageError, match="--permutations must be at least 1"):
        gap_test(cosines, permutations=0, rng=rng)
    with pytest.raises(UsageError, match="--resamples must be at least 1"):
        bootstrap_groups(cosines[0], resamples=0, rng=rng)
