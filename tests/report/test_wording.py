import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actsim.report.wording import band_label, difference_text, interval, layers_label, number, one_line, runs_of_layers


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
