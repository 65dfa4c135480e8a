"""Scores and masks of single maps: exact counts in every row and group, ties by index, norms of all that went in."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from transformers.pytorch_utils import Conv1D

from actsim.core import wanda
from actsim.core.linears import LinearMap
from actsim.errors import NumericError, UsageError


def linear_map(d_out: int, d_in: int, *, transposed: bool = False, seed: int = 0) -> LinearMap:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = Conv1D(d_out, d_in) if transposed else nn.Linear(d_in, d_out)
    return LinearMap("map", module.requires_grad_(False), 1, "q", transposed)


@pytest.mark.parametrize("transposed", [False, True])
def test_the_norms_are_those_of_all_rows_that_went_in(transposed):
    linear = linear_map(3, 5, transposed=transposed)
    batches = [torch.randn(2, 4, 5), torch.randn(7, 5)]
    with wanda.squared_input_norms([linear]) as sums:
        for batch in batches:
            linear.module(batch)
    rows = torch.cat([batch.reshape(-1, 5) for batch in batches]).double().numpy()
    assert sums[id(linear.parameter)].numpy() == pytest.approx(np.square(rows).sum(axis=0), rel=1e-6)
    linear.module(batches[0])
    assert sums[id(linear.parameter)].numpy() == pytest.approx(np.square(rows).sum(axis=0), rel=1e-6)


def test_the_scores_are_weight_times_norm_in_the_orientation_of_the_map():
    linear = linear_map(3, 5, transposed=True)
    norms = torch.arange(1.0, 6.0, dtype=torch.float64)
    found = wanda.scores(linear, norms.square())
    want = np.abs(linear.module.weight.numpy().T) * np.arange(1.0, 6.0)
    np.testing.assert_allclose(found.numpy(), want, rtol=1e-6)


@given(width=st.integers(1, 40), sparsity=st.floats(0, 1))
def test_every_row_loses_the_floor_of_its_share(width, sparsity):
    scores = torch.rand(4, width, generator=torch.Generator().manual_seed(0))
    removed = wanda.lowest_of_rows(scores, sparsity)
    count = int(removed.sum(dim=1)[0])
    assert removed.sum(dim=1).tolist() == [count] * 4
    assert count <= sparsity * width + 1e-9
    assert count > sparsity * width - 1
    assert bool((scores.masked_fill(~removed, -1).amax(1) <= scores.masked_fill(removed, 2).amin(1)).all())


@pytest.mark.parametrize(("width", "sparsity", "count"), [(10, 0.3, 3), (10, 0.7, 7), (1000, 0.29, 290), (3, 0.5, 1)])
def test_rounding_costs_no_weight(width, sparsity, count):
    assert int(wanda.lowest_of_rows(torch.rand(1, width), sparsity).sum()) == count


def test_of_equal_scores_those_with_the_lower_index_go():
    assert wanda.lowest_of_rows(torch.ones(2, 40), 0.5).tolist() == [[True] * 20 + [False] * 20] * 2
    assert wanda.lowest_of_groups(torch.ones(1, 8), 2, 4).tolist() == [[True, True, False, False] * 2]


@pytest.mark.parametrize(("kept", "group"), [(2, 4), (4, 8), (1, 3)])
def test_n_of_every_m_are_kept_and_they_are_the_highest(kept, group):
    scores = torch.rand(5, 24, generator=torch.Generator().manual_seed(1))
    removed = wanda.lowest_of_groups(scores, kept, group)
    for row in range(5):
        for first in range(0, 24, group):
            own = scores[row, first : first + group].tolist()
            highest = sorted(range(group), key=lambda place, own=own: own[place])[group - kept :]
            assert sorted((~removed[row, first : first + group]).nonzero().flatten().tolist()) == sorted(highest)


def test_weights_go_in_the_form_in_which_they_are_stored():
    linear = linear_map(2, 4, transposed=True)
    before = linear.module.weight.clone()
    wanda.remove(linear, torch.tensor([[True, False, False, False], [False, False, False, True]]))
    kept = torch.ones(4, 2)
    kept[0, 0] = kept[3, 1] = 0
    assert torch.equal(linear.module.weight, before * kept)
    assert wanda.zeros([linear]) == 2


def test_the_profiles_are_over_all_maps_of_a_block():
    maps = [linear_map(3, 5), linear_map(4, 6, seed=1)]
    norms = {id(m.parameter): torch.rand(m.weight.shape[1], dtype=torch.float64) for m in maps}
    all_scores = np.concatenate(
        [(m.weight.abs().numpy() * np.sqrt(norms[id(m.parameter)].numpy(), dtype=np.float32)).ravel() for m in maps]
    )
    assert wanda.median_score(maps, norms) == pytest.approx(np.median(all_scores), rel=1e-6)
    want = (all_scores > 1.5 * all_scores.mean()).mean()
    assert 0 < want < 1
    assert wanda.outlier_share(maps, norms, 1.5) == want


def test_inputs_that_do_not_divide_and_norms_that_are_not_finite_are_refused():
    linear = linear_map(2, 6)
    with pytest.raises(UsageError, match=r"map: its 6 inputs .* groups of 4"):
        wanda.check_groups([linear], 4)
    with pytest.raises(NumericError, match="layer 1, module map"):
        wanda.scores(linear, torch.full((6,), torch.inf, dtype=torch.float64))
