import json
import math

import numpy as np
import pytest
import scipy.stats

from actsim.errors import DataError, NumericError, UsageError
from actsim.pipelines.correlation import ControlScores, Selection, summarise
from actsim.stats.band_choice import choose_band
from actsim.stats.bands import Band
from actsim.stats.bootstrap import bootstrap_partial_spearman, bootstrap_spearman
from actsim.stats.correlation import partial_spearman

N, LAYERS = 90, 4
RESAMPLES = 60
IDENTITY = {
    "dataset": {"name": "made-up", "split": "test"},
    "model": {"name": "tiny"},
    "objective": "nll",
    "pattern": "absolute-weighted",
}


@pytest.fixture
def columns():
    """Arguments of ``summarise`` for made-up scores: two measures, six kinds with a hole, three baselines."""
    rng = np.random.default_rng(0)
    gold = np.round(rng.uniform(0, 5, N), 1)
    noisy = {
        measure: gold[:, None] + noise * rng.normal(size=(N, LAYERS))
        for measure, noise in [("cosine", 2), ("ruzicka", 4)]
    }
    groups = [(layer, kind) for layer in (1, 2, 3) for kind in ("q", "up")]
    kinds = gold[:, None] + 3 * rng.normal(size=(N, len(groups)))
    kinds[[5, 40], 2] = math.nan
    overlap = gold + 2 * rng.normal(size=N)
    return {
        "identity": IDENTITY,
        "gold": gold,
        "layer_scores": noisy,
        "kind_scores": {"cosine": (groups, kinds)},
        "baselines": [
            ("word_overlap", None, overlap),
            ("hidden_mean", 1, gold + rng.normal(size=N)),
            ("embedding", None, gold + 0.5 * rng.normal(size=N)),
        ],
        "covariates": {"word_overlap": overlap, "same_top_token": rng.random(N) < 0.4},
        "band": Band.parse("deep", LAYERS),
        "resamples": RESAMPLES,
        "seed": 7,
    }


@pytest.mark.parametrize(
    ("spec", "n_layers", "layers"),
    [
        ("all", 4, (1, 2, 3, 4)),
        ("deep", 6, (4, 5, 6)),
        ("deep", 7, (4, 5, 6, 7)),
        ("deep", 1, (1,)),
        ("last", 5, (5,)),
        ("last:4", 6, (3, 4, 5, 6)),
        ("last:6", 6, (1, 2, 3, 4, 5, 6)),
        ("21-30", 32, tuple(range(21, 31))),
        ("3,5,6", 6, (3, 5, 6)),
        ("6,3", 6, (3, 6)),
        ("1-3,6", 8, (1, 2, 3, 6)),
        (" 1 - 3 , 2 ", 8, (1, 2, 3)),
        ("4", 4, (4,)),
    ],
)
def test_a_band_is_read_as_written(spec, n_layers, layers):
    band = Band.parse(spec, n_layers)
    assert band.layers == layers
    assert Band.parse(band.name, n_layers) == band


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("", "neither a layer nor a range"),
        ("deepest", "neither a layer nor a range"),
        ("1,,2", "neither a layer nor a range"),
        ("1-", "neither a layer nor a range"),
        ("-3", "neither a layer nor a range"),
        ("1.5", "neither a layer nor a range"),
        ("²", "neither a layer nor a range"),
        ("deep,1", "neither a layer nor a range"),
        ("last:x", "neither a layer nor a range"),
        ("5-3", "reversed"),
        ("0", "layer 0 does not exist"),
        ("0-2", "layer 0 does not exist"),
        ("7", "layer 7 does not exist"),
        ("2,4-99999999999", "layer 99999999999 does not exist"),
        ("last:0", "not a possible number"),
        ("last:7", "not a possible number"),
    ],
)
def test_an_impossible_band_is_refused_with_the_allowed_forms(spec, reason):
    with pytest.raises(UsageError) as caught:
        Band.parse(spec, 6)
    message = str(caught.value)
    assert reason in message
    assert repr(spec) in message
    assert "layers 1 to 6" in message
    assert "all, deep, last, last:4, 21-30, 3,5,6" in message


