"""Figures in heat maps can be read on every colour of the map."""

from __future__ import annotations

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from actsim.report.contrast import contrast, luminance, takes_dark_ink
from actsim.report.palette import HEAT_MAP
from actsim.report.plotly_parts import DARK, DARK_ON_CELL, LIGHT_ON_CELL, heat_map, numbered

READABLE = 4.5
"""The contrast ratio that WCAG 2.1 asks of text at level AA."""


def test_contrast_is_that_of_the_standard():
    black, white, grey = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), to_rgb("#767676")
    assert contrast(black, white) == pytest.approx(21)
    assert round(contrast(white, grey), 2) == 4.54
    assert (luminance(black), luminance(white)) == (0, pytest.approx(1))


def test_each_ink_can_be_read_on_its_cells():
    values = np.linspace(-1, 3, 256)[None]
    dark = takes_dark_ink(values)
    assert dark.any() and not dark.all()
    for place, own in zip(np.linspace(0, 1, 256), dark[0], strict=True):
        colour = matplotlib.colormaps[HEAT_MAP.lower()](place)
        assert contrast(colour, to_rgb(DARK_ON_CELL if own else LIGHT_ON_CELL)) >= READABLE


def test_the_inks_do_not_turn_with_the_theme():
    assert not {DARK_ON_CELL, LIGHT_ON_CELL} & DARK.keys()


def test_every_defined_cell_is_numbered_once():
    z = [[0.1, None, 0.9], [0.5, 0.52, 0.2]]
    traces = numbered(heat_map([1, 2, 3], ["a", "b"], z, [[""] * 3] * 2, {}))
    assert [trace["texttemplate"] for trace in traces] == ["%{text}"] * 2
    both = [
        "".join(pair)
        for rows in zip(*(trace["text"] for trace in traces), strict=True)
        for pair in zip(*rows, strict=True)
    ]
    assert both == ["0.10", "", "0.90", "0.50", "0.52", "0.20"]
    over = traces[1]
    assert [[cell is not None for cell in line] for line in over["z"]] == [
        [cell != "" for cell in line] for line in over["text"]
    ]
    assert {(trace["zmin"], trace["zmax"]) for trace in traces} == {(0.1, 0.9)}
    assert over["showscale"] is False


def test_equal_and_undefined_values_have_an_ink():
    assert not takes_dark_ink(np.full((2, 2), np.nan)).any()
    assert not takes_dark_ink(np.full((2, 2), 0.3)).any()
    assert numbered(heat_map([1], [1], [[None]], [[""]], {}))[0]["text"] == [[""]]


def test_a_large_map_has_no_numbers():
    size = 17
    (trace,) = numbered(heat_map(list(range(size)), ["a"], [[0.5] * size], [[""] * size], {}))
    assert "text" not in trace
