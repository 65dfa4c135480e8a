"""Two correlations with one gold: a published example, independent formulae, and p-values that are about uniform."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from actsim.errors import UsageError
from actsim.stats.bootstrap import bootstrap_spearman, percentile_interval
from actsim.stats.correlation import spearman
from actsim.stats.dependent import bootstrap_p, smallest_p, steiger


def williams(r_a: float, r_b: float, r_ab: float, n: int) -> tuple[float, float]:
    """Williams's T2 (1959) as Steiger (1980, eq. 7) gives it, an exact-like t-test: another way to the same answer."""
    determinant = np.linalg.det(np.array([[1, r_a, r_b], [r_a, 1, r_ab], [r_b, r_ab, 1]]))
    mean = (r_a + r_b) / 2
    below = 2 * (n - 1) / (n - 3) * determinant + mean**2 * (1 - r_ab) ** 3
    t = (r_a - r_b) * math.sqrt((n - 1) * (1 + r_ab) / below)
    return t, 2 * scipy.stats.t.sf(abs(t), n - 3)


def meng(r_a: float, r_b: float, r_ab: float, n: int) -> float:
    """Z of Meng, Rosenthal and Rubin (1992, eq. 1)."""
    mean_square = (r_a**2 + r_b**2) / 2
    f = min(1, (1 - r_ab) / (2 * (1 - mean_square)))
    h = (1 - f * mean_square) / (1 - mean_square)
    return (np.arctanh(r_a) - np.arctanh(r_b)) * math.sqrt((n - 3) / (2 * (1 - r_ab) * h))


def dunn_and_clark(r_a: float, r_b: float, r_ab: float, n: int) -> float:
    """Z with the covariance of two correlations (Pearson and Filon 1898) at the estimates themselves, not pooled."""
    rest = 1 - r_a**2 - r_b**2
    covariance = r_ab * rest - r_a * r_b * (rest - r_ab**2) / 2
    s = covariance / ((1 - r_a**2) * (1 - r_b**2))
    return (np.arctanh(r_a) - np.arctanh(r_b)) * math.sqrt(n - 3) / math.sqrt(2 - 2 * s)


def test_the_example_of_steiger():
    """Case A there: r = .4 and .5, .1 between the two, n = 103. Williams's T2 is −0.89, p = .37."""
    t, p = williams(0.4, 0.5, 0.1, 103)
    assert (round(t, 2), round(p, 2)) == (-0.89, 0.37)
    found = steiger(0.4, 0.5, 0.1, 103)
    assert (round(found.z, 2), round(found.p, 2)) == (-0.89, 0.37)


@pytest.mark.parametrize(
    ("r_a", "r_b", "r_ab", "n", "z"),
    [(0.0228, 0.3522, 0.3718, 553, -7.1345), (0.2493, 0.3395, 0.4082, 553, -2.0660)],
)
def test_it_gives_what_the_r_package_cocor_prints(r_a, r_b, r_ab, n, z):
    """Correlations printed with four digits, hence the tolerance; p is that of the second line, .0388."""
    found = steiger(r_a, r_b, r_ab, n)
    assert found.z == pytest.approx(z, abs=0.005)
    assert found.p == pytest.approx(2 * scipy.stats.norm.sf(abs(z)), abs=5e-4)


@pytest.mark.parametrize("seed", range(20))
def test_it_agrees_with_other_tests_of_the_same_hypothesis_at_large_n(seed):
    rng = np.random.default_rng(seed)
    n = 4000
    gold, noise = rng.standard_normal(n), rng.standard_normal((2, n))
    shared = rng.uniform(0.2, 0.8) * rng.standard_normal(n)
    a, b = gold + shared + noise[0], gold + shared + 1.05 * noise[1]
    r_a, r_b, r_ab = (float(np.corrcoef(x, y)[0, 1]) for x, y in ((a, gold), (b, gold), (a, b)))
    z, p = steiger(r_a, r_b, r_ab, n)
    assert z == pytest.approx(meng(r_a, r_b, r_ab, n), rel=0.01, abs=0.01)
    assert z == pytest.approx(dunn_and_clark(r_a, r_b, r_ab, n), rel=0.01, abs=0.01)
    assert p == pytest.approx(williams(r_a, r_b, r_ab, n)[1], abs=0.01)


