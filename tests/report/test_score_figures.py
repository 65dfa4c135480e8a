import xml.etree.ElementTree as ET

import numpy as np
import pytest
from made_up_run import made_up_run

from actsim.report.figures import layer_curve, png, svg
from actsim.report.score_figures import kinds_heat_map, scores_figure


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return made_up_run(tmp_path_factory.mktemp("runs") / "run", 60, hostile=True)


def gold_of(run):
    return run.pairs["gold"].to_numpy()


def test_the_heat_map_has_the_figures_of_the_summary(make_summary):
    summary = make_summary(3, missing=(2,))
    axes = kinds_heat_map(summary).axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    cells = axes.collections[0].get_array().reshape(len(names), 3)
    rows = [*summary["kinds"], *({**row, "kind": "whole layer"} for row in summary["layers"])]
    for row in rows:
        value = cells[names.index(row["kind"]), row["layer"] - 1]
        assert np.ma.is_masked(value) if row["spearman"] is None else value == row["spearman"]


def test_the_density_holds_every_pair_and_the_thirds_too(run):
    left, right, *_ = scores_figure(run, gold_of(run), run.summary).axes
    shares = left.collections[0].get_array()
    assert np.ma.sum(shares.reshape(-1, 10), axis=0).tolist() == pytest.approx([1] * 10)
    assert sum(step.get_data().values.sum() for step in right.patches) == len(run.pairs)


@pytest.mark.parametrize("name", ["kinds", "scores"])
def test_figures_are_well_formed_and_the_same_every_time(run, name):
    def made():
        figure = kinds_heat_map(run.summary) if name == "kinds" else scores_figure(run, gold_of(run), run.summary)
        return svg(figure, "a < b"), png(figure, "a < b")

    drawn, image = made()
    assert ET.fromstring(drawn.encode()).tag.endswith("svg")
    assert image.startswith(b"\x89PNG")
    assert made() == (drawn, image)


def test_scores_that_are_all_undefined_are_drawn(make_summary, run):
    summary = make_summary(4, missing=(1, 2, 3, 4), baselines=False)
    assert kinds_heat_map(summary).axes
    gold = gold_of(run)
    assert scores_figure(run, np.full(len(gold), 2.0), run.summary).axes


def test_controls_are_drawn_into_the_curve_and_the_interval_has_the_colour_of_its_measure(make_summary):
    summary = make_summary(3)
    rows = [{**row, "spearman": 0.1} for row in summary["layers"]]
    summary["controls"] = [{"name": "shuffled-tokens", "headline": {}, "layers": rows}]
    figure = layer_curve(summary)
    line = next(line for line in figure.axes[0].lines if line.get_label() == "control: shuffled tokens")
    assert set(line.get_ydata()) == {0.1}
    area = figure.axes[0].collections[0].get_facecolor()[0]
    swatches = [patch.get_facecolor() for patch in figure.legends[0].get_patches()]
    assert any(np.allclose(area, swatch) for swatch in swatches)
