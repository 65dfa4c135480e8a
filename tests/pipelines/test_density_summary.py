"""The summary of a density run: its counts, and what becomes of the finding, where the answer is known."""

from __future__ import annotations

import made_up_densities
import numpy as np
import pyarrow as pa
import pytest
from made_up_densities import GAMMAS

from actsim.stats.folds import fold_interval
from actsim.store.densities import Densities

FALLING = {"tales": [0.4, 0.4, 0.3, 0.2], "code": [0.45, 0.4, 0.1, 0.2]}


def contrasts(rows, measure="share", gamma=2e-5):
    return [row for row in rows if (row["measure"], row["gamma"]) == (measure, gamma)]


def test_counts_and_measures_are_those_of_all_samples():
    found = made_up_densities.densities(FALLING)
    summary = made_up_densities.summary(found)
    assert len(summary["rows"]) == 2 * 4 * 3
    (row,) = [row for row in summary["rows"] if (row["domain"], row["layer"], row["kind"]) == ("code", 3, "up")]
    assert (row["parameters"], row["counts"], row["zeros"]) == (140, [28, 21, 14, 7], 1)
    assert (row["gini"], row["participation"], row["gini_error"]) == pytest.approx((0.9, 0.1, 1e-4))


def test_the_contrast_of_the_halves_is_theirs_and_so_is_its_interval():
    found = made_up_densities.densities(FALLING)
    rows = contrasts(made_up_densities.summary(found)["depth"])
    assert [row["domain"] for row in rows] == ["tales", "code", None]
    shares = found.shares()[..., GAMMAS.index(2e-5)]
    halves = shares[:, :2].mean(axis=1), shares[:, 2:].mean(axis=1)
    wanted = [*(halves[0] - halves[1]), (halves[0] - halves[1]).mean(axis=0)]
    for row, want in zip(rows, wanted, strict=True):
        low, high = fold_interval(want[0], want[1:], 0.9)
        assert (row["difference"], row["ci_low"], row["ci_high"]) == pytest.approx((want[0], low, high))
        assert row["verdict"] == "holds"


@pytest.mark.parametrize(
    ("by_layer", "verdict"), [([0.4, 0.4, 0.2, 0.2], "holds"), ([0.2] * 4, "open"), ([0.1, 0.2, 0.3, 0.4], "opposite")]
)
def test_a_verdict_follows_the_interval_also_where_smaller_is_denser(by_layer, verdict):
    summary = made_up_densities.summary(made_up_densities.densities({"tales": by_layer}))
    for measure, gamma in (("share", 2e-5), ("participation", None), ("gini", None)):
        assert {row["verdict"] for row in contrasts(summary["depth"], measure, gamma)} == {verdict}


def test_layers_of_unequal_size_count_by_their_parameters_in_a_share():
    found = made_up_densities.densities({"tales": [0.5, 0.1, 0.2, 0.2]}, folds=2)
    first = np.array(found.table["layer"].to_pylist()) == 1
    column = [9 * size if own else size for size, own in zip(found.table["parameters"].to_pylist(), first, strict=True)]
    place = found.table.schema.get_field_index("parameters")
    table = found.table.set_column(place, "parameters", [column])
    summary = made_up_densities.summary(made_up_densities.Densities(table, found.domains, found.gammas))
    row = contrasts(summary["depth"])[0]
    assert row["shallow"] == pytest.approx((100 + 20) / (9 * 200 + 200))


def test_running_text_is_set_against_the_others_in_the_deep_half():
    shares = {"tales": [0.1, 0.1, 0.5, 0.5], "code": [0.3, 0.3, 0.2, 0.2], "sums": [0.3, 0.3, 0.3, 0.3]}
    found = made_up_densities.densities(shares)
    (row,) = contrasts(made_up_densities.summary(found, running_text=("tales",))["running_text"])
    assert (row["running"], row["tasks"], row["verdict"]) == pytest.approx((0.5, 0.25, "holds"))
    assert made_up_densities.summary(found)["running_text"] == []
    assert made_up_densities.summary(found, running_text=tuple(shares))["running_text"] == []


def test_a_single_layer_has_no_depth_and_a_single_fold_no_verdict():
    assert made_up_densities.summary(made_up_densities.densities({"tales": [0.3]}))["depth"] == []
    summary = made_up_densities.summary(made_up_densities.densities(FALLING, folds=0))
    assert {(row["ci_low"], row["verdict"]) for row in summary["depth"]} == {(None, None)}


def test_module_kinds_stand_in_the_order_of_the_model():
    found = made_up_densities.densities({"tales": [0.1, 0.2]})
    turned = Densities(pa.Table.from_pylist(found.table.to_pylist()[::-1]), found.domains, found.gammas)
    assert (found.kinds, turned.kinds) == (("all", "q", "up"), ("all", "up", "q"))
    np.testing.assert_array_equal(turned.counts("up"), found.counts("up"))
