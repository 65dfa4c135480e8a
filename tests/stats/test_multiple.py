"""Holm's correction: a worked example, the sequential procedure itself, and the error rate it is made for."""

from __future__ import annotations

import numpy as np
import pytest

from actsim.stats.multiple import holm


def rejected_step_by_step(p_values: np.ndarray, alpha: float) -> set[int]:
    """Holm's procedure as he describes it: smallest first, against α / m, α / (m − 1), …, until one is kept."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    rejected: set[int] = set()
    for step, index in enumerate(order):
        if p_values[index] >= alpha / (len(order) - step):
            break
        rejected.add(index)
    return rejected


def test_an_example_by_hand():
    """Four tests: .005 · 4, .01 · 3, .03 · 2 and .04 · 1, which may not be below the one before it."""
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@pytest.mark.parametrize("seed", range(30))
def test_the_adjusted_values_reject_what_the_procedure_rejects(seed):
    rng = np.random.default_rng(seed)
    p_values = rng.uniform(0, rng.choice([0.05, 0.2, 1]), size=rng.integers(1, 12))
    for alpha in (0.01, 0.05, 0.2):
        assert set(np.flatnonzero(holm(p_values) < alpha)) == rejected_step_by_step(p_values, alpha)


@pytest.mark.parametrize("seed", range(10))
def test_they_lie_between_the_p_values_and_bonferroni_and_keep_their_order(seed):
    p_values = np.random.default_rng(seed).uniform(size=8)
    adjusted = holm(p_values)
    assert (adjusted >= p_values).all()
    assert (adjusted <= np.minimum(1, 8 * p_values)).all()
    assert (np.diff(adjusted[np.argsort(p_values)]) >= 0).all()


def test_one_test_is_not_adjusted_and_an_undefined_one_does_not_count():
    assert holm(np.array([0.04])) == pytest.approx([0.04])
    assert holm(np.array([0.04, np.nan, 0.01])) == pytest.approx([0.04, np.nan, 0.02], nan_ok=True)
    assert len(holm(np.array([]))) == 0


def test_the_family_wise_error_is_kept_where_nothing_differs():
    rng = np.random.default_rng(0)
    errors = [bool((holm(rng.uniform(size=6)) < 0.05).any()) for _ in range(4000)]
    assert 0.035 < np.mean(errors) < 0.065