def test_the_pooled_covariance_is_that_of_equal_correlations():
    """At r_a = r_b the pooled and the plain statistic have one denominator; only a step away from it they part."""
    z, _ = steiger(0.6, 0.6 + 1e-9, 0.3, 50)
    assert z == pytest.approx(dunn_and_clark(0.6, 0.6 + 1e-9, 0.3, 50), rel=1e-6)


def test_the_order_of_the_two_turns_the_sign_alone():
    forth, back = steiger(0.7, 0.4, 0.5, 80), steiger(0.4, 0.7, 0.5, 80)
    assert (forth.z, forth.p) == (-back.z, back.p)
    assert forth.z > 0


def test_one_score_twice_differs_in_nothing():
    assert steiger(0.7, 0.7, 1.0, 80) == (0.0, 1.0)


@pytest.mark.parametrize("args", [(0.5, 0.4, 0.3, 3), (1.0, 0.4, 0.4, 9), (math.nan, 0.4, 0.3, 9), (0.9, 0.1, 1.0, 9)])
def test_what_has_no_statistic_is_nan(args):
    assert math.isnan(steiger(*args).z) and math.isnan(steiger(*args).p)


def null_data(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Two scores that follow the gold equally well, and each other."""
    gold, shared = rng.standard_normal(n), rng.standard_normal(n)
    return np.stack([gold + 0.5 * shared + rng.standard_normal(n) for _ in range(2)], axis=1), gold


def test_the_p_values_of_steiger_on_ranks_are_about_uniform_where_there_is_no_difference():
    rng = np.random.default_rng(1)
    found = []
    for _ in range(300):
        scores, gold = null_data(rng, 150)
        a, b = scores.T
        found.append(steiger(spearman(a, gold), spearman(b, gold), spearman(a, b), 150).p)
    assert scipy.stats.kstest(found, "uniform").pvalue > 0.01


def test_the_p_values_of_the_bootstrap_are_about_uniform_where_there_is_no_difference():
    rng = np.random.default_rng(2)
    found = []
    for seed in range(200):
        scores, gold = null_data(rng, 100)
        replicates = bootstrap_spearman(scores, gold, resamples=200, rng=np.random.default_rng(seed))
        found.append(bootstrap_p(replicates[:, 0] - replicates[:, 1]))
    found = np.array(found)
    assert scipy.stats.kstest(found, "uniform").statistic < 0.12
    assert 0.005 < (found < 0.05).mean() < 0.12


def test_both_find_a_difference_that_is_there():
    rng = np.random.default_rng(3)
    gold = rng.standard_normal(300)
    scores = np.stack([gold + 0.5 * rng.standard_normal(300), gold + 2 * rng.standard_normal(300)], axis=1)
    replicates = bootstrap_spearman(scores, gold, resamples=400, rng=rng)
    assert bootstrap_p(replicates[:, 0] - replicates[:, 1]) == smallest_p(400)
    a, b = scores.T
    assert steiger(spearman(a, gold), spearman(b, gold), spearman(a, b), 300).p < 1e-6


def test_p_by_hand():
    """Of nine replicates two are not above 0: 2 (1 + 2) / 10."""
    differences = np.array([-0.1, 0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7])
    assert bootstrap_p(differences) == pytest.approx(0.6)
    assert bootstrap_p(-differences) == bootstrap_p(differences)


@pytest.mark.parametrize("shift", np.linspace(-0.3, 0.3, 13))
def test_p_and_the_percentile_interval_decide_alike(shift):
    """p < .05 where the 95 % interval leaves out 0, but for the one replicate that separates the two definitions."""
    differences = np.random.default_rng(4).normal(shift, 0.1, 1999)
    low, high, *_ = percentile_interval(differences, 0.95)
    if abs(bootstrap_p(differences) - 0.05) > 0.002:
        assert (bootstrap_p(differences) < 0.05) == (low > 0 or high < 0)


def test_equal_columns_have_p_one_and_undefined_replicates_are_left_out():
    assert bootstrap_p(np.zeros(50)) == 1.0
    assert bootstrap_p(np.array([0.1, 0.2, 0.3, np.nan])) == smallest_p(3)
    assert math.isnan(bootstrap_p(np.array([0.1, np.nan, np.nan])))


def test_no_resamples_no_p():
    with pytest.raises(UsageError, match="at least 1, got 0"):
        smallest_p(0)
