"""Colours, dash patterns and markers of lines, the same in static and interactive figures.

The colours are Okabe and Ito's, and some of Tol's; every line also has a dash pattern and a marker of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class LineStyle(NamedTuple):
    """How a line is drawn.

    Attributes:
        colour: hexadecimal, on a light ground.
        dashes: lengths of strokes and gaps in points; empty for a solid line.
        marker: matplotlib's letter, None for a line without markers.
    """

    colour: str
    dashes: tuple[float, ...]
    marker: str | None


MEASURE_STYLES = (
    LineStyle("#0072B2", (), "o"),
    LineStyle("#D55E00", (6, 2), "s"),
    LineStyle("#009E73", (6, 2, 1.5, 2), "^"),
    LineStyle("#CC79A7", (3, 1.5), "D"),
)
BASELINE_STYLES = {
    "hidden_mean": LineStyle("#000000", (2, 2), "v"),
    "hidden_last": LineStyle("#56B4E9", (5, 2, 1, 2, 1, 2), "P"),
    "embedding": LineStyle("#E69F00", (8, 3), None),
    "word_overlap": LineStyle("#666666", (1, 1.5), None),
}
OTHER_BASELINE_STYLE = LineStyle("#999999", (4, 4), "x")
CONTROL_STYLES = (
    LineStyle("#882255", (4, 1.5, 1, 1.5), "X"),
    LineStyle("#999933", (2, 1, 5, 1), "*"),
    LineStyle("#44AA99", (7, 1.5, 1, 1.5, 1, 1.5), "p"),
)
RUN_STYLES = (
    *MEASURE_STYLES,
    LineStyle("#E69F00", (1, 1.5), "v"),
    LineStyle("#56B4E9", (5, 2, 1, 2, 1, 2), "P"),
    LineStyle("#666666", (8, 3), "X"),
)
"""Runs of a comparison."""
DOMAIN_STYLES = (*RUN_STYLES, *CONTROL_STYLES)
"""Domains: there are more of them than runs, and no controls beside."""
PARTIAL_STYLE = LineStyle("#332288", (9, 2, 3, 2), "d")

BAND_COLOUR = "#EFEFEF"
"""Behind the layers of the headline band."""
INTERVAL_OPACITY = 0.15
THIRDS = ("#E69F00", "#56B4E9", "#0072B2")
"""Pairs of the lowest, middle and highest gold scores."""
THIRD_DASHES: tuple[tuple[float, ...], ...] = ((), (4, 2), ())
GROUND = "#FFFFFF"
INK = "#1A1A1A"
DENSITY_SCALE = ("#FFFFFF", "#C6DDEE", "#5BA3CF", "#0072B2", "#00324F")
"""From no pair to the densest bin."""
HEAT_MAP = "Cividis"
"""The colour map of heat maps; matplotlib writes it with a small letter."""
CELL_TEXT_LAYERS = 16
"""Heat maps of at most this many layers have their figures in the cells."""


def measure_style(index: int) -> LineStyle:
    """The style of a run's measure by its position."""
    return MEASURE_STYLES[index % len(MEASURE_STYLES)]


def baseline_style(name: str) -> LineStyle:
    """The style of a baseline by its name in the summary."""
    return BASELINE_STYLES.get(name, OTHER_BASELINE_STYLE)


def control_style(index: int) -> LineStyle:
    """The style of a run's control by its position."""
    return CONTROL_STYLES[index % len(CONTROL_STYLES)]


def run_style(index: int) -> LineStyle:
    """The style of a run of a comparison by its position, see ``_in_turn``."""
    return _in_turn(RUN_STYLES, index)


def domain_style(index: int) -> LineStyle:
    """The style of a domain by its position, see ``_in_turn``."""
    return _in_turn(DOMAIN_STYLES, index)


def _in_turn(styles: Sequence[LineStyle], index: int) -> LineStyle:
    """Once the colours are used up they come again, with the dashes and the marker of another."""
    turn, place = divmod(index, len(styles))
    other = styles[(place + turn) % len(styles)]
    return LineStyle(styles[place].colour, other.dashes, other.marker)


def matplotlib_dashes(dashes: Sequence[float]) -> object:
    """The dash pattern as matplotlib takes it."""
    return (0, tuple(dashes)) if dashes else "-"
