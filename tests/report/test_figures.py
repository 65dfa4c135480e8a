import subprocess
import sys
import warnings
import xml.etree.ElementTree as ET

import matplotlib
import numpy as np
import pytest

from actsim.report.figures import layer_curve, layer_curve_svg

MEASURES = ("cosine", "ruzicka", "jaccard", "overlap")


def texts(svg):
    return [
        "".join(element.itertext()) for element in ET.fromstring(svg.encode()).iter() if element.tag.endswith("}text")
    ]


def lines(figure):
    return {line.get_label(): line for line in figure.axes[0].lines}


@pytest.mark.parametrize("n_layers", [1, 2, 32, 80])
def test_svg_is_well_formed_and_labelled(make_summary, n_layers):
    found = texts(layer_curve_svg(make_summary(n_layers, measures=MEASURES, causal=n_layers % 2 == 0)))
    assert "layer" in found
    assert "Spearman's ρ with human judgement" in found
    assert set(MEASURES) <= set(found)
    assert any("n = 1379" in text for text in found)
    assert any(text.startswith("headline: deep band") for text in found)


@pytest.mark.parametrize("name", ["a<b>&c</text>", "price $x^2$ _{y}", "模型/テスト", "bell\x07\nline", '"quoted"'])
def test_svg_shows_any_model_name_as_it_is(make_summary, name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = texts(layer_curve_svg(make_summary(3, model=name)))
    assert name.replace("\x07\n", "\\x07 ") in found


def test_svg_is_the_same_every_time(make_summary):
    assert layer_curve_svg(make_summary(6)) == layer_curve_svg(make_summary(6))


def test_global_settings_are_neither_changed_nor_read(make_summary):
    expected = layer_curve_svg(make_summary(6))
    user = {"font.size": 30, "lines.linewidth": 9, "axes.facecolor": "red", "svg.hashsalt": "other"}
    with matplotlib.rc_context(user):
        before = dict(matplotlib.rcParams)
        assert layer_curve_svg(make_summary(6)) == expected
        assert dict(matplotlib.rcParams) == before


def test_lines_carry_the_summary_and_undefined_layers_are_gaps(make_summary):
    summary = make_summary(6, causal=True, missing=(2,))
    drawn = lines(layer_curve(summary))
    rho = np.array([np.nan if row["spearman"] is None else row["spearman"] for row in summary["layers"]])
    np.testing.assert_array_equal(drawn["cosine"].get_ydata(), rho)
    assert np.isnan(rho[1])
    for name, label in (("hidden_mean", "mean hidden state"), ("hidden_last", "last-token hidden state")):
        expected = [row["spearman"] for row in summary["baselines"] if row["name"] == name]
        np.testing.assert_array_equal(drawn[label].get_ydata(), expected)
        np.testing.assert_array_equal(drawn[label].get_xdata(), range(1, 7))


def test_baselines_without_layer_are_horizontal_lines(make_summary):
    summary = make_summary(6)
    drawn = lines(layer_curve(summary))
    for name, label in (("word_overlap", "word overlap"), ("embedding", "own embedding")):
        value = next(row["spearman"] for row in summary["baselines"] if row["name"] == name)
        assert set(drawn[f"{label} ({value:.3f})"].get_ydata()) == {value}


def test_controls_and_partial_correlations_are_drawn_with_their_intervals(make_summary):
    summary = make_summary(6, controls=(0.5, 0.4))
    figure = layer_curve(summary)
    drawn = lines(figure)
    bars = [bar.get_segments() for bar in figure.axes[0].collections if len(getattr(bar, "get_segments", list)()) == 6]
    rows = [control["layers"] for control in summary["controls"]] + [summary["partial_layers"]]
    labels = ("control: random weights", "control: shuffled tokens", "given word overlap, ")
    for label, own, segments in zip(labels, rows, bars, strict=True):
        (line,) = (line for name, line in drawn.items() if name.startswith(label))
        np.testing.assert_array_equal(line.get_ydata(), [row["spearman"] for row in own])
        assert [(low[1], high[1]) for low, high in segments] == [(row["ci_low"], row["ci_high"]) for row in own]
        assert np.abs(line.get_xdata() - np.arange(1, 7)).max() < 0.25


def test_every_line_differs_in_colour_and_in_dashes(make_summary):
    figure = layer_curve(make_summary(6, causal=True, measures=MEASURES, controls=(0.5, 0.4)))
    named = [line for label, line in lines(figure).items() if not label.startswith("_")]
    assert len({line.get_color() for line in named}) == len(named) == 10
    assert len({str(line._unscaled_dash_pattern) for line in named}) == len(named)


def test_figure_has_room_for_what_it_shows(make_summary):
    figure = layer_curve(
        make_summary(6, measures=MEASURES, causal=True, controls=(0.5, 0.4), model="Organisation/Model-7B-" * 10)
    )
    figure.draw_without_rendering()
    outer = figure.bbox
    boxes = [text.get_window_extent() for text in (*figure.legends[0].get_texts(), figure.axes[0]._left_title)]
    assert all(outer.x0 <= box.x0 and box.x1 <= outer.x1 and outer.y0 <= box.y0 and box.y1 <= outer.y1 for box in boxes)
    assert figure.legends[0].get_window_extent().y1 <= figure.axes[0].xaxis.label.get_window_extent().y0


def test_intervals_of_all_layers_are_inside_the_axes(make_summary):
    summary = make_summary(6, offset=-0.4, baselines=False)
    low, high = layer_curve(summary).axes[0].get_ylim()
    assert low <= min(row["ci_low"] for row in summary["layers"])
    assert high >= max(row["ci_high"] for row in summary["layers"])


def test_a_run_without_any_defined_layer_is_drawn(make_summary):
    figure = layer_curve(make_summary(2, missing=(1, 2), baselines=False))
    assert np.isnan(lines(figure)["cosine"].get_ydata()).all()


def test_report_imports_neither_torch_nor_pyplot():
    code = (
        "import sys, actsim.report.figures, actsim.report.markdown, actsim.report.tables\n"
        "print(sorted({'torch', 'transformers', 'matplotlib.pyplot'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