def test_the_score_of_a_band_is_the_mean_of_its_layers():
    scores = np.random.default_rng(1).normal(size=(5, 6))
    expected = [(row[1] + row[2] + row[5]) / 3 for row in scores]
    np.testing.assert_allclose(Band.parse("2-3,6", 6).average(scores), expected, rtol=1e-15)


def test_the_chosen_band_is_the_best_of_all_windows():
    rng = np.random.default_rng(2)
    gold = rng.normal(size=60)
    scores = gold[:, None] * np.array([0.1, 1, 0.9, 0.8, 0, -1]) + rng.normal(size=(60, 6))
    figures = {
        (first, last): scipy.stats.spearmanr(scores[:, first - 1 : last].mean(axis=1), gold)[0]
        for first in range(1, 7)
        for last in range(first, 7)
    }
    best = max(figures, key=figures.get)
    band, rho = choose_band(gold, scores)
    assert band.layers == tuple(range(best[0], best[1] + 1))
    assert rho == pytest.approx(figures[best], abs=1e-12)
    assert Band.parse(band.name, 6) == band


def test_of_equally_good_bands_the_wider_then_the_deeper_is_chosen():
    gold = np.arange(8.0)
    perfect, useless = gold, np.zeros(8)
    assert choose_band(gold, np.column_stack([perfect, perfect, -2 * perfect]))[0].layers == (1, 2)
    assert choose_band(gold, np.column_stack([perfect, -2 * perfect, perfect, -perfect]))[0].layers == (3,)
    assert choose_band(gold, np.column_stack([useless, perfect]))[0].layers == (1, 2)


def test_no_band_is_chosen_where_nothing_varies():
    with pytest.raises(DataError, match="constant"):
        choose_band(np.arange(4.0), np.ones((4, 3)))
    with pytest.raises(DataError, match="constant"):
        choose_band(np.ones(4), np.random.default_rng(0).normal(size=(4, 3)))


def test_the_summary_has_its_shape_and_is_json(columns):
    summary = summarise(**columns, notes=["First."])
    figures = {"n", "spearman", "ci_low", "ci_high", "pearson", "kendall"}
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert list(summary) == [
        *IDENTITY,
        *("measures", "n_layers", "band", "n_pairs", "resamples", "seed", "level", "headline"),
        *("bands", "layers", "kinds", "baselines", "layer_differences", "controls", "partial", "partial_layers"),
        *("selection", "notes"),
    ]
    assert {key: summary[key] for key in IDENTITY} == IDENTITY
    assert summary["measures"] == ["cosine", "ruzicka"]
    assert summary["band"] == {"name": "deep", "layers": [3, 4]}
    assert (summary["n_pairs"], summary["n_layers"], summary["resamples"], summary["seed"]) == (N, LAYERS, RESAMPLES, 7)
    assert summary["headline"] == summary["bands"][0]
    assert [row["measure"] for row in summary["bands"]] == ["cosine", "ruzicka"]
    assert [(row["measure"], row["layer"]) for row in summary["layers"]] == [
        (measure, layer) for measure in ("cosine", "ruzicka") for layer in (1, 2, 3, 4)
    ]
    assert [(row["layer"], row["kind"]) for row in summary["kinds"]] == columns["kind_scores"]["cosine"][0]
    assert [(row["name"], row["layer"]) for row in summary["baselines"]] == [
        (name, layer) for name, layer, _ in columns["baselines"]
    ]
    assert [row["given"] for row in summary["partial"]] == [
        ["word_overlap"],
        ["same_top_token"],
        ["word_overlap", "same_top_token"],
    ]
    for part, labels in [
        ("bands", {"measure"}),
        ("layers", {"layer", "measure"}),
        ("kinds", {"layer", "kind", "measure"}),
        ("baselines", {"name", "layer", "difference"}),
    ]:
        assert all(set(row) == figures | labels for row in summary[part])
    assert all(set(row["difference"]) == {"value", "ci_low", "ci_high"} for row in summary["baselines"])
    assert all(set(row) == {"given", "n", "spearman", "ci_low", "ci_high"} for row in summary["partial"])
    assert summary["selection"] is None
    assert summary["notes"][0] == "First."


