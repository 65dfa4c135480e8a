"""Interactive figures of a run over domains as plotly's JSON; what is shown is chosen on the page."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence

from actsim.report.domain_figures import LEVELS, SERIES_STYLES, levels
from actsim.report.domain_tables import ACTIVATION, NUMBERS, PUBLISHED, SERIES, cells, domain_names, estimate_text
from actsim.report.palette import MEASURE_STYLES, LineStyle
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
)
from actsim.report.wording import Row, number, one_line

EVERY_PAIR = "all"
LINES = {
    "levels": "mean cosine within and between domains",
    "gap": "gap: within minus between",
    "separation": "separation",
    "agreement": "agreement with other matrices",
}
"""What the lines over the layers may show."""
AXES = {
    "levels": "mean cosine",
    "gap": "gap of the mean cosines",
    "separation": "separation (0.5 by chance)",
    "agreement": "Spearman’s ρ of the matrices",
}


def choices(summary: Row) -> dict[str, list[tuple[str, str]]]:
    """What the page's selects offer: value and text."""
    shown = [name for name in LINES if name != "agreement" or summary["agreement"]]
    pairs = [(pair_key(a, b), f"{one_line(a)} and {one_line(b)}") for a, b in _pairs(summary)]
    return {
        "similarity": [(name, SERIES[name]) for name, rows in summary["matrices"].items() if rows],
        "lines": [(name, LINES[name]) for name in shown],
        "pair": [(EVERY_PAIR, "all domains"), *pairs],
    }


def pair_key(a: str, b: str) -> str:
    """The value of the choice ``pair`` that shows two domains."""
    return f"{a} {b}"


def _pairs(summary: Row) -> Iterator[tuple[str, str]]:
    return itertools.combinations(domain_names(summary), 2)


def matrices(summary: Row) -> list[Figure]:
    """A heat map for every similarity, the domains in the order in which the patterns' similar ones stand together."""
    return [_matrix(summary, name) for name, rows in summary["matrices"].items() if rows]


def _matrix(summary: Row, similarity: str) -> Figure:
    found = cells(summary, similarity)
    names = [name for name in summary["order"] if (name, name) in found]
    z = [[plain_value(found[a, b]["value"]) for b in names] for a in names]
    hover = [[f"{a}, {b}: {_cell(found[a, b])}" for b in names] for a in names]
    labels = [plotly_text(name) for name in names]
    shown = {"similarity": similarity}
    layout = figure_layout("", "")
    layout["xaxis"] |= {"type": "category", "tickangle": -45}
    layout["yaxis"] |= {"type": "category", "autorange": "reversed"}
    for axis in ("xaxis", "yaxis"):
        layout[axis] |= {"showline": False, "ticks": "", "showgrid": False}
    trace = heat_map(labels, labels, z, hover, shown) | {"colorbar": colour_bar("cosine")}
    return {"traces": numbered(trace), "layout": layout, "meta": shown}


def _cell(row: Row) -> str:
    return f"{estimate_text(row)}, {row['n']} pairs of samples" if "n" in row else number(row["value"], 2)


def lines(summary: Row) -> list[Figure]:
    """Within and between, the gap, separation, and ρ with other matrices, over the layers."""
    series = {"levels": _levels, "gap": _gap, "separation": _separation, "agreement": _agreement}
    return [_lines_figure(summary, name, list(series[name](summary))) for name, _ in choices(summary)["lines"]]


def _lines_figure(summary: Row, name: str, traces: list[Trace]) -> Figure:
    layout = figure_layout("layer", AXES[name])
    layout["xaxis"] |= layer_axis(summary["n_layers"])
    layout |= legend_above(layout) | {"hovermode": "x unified"}
    return {"traces": traces, "layout": layout, "meta": {"lines": name}}


def _levels(summary: Row) -> Iterator[Trace]:
    for name, (label, style) in LEVELS.items():
        yield from _series({row["layer"]: row[name] for row in summary["layers"]}, style, label)


def _gap(summary: Row) -> Iterator[Trace]:
    for name, rows in ((ACTIVATION, summary["layers"]), ("hidden_mean", summary["hidden_layers"])):
        yield from _series({row["layer"]: row["gap"] for row in rows}, SERIES_STYLES[name], SERIES[name])


def _separation(summary: Row) -> Iterator[Trace]:
    for name, rows in ((ACTIVATION, summary["layers"]), ("hidden_mean", summary["hidden_layers"])):
        yield from _series({row["layer"]: row["separation"] for row in rows}, SERIES_STYLES[name], SERIES[name])
    for name, level in levels(summary).items():
        yield from _series({row["layer"]: level for row in summary["layers"]}, SERIES_STYLES[name], SERIES[name])


def _agreement(summary: Row) -> Iterator[Trace]:
    styles = SERIES_STYLES | {PUBLISHED: MEASURE_STYLES[1]}
    for name in dict.fromkeys(row["with"] for row in summary["agreement"]):
        rows = {row["layer"]: row for row in summary["agreement"] if row["with"] == name}
        yield from _series(rows, styles[name], SERIES[name])


def _series(rows: Mapping[int, Row], style: LineStyle, label: str) -> Iterator[Trace]:
    """The interval of a line, and the line."""
    yield interval_area(rows, style.colour, {}) | {"showlegend": False}
    trace: Trace = {
        "type": "scatter",
        "mode": "lines" if style.marker is None else "lines+markers",
        "name": label,
        "x": list(rows),
        "y": [plain_value(row["value"]) for row in rows.values()],
        "text": [estimate_text(row) for row in rows.values()],
        "line": {"color": style.colour, "width": 2, "dash": dash(style)},
        "connectgaps": False,
        "hovertemplate": f"{label}: %{{text}}<extra></extra>",
        "meta": {},
    }
    if style.marker is not None:
        trace["marker"] = {"symbol": MARKERS[style.marker], "size": 6, "color": style.colour}
    yield trace


def boxes(summary: Row) -> Figure:
    """The distribution of the cosines at every layer: within and between all domains, or those of a pair of domains."""
    traces: list[Trace] = []
    for name, (label, style) in LEVELS.items():
        rows = [row for row in summary["spread"] if row["which"] == name]
        traces.append(_box(rows, label, style, EVERY_PAIR))
    found: dict[tuple[str, str], list[Row]] = {}
    for row in summary["pairs"]:
        found.setdefault((row["a"], row["b"]), []).append(row)
    for a, b in _pairs(summary):
        labels = ((a, a, f"within {one_line(a)}"), (b, b, f"within {one_line(b)}"), (a, b, "between them"))
        for (first, second, label), style in zip(labels, MEASURE_STYLES, strict=False):
            traces.append(_box(found[first, second], plotly_text(label), style, pair_key(a, b)))
    layout = figure_layout("layer", "cosine")
    layout["xaxis"] |= layer_axis(summary["n_layers"])
    return {"traces": traces, "layout": layout | legend_above(layout) | {"boxmode": "group"}}


def _box(rows: Sequence[Row], label: str, style: LineStyle, pair: str) -> Trace:
    by_layer = [row for row in rows if row["layer"] != "band"]
    keys = ("lowerfence", "q1", "median", "q3", "upperfence")
    return {
        "type": "box",
        "name": label,
        "x": [int(row["layer"]) for row in by_layer],
        **{key: [plain_value(row[name]) for row in by_layer] for key, name in zip(keys, NUMBERS, strict=True)},
        "line": {"color": style.colour, "width": 1.4},
        "fillcolor": "rgba(0,0,0,0)",
        "whiskerwidth": 0.5,
        "hoverlabel": {"namelength": -1},
        "meta": {"pair": pair},
    }
