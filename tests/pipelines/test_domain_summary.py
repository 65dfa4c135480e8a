"""The summary of a run over domains: figures are those of the cosines, and a known structure comes out."""

from __future__ import annotations

import json

import made_up_domains
import numpy as np
import pytest
from made_up_domains import DRAWS, GROUPS, LAYERS, TASKS
from scipy.stats import spearmanr

from actsim.data.published import DOMAINS, published_domains
from actsim.pipelines.domain_summary import summarise_domains
from actsim.stats.bands import Band
from actsim.stats.domains import cross, domain_matrices, separation, within
from actsim.store.similarities import HIDDEN, SAME_TOKEN, TFIDF


@pytest.fixture(scope="module")
def summary():
    return made_up_domains.summary()


@pytest.fixture(scope="module")
def cosines():
    return made_up_domains.similarities(len(TASKS))


def rows_of(rows, **wanted):
    return [row for row in rows if all(row[key] == value for key, value in wanted.items())]


def test_it_is_json_without_nan(summary):
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


def test_the_matrix_is_the_mean_over_the_band_and_the_groups(summary, cosines):
    band = domain_matrices(cosines.cosines()[2:].mean(axis=0)).mean(axis=0)
    found = summary["matrices"]["activation"]
    assert [(row["a"], row["b"]) for row in found[:2]] == [("boolq", "boolq"), ("boolq", "c4")]
    for row in found:
        a, b = TASKS.index(row["a"]), TASKS.index(row["b"])
        assert row["value"] == pytest.approx(band[a, b])
        assert row["ci_low"] <= row["value"] <= row["ci_high"]
        assert row["n"] == (8 if a == b else 32)


def test_layers_are_figures_of_their_own_cosines(summary, cosines):
    for row, own in zip(summary["layers"], cosines.cosines(), strict=True):
        matrices = domain_matrices(own)
        assert row["within"]["value"] == pytest.approx(within(matrices).mean())
        assert row["cross"]["value"] == pytest.approx(cross(matrices).mean())
        assert row["gap"]["value"] == pytest.approx(row["within"]["value"] - row["cross"]["value"])
        assert row["separation"]["value"] == pytest.approx(separation(own).mean())
        assert row["gap"]["p"] == 1 / 60 and row["gap"]["p_holm"] == pytest.approx(LAYERS / 60)


def test_the_planted_structure_comes_out(summary):
    order = [TASKS.index(name) for name in summary["order"]]
    assert all(abs(order.index(one) - order.index(one + 1)) == 1 for one in (0, 2, 4))
    depth = {row["figure"]: row for row in summary["depth"]}
    assert (depth["cross"]["deep_half_is"], depth["within"]["deep_half_is"]) == ("lower", "not distinguishable")
    assert depth["cross"]["value"] == pytest.approx(-0.1, abs=0.01)
    (hidden,) = rows_of(summary["correlations"], a="activation", b=HIDDEN, held=None)
    (words,) = rows_of(summary["correlations"], a="activation", b=TFIDF, held=None)
    (token,) = rows_of(summary["correlations"], a="activation", b=SAME_TOKEN, held=None)
    assert hidden["value"] > 0.6 and hidden["p"] < 0.1  # one order of 15 keeps the three pairs together
    assert words["value"] < -0.4 and words["p"] > 0.5
    assert token["value"] > 0.6 and token["domains"] == 6


def test_correlations_are_of_the_cells_between_domains(summary):
    cells = {name: [row["value"] for row in rows if row["a"] != row["b"]] for name, rows in summary["matrices"].items()}
    (row,) = rows_of(summary["correlations"], a="activation", b=TFIDF, held=None)
    assert row["value"] == pytest.approx(spearmanr(cells["activation"], cells[TFIDF]).statistic)
    known, table = published_domains(TASKS)
    assert known == ["boolq", "c4", "gsm8k", "humaneval", "mmlu"]
    own = {(cell["a"], cell["b"]): cell["value"] for cell in summary["matrices"]["activation"]}
    pairs = [(a, b) for a in range(5) for b in range(a + 1, 5)]
    want = spearmanr([own[known[a], known[b]] for a, b in pairs], [table[pair] for pair in pairs]).statistic
    (row,) = rows_of(summary["correlations"], a="activation", b="published", held=None, diagonal=False)
    assert row["value"] == pytest.approx(want) and row["domains"] == 5


def test_what_is_gained_over_another_similarity_is_a_paired_difference(summary):
    bands = {row["name"]: row for row in summary["bands"]}
    assert list(bands) == ["activation", HIDDEN, TFIDF, SAME_TOKEN]
    for name, row in bands.items():
        if name != "activation":
            want = bands["activation"]["separation"]["value"] - row["separation"]["value"]
            assert row["separation_gained"]["value"] == pytest.approx(want)


def test_undefined_cosines_of_a_kind_are_left_out_and_counted(summary, cosines):
    kinds = {(row["layer"], row["kind"]): row for row in summary["kinds"]}
    assert set(kinds) == {group for group in GROUPS if group[1] != "all"}
    assert (kinds[1, "q"]["n_groups"], kinds[2, "q"]["n_groups"]) == (7, 8)
    matrices = domain_matrices(cosines.cosines("q")[0, 1:])
    assert kinds[1, "q"]["within"] == pytest.approx(within(matrices).mean())


def test_distributions_are_of_single_cosines(summary, cosines):
    (row,) = rows_of(summary["pairs"], layer="2", a="boolq", b="c4")
    values = cosines.cosines()[1][:, :2, 2:4].ravel()
    assert (row["n"], row["maximum"], row["median"]) == (32, values.max(), pytest.approx(np.median(values)))
    (row,) = rows_of(summary["spread"], layer="band", which="within")
    assert row["n"] == 8 * len(TASKS)
    assert len(summary["pairs"]) == (LAYERS + 1) * 21


def test_one_group_has_figures_and_no_intervals():
    found = made_up_domains.summary(n_groups=1)
    row = found["layers"][1]["cross"]
    assert row["value"] is not None and row["ci_low"] is None
    assert {own["deep_half_is"] for own in found["depth"]} == {"not distinguishable"}


def test_few_domains_have_no_correlation_of_matrices():
    found = made_up_domains.summary(("tales", "songs"))
    assert found["correlations"] == found["agreement"] == []
    assert found["published"] is None and found["matrices"]["published"] == []


def test_a_single_layer_has_no_halves():
    alone = made_up_domains.similarities(2, groups=GROUPS[:2])
    found = summarise_domains(alone, ("tales", "songs"), Band.parse("deep", 1), DRAWS)
    assert (found["n_layers"], found["depth"]) == (1, [])


def test_the_same_seed_gives_the_same_summary(summary):
    assert made_up_domains.summary() == summary


def test_the_published_matrix_is_symmetric_and_in_the_order_asked_for():
    names, table = published_domains(DOMAINS)
    assert names == list(DOMAINS) and (table == table.T).all() and table.shape == (9, 9)
    some, part = published_domains(["siqa", "tales", "boolq"])
    assert some == ["siqa", "boolq"] and part.tolist() == [[0.77, 0.29], [0.29, 0.44]]