def test_the_figures_are_those_of_scipy_on_the_defined_rows(columns):
    summary = summarise(**columns)
    gold = columns["gold"]
    kinds = columns["kind_scores"]["cosine"][1]
    expected = [
        *(scores[:, 2:].mean(axis=1) for scores in columns["layer_scores"].values()),
        *(column for scores in columns["layer_scores"].values() for column in scores.T),
        *kinds.T,
        *(values for _, _, values in columns["baselines"]),
    ]
    rows = [row for part in ("bands", "layers", "kinds", "baselines") for row in summary[part]]
    assert len(rows) == len(expected)
    for row, values in zip(rows, expected, strict=True):
        kept = ~np.isnan(values)
        assert row["n"] == kept.sum()
        assert row["spearman"] == pytest.approx(scipy.stats.spearmanr(values[kept], gold[kept])[0], abs=1e-12)
        assert row["pearson"] == pytest.approx(scipy.stats.pearsonr(values[kept], gold[kept])[0], abs=1e-12)
        assert row["kendall"] == pytest.approx(scipy.stats.kendalltau(values[kept], gold[kept])[0], abs=1e-12)
        assert row["ci_low"] < row["spearman"] < row["ci_high"]
    assert [row["n"] for row in summary["kinds"]] == [N, N, N - 2, N, N, N]
    assert any("cosine, layer 2, q (2 of 90)" in note for note in summary["notes"])


def test_intervals_are_quantiles_of_one_stream_of_resamples(columns):
    columns["level"] = 0.8
    summary = summarise(**columns)
    gold = columns["gold"]
    band = columns["layer_scores"]["cosine"][:, 2:].mean(axis=1)
    baseline = columns["baselines"][1][2]
    replicates = bootstrap_spearman(
        np.column_stack([band, baseline]), gold, resamples=RESAMPLES, rng=np.random.default_rng(7)
    )
    headline, row = summary["headline"], summary["baselines"][1]
    low, high = np.quantile(replicates[:, 0], [0.1, 0.9])
    assert (headline["ci_low"], headline["ci_high"]) == pytest.approx((low, high), abs=1e-12)
    low, high = np.quantile(replicates[:, 0] - replicates[:, 1], [0.1, 0.9])
    assert row["difference"] == pytest.approx(
        {"value": headline["spearman"] - row["spearman"], "ci_low": low, "ci_high": high}, abs=1e-12
    )


def test_partial_correlations_hold_each_covariate_and_all_of_them(columns):
    summary = summarise(**columns)
    band = columns["layer_scores"]["cosine"][:, 2:].mean(axis=1)
    table = np.column_stack([values.astype(float) for values in columns["covariates"].values()])
    for row, chosen in zip(summary["partial"], ([0], [1], [0, 1]), strict=True):
        expected = partial_spearman(band, columns["gold"], table[:, chosen])
        replicates = bootstrap_partial_spearman(
            band, columns["gold"], table[:, chosen], resamples=RESAMPLES, rng=np.random.default_rng(7)
        )
        low, high = np.quantile(replicates, [0.025, 0.975])
        assert (row["spearman"], row["ci_low"], row["ci_high"]) == pytest.approx((expected, low, high), abs=1e-12)
        assert row["n"] == N
    assert summary["partial"][0]["spearman"] < summary["headline"]["spearman"] - 0.05


def naive_partial(x, y, covariates):
    """Pearson's r of what least squares, with an intercept, leaves of the ranks."""
    design = np.column_stack([np.ones(len(x)), *(scipy.stats.rankdata(column) for column in covariates)])
    residuals = []
    for target in map(scipy.stats.rankdata, (x, y)):
        residuals.append(target - design @ np.linalg.lstsq(design, target, rcond=None)[0])
    return scipy.stats.pearsonr(*residuals).statistic


