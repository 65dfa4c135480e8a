"""Interactive figures as plotly's JSON: all that a reader can switch to is in them, the page shows the part chosen.

A figure is ``{"traces": [...], "layout": {...}}``. The ``meta`` of a trace says when it is shown: each of ``measure``,
``kind``, ``scores`` and ``line`` that it names has to be chosen on the page.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from actsim.report.histograms import FEW_VALUES, Floats, ScoreDensity, gold_thirds, score_density
from actsim.report.lines import Line, lines_beside
from actsim.report.pair_table import rounded
from actsim.report.palette import (
    BAND_COLOUR,
    DENSITY_SCALE,
    GROUND,
    HEAT_MAP,
    INK,
    INTERVAL_OPACITY,
    MEASURE_STYLES,
    THIRD_DASHES,
    THIRDS,
    LineStyle,
    measure_style,
)
from actsim.report.tables import kind_rows, measure_layers
from actsim.report.wording import Row, band_label, defined, interval, number, one_line, runs_of_layers
from actsim.store import PairScores
from actsim.store.parts import WHOLE_LAYER

Trace = dict[str, Any]
Figure = dict[str, Any]

HEADLINE = "band"
"""Value of ``scores`` for those of the headline band; a layer's is its number."""
MARKERS = {
    "o": "circle",
    "s": "square",
    "^": "triangle-up",
    "v": "triangle-down",
    "D": "diamond",
    "d": "diamond-tall",
    "P": "cross",
    "X": "x",
    "x": "x-thin",
    "*": "star",
    "p": "pentagon",
}
DARK = {
    GROUND: "#14171A",
    INK: "#E4E7EA",
    BAND_COLOUR: "#24292E",
    "#000000": "#E4E7EA",
    "#666666": "#A5ABB1",
    "#DDDDDD": "#2E343A",
    "#0072B2": "#4DA3FF",
    "#56B4E9": "#A9D8F5",
    "#D55E00": "#FF8A3D",
    "#009E73": "#2CC79B",
    "#882255": "#E06C9F",
    "#332288": "#A08BFF",
    "#999933": "#C9C95E",
    "#44AA99": "#5FD0BD",
    "#C6DDEE": "#123A55",
    "#5BA3CF": "#1F6C9E",
    "#00324F": "#D6EEFF",
}
"""Colour on a light ground -> its counterpart on a dark one, in this order of meaning; others serve both."""
GRID = "#DDDDDD"
CELL_TEXT_LAYERS = 16
"""Heat maps of at most this many layers have their figures in the cells."""


def plotly_text(text: object) -> str:
    """Text that plotly, which reads a little HTML in its labels, shows as it is."""
    return html.escape(one_line(text), quote=False)


def statistics_text(row: Row) -> str:
    """``0.653 [0.602, 0.699], n = 1379``."""
    return f"{number(row['spearman'])} {interval(row['ci_low'], row['ci_high'])}, n = {row['n']}"


# the curve over the layers


def layer_curve(summary: Row) -> Figure:
    """ρ of every layer with its interval, for each measure and module kind, and every line to set it against."""
    traces: list[Trace] = []
    for index, measure in enumerate(summary["measures"]):
        for line in lines_beside(summary, measure):
            traces.append(_beside(summary, measure, line))
        whole = measure_layers(summary, measure)
        for kind, rows in {WHOLE_LAYER: whole, **kind_rows(summary, measure)}.items():
            style, shown = measure_style(index), {"measure": measure, "kind": kind}
            if kind != WHOLE_LAYER:
                thin = LineStyle(style.colour, (1, 3), None)
                traces.append(_line(summary, whole, thin, "whole layer", 1.0, shown))
            label = measure if kind == WHOLE_LAYER else f"{measure}, {kind}"
            traces.append(_interval_area(rows, style.colour, shown))
            traces.append(_line(summary, rows, style, label, 2.2, shown))
    layout = _layout("layer", "Spearman’s ρ with human judgement")
    layout["xaxis"] |= _layer_axis(summary["n_layers"])
    layout["yaxis"]["tickformat"] = ".2f"
    layout["shapes"] = [
        {
            "type": "rect",
            "xref": "x",
            "yref": "paper",
            "x0": first - 0.5,
            "x1": last + 0.5,
            "y0": 0,
            "y1": 1,
            "fillcolor": BAND_COLOUR,
            "line": {"width": 0},
            "layer": "below",
        }
        for first, last in runs_of_layers(summary["band"]["layers"])
    ]
    return {"traces": traces, "layout": layout | {"hovermode": "x unified"}}


