"""Intervals over folds: the formula, their coverage, and when there is none."""

from __future__ import annotations

import numpy as np
import scipy.stats

from actsim.stats.folds import fold_interval


def test_it_is_the_t_interval_of_the_folds_moved_to_the_figure_of_all():
    folds = np.random.default_rng(0).normal(size=(3, 5))
    low, high = fold_interval(np.array([10.0, 20.0, 30.0]), folds, 0.9)
    for row in range(3):
        want = scipy.stats.t.interval(0.9, 4, loc=folds[row].mean(), scale=scipy.stats.sem(folds[row]))
        shift = 10.0 * (row + 1) - folds[row].mean()
        np.testing.assert_allclose([low[row], high[row]], np.array(want) + shift)


def test_a_constant_offset_of_the_folds_does_not_matter():
    folds = np.random.default_rng(0).normal(size=(1, 6))
    np.testing.assert_allclose(
        fold_interval(np.zeros(1), folds + 7, 0.95), fold_interval(np.zeros(1), folds, 0.95), atol=1e-12
    )


def test_the_share_of_mean_activations_over_a_threshold_is_covered_as_often_as_stated():
    """As a density is made: 64 samples of 200 parameters, their means over a threshold, in 8 folds of 8."""
    rng = np.random.default_rng(1)
    scales = np.exp(rng.normal(size=200))

    def drawn(samples: int) -> np.ndarray:
        sizes = np.exp(0.5 * rng.normal(size=(samples, 1)))  # some samples are louder than others
        return sizes * scales * rng.exponential(size=(samples, 200))

    def share(values: np.ndarray) -> float:
        return float((values.mean(axis=0) > 1).mean())

    truth = np.mean([share(drawn(64)) for _ in range(400)])
    hits = 0
    for _ in range(300):
        values = drawn(64)
        low, high = fold_interval(np.array(share(values)), np.array([share(values[fold::8]) for fold in range(8)]), 0.9)
        hits += bool(low <= truth <= high)
    assert 0.84 < hits / 300 < 0.99


def test_one_fold_or_an_undefined_one_has_no_interval():
    assert np.isnan(fold_interval(np.zeros(2), np.zeros((2, 1)), 0.95)).all()
    assert np.isnan(fold_interval(np.zeros(1), np.array([[0.0, np.nan]]), 0.95)).all()