def test_partial_correlations_of_the_layers_equal_least_squares_in_every_resample(columns):
    columns["layer_scores"]["cosine"][[3, 8], 1] = math.nan
    summary = summarise(**columns)
    gold, table = columns["gold"], [values.astype(float) for values in columns["covariates"].values()]
    drawn = np.random.default_rng(7).integers(N, size=(RESAMPLES, N))
    for row, values in zip(summary["partial_layers"], columns["layer_scores"]["cosine"].T, strict=True):
        kept = ~np.isnan(values)
        expected = naive_partial(values[kept], gold[kept], [column[kept] for column in table])
        replicates = [
            naive_partial(values[rows], gold[rows], [column[rows] for column in table])
            for rows in (sample[kept[sample]] for sample in drawn)
        ]
        assert row["spearman"] == pytest.approx(expected, abs=1e-9)
        assert (row["ci_low"], row["ci_high"]) == pytest.approx(np.quantile(replicates, [0.025, 0.975]), abs=1e-9)
        assert (row["n"], row["given"]) == (kept.sum(), list(columns["covariates"]))
    assert [row["layer"] for row in summary["partial_layers"]] == list(range(1, LAYERS + 1))


def naive_difference(x, y, gold):
    """Spearman of x minus Spearman of y, and its percentile interval over the resamples of seed 7."""
    drawn = np.random.default_rng(7).integers(N, size=(RESAMPLES, N))

    def rho(column, rows):
        return scipy.stats.spearmanr(column[rows], gold[rows]).statistic

    replicates = [rho(x, rows) - rho(y, rows) for rows in drawn]
    every = np.arange(N)
    return (rho(x, every) - rho(y, every), *np.quantile(replicates, [0.025, 0.975]))


def test_controls_are_set_against_the_headline_and_layer_by_layer(columns):
    rng = np.random.default_rng(1)
    gold, own = columns["gold"], columns["layer_scores"]["cosine"]
    controls = [ControlScores(f"c{row}", row, gold[:, None] + 5 * rng.normal(size=(N, LAYERS))) for row in range(2)]
    summary = summarise(**columns, controls=controls)
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    for control, entry in zip(controls, summary["controls"], strict=True):
        alone = summarise(**{**columns, "layer_scores": {"cosine": control.layer_scores}})
        assert (entry["name"], entry["seed"]) == (control.name, control.seed)
        assert entry["headline"] == alone["headline"]
        band = slice(2, None)
        means = own[:, band].mean(axis=1), control.layer_scores[:, band].mean(axis=1)
        assert tuple(entry["difference"].values()) == pytest.approx(naive_difference(*means, gold), abs=1e-12)
        for layer, row in enumerate(entry["layers"]):
            difference = row.pop("difference")
            assert row == alone["layers"][layer]
            expected = naive_difference(own[:, layer], control.layer_scores[:, layer], gold)
            assert tuple(difference.values()) == pytest.approx(expected, abs=1e-12)
    without = summarise(**columns)
    assert {**summary, "controls": []} == without


def test_layers_are_set_against_baselines_of_the_same_layer_or_of_none(columns):
    gold, own = columns["gold"], columns["layer_scores"]["cosine"]
    rows = summarise(**columns)["layer_differences"]
    layers = range(1, LAYERS + 1)
    expected = [("word_overlap", layer) for layer in layers] + [("hidden_mean", 1)]
    assert [(row["name"], row["layer"]) for row in rows] == [*expected, *(("embedding", layer) for layer in layers)]
    values = {name: column for name, _, column in columns["baselines"]}
    for row in rows:
        assert set(row) == {"layer", "measure", "name", "difference"}
        expected = naive_difference(own[:, row["layer"] - 1], values[row["name"]], gold)
        assert tuple(row["difference"].values()) == pytest.approx(expected, abs=1e-12)


def test_a_control_of_other_layers_is_refused(columns):
    with pytest.raises(DataError, match="score the same pairs"):
        summarise(**columns, controls=[ControlScores("c", 0, np.zeros((N, LAYERS + 1)))])


def test_the_seed_alone_decides_the_resamples(columns):
    summary = summarise(**columns)
    assert summarise(**columns) == summary
    other = summarise(**{**columns, "seed": 8})
    assert other["headline"]["spearman"] == summary["headline"]["spearman"]
    assert other["headline"]["ci_low"] != summary["headline"]["ci_low"]