def _beside(summary: Row, measure: str, line: Line) -> Trace:
    shown = {"measure": measure, "line": line.key}
    if line.level is None:
        return _line(summary, line.rows, line.style, line.label, 1.4, shown)
    x = [0.5, *range(1, summary["n_layers"] + 1), summary["n_layers"] + 0.5]
    return {
        "type": "scatter",
        "mode": "lines",
        "x": x,
        "y": [_value(line.level["spearman"])] * len(x),
        "text": [statistics_text(line.level)] * len(x),
        "line": {"color": line.style.colour, "width": 1.8, "dash": dash(line.style)},
        "hovertemplate": f"{plotly_text(line.label)}: %{{text}}<extra></extra>",
        "meta": shown,
    }


def _line(
    summary: Row, rows: Mapping[int, Row], style: LineStyle, label: str, width: float, shown: Mapping[str, str]
) -> Trace:
    layers = range(1, summary["n_layers"] + 1)
    known = [rows.get(layer) for layer in layers]
    trace: Trace = {
        "type": "scatter",
        "mode": "lines" if style.marker is None else "lines+markers",
        "x": list(layers),
        "y": [None if row is None else _value(row["spearman"]) for row in known],
        "text": ["" if row is None else statistics_text(row) for row in known],
        "line": {"color": style.colour, "width": width, "dash": dash(style)},
        "connectgaps": False,
        "hovertemplate": f"{plotly_text(label)}: %{{text}}<extra></extra>",
        "meta": dict(shown),
    }
    if style.marker is not None:
        size = 5 if summary["n_layers"] > 2 * CELL_TEXT_LAYERS else 7
        trace["marker"] = {"symbol": MARKERS[style.marker], "size": size, "color": style.colour}
    return trace


def _interval_area(rows: Mapping[int, Row], colour: str, shown: Mapping[str, str]) -> Trace:
    """One closed outline per run of layers with an interval, so that an undefined layer leaves a gap."""
    known = [
        layer
        for layer, row in rows.items()
        if defined(row["ci_low"]) is not None and defined(row["ci_high"]) is not None
    ]
    x: list[float | None] = []
    y: list[float | None] = []
    for first, last in runs_of_layers(known):
        layers = list(range(first, last + 1))
        widened = 0.06 if first == last else 0.0
        places = [first - widened, first + widened] if first == last else list(map(float, layers))
        layers = layers * 2 if first == last else layers
        x += [*places, *reversed(places), None]
        y += [*(_value(rows[layer]["ci_high"]) for layer in layers)]
        y += [*(_value(rows[layer]["ci_low"]) for layer in reversed(layers)), None]
    return {
        "type": "scatter",
        "mode": "lines",
        "x": x,
        "y": y,
        "fill": "toself",
        "fillcolor": colour,
        "opacity": INTERVAL_OPACITY + 0.03,
        "line": {"width": 0, "color": colour},
        "hoverinfo": "skip",
        "meta": dict(shown),
    }


def dash(style: LineStyle) -> str:
    """The dash pattern as SVG takes it; lengths in multiples of a thin line's width."""
    return ",".join(f"{1.5 * length:g}px" for length in style.dashes) if style.dashes else "solid"


