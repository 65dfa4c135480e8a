"""The figures of a comparison against scipy and naive loops."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from actsim.errors import UsageError
from actsim.pipelines.correlation import Band
from actsim.stats.multiple import holm
from actsim.studies.comparison import (
    DISAGREEMENTS,
    Contender,
    Resampling,
    compare_scores,
    layer_by_layer,
    relative_ranks,
)

FEW = Resampling(resamples=200)


def contenders(n=80, seed=0, noises=(0.5, 2.0, 2.0), layers=4):
    rng = np.random.default_rng(seed)
    gold = np.round(rng.uniform(0, 5, n), 1)
    return gold, [
        Contender(key, Band("deep", (3, 4)), gold[:, None] + noise * rng.standard_normal((n, layers)))
        for key, noise in zip("ABCDEF", noises, strict=False)
    ]


def rho(x, y):
    return scipy.stats.spearmanr(x, y).statistic


def test_curves_headlines_and_differences_are_spearman_correlations():
    gold, runs = contenders()
    found = compare_scores(gold, runs, FEW)
    for run, row in zip(runs, found["runs"], strict=True):
        assert [layer["depth"] for layer in row["layers"]] == [0.25, 0.5, 0.75, 1.0]
        expected = [rho(column, gold) for column in run.layer_scores.T]
        assert [layer["spearman"] for layer in row["layers"]] == pytest.approx(expected)
        assert row["headline"]["spearman"] == pytest.approx(rho(run.layer_scores[:, 2:].mean(axis=1), gold))
        assert row["best_layer"]["layer"] == np.argmax(expected) + 1
        for layer in [*row["layers"], row["headline"]]:
            assert layer["ci_low"] < layer["spearman"] < layer["ci_high"]
    a, b = (row["headline"]["spearman"] for row in found["runs"][:2])
    assert found["differences"][0]["value"] == pytest.approx(a - b)


def test_the_difference_is_that_of_common_resamples_drawn_by_hand():
    """The same draws, row by row, correlated by scipy."""
    gold, runs = contenders(n=30, noises=(1.0, 2.0))
    found = compare_scores(gold, runs, Resampling(resamples=60, seed=3))["differences"][0]
    heads = [run.headline() for run in runs]
    drawn = np.random.default_rng(3).integers(30, size=(60, 30))
    differences = np.array([rho(heads[0][rows], gold[rows]) - rho(heads[1][rows], gold[rows]) for rows in drawn])
    assert [found["ci_low"], found["ci_high"]] == pytest.approx(np.quantile(differences, [0.025, 0.975]))
    assert found["p"] == pytest.approx(2 * (1 + min((differences <= 0).sum(), (differences >= 0).sum())) / 61)


def test_all_pairs_of_runs_are_corrected_together_and_the_correction_decides():
    gold, runs = contenders(noises=(0.5, 2.0, 2.0, 3.0))
    found = compare_scores(gold, runs, Resampling(resamples=400))["differences"]
    assert [(row["a"], row["b"]) for row in found] == [
        ("A", "B"), ("A", "C"), ("A", "D"), ("B", "C"), ("B", "D"), ("C", "D"),
    ]  # fmt: skip
    assert [row["p_holm"] for row in found] == pytest.approx(holm(np.array([row["p"] for row in found])))
    for row in found:
        expected = "not distinguishable from" if row["p_holm"] >= 0.05 else "above" if row["value"] > 0 else "below"
        assert row["verdict"] == expected
    assert {row["verdict"] for row in found} == {"above", "not distinguishable from"}


def test_a_run_against_itself_does_not_differ():
    gold, (run, *_) = contenders()
    found = compare_scores(gold, [run, Contender("B", run.band, run.layer_scores)], FEW)
    (difference,), (agreement,) = found["differences"], found["agreements"]
    assert (difference["value"], difference["ci_low"], difference["ci_high"]) == (0, 0, 0)
    assert (difference["p"], difference["p_holm"], difference["steiger"]) == (1, 1, {"z": 0, "p": 1})
    assert difference["verdict"] == "not distinguishable from"
    assert agreement["spearman"] == pytest.approx(1)
    assert agreement["disagreements"] == []
    assert np.diag(agreement["layers"]) == pytest.approx(1)


def test_layers_of_two_models_are_correlated_pair_by_pair_of_layers():
    rng = np.random.default_rng(1)
    a, b = np.round(rng.standard_normal((50, 3)), 1), np.round(rng.standard_normal((50, 5)), 1)
    expected = [[rho(left, right) for right in b.T] for left in a.T]
    assert layer_by_layer(a, b) == pytest.approx(np.array(expected))
    a[:, 1] = 0.5
    found = layer_by_layer(a, b)
    assert np.isnan(found[1]).all()
    assert np.isfinite(np.delete(found, 1, axis=0)).all()


def test_disagreements_are_those_of_largest_gain_on_either_side():
    gold, runs = contenders(n=50, noises=(1.5, 1.5))
    (agreement,) = compare_scores(gold, runs, FEW)["agreements"]
    g, r_a, r_b = (scipy.stats.rankdata(x) / 50 for x in (gold, runs[0].headline(), runs[1].headline()))
    gain = [abs(r_b[pair] - g[pair]) - abs(r_a[pair] - g[pair]) for pair in range(50)]
    listed = [row["gain"] for row in agreement["disagreements"]]
    assert listed[:DISAGREEMENTS] == pytest.approx(sorted(gain, reverse=True)[:DISAGREEMENTS])
    assert listed[DISAGREEMENTS:] == pytest.approx(sorted(gain)[:DISAGREEMENTS])
    for row in agreement["disagreements"]:
        assert row["gain"] == pytest.approx(gain[row["pair"]])
        assert row["gold"] == gold[row["pair"]]


def test_relative_ranks_lie_between_0_and_1_and_share_ties():
    assert relative_ranks(np.array([3.0, 1.0, 2.0, 2.0])) == pytest.approx([0.875, 0.125, 0.5, 0.5])


def test_the_best_layer_says_how_often_it_is_best():
    gold, _ = contenders()
    rng = np.random.default_rng(0)
    clear = np.column_stack([rng.standard_normal(80), gold, rng.standard_normal(80)])
    even = gold[:, None] + 2 * rng.standard_normal((80, 3))
    found = compare_scores(gold, [Contender("A", Band("all", (1, 2, 3)), each) for each in (clear, even)], FEW)["runs"]
    sure, unsure = (run["best_layer"] for run in found)
    assert (sure["layer"], sure["share"], sure["layer_low"], sure["layer_high"]) == (2, 1.0, 2, 2)
    assert unsure["share"] < 1
    assert unsure["layer_low"] < unsure["layer_high"]


def test_a_constant_run_has_no_figures_and_does_not_stop_the_others():
    gold, (run, *_) = contenders()
    found = compare_scores(gold, [run, Contender("B", run.band, np.ones((80, 4)))], FEW)
    constant = found["runs"][1]
    assert (constant["headline"]["spearman"], constant["best_layer"]) == (None, None)
    (difference,) = found["differences"]
    assert (difference["value"], difference["p"], difference["p_holm"]) == (None, None, None)
    assert difference["verdict"] == "not distinguishable from"
    assert found["runs"][0]["headline"]["spearman"] is not None


def test_a_run_more_or_less_does_not_move_the_figures_of_the_others():
    gold, runs = contenders()
    two, three = (compare_scores(gold, runs[:count], FEW) for count in (2, 3))
    assert two["runs"] == three["runs"][:2]
    assert two["differences"][0]["p"] == three["differences"][0]["p"]
    assert two["agreements"][0] == three["agreements"][0]


def test_too_few_resamples_for_any_verdict_are_refused_with_the_number_that_does():
    Resampling(resamples=200).check(3)
    with pytest.raises(UsageError, match="give --resamples 240 or more"):
        Resampling(resamples=100).check(4)
    Resampling(resamples=240).check(4)


@pytest.mark.parametrize("wrong", [{"resamples": 0}, {"level": 1.0}, {"seed": -1}])
def test_an_impossible_bootstrap_is_refused(wrong):
    with pytest.raises(UsageError):
        Resampling(**wrong)
