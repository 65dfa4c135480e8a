"""The report of a density run: its figures are the summary's in every form, and equal runs give equal files."""

from __future__ import annotations

import csv
import io
import json
import re

import made_up_densities
import pytest
from rich.console import Console

from actsim.report.density_curves import SCALE, all_measures, curve, share_over, values_by_layer
from actsim.report.density_figures import gamma_figure, layers_figure
from actsim.report.density_files import density_files
from actsim.report.density_html import density_html
from actsim.report.density_interactive import curves, kinds, sensitivity, thresholds
from actsim.report.density_markdown import density_markdown
from actsim.report.density_tables import density_csv, density_table
from actsim.report.figures import svg

SHARES = {"tales": [0.4, 0.4, 0.2, 0.25], "code": [0.5, 0.35, 0.2, 0.3]}
HOSTILE = "<img src=x onerror='window.injected = 1'> | **a**"


def summed_up(shares=SHARES, *, folds=4, **changes):
    return made_up_densities.summary(made_up_densities.densities(shares, folds=folds), **changes)


def printed(summary, width=80):
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(density_table(summary))
    return console.file.getvalue()


def markdown(summary):
    files = {"layers": "layers.svg", "density.csv": "d.csv"}
    return density_markdown(summary, made_up_densities.manifest(summary), files)


def test_a_curve_is_in_the_unit_of_its_axis():
    summary = summed_up()
    (row,) = [row for row in summary["intervals"] if (row["domain"], row["layer"]) == ("code", 2)]
    low, high = row["share"][summary["gammas"].index(2e-5)]
    point = curve(summary, share_over(2e-5), "code")[2]
    assert (point["value"], point["ci_low"], point["ci_high"]) == pytest.approx((35, 100 * low, 100 * high))
    assert values_by_layer(summary, share_over(2e-5), None)[2] == pytest.approx(0.375)
    assert SCALE.text(values_by_layer(summary, SCALE, "code")[1]) == "50.0"  # millionths
    assert values_by_layer(summary, share_over(1e-3), "code", "q")[1] == 15 / 60


def test_the_terminal_has_every_share_and_every_contrast_within_its_width():
    summary = summed_up(running_text=("tales",))
    text = printed(summary)
    assert max(map(len, text.splitlines())) <= 80
    for layer in range(4):
        assert [str(layer + 1), *(f"{100 * own[layer]:.1f}" for own in SHARES.values())] in [
            line.split() for line in text.splitlines()
        ]
    assert "shallow layers denser than deep ones?" in text
    assert "running text denser than tasks in the deep half?" in text
    (line,) = [line for line in text.splitlines() if line.startswith("share > 2e-05") and "of 2" in line]
    assert re.search(r"41\.2\s+23\.8\s+\+17\.50 \[", line) and line.split()[-4:] == ["holds", "2", "of", "2"]


def test_many_domains_stand_in_several_tables_on_a_narrow_screen():
    shares = {f"a-rather-long-name-{number}": [0.5, 0.4] for number in range(7)}
    text = printed(summed_up(shares))
    assert max(map(len, text.splitlines())) <= 80
    assert all(name in text for name in shares)
    assert sum(line.startswith("layer ") for line in text.splitlines()) > 1


@pytest.mark.parametrize("folds", [4, 0])
def test_csv_has_a_row_for_every_count(folds):
    summary = summed_up(folds=folds)
    rows = list(csv.DictReader(io.StringIO(density_csv(summary))))
    assert len(rows) == len(summary["rows"]) * len(summary["gammas"])
    (row,) = [
        row for row in rows if (row["domain"], row["layer"], row["kind"], row["gamma"]) == ("code", "2", "all", "2e-05")
    ]
    assert (row["count"], row["share"], row["parameters"]) == ("70", "0.35", "200")
    assert (row["ci_low"] == "") == (folds == 0)