def _layer_axis(n_layers: int) -> dict[str, Any]:
    step = next(step for step in (1, 2, 4, 8, 16, n_layers) if n_layers / step <= 12)
    start = 1 if step == 1 else step
    return {"range": [0.5, n_layers + 0.5], "tickmode": "linear", "tick0": start, "dtick": step, "showgrid": False}


# layers x kinds


def kinds_heat_map(summary: Row) -> Figure:
    """ρ of every layer and module kind, and of whole layers, for each measure."""
    traces = []
    layers = list(range(1, summary["n_layers"] + 1))
    for measure in summary["measures"]:
        rows = {"whole layer": measure_layers(summary, measure), **kind_rows(summary, measure)}
        z = [[_value(of.get(layer, {}).get("spearman")) for layer in layers] for of in rows.values()]
        text = [
            [f"{name}, layer {layer}: {statistics_text(of[layer])}" if layer in of else "" for layer in layers]
            for name, of in rows.items()
        ]
        trace: Trace = {
            "type": "heatmap",
            "x": layers,
            "y": [plotly_text(name) for name in rows],
            "z": z,
            "hovertext": [[plotly_text(cell) for cell in line] for line in text],
            "hovertemplate": "%{hovertext}<extra></extra>",
            "colorscale": HEAT_MAP,
            "colorbar": _colour_bar("ρ"),
            "xgap": 1,
            "ygap": 1,
            "meta": {"measure": measure},
        }
        if len(layers) <= CELL_TEXT_LAYERS:
            trace |= {"text": [[number(cell, 2) if cell is not None else "" for cell in line] for line in z]}
            trace |= {"texttemplate": "%{text}", "textfont": {"size": 11}}
        traces.append(trace)
    layout = _layout("layer", "")
    layout["xaxis"] |= _layer_axis(summary["n_layers"])
    layout["yaxis"] |= {"type": "category", "autorange": "reversed", "showgrid": False}
    for name in ("xaxis", "yaxis"):
        layout[name] |= {"showline": False, "ticks": ""}
    return {"traces": traces, "layout": layout}


# scores


def score_columns(scores: PairScores, summary: Row) -> Iterator[tuple[str, str, Floats]]:
    """Measure, whose scores (``band`` or a layer's number), and the scores [n]."""
    for measure in summary["measures"]:
        yield measure, HEADLINE, scores.band_scores(measure, summary["band"]["layers"])
        frame = scores.layer_scores(measure)
        for layer in frame.columns:
            yield measure, str(layer), frame[layer].to_numpy()


def score_figures(scores: PairScores, gold: Floats, summary: Row) -> tuple[Figure, Figure]:
    """Scores against gold scores (density per gold bin), and how the scores are spread in thirds of the gold scores."""
    densities: list[Trace] = []
    spreads: list[Trace] = []
    for measure, whose, values in score_columns(scores, summary):
        shown = {"measure": measure, "scores": whose}
        density = score_density(gold, values)
        densities += _density(density, shown)
        spreads += _spread(gold, values, density.score_edges, shown)
    against = _layout("human score", "similarity of the activation patterns")
    spread = _layout("similarity of the activation patterns", "pairs")
    if np.ptp(gold) <= FEW_VALUES:
        against["xaxis"]["dtick"] = 1
    against["xaxis"]["showgrid"] = against["yaxis"]["showgrid"] = spread["xaxis"]["showgrid"] = False
    spread["yaxis"]["rangemode"] = "tozero"
    legend = {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "itemclick": False, "itemdoubleclick": False}
    spread |= {"showlegend": True, "legend": {**legend, "bgcolor": "rgba(0,0,0,0)"}, "hovermode": "x"}
    spread["margin"] = {**spread["margin"], "t": 36}
    return {"traces": densities, "layout": against}, {"traces": spreads, "layout": spread}


