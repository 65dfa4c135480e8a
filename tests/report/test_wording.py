import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actsim.report.wording import (
    band_label,
    control_sentence,
    difference_text,
    interval,
    layer_sentences,
    layers_label,
    number,
    one_line,
    reaches,
    runs_of_layers,
    template_lines,
)


@given(value=st.floats(-1, 1))
def test_number_is_the_rounded_value_without_a_negative_zero(value):
    text = number(value)
    assert abs(float(text) - value) <= 0.0005 + 1e-12
    assert re.fullmatch(r"-?\d\.\d{3}", text)
    assert text != "-0.000"


@pytest.mark.parametrize("undefined", [None, float("nan")])
def test_undefined_values_are_a_dash(undefined):
    assert number(undefined) == "–"
    assert interval(undefined, 0.5) == "–"
    assert interval(0.5, undefined) == "–"
    assert difference_text({"value": undefined, "ci_low": None, "ci_high": None}) == "–"
    assert difference_text(None) == "–"


@given(layers=st.sets(st.integers(1, 100), min_size=1))
def test_runs_cover_exactly_the_layers_and_do_not_touch(layers):
    runs = runs_of_layers(layers)
    assert {layer for first, last in runs for layer in range(first, last + 1)} == layers
    assert all(second[0] - first[1] > 1 for first, second in itertools.pairwise(runs))


def test_layers_in_words():
    assert layers_label([6]) == "layer 6"
    assert layers_label([4, 5, 6]) == "layers 4-6"
    assert layers_label([3, 5, 6]) == "layers 3, 5-6"


def test_a_band_named_by_its_layers_is_not_named_twice():
    assert band_label({"name": "3,5,6", "layers": [3, 5, 6]}) == "layers 3, 5-6"
    assert band_label({"name": "last:2", "layers": [5, 6]}) == "last:2 band (layers 5-6)"


@given(text=st.text())
def test_one_line_is_printable(text):
    assert one_line(text).isprintable()


def beaten(make_summary, **changes):
    """A summary in which nothing speaks against the headline."""
    summary = make_summary(6, **changes)
    overlap = summary["baselines"][0]
    overlap["difference"] = {"value": 0.05, "ci_low": 0.02, "ci_high": 0.08}
    return summary


def test_nothing_is_said_where_nothing_speaks_against_the_headline(make_summary):
    assert control_sentence(beaten(make_summary, controls=(0.2, 0.1))) is None
    assert control_sentence(beaten(make_summary)) is None


@pytest.mark.parametrize(("reach", "said"), [(0.6, True), (0.6001, True), (0.5999, False)])
def test_a_control_is_named_where_its_interval_reaches_the_headlines(make_summary, reach, said):
    summary = beaten(make_summary, controls=(0.2, 0.1))
    summary["headline"] |= {"spearman": 0.65, "ci_low": 0.6, "ci_high": 0.7}
    summary["controls"][1]["headline"] |= {"spearman": 0.55, "ci_low": 0.5, "ci_high": reach}
    assert reaches(summary, summary["controls"][1]) is said
    text = control_sentence(summary)
    assert (text is not None) is said
    if text:
        assert text.startswith(
            f"The interval of the control shuffled tokens (seed 3), 0.550 [0.500, {reach:.3f}], reaches"
        )
        assert "0.650 [0.600, 0.700]" in text and "the order of the words" in text
        assert "random weights" not in text


@pytest.mark.parametrize(
    ("ends", "words"),
    [
        ((0.01, 0.03), "though the paired difference leaves out 0"),
        ((-0.01, 0.03), "and the paired difference holds 0"),
        ((-0.03, -0.01), "and the control is the better one"),
    ],
)
def test_the_paired_difference_is_said_beside_a_control_that_reaches_the_headline(make_summary, ends, words):
    summary = beaten(make_summary, controls=(0.9,))
    summary["controls"][0]["difference"] = {"value": sum(ends) / 2, "ci_low": ends[0], "ci_high": ends[1]}
    text = control_sentence(summary)
    assert words in text and difference_text(summary["controls"][0]["difference"]) in text
    assert "learned" in text


def test_word_overlap_that_is_not_beaten_and_a_partial_correlation_that_may_be_0_are_said(make_summary):
    summary = beaten(make_summary)
    summary["baselines"][0]["difference"] = {"value": -0.05, "ci_low": -0.08, "ci_high": -0.02}
    assert control_sentence(summary).startswith("The headline is below word overlap, which knows no model: 0.640 [")
    summary["baselines"][0]["difference"]["ci_high"] = 0.02
    summary["partial"][-1] |= {"spearman": 0.02, "ci_low": -0.03, "ci_high": 0.07}
    overlap, _, partial = control_sentence(summary).partition(" Given ")
    assert overlap.startswith("The headline is not distinguishable from word overlap")
    assert partial == (
        "word overlap, length difference, the partial correlation is 0.020 [-0.030, 0.070]: its interval holds 0."
    )
    summary["partial"][-1]["ci_high"] = -0.01
    assert control_sentence(summary).endswith("its interval lies below 0.")


def test_every_layer_stands_in_one_of_the_sentences_groups(make_summary):
    summary = make_summary(4, controls=(0.5,))
    leads = [(0.1, 0.02), (0.3, 0.01), (0.01, 0.02), (-0.2, 0.05)]
    for row, (value, half) in zip(summary["controls"][0]["layers"], leads, strict=True):
        row["difference"] = {"value": value, "ci_low": value - half, "ci_high": value + half}
    control, overlap, partial = layer_sentences(summary)
    assert control == (
        "Cosine of a layer against random weights (seed 3): above it in layers 1-2, +0.100 [+0.080, +0.120] (layer 1) "
        "to +0.300 [+0.290, +0.310] (layer 2); not distinguishable from it in layer 3, +0.010 [-0.010, +0.030]; "
        "below it in layer 4, -0.200 [-0.250, -0.150]."
    )
    assert overlap.startswith("Cosine of a layer against word overlap: ")
    assert partial.startswith(
        "Cosine of a layer given word overlap, length difference, partial correlation: above 0 in"
    )


def test_layers_without_an_interval_are_said_so(make_summary):
    summary = make_summary(3, controls=(0.5,))
    summary["controls"][0]["layers"][1]["difference"] = {"value": None, "ci_low": None, "ci_high": None}
    assert layer_sentences(summary)[0].endswith("; without an interval in layer 2.")


def test_summaries_from_before_there_were_controls_have_no_such_sentences(make_summary):
    assert layer_sentences(make_summary(3)) == []


def test_a_template_is_named_where_there_is_one():
    assert template_lines({}) == template_lines({"template": "{text}"}) == []
    assert template_lines({"template": "say\n{text}"}) == ["template: say {text}"]