def test_markdown_states_the_finding_in_words_with_its_interval():
    summary = summed_up()
    text = markdown(summary)
    (row,) = [row for row in summary["depth"] if row["domain"] is None and row["gamma"] == 2e-5]
    ends = f"[{100 * row['ci_low']:+.2f}, {100 * row['ci_high']:+.2f}]"
    assert (
        "41.2 in the shallow half, 23.8 in the deep half, a difference of "
        f"+17.50 {ends}: that shallow layers are denser **holds**; in single domains it holds in 2 of 2."
    ) in text
    assert "Shallow half: layers 1-2. Deep half: layers 3-4." in text
    assert "![" in text and "- [density.csv](d.csv)" in text
    turned = markdown(summed_up({"tales": [0.2, 0.2, 0.4, 0.4]}))
    assert "denser **is the other way round**" in turned
    assert "denser **is open**" in markdown(summed_up({"tales": [0.3] * 4}))
    assert "denser **has no interval**" in markdown(summed_up(folds=0))
    assert "single layer" in markdown(summed_up({"tales": [0.3]}))


def test_names_are_text_in_every_form():
    summary = summed_up({HOSTILE: [0.5, 0.4]}, name=HOSTILE, notes=[HOSTILE])
    assert HOSTILE not in markdown(summary)
    page = density_html(summary, made_up_densities.manifest(summary))
    assert HOSTILE not in page
    assert "&lt;img src=x" in page
    printed(summary)


@pytest.mark.parametrize(("least", "step"), [(2e-6, 1), (1e-10, 1), (1e-12, 2), (0.0, 1)])
def test_no_axis_over_gamma_has_more_than_eight_ticks(monkeypatch, least, step):
    monkeypatch.setattr(made_up_densities, "GAMMAS", (least, 1e-5, 2e-5, 1e-3))
    summary = made_up_densities.summary(made_up_densities.densities({"tales": [0.4, 0.2]}))
    for figure in (thresholds(summary), sensitivity(summary)):
        assert figure["layout"]["xaxis"]["dtick"] == step


def test_interactive_figures_have_the_numbers_of_the_summary():
    summary = summed_up()
    figures = curves(summary)
    assert [figure["meta"]["measure"] for figure in figures] == [measure.label for measure in all_measures(summary)]
    (line,) = [trace for trace in figures[0]["traces"] if trace["meta"]["line"] == "code" and "text" in trace]
    assert line["y"] == pytest.approx([50, 35, 20, 30])
    (heat,) = [trace for trace in kinds(summary)["traces"] if trace["meta"]["domain"] == "code"][:1]
    assert heat["z"][0] == pytest.approx([50, 35, 20, 30])
    third = summary["gammas"].index(2e-5)
    mean = [trace for trace in thresholds(summary)["traces"] if trace["meta"]["domain"] == "mean of the domains"]
    assert [trace["y"][third] for trace in mean] == pytest.approx([45, 37.5, 20, 27.5])
    *_, last = sensitivity(summary)["traces"]
    assert last["y"][third] == pytest.approx(17.5) and last["meta"] == {}
    json.dumps([figures, kinds(summary), thresholds(summary), sensitivity(summary)], allow_nan=False)


def test_the_files_are_the_same_again_and_the_page_can_be_left_out():
    summary = summed_up(running_text=("tales",))
    once = density_files(summary, made_up_densities.manifest(summary), beside=["summary.json"])
    names = {"density.csv", "report.html", "report.md", "layers.svg", "layers.png", "gamma.svg", "gamma.png"}
    assert set(once) == names
    assert once["layers.png"].startswith(b"\x89PNG")
    assert b"(summary.json)" in once["report.md"] and b"(layers.svg)" in once["report.md"]
    without = density_files(summary, made_up_densities.manifest(summary), page=False, beside=["summary.json"])
    assert set(without) == names - {"report.html"}
    assert {name: without[name] == once[name] for name in without if name != "report.md"} == dict.fromkeys(
        names - {"report.html", "report.md"}, True
    )


def test_a_single_layer_and_a_single_domain_have_figures_too():
    summary = summed_up({"tales": [0.3]}, folds=0)
    assert ">tales<" in svg(layers_figure(summary), "layers")
    assert "layers 1 (blue) to 1 (orange)" in svg(gamma_figure(summary), "gamma")
