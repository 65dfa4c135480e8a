import csv
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from actsim.report.tables import BarScale, kinds_csv, layers_csv, terminal_table
from actsim.report.wording import difference_text

STATISTICS = ("n", "spearman", "ci_low", "ci_high", "pearson", "kendall")
correlations = st.none() | st.floats(-1, 1)


class Pipe(io.StringIO):
    """A text stream that is no terminal and has an encoding."""

    def __init__(self, encoding):
        super().__init__()
        self._encoding = encoding

    @property
    def encoding(self):
        return self._encoding


def printed(summary, width=80, encoding="utf-8"):
    stream = Pipe(encoding)
    Console(file=stream, width=width).print(terminal_table(summary, width))
    return stream.getvalue()


def line_of(text, start):
    return next(line for line in text.splitlines() if line.split()[: len(start)] == start)


def read(text):
    return list(csv.DictReader(io.StringIO(text)))


def parsed(field):
    return None if field == "" else float(field)


def test_terminal_shows_the_figures_of_every_layer(make_summary):
    summary = make_summary(6)
    text = printed(summary)
    hidden = {row["layer"]: row["spearman"] for row in summary["baselines"] if row["name"] == "hidden_mean"}
    for row in summary["layers"]:
        line = line_of(text, [str(row["layer"])])
        expected = [row["spearman"], row["ci_low"], row["ci_high"], hidden[row["layer"]]]
        assert all(f"{value:.3f}" in line for value in expected)
        assert ("*" in line) == (row["layer"] in summary["band"]["layers"])


def test_terminal_shows_headline_baselines_partials_and_notes(make_summary):
    summary = make_summary(6)
    text = printed(summary)
    headline = summary["headline"]
    assert (
        f"deep band (layers 4-6): Spearman {headline['spearman']:.3f} "
        f"[{headline['ci_low']:.3f}, {headline['ci_high']:.3f}], n = 1379"
    ) in text
    overlap = next(row for row in summary["baselines"] if row["name"] == "word_overlap")
    difference = overlap["difference"]
    line = line_of(text, ["word", "overlap", f"{overlap['spearman']:.3f}"])
    assert f"{difference['value']:+.3f} [{difference['ci_low']:+.3f}, {difference['ci_high']:+.3f}]" in line
    for row in summary["partial"]:
        assert f"{row['spearman']:.3f}   [{row['ci_low']:.3f}, {row['ci_high']:.3f}]" in text
    assert summary["notes"][0] in text


def test_terminal_names_the_strongest_layer_of_a_baseline(make_summary):
    summary = make_summary(6)
    rows = [row for row in summary["baselines"] if row["name"] == "hidden_mean"]
    best = max(rows, key=lambda row: row["spearman"])
    line = line_of(printed(summary), ["hidden_mean,"])
    assert f"layer {best['layer']}" in line
    assert f"{best['spearman']:.3f}" in line


def test_terminal_shows_a_line_per_measure_only_when_there_are_several(make_summary):
    several = printed(make_summary(6, measures=("cosine", "ruzicka")))
    assert [line.split()[0] for line in several.splitlines() if line.startswith(("cosine ", "ruzicka "))] == [
        "cosine",
        "ruzicka",
    ]
    assert not any(line.startswith("cosine ") for line in printed(make_summary(6)).splitlines())


def test_terminal_shows_an_undefined_layer_with_its_n(make_summary):
    line = line_of(printed(make_summary(6, missing=(2,))), ["2"])
    assert line.split() == ["2", "–", "–", "2", line.split()[-1]]


def test_terminal_tells_where_a_band_was_chosen(make_summary):
    summary = make_summary(6)
    summary["band"] = {"name": "3-5", "layers": [3, 4, 5]}
    summary["selection"] = {
        "split": "validation",
        "band": "3-5",
        "layers": [3, 4, 5],
        "n_selection": 1500,
        "spearman_selection": 0.71,
        "spearman_here": 0.65,
    }
    text = " ".join(printed(summary).split())
    assert "layers 3-5: Spearman" in text
    assert "chosen on the split validation: layers 3-5; Spearman 0.710 there, 0.650 here" in text


@pytest.mark.parametrize("n_layers", [1, 80])
@pytest.mark.parametrize("width", [40, 60, 80, 120])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_terminal_stays_within_its_width_and_cuts_nothing_off(make_summary, n_layers, width, encoding):
    summary = make_summary(
        n_layers, model="organisation/" + "model-[bold]" * 20, dataset="d" * 150, causal=True, offset=-0.3
    )
    text = printed(summary, width, encoding)
    assert max(map(len, text.splitlines())) <= width
    squeezed = "".join(text.split())
    assert summary["model"]["name"] in squeezed
    # a folded cell shares its lines with its neighbours, so only its pieces can be looked for
    for row in summary["baselines"]:
        if row["layer"] is None:
            assert f"{row['difference']['ci_high']:+.3f}" in squeezed


def test_terminal_in_another_encoding_is_ascii_and_free_of_control_characters(make_summary):
    summary = make_summary(6, missing=(2,), model="модель\x1b[31m\nnext", measures=("cosine", "ruzicka"))
    text = printed(summary, encoding="latin-1")
    assert text.isascii()
    assert "\x1b" not in printed(summary)


