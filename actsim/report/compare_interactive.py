"""Interactive figures of a comparison as plotly's JSON: the curves with the headlines, and layer against layer."""

from __future__ import annotations

from collections.abc import Iterator

from actsim.report.palette import LineStyle, run_style
from actsim.report.plotly_parts import (
    MARKERS,
    Figure,
    Trace,
    dash,
    figure_layout,
    heat_map,
    interval_area,
    layer_axis,
    numbered,
    plain_value,
    plotly_text,
)
from actsim.report.wording import Row, defined, interval, number

HEADLINE_AXIS = "x2"


def curves(summary: Row) -> Figure:
    """ρ of every layer over relative depth with its interval, and the headlines beside it on the same axis of ρ."""
    traces: list[Trace] = []
    for index, run in enumerate(summary["runs"]):
        traces += _run(run, index, run_style(index))
    layout = figure_layout("relative depth", "Spearman’s ρ with human judgement")
    keys = [run["key"] for run in summary["runs"]]
    headlines = figure_layout("headline", "")["xaxis"] | {
        "domain": [0.86, 1],
        "anchor": "y",
        "showgrid": False,
        "zeroline": False,
    }
    headlines |= {"range": [-0.7, len(keys) - 0.3], "tickvals": list(range(len(keys))), "ticktext": keys}
    layout["xaxis"] |= {"domain": [0, 0.82], "range": [0, 1.03], "tickformat": ".0%", "showgrid": False}
    layout["yaxis"]["tickformat"] = ".2f"
    return {"traces": traces, "layout": layout | {"xaxis2": headlines}}


def _run(run: Row, index: int, style: LineStyle) -> Iterator[Trace]:
    """The interval, the curve, a ring around the best layer, the headline."""
    n_layers, key = run["n_layers"], run["key"]
    yield interval_area({row["layer"]: row for row in run["layers"]}, style.colour, {}, lambda layer: layer / n_layers)
    colour, symbol = {"color": style.colour}, {"symbol": MARKERS[style.marker or "o"]}
    text = [f"{key}, layer {row['layer']} of {n_layers}: {_statistics(row)}" for row in run["layers"]]
    yield _points([row["depth"] for row in run["layers"]], run["layers"], text) | {
        "mode": "lines+markers",
        "line": {**colour, "width": 2.2, "dash": dash(style)},
        "marker": {**colour, **symbol, "size": 7},
        "connectgaps": False,
    }
    if best := run["best_layer"]:
        ring = {**colour, "symbol": "circle-open", "size": 15, "line": {"width": 1.6, **colour}}
        yield _points([best["depth"]], [best], [""]) | {"marker": ring, "hoverinfo": "skip", "hovertemplate": None}
    headline = run["headline"]
    middle, low, high = (defined(headline[name]) for name in ("spearman", "ci_low", "ci_high"))
    trace = _points([index], [headline], [f"{key}, headline: {_statistics(headline)}"])
    trace |= {"xaxis": HEADLINE_AXIS, "marker": {**colour, **symbol, "size": 9}}
    if middle is not None and low is not None and high is not None:
        reach = {"array": [high - middle], "arrayminus": [middle - low]}
        trace["error_y"] = {"type": "data", "symmetric": False, **reach, **colour, "thickness": 2, "width": 0}
    yield trace


def _points(x: list[float], rows: list[Row], text: list[str]) -> Trace:
    return {
        "type": "scatter",
        "mode": "markers",
        "x": x,
        "y": [plain_value(row["spearman"]) for row in rows],
        "hovertext": [plotly_text(line) for line in text],
        "hovertemplate": "%{hovertext}<extra></extra>",
        "cliponaxis": False,
        "meta": {},
    }


def _statistics(row: Row) -> str:
    return f"{number(row['spearman'])} {interval(row['ci_low'], row['ci_high'])}"


def layers_against_layers(summary: Row) -> list[Figure]:
    """For every two runs ρ between the pair scores of every layer of one and of the other; shown by ``runs``."""
    return [_heat_map(found) for found in summary["agreements"]]


def runs_choice(found: Row) -> str:
    """The value of the choice ``runs`` that shows an agreement."""
    return f"{found['a']} {found['b']}"


def _heat_map(found: Row) -> Figure:
    a, b = found["a"], found["b"]
    values = [[plain_value(value) for value in line] for line in found["layers"]]
    rows, columns = range(1, len(values) + 1), range(1, len(values[0]) + 1)
    hover = [
        [f"layer {row} of {a}, layer {column} of {b}: {number(value)}" for column, value in enumerate(line, start=1)]
        for row, line in enumerate(values, start=1)
    ]
    layout = figure_layout(f"layer of {b}", f"layer of {a}")
    for name, layers in (("xaxis", columns), ("yaxis", rows)):
        layout[name] |= {**layer_axis(len(layers)), "showline": False, "ticks": ""}
    shown = {"runs": runs_choice(found)}
    return {"traces": numbered(heat_map(columns, rows, values, hover, shown)), "layout": layout, "meta": shown}
