"""Interactive figures of a run as plotly's JSON: all that a reader can switch to, the page shows the part chosen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from actsim.report.histograms import FEW_VALUES, Floats, ScoreDensity, gold_thirds, score_density
from actsim.report.lines import Line, lines_beside
from actsim.report.pair_table import rounded
from actsim.report.palette import (
    BAND_COLOUR,
    CELL_TEXT_LAYERS,
    DENSITY_SCALE,
    MEASURE_STYLES,
    THIRD_DASHES,
    THIRDS,
    LineStyle,
    measure_style,
)
from actsim.report.plotly_parts import (
    MARKERS,
    Figure,
    Trace,
    colour_bar,
    dash,
    figure_layout,
    heat_map,
    interval_area,
    layer_axis,
    legend_above,
    numbered,
    plain_value,
    plotly_text,
    statistics_text,
)
from actsim.report.tables import kind_rows, measure_layers
from actsim.report.wording import Row, band_label, runs_of_layers
from actsim.store import PairScores
from actsim.store.parts import WHOLE_LAYER

HEADLINE = "band"
"""Value of ``scores`` for those of the headline band; a layer's is its number."""

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
            traces.append(interval_area(rows, style.colour, shown))
            traces.append(_line(summary, rows, style, label, 2.2, shown))
    layout = figure_layout("layer", "Spearman’s ρ with human judgement")
    layout["xaxis"] |= layer_axis(summary["n_layers"])
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
        "y": [plain_value(line.level["spearman"])] * len(x),
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
        "y": [None if row is None else plain_value(row["spearman"]) for row in known],
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


# layers x kinds


def kinds_heat_map(summary: Row) -> Figure:
    """ρ of every layer and module kind, and of whole layers, for each measure."""
    traces = []
    layers = list(range(1, summary["n_layers"] + 1))
    for measure in summary["measures"]:
        rows = {"whole layer": measure_layers(summary, measure), **kind_rows(summary, measure)}
        z = [[plain_value(of.get(layer, {}).get("spearman")) for layer in layers] for of in rows.values()]
        text = [
            [f"{name}, layer {layer}: {statistics_text(of[layer])}" if layer in of else "" for layer in layers]
            for name, of in rows.items()
        ]
        traces += numbered(heat_map(layers, [plotly_text(name) for name in rows], z, text, {"measure": measure}))
    layout = figure_layout("layer", "")
    layout["xaxis"] |= layer_axis(summary["n_layers"])
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
    against = figure_layout("human score", "similarity of the activation patterns")
    spread = figure_layout("similarity of the activation patterns", "pairs")
    if np.ptp(gold) <= FEW_VALUES:
        against["xaxis"]["dtick"] = 1
    against["xaxis"]["showgrid"] = against["yaxis"]["showgrid"] = spread["xaxis"]["showgrid"] = False
    spread["yaxis"]["rangemode"] = "tozero"
    spread |= legend_above(spread) | {"hovermode": "x"}
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
        "colorbar": colour_bar("share") | {"tickformat": ".0%"},
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
