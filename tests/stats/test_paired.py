"""Accuracies and paired tests against sums of binomials and resamples drawn one question at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest

from actsim.errors import UsageError
from actsim.stats.paired import bootstrap_difference, mcnemar, proportion


def flags(*values: int) -> np.ndarray:
    return np.array(values, dtype=bool)


def discordant(only_a: int, only_b: int, both: int = 0) -> tuple[np.ndarray, np.ndarray]:
    a = flags(*[1] * only_a, *[0] * only_b, *[1] * both)
    b = flags(*[0] * only_a, *[1] * only_b, *[1] * both)
    return a, b


@pytest.mark.parametrize("only_a", range(7))
@pytest.mark.parametrize("only_b", range(7))
def test_mcnemar_is_twice_the_smaller_tail(only_a, only_b):
    n = only_a + only_b
    tail = sum(math.comb(n, k) for k in range(min(only_a, only_b) + 1)) / 2**n
    found = mcnemar(*discordant(only_a, only_b, both=3))
    assert (found.only_a, found.only_b) == (only_a, only_b)
    assert found.p == pytest.approx(min(1.0, 2 * tail))


def test_questions_on_which_both_agree_do_not_move_the_test():
    assert mcnemar(*discordant(9, 2)) == mcnemar(*discordant(9, 2, both=500))


def test_the_order_of_the_models_changes_the_sign_alone():
    a, b = discordant(8, 3, both=5)
    assert mcnemar(a, b).p == mcnemar(b, a).p
    mirrored = [bootstrap_difference(*pair, resamples=4000, rng=np.random.default_rng(0)) for pair in ((a, b), (b, a))]
    assert mirrored[0].mean() == pytest.approx(-mirrored[1].mean(), abs=0.02)


def test_the_bootstrap_is_that_of_questions_drawn_one_by_one():
    a, b = discordant(14, 5, both=21)
    rng = np.random.default_rng(3)
    rows = rng.integers(len(a), size=(20_000, len(a)))
    naive = (a[rows].astype(float) - b[rows]).mean(axis=1)
    found = bootstrap_difference(a, b, resamples=20_000, rng=np.random.default_rng(4))
    levels = [0.025, 0.25, 0.5, 0.75, 0.975]
    np.testing.assert_allclose(np.quantile(found, levels), np.quantile(naive, levels), atol=1 / len(a))
    assert found.std() == pytest.approx(naive.std(), rel=0.03)


def test_equal_answers_never_differ():
    a = flags(1, 0, 1, 1)
    assert not bootstrap_difference(a, a, resamples=50, rng=np.random.default_rng(0)).any()


@pytest.mark.parametrize(("hits", "n"), [(0, 5), (5, 5), (3, 8), (130, 200)])
def test_an_accuracy_has_the_standard_error_of_a_mean_and_wilsons_interval(hits, n):
    right = flags(*[1] * hits, *[0] * (n - hits))
    found = proportion(right, 0.95)
    assert found.value == hits / n
    assert found.stderr == pytest.approx(np.std(right, ddof=1) / math.sqrt(n))
    z = 1.959963984540054
    for end in (found.low, found.high):  # where a share is z of its own standard errors away from the one that is seen
        assert abs(end - hits / n) == pytest.approx(z * math.sqrt(end * (1 - end) / n), abs=1e-9)


def test_one_question_has_no_standard_error():
    assert math.isnan(proportion(flags(1)).stderr)


def test_impossible_settings_are_refused():
    with pytest.raises(UsageError, match="level"):
        proportion(flags(1, 0), 1.0)
    with pytest.raises(UsageError, match="at least 1"):
        bootstrap_difference(flags(1), flags(0), resamples=0, rng=np.random.default_rng(0))
