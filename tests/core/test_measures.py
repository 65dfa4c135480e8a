"""Measures out of moments: bounds, symmetry, and what is not defined."""

from __future__ import annotations

import numpy as np
import oracle
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

from actsim.config import MEASURES as DECLARED
from actsim.config import SET_MEASURES
from actsim.core.measures import MEASURES
from actsim.core.scoring import MOMENTS

GAMMA = 0.5
vectors = nps.arrays(np.float64, 12, elements=st.one_of(st.just(0.0), st.floats(1e-3, 1e3)))


def moments(p: np.ndarray, q: np.ndarray) -> torch.Tensor:
    in_p, in_q = p > GAMMA, q > GAMMA
    values = {
        "dot": p @ q,
        "square_a": p @ p,
        "square_b": q @ q,
        "sum_a": p.sum(),
        "sum_b": q.sum(),
        "minimum": np.minimum(p, q).sum(),
        "count_a": in_p.sum(),
        "count_b": in_q.sum(),
        "count_both": (in_p & in_q).sum(),
    }
    return torch.tensor([float(values[name]) for name in MOMENTS], dtype=torch.float64)


def test_every_declared_measure_is_there():
    assert tuple(MEASURES) == DECLARED
    assert set(SET_MEASURES) < set(MEASURES)


@pytest.mark.parametrize("name", MEASURES)
@given(vectors, vectors)
def test_a_measure_is_the_oracles_symmetric_and_between_zero_and_one(name, p, q):
    score = float(MEASURES[name](moments(p, q)))
    np.testing.assert_allclose(score, oracle.compare(name, p, q, gamma=GAMMA), rtol=1e-12, equal_nan=True)
    np.testing.assert_allclose(score, float(MEASURES[name](moments(q, p))), rtol=1e-15, equal_nan=True)
    assert np.isnan(score) or 0 <= score <= 1 + 1e-15


@pytest.mark.parametrize("name", MEASURES)
@given(vectors)
def test_a_pattern_is_wholly_like_itself(name, p):
    score = float(MEASURES[name](moments(p, p)))
    assert np.isnan(score) or score == pytest.approx(1, abs=1e-15)
    assert np.isnan(score) == (not (p > GAMMA).any() if name in SET_MEASURES else not p.any())


@pytest.mark.parametrize("name", MEASURES)
@given(vectors, vectors, st.integers(-20, 20))
def test_a_power_of_two_in_both_patterns_changes_nothing(name, p, q, exponent):
    if name in SET_MEASURES:
        return  # γ is absolute
    first, second = (float(MEASURES[name](moments(p * f, q * f))) for f in (1.0, 2.0**exponent))
    assert first == second or (np.isnan(first) and np.isnan(second))


def test_patterns_without_a_common_parameter_score_zero():
    p, q = np.array([1.0, 2.0, 0.0, 0.0]), np.array([0.0, 0.0, 3.0, 1.0])
    assert [float(measure(moments(p, q))) for measure in MEASURES.values()] == [0.0, 0.0, 0.0, 0.0]


def test_a_subset_overlaps_wholly_but_is_not_the_same_set():
    p, q = np.array([1.0, 1.0, 0.0]), np.array([1.0, 1.0, 1.0])
    assert float(MEASURES["overlap"](moments(p, q))) == 1.0
    assert float(MEASURES["jaccard"](moments(p, q))) == pytest.approx(2 / 3)


def test_measures_keep_the_leading_axes():
    many = torch.stack([moments(np.arange(3.0) + row, np.ones(3)) for row in range(6)]).reshape(2, 3, len(MOMENTS))
    for measure in MEASURES.values():
        scores = measure(many)
        assert scores.shape == (2, 3)
        assert torch.equal(scores[1, 2], measure(many[1, 2]))
