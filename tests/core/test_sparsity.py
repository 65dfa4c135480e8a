"""Allocations: the target is kept exactly, denser or deeper blocks come out where they should, formulas by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actsim.core import sparsity
from actsim.errors import NumericError, UsageError

targets = st.floats(0.0, 0.99)
sizes_and_profile = st.lists(st.tuples(st.integers(1, 10**6), st.floats(0, 1)), min_size=1, max_size=12)
ALLOCATORS = {
    "uniform": lambda _, sizes, target: sparsity.uniform(sizes, target),
    "activation": lambda profile, sizes, target: sparsity.activation(profile, sizes, target, alpha=2.0, beta=0.2),
    "far apart": lambda profile, sizes, target: sparsity.activation(profile, sizes, target, alpha=-3.0, beta=9.0),
    "progression": lambda _, sizes, target: sparsity.progression(sizes, target, 0.8),
    "owl": lambda profile, sizes, target: sparsity.owl(profile, sizes, target, width=0.4),
    "dlp": lambda profile, sizes, target: sparsity.dlp(profile + 1e-3, sizes, target, width=0.4),
}


@pytest.mark.parametrize("name", ALLOCATORS)
@given(blocks=sizes_and_profile, target=targets)
def test_the_target_is_kept_in_parameters_and_no_block_leaves_the_unit_interval(name, blocks, target):
    sizes, profile = np.array(blocks, dtype=np.float64).T
    found = ALLOCATORS[name](profile, sizes, target)
    assert found.overall == pytest.approx(target, abs=1e-9)
    assert found.sparsities.min() >= 0
    assert found.sparsities.max() <= 1


@pytest.mark.parametrize("name", ["activation", "owl"])
@given(blocks=st.lists(st.floats(0, 1), min_size=2, max_size=12), target=targets)
def test_of_equally_deep_blocks_the_one_with_the_larger_profile_keeps_more(name, blocks, target):
    profile, sizes = np.array(blocks), np.ones(len(blocks))
    if name == "activation":
        found = sparsity.activation(profile, sizes, target, alpha=0.0, beta=0.2).sparsities
    else:
        found = sparsity.owl(profile, sizes, target, width=0.08).sparsities
    order = np.argsort(profile)
    assert np.all(np.diff(found[order]) <= 1e-12)


@given(medians=st.lists(st.floats(0.01, 10), min_size=2, max_size=12), target=targets)
def test_the_block_with_the_smaller_median_keeps_more(medians, target):
    profile = np.array(medians)
    found = sparsity.dlp(profile, np.ones(len(medians)), target, width=0.15).sparsities
    assert np.all(np.diff(found[np.argsort(profile)]) >= -1e-12)


def test_the_published_formula_by_hand():
    """N = 10, 20, 60: mean 30, population deviation √(1400 / 3); α = 2, β = 0.2, S = 0.5, blocks of one size."""
    spread = math.sqrt((400 + 100 + 900) / 3)
    z = [(10 - 30) / spread + 2 / 1, (20 - 30) / spread + 2 / 2, (60 - 30) / spread + 2 / 3]
    n = [1 / (1 + math.exp(-value)) for value in z]
    want = [0.5 + 0.2 * 0.5 * (1 - own * 3 / sum(n)) for own in n]
    found = sparsity.activation(np.array([10.0, 20.0, 60.0]), np.full(3, 7.0), 0.5, alpha=2.0, beta=0.2)
    assert found.sparsities.tolist() == pytest.approx(want, abs=1e-12)
    assert not found.clipped.any()


def test_a_block_twice_as_large_counts_as_two_that_are_equal():
    """Two equal blocks merged into one: but for α / i, which goes by depth, nothing else changes."""
    apart = sparsity.activation(np.array([0.2, 0.5, 0.5]), np.ones(3), 0.6, alpha=0.0, beta=0.2).sparsities
    merged = sparsity.activation(np.array([0.2, 0.5]), np.array([1.0, 2.0]), 0.6, alpha=0.0, beta=0.2).sparsities
    assert merged.tolist() == pytest.approx(apart[:2].tolist(), abs=1e-12)


def test_where_all_blocks_are_equally_dense_depth_alone_decides():
    n = [1 / (1 + math.exp(-2 / layer)) for layer in (1, 2, 3)]
    want = [0.5 + 0.1 * (1 - own * 3 / sum(n)) for own in n]
    assert sparsity.activation(
        np.full(3, 0.1), np.ones(3), 0.5, alpha=2.0, beta=0.2
    ).sparsities.tolist() == pytest.approx(want)


def test_owl_and_dlp_by_hand():
    """Profile 1, 2, 5: scaled to a width of 0.2 it is 0, 0.05, 0.2, whose mean is 1/12; kept 0.5 in the mean."""
    scaled = np.array([0.0, 0.05, 0.2])
    want = (0.5 - scaled + scaled.mean()).tolist()
    sizes = np.ones(3)
    assert sparsity.owl(np.array([1.0, 2.0, 5.0]), sizes, 0.5, width=0.1).sparsities.tolist() == pytest.approx(want)
    assert sparsity.dlp(np.array([5.0, 4.0, 1.0]), sizes, 0.5, width=0.1).sparsities.tolist() == pytest.approx(want)


def test_what_is_clipped_is_shared_out_among_the_others_and_said():
    found = sparsity.progression(np.ones(5), 0.9, 0.3)
    assert found.clipped.tolist() == [False, False, False, True, True]
    assert found.sparsities[3:].tolist() == [1.0, 1.0]
    assert np.diff(found.sparsities[:3]).tolist() == pytest.approx([0.15, 0.15])
    assert found.overall == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda sizes: sparsity.uniform(sizes, 1.0), UsageError, "--sparsity"),
        (lambda sizes: sparsity.progression(sizes, 0.5, math.inf), UsageError, "--delta"),
        (lambda sizes: sparsity.activation(sizes, sizes, 0.5, alpha=2.0, beta=math.nan), UsageError, "--beta"),
        (lambda sizes: sparsity.owl(sizes, sizes, 0.5, width=-1.0), UsageError, "--lambda"),
        (lambda sizes: sparsity.owl(np.array([0.0, np.nan]), sizes, 0.5, width=0.1), NumericError, "layer 2"),
        (lambda sizes: sparsity.dlp(np.zeros(2), sizes, 0.5, width=0.1), NumericError, "zero"),
        (lambda sizes: sparsity.planned(np.array([0.5, 1.5]), sizes), UsageError, "layer 2"),
    ],
)
def test_what_cannot_be_allocated_is_refused(call, error, says):
    with pytest.raises(error, match=says):
        call(np.ones(2))