def test_a_column_more_or_less_moves_no_other_row(columns):
    summary = summarise(**columns)
    fewer = summarise(
        **{**columns, "kind_scores": {}, "baselines": columns["baselines"][:1], "covariates": {}},
    )
    assert fewer["headline"] == summary["headline"]
    assert fewer["layers"] == summary["layers"]
    assert fewer["baselines"] == summary["baselines"][:1]
    assert (fewer["kinds"], fewer["partial"]) == ([], [])


def test_a_baseline_equal_to_the_headline_differs_by_exactly_nothing(columns):
    headline = columns["band"].average(columns["layer_scores"]["cosine"])
    columns["baselines"] = [("embedding", None, headline)]
    assert summarise(**columns)["baselines"][0]["difference"] == {"value": 0, "ci_low": 0, "ci_high": 0}


def test_a_baseline_with_holes_is_compared_on_the_common_rows(columns):
    headline = columns["band"].average(columns["layer_scores"]["cosine"])
    holed = headline.copy()
    holed[:30] = math.nan
    columns["baselines"] = [("word_overlap", None, holed)]
    row = summarise(**columns)["baselines"][0]
    assert row["n"] == N - 30
    assert row["difference"] == {"value": 0, "ci_low": 0, "ci_high": 0}


def test_a_constant_column_is_undefined_and_said(columns):
    columns["layer_scores"]["cosine"][:, 0] = 1.0
    columns["covariates"]["same_top_token"] = np.zeros(N, dtype=bool)
    summary = summarise(**columns)
    row = summary["layers"][0]
    assert row["n"] == N
    assert [row[key] for key in ("spearman", "ci_low", "ci_high", "pearson", "kendall")] == [None] * 5
    assert any("No correlation is defined" in note and "cosine, layer 1" in note for note in summary["notes"])
    assert any("same_top_token is the same for all pairs" in note for note in summary["notes"])
    headline, unchanged = summary["headline"], summary["partial"][1]
    assert unchanged["spearman"] == pytest.approx(headline["spearman"], abs=1e-12)
    assert unchanged["ci_low"] == pytest.approx(headline["ci_low"], abs=1e-12)


def test_resamples_without_a_correlation_are_counted_in_a_note(columns):
    nearly_constant = np.zeros(N)
    nearly_constant[0] = 1.0
    columns["baselines"] = [("word_overlap", None, nearly_constant)]
    summary = summarise(**columns)
    drawn = np.random.default_rng(7).integers(N, size=(RESAMPLES, N))
    constant = sum(0 not in rows for rows in drawn)
    assert 0 < constant < RESAMPLES / 2
    assert any(f"word_overlap ({constant} of {RESAMPLES})" in note for note in summary["notes"])
    assert summary["baselines"][0]["ci_low"] is not None


def test_a_selection_is_reported_with_both_figures(columns):
    columns["band"] = Band.parse("2-3", LAYERS)
    summary = summarise(**columns, selection=Selection("validation", 1500, 0.75))
    assert summary["selection"] == {
        "split": "validation",
        "n_pairs": 1500,
        "measure": "cosine",
        "band": "2-3",
        "layers": [2, 3],
        "spearman_selection": 0.75,
        "spearman_here": summary["headline"]["spearman"],
    }


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"layer_scores": {}}, DataError, "no measure"),
        ({"kind_scores": {"cosine": ([(1, "q")], np.zeros((N, 2)))}}, DataError, "1 kinds but 2 columns"),
        ({"baselines": [("embedding", None, np.full(N, math.inf))]}, NumericError, "embedding: the score of pair 0"),
        ({"covariates": {"length": np.full(N, -math.inf)}}, NumericError, "covariate length"),
        ({"resamples": 0}, UsageError, "resamples"),
        ({"level": 95.0}, UsageError, "level"),
    ],
)
def test_what_cannot_be_summarised_is_refused(columns, change, error, message):
    with pytest.raises(error, match=message):
        summarise(**{**columns, **change})


def test_fewer_than_three_pairs_are_refused(columns):
    columns["gold"] = columns["gold"][:2]
    columns["layer_scores"] = {name: scores[:2] for name, scores in columns["layer_scores"].items()}
    with pytest.raises(DataError, match="at least 3 pairs, got 2"):
        summarise(**{**columns, "kind_scores": {}, "baselines": [], "covariates": {}})