def _density(density: ScoreDensity, shown: Mapping[str, str]) -> Iterator[Trace]:
    shares = density.shares()
    yield {
        "type": "heatmap",
        "x": rounded(density.gold_edges),
        "y": rounded(density.score_edges, 6),
        "z": [rounded(line, 4) for line in shares.T],
        "colorscale": [[i / (len(DENSITY_SCALE) - 1), colour] for i, colour in enumerate(DENSITY_SCALE)],
        "zmin": 0,
        "colorbar": _colour_bar("share") | {"tickformat": ".0%"},
        "hovertemplate": "human score %{x:.2f}, similarity %{y:.3f}: %{z:.1%} of the pairs<extra></extra>",
        "meta": dict(shown),
    }
    low, middle, high = density.quartiles.T
    yield {
        "type": "scatter",
        "mode": "lines+markers",
        "x": rounded(density.gold_centres),
        "y": rounded(middle),
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": rounded(high - middle),
            "arrayminus": rounded(middle - low),
            "color": MEASURE_STYLES[1].colour,
            "thickness": 1.4,
            "width": 0,
        },
        "line": {"color": MEASURE_STYLES[1].colour, "width": 1.6},
        "marker": {"color": MEASURE_STYLES[1].colour, "size": 6},
        "hovertemplate": "median %{y:.3f}<extra></extra>",
        "meta": dict(shown),
    }


def _spread(gold: Floats, values: Floats, edges: Floats, shown: Mapping[str, str]) -> Iterator[Trace]:
    centres = (edges[1:] + edges[:-1]) / 2
    for third, colour, dashes in zip(gold_thirds(gold, values, edges), THIRDS, THIRD_DASHES, strict=False):
        label = f"human score {third.low:g} to {third.high:g} ({third.n} pairs)"
        yield {
            "type": "scatter",
            "mode": "lines",
            "name": label,
            "x": rounded(centres),
            "y": third.counts.tolist(),
            "line": {"color": colour, "width": 1.8, "shape": "hvh", "dash": dash(LineStyle(colour, dashes, None))},
            "hovertemplate": "%{y} pairs<extra></extra>",
            "meta": dict(shown),
        }


# layout


def _layout(x: str, y: str) -> dict[str, Any]:
    axis = {
        "gridcolor": GRID,
        "linecolor": INK,
        "tickcolor": INK,
        "zerolinecolor": GRID,
        "showline": True,
        "ticks": "outside",
        "ticklen": 4,
        "automargin": True,
        "fixedrange": True,
    }
    return {
        "font": {"family": "system-ui, -apple-system, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif", "size": 13}
        | {"color": INK},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "margin": {"l": 60, "r": 16, "t": 12, "b": 52},
        "xaxis": {**axis, "title": {"text": x, "standoff": 8, "font": {"size": 13}}},
        "yaxis": {**axis, "title": {"text": y, "standoff": 8, "font": {"size": 13}}},
        "hoverlabel": {"bgcolor": GROUND, "bordercolor": INK, "font": {"color": INK}},
        "showlegend": False,
    }


def _colour_bar(title: str) -> dict[str, Any]:
    return {
        "title": {"text": title, "font": {"size": 13}},
        "thickness": 12,
        "outlinewidth": 0,
        "len": 1,
        "xpad": 4,
        "ypad": 0,
    }


def _value(value: float | None) -> float | None:
    known = defined(value)
    return None if known is None else round(known, 5)


def choices(summary: Row) -> dict[str, Any]:
    """What a reader can switch to: measures, module kinds, whose scores, and lines, each with its label."""
    kinds: Iterable[str] = dict.fromkeys(row["kind"] for row in summary["kinds"])
    lines = {line.key: line for measure in summary["measures"] for line in lines_beside(summary, measure)}
    layers: Sequence[int] = range(1, summary["n_layers"] + 1)
    return {
        "measures": list(summary["measures"]),
        "kinds": [(WHOLE_LAYER, "whole layer"), *((kind, kind) for kind in kinds)],
        "scores": [(HEADLINE, band_label(summary["band"])), *((str(layer), f"layer {layer}") for layer in layers)],
        "lines": list(lines.values()),
    }
