"""Count-sketch: linear, the same for the same draw, unbiased, and within its stated error."""

from __future__ import annotations

import random

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from actsim.core.sketch import PRIME, CountSketch


def drawn(buckets: int, seed: int = 0) -> CountSketch:
    return CountSketch.draw(buckets, random.Random(seed))


def as_matrix(folding: CountSketch, entries: int) -> np.ndarray:
    """The folding as [entries, buckets], its polynomials worked out in Python's integers."""
    matrix = np.zeros((entries, folding.buckets))
    for i in range(entries):
        place = sum(c * i**power for power, c in enumerate(reversed(folding.place))) % PRIME % folding.buckets
        parity = sum(c * i**power for power, c in enumerate(reversed(folding.parity))) % PRIME % 2
        matrix[i, place] = 1 - 2 * parity
    return matrix


@given(st.integers(1, 40), st.integers(1, 17), st.integers(0, 1000))
@settings(max_examples=40)
def test_it_is_a_matrix_with_one_sign_per_entry(entries, buckets, seed):
    folding = drawn(buckets, seed)
    values = torch.rand((3, entries), dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    np.testing.assert_allclose(folding.fold(values).numpy(), values.numpy() @ as_matrix(folding, entries), atol=1e-12)


def test_hashes_do_not_overflow_at_the_largest_index():
    folding = drawn(1000)
    index = PRIME - 1
    place = sum(c * index**power for power, c in enumerate(reversed(folding.place))) % PRIME % 1000
    parity = sum(c * index**power for power, c in enumerate(reversed(folding.parity))) % PRIME % 2
    bucket, sign = folding.hashes(torch.tensor([index]))
    assert (bucket.item(), sign.item()) == (place, 1 - 2 * parity)


def test_parts_of_a_vector_fold_to_parts_of_the_sum():
    values, folding = torch.rand((2, 50), dtype=torch.float64), drawn(7)
    whole = folding.fold(values)
    torch.testing.assert_close(folding.fold(values[:, :20]) + folding.fold(values[:, 20:], first=20), whole)


def test_inner_products_are_right_on_average_and_within_the_stated_error():
    generator = torch.Generator().manual_seed(1)
    p, q = torch.rand((2, 300), dtype=torch.float64, generator=generator)
    estimates = []
    for seed in range(2000):
        a, b = drawn(16, seed).fold(torch.stack([p, q]))
        estimates.append(float(a @ b))
    truth, variance = float(p @ q), float((p @ p) * (q @ q) + (p @ q) ** 2) / 16
    assert abs(np.mean(estimates) - truth) < 4 * np.sqrt(variance / len(estimates))
    assert np.var(estimates) < 1.15 * variance
