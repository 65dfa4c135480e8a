"""Whether calibration on similar texts serves better: residuals, permutations and intervals against plain code."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from actsim.errors import DataError, UsageError
from actsim.stats.transfer import BOTH, REMOVED, TEXT, transfer


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def made_up(rng, n, strength=1.0):
    """Quality and similarity of n domains that are alike as their three hidden traits are."""
    traits = rng.normal(size=(n, 3))
    similarity = np.exp(-((traits[:, None] - traits[None]) ** 2).sum(axis=-1) / 4)
    noise = 0.3 * rng.normal(size=(n, n)) + rng.normal(size=(1, n)) + 0.3 * rng.normal(size=(n, 1))
    return strength * similarity + noise, similarity


def plain_rho(quality, similarity, rows, columns, removed):
    """Spearman's ρ of what least squares leaves, cell by cell."""
    cells = [
        (i, j, quality[i, j], similarity[a, b])
        for (i, a), (j, b) in itertools.product(enumerate(rows), enumerate(columns))
        if a != b
    ]
    design = np.array(
        [
            [float(j == k) for k in range(len(columns))]
            + ([float(i == k) for k in range(len(rows))] if removed == BOTH else [])
            for i, j, _, _ in cells
        ]
    )
    left = []
    for values in (np.array([cell[2] for cell in cells]), np.array([cell[3] for cell in cells])):
        left.append(np.round(values - design @ np.linalg.lstsq(design, values, rcond=None)[0], 11))  # exact ties
    return scipy.stats.spearmanr(*left).statistic


@pytest.mark.parametrize("removed", REMOVED)
@pytest.mark.parametrize(
    ("rows", "columns"), [(range(5), range(5)), ([0, 2, 4], [1, 2, 3, 5]), ([3, 0, 1, 2], [0, 5, 4])]
)
def test_rho_is_that_of_plain_least_squares(rng, rows, columns, removed):
    quality, similarity = made_up(rng, 6)
    quality = quality[np.ix_(rows, columns)]
    found = transfer(quality, similarity, rows, columns, removed=removed, rng=rng, permutations=99)
    assert found.rho == pytest.approx(plain_rho(quality, similarity, rows, columns, removed))
    assert found.domains == len({*rows, *columns})
    assert found.cells == sum(a != b for a in rows for b in columns)


def test_p_is_the_share_of_all_orders_of_few_domains(rng):
    quality, similarity = made_up(rng, 5)
    found = transfer(quality, similarity, range(5), range(5), removed=TEXT, rng=rng, permutations=119)
    every = [
        plain_rho(quality, similarity[np.ix_(order, order)], range(5), range(5), TEXT)
        for order in itertools.permutations(range(5))
    ]
    assert (found.exact, found.permutations) == (True, 120)
    assert found.p == pytest.approx(np.mean(np.array(every) >= every[0] - 1e-9))


@given(st.integers(0, 10_000), st.sampled_from(REMOVED))
@settings(max_examples=25, deadline=None)
def test_what_is_removed_changes_nothing_and_direction_turns_the_sign(seed, removed):
    rng = np.random.default_rng(seed)
    quality, similarity = made_up(rng, 5)
    moved = quality + 5 * rng.normal(size=(1, 5)) + (5 * rng.normal(size=(5, 1)) if removed == BOTH else 0)
    own, other, turned = (
        transfer(values, similarity, range(5), range(5), removed=removed, rng=np.random.default_rng(0), permutations=30)
        for values in (quality, moved, -quality)
    )
    assert own[:4] == pytest.approx(other[:4], abs=1e-9)
    assert turned.rho == pytest.approx(-own.rho)
    assert own.ci_low <= own.rho <= own.ci_high


def test_the_interval_covers_and_the_test_keeps_its_level():
    rng = np.random.default_rng(5)
    found = [
        transfer(*made_up(rng, 7, 0.0), range(7), range(7), removed=BOTH, rng=rng, permutations=99) for _ in range(150)
    ]
    assert np.mean([own.ci_low <= 0 <= own.ci_high for own in found]) >= 0.93
    assert np.mean([own.p <= 0.05 for own in found]) <= 0.1
    strong = [
        transfer(*made_up(rng, 7, 3.0), range(7), range(7), removed=BOTH, rng=rng, permutations=99) for _ in range(20)
    ]
    assert np.mean([own.p <= 0.05 for own in strong]) > 0.8


def test_the_own_domain_is_left_out(rng):
    quality, similarity = made_up(rng, 5)
    changed = quality + 100 * np.eye(5)
    first, second = (
        transfer(own, similarity, range(5), range(5), removed=TEXT, rng=np.random.default_rng(0), permutations=9)
        for own in (quality, changed)
    )
    assert first == second


def test_what_cannot_be_compared_is_undefined(rng):
    quality, similarity = made_up(rng, 4)
    alone = transfer(quality[:1, :3], similarity, [0], [1, 2, 3], removed=TEXT, rng=rng, permutations=9)
    assert np.isnan([alone.rho, alone.p, alone.ci_low]).all()  # one calibration leaves nothing of a text
    same = transfer(np.zeros((4, 4)), similarity, range(4), range(4), removed=TEXT, rng=rng, permutations=9)
    assert np.isnan([same.rho, same.p]).all()


def test_what_is_one_by_construction_is_undefined(rng):
    quality, similarity = made_up(rng, 6)
    few = transfer(quality[:2, :4], similarity, [0, 1], [0, 1, 2, 3], removed=BOTH, rng=rng, permutations=9)
    assert (few.cells, few.domains) == (6, 4)  # of which five effects leave one
    assert np.isnan([few.rho, few.ci_low, few.p]).all()


def test_unfit_input_is_refused(rng):
    quality, similarity = made_up(rng, 4)
    with pytest.raises(UsageError, match="removed must be one of text, both, got 'row'"):
        transfer(quality, similarity, range(4), range(4), removed="row", rng=rng)
    with pytest.raises(UsageError, match="permutations"):
        transfer(quality, similarity, range(4), range(4), removed=TEXT, rng=rng, permutations=0)
    with pytest.raises(DataError, match="3 calibrations by 4 texts"):
        transfer(quality, similarity, range(3), range(4), removed=TEXT, rng=rng)
    with pytest.raises(DataError, match="symmetric"):
        transfer(quality, quality, range(4), range(4), removed=TEXT, rng=rng)
    with pytest.raises(DataError, match="none of the 4"):
        transfer(quality, similarity, range(4), [0, 1, 2, 4], removed=TEXT, rng=rng)