def test_terminal_without_baselines_has_no_empty_tables(make_summary):
    text = printed(make_summary(6, baselines=False))
    assert "baseline" not in text
    assert "hidden_mean" not in text
    assert "partial" not in text


@given(value=st.floats(-1, 1), low=st.floats(-1, 0), cells=st.integers(8, 40), ascii_only=st.booleans())
def test_bar_has_the_length_and_the_side_of_its_value(value, low, cells, ascii_only):
    value = max(value, low)
    scale = BarScale(cells, low, ascii_only)
    drawn = scale.bar(value)
    assert len(drawn) <= cells
    assert len(scale.heading()) <= cells
    left, axis, right = drawn.rpartition("|" if ascii_only else "│") if low < 0 else ("", "", drawn)
    side, other = (right, left) if value >= 0 else (left, right)
    assert abs(len(side.strip()) - abs(value) * scale.unit) <= 1
    assert other.strip() == ""
    assert len(left + axis) == (scale.left + 1 if low < 0 else 0)


@given(
    values=st.lists(correlations, min_size=5, max_size=5),
    hidden=st.lists(correlations, min_size=3, max_size=3),
    n=st.integers(0, 10**7),
)
def test_layers_csv_parses_back_to_equal_numbers(make_summary, values, hidden, n):
    summary = make_summary(3, measures=("cosine", "ruzicka"), causal=True)
    changed = dict(zip(STATISTICS[1:], values, strict=True))
    summary["layers"][1].update(n=n, **changed)
    found = [row for row in summary["baselines"] if row["name"] == "hidden_last" and row["layer"] == 2]
    found[0].update(zip(("spearman", "ci_low", "ci_high"), hidden, strict=True))
    text = layers_csv(summary)
    rows = read(text)
    assert "\r" not in text
    assert [(int(row["layer"]), row["measure"]) for row in rows] == [
        (row["layer"], row["measure"]) for row in summary["layers"]
    ]
    assert int(rows[1]["n"]) == n
    assert {name: parsed(rows[1][name]) for name in changed} == changed
    assert [parsed(rows[1][f"hidden_last_{end}"]) for end in ("spearman", "ci_low", "ci_high")] == hidden


def test_layers_csv_begins_with_the_documented_columns(make_summary):
    header = layers_csv(make_summary(2)).splitlines()[0].split(",")
    assert header[:8] == ["layer", "measure", *STATISTICS]
    assert header[8:] == ["hidden_mean_spearman", "hidden_mean_ci_low", "hidden_mean_ci_high"]
    assert layers_csv(make_summary(2, baselines=False)).splitlines()[0].split(",") == header[:8]


def test_layers_csv_has_controls_and_partial_correlations_beside_the_headline_measure(make_summary):
    summary = make_summary(3, measures=("cosine", "ruzicka"), controls=(0.5,))
    rows = read(layers_csv(summary))
    for row, layer in zip(rows, summary["controls"][0]["layers"], strict=False):
        for end in ("spearman", "ci_low", "ci_high"):
            assert parsed(row[f"control_random_weights_{end}"]) == layer[end]
            assert parsed(row[f"partial_{end}"]) == summary["partial_layers"][layer["layer"] - 1][end]
    assert {row["partial_ci_low"] for row in rows if row["measure"] == "ruzicka"} == {""}


@pytest.mark.parametrize("width", [60, 72, 80])
def test_controls_and_partial_correlations_keep_the_width(make_summary, width):
    summary = make_summary(12, causal=True, controls=(0.5, 0.64)) | {"template": "say " * 30 + "{text}"}
    text = printed(summary, width)
    assert max(map(len, text.splitlines())) <= width
    if width == 80:
        for control in summary["controls"]:
            line = line_of(text, [*control["name"].split("-"), "(seed", "3)", f"{control['headline']['spearman']:.3f}"])
            assert difference_text(control["difference"]) in " ".join(line.split())
        row = summary["layers"][6]
        assert "0.400" in line_of(text, ["7", "*", f"{row['spearman']:.3f}"])
        assert "partial: given word overlap, length difference, same top token" in text
        assert "template: say" in text


def test_csv_writes_numpy_and_undefined_numbers_like_plain_ones(make_summary):
    summary = make_summary(2)
    plain = layers_csv(summary)
    for row in summary["layers"]:
        row["spearman"] = np.float64(row["spearman"])
    assert layers_csv(summary) == plain
    summary["layers"][0]["spearman"] = float("nan")
    assert read(layers_csv(summary))[0]["spearman"] == ""


def test_kinds_csv_has_every_kind_with_its_numbers(make_summary):
    summary = make_summary(3, missing=(2,))
    rows = read(kinds_csv(summary))
    assert len(rows) == len(summary["kinds"])
    for row, expected in zip(rows, summary["kinds"], strict=True):
        assert (int(row["layer"]), row["kind"], row["measure"]) == (
            expected["layer"],
            expected["kind"],
            expected["measure"],
        )
        assert {name: parsed(row[name]) for name in STATISTICS} == {name: expected[name] for name in STATISTICS}
