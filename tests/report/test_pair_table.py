import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up_run import made_up_run
from scipy.stats import spearmanr

from actsim.report.histograms import gold_edges, gold_thirds, score_density, score_edges
from actsim.report.pair_table import pair_table, rank_difference, rounded

VALUES = st.lists(st.floats(-5, 5, width=16), min_size=3, max_size=30)


def naive_rank(values, value):
    return sum(other < value for other in values) + (sum(other == value for other in values) + 1) / 2


@given(pairs=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=20))
def test_rank_difference_is_that_of_naive_ranks(pairs):
    scores, gold = (np.array(side, dtype=float) for side in zip(*pairs, strict=True))
    expected = [naive_rank(scores, score) - naive_rank(gold, human) for score, human in zip(scores, gold, strict=True)]
    assert rank_difference(scores, gold).tolist() == expected


def test_a_pair_without_a_score_has_no_rank_and_counts_for_no_other():
    difference = rank_difference(np.array([0.1, np.nan, 0.9]), np.array([5.0, 3.0, 1.0]))
    assert difference[[0, 2]].tolist() == [-1.0, 1.0]
    assert np.isnan(difference[1])


def test_the_scores_of_the_table_are_those_of_the_headline(tmp_path):
    run = made_up_run(tmp_path / "run", 50)
    table = pair_table(run, run.pairs, run.summary)
    assert spearmanr(table.scores, table.gold).statistic == pytest.approx(run.summary["headline"]["spearman"])
    assert table.ids == run.pairs["id"].tolist()


def test_rounded_numbers_are_short_and_undefined_ones_none():
    assert rounded([1.0, 0.1234567, float("nan"), -2.5], 3) == [1, 0.123, None, -2.5]


@given(gold=VALUES, seed=st.integers(0, 9))
def test_every_pair_with_a_score_is_counted_once(gold, seed):
    gold = np.array(gold, dtype=float)
    scores = np.random.default_rng(seed).normal(size=len(gold))
    scores[0] = np.nan
    density = score_density(gold, scores)
    assert density.counts.sum() == len(gold) - 1
    assert sum(third.n for third in gold_thirds(gold, scores, density.score_edges)) == len(gold) - 1


@given(gold=VALUES)
def test_gold_edges_ascend_and_enclose_every_score(gold):
    edges = gold_edges(np.array(gold, dtype=float))
    assert (np.diff(edges) > 0).all()
    assert edges[0] <= min(gold) and max(gold) <= edges[-1]


def test_density_is_that_of_a_naive_loop():
    rng = np.random.default_rng(3)
    gold, scores = rng.uniform(0, 5, 200), rng.normal(size=200)
    density = score_density(gold, scores)
    low, high = density.gold_edges[2], density.gold_edges[3]
    inside = scores[(gold >= low) & (gold < high)]
    assert density.quartiles[2].tolist() == pytest.approx(np.percentile(inside, (25, 50, 75)).tolist())
    for place, count in enumerate(density.counts[2]):
        left, right = density.score_edges[place], density.score_edges[place + 1]
        is_last = place == len(density.counts[2]) - 1
        assert count == sum(left <= value < right or (is_last and value == right) for value in inside)
    assert np.nansum(density.shares(), axis=1) == pytest.approx(1)


def test_constant_scores_have_bins_too():
    edges = score_edges(np.full(5, 0.25))
    assert edges[0] < 0.25 < edges[-1]
