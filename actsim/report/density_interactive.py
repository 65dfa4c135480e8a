"""Interactive figures of a density run as plotly's JSON; what is shown is chosen by ``measure`` and ``domain``."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from actsim.report.density_curves import (
    MEAN,
    Measure,
    all_measures,
    contrasts,
    curve,
    domain_names,
    share_over,
    values_by_layer,
)
from actsim.report.density_figures import MEAN_STYLE, layer_colours, thresholds_of
from actsim.report.palette import LineStyle, domain_style
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
    numbered,
    plain_value,
    plotly_text,
)
from actsim.report.wording import Row


def curves(summary: Row) -> list[Figure]:
    """A line per domain over the layers with its interval, for every measure."""
    return [_curve_figure(summary, measure) for measure in all_measures(summary)]


def _curve_figure(summary: Row, measure: Measure) -> Figure:
    shown = {"measure": measure.label}
    traces: list[Trace] = []
    for index, name in enumerate(domain_names(summary)):
        rows, style = curve(summary, measure, name), domain_style(index)
        traces.append(interval_area(rows, style.colour, {**shown, "line": name}))
        text = [_statistics(measure, row) for row in rows.values()]
        values = [row["value"] for row in rows.values()]
        traces.append(_line(list(rows), values, text, style, name, {**shown, "line": name}))
    layout = figure_layout("layer", measure.axis)
    layout["xaxis"] |= layer_axis(summary["n_layers"])
    return {"traces": traces, "layout": layout | {"hovermode": "x unified"}, "meta": shown}


def _statistics(measure: Measure, row: Mapping[str, Any]) -> str:
    """The figures are in the measure's unit already."""
    plain = replace(measure, factor=1.0)
    return f"{plain.text(row['value'])} {plain.interval_text(row['ci_low'], row['ci_high'])}"


def thresholds(summary: Row) -> Figure:
    """Shares over γ, a line per layer, for every domain and their mean."""
    traces: list[Trace] = []
    measures, layers = thresholds_of(summary), summary["layers"]
    gammas = [measure.gamma for measure in measures]
    for domain in (None, *domain_names(summary)):
        found = [values_by_layer(summary, measure, domain) for measure in measures]
        for layer, colour in zip(layers, layer_colours(layers), strict=True):
            style = LineStyle(colour, (), None)
            values = [own.get(layer) for own in found]
            text = [measure.text(value) for measure, value in zip(measures, values, strict=True)]
            scaled = [None if value is None else measures[0].factor * value for value in values]
            traces.append(_line(gammas, scaled, text, style, f"layer {layer}", {"domain": domain or MEAN}))
    return {"traces": traces, "layout": _over_gamma("parameters with Ā > γ, %", gammas)}


def sensitivity(summary: Row) -> Figure:
    """Shallow half minus deep half over γ: a line per domain, and their mean with its interval."""
    measures = thresholds_of(summary)
    gammas = [measure.gamma for measure in measures]
    traces: list[Trace] = []
    for index, name in enumerate([*domain_names(summary), None]):
        rows = [row for measure in measures for row in contrasts(summary["depth"], measure) if row["domain"] == name]
        style = MEAN_STYLE if name is None else domain_style(index)
        shown = {} if name is None else {"line": name}
        text = [measure.difference_text(row) for measure, row in zip(measures, rows, strict=True)]
        values = [measures[0].factor * row["difference"] for row in rows]
        traces.append(_line(gammas, values, text, style, name or MEAN, shown))
    return {"traces": traces, "layout": _over_gamma("shallow half minus deep half, points", gammas)}


def kinds(summary: Row) -> Figure:
    """The share over the first γ of every layer and module kind, for every domain and their mean."""
    measure = share_over(summary["headline"][0])
    names = list(dict.fromkeys(row["kind"] for row in summary["rows"]))
    traces = []
    for domain in (None, *domain_names(summary)):
        found = {name: values_by_layer(summary, measure, domain, name) for name in names}
        z = [[_scaled(measure, of.get(layer)) for layer in summary["layers"]] for of in found.values()]
        hover = [
            [f"{name}, layer {layer}: {measure.text(of.get(layer))} %" for layer in summary["layers"]]
            for name, of in found.items()
        ]
        shown = {"domain": domain or MEAN}
        trace = heat_map(summary["layers"], [plotly_text(name) for name in names], z, hover, shown)
        traces += numbered(trace | {"colorbar": colour_bar("%")})
    layout = figure_layout("layer", "")
    layout["xaxis"] |= layer_axis(summary["n_layers"])
    layout["yaxis"] |= {"type": "category", "autorange": "reversed", "showgrid": False}
    for axis in ("xaxis", "yaxis"):
        layout[axis] |= {"showline": False, "ticks": ""}
    return {"traces": traces, "layout": layout}


def _scaled(measure: Measure, value: float | None) -> float | None:
    return None if value is None else plain_value(measure.factor * value)


def _over_gamma(axis: str, gammas: Sequence[float | None]) -> dict[str, Any]:
    """The layout of a figure over γ: at most eight ticks, at powers of ten, which do not touch on a narrow screen."""
    decades = [math.log10(gamma) for gamma in gammas if gamma]
    step = max(1, math.ceil((max(decades) - min(decades)) / 7)) if decades else 1
    layout = figure_layout("γ", axis)
    layout["xaxis"] |= {"type": "log", "exponentformat": "power", "dtick": step, "showgrid": False}
    return layout


def _line(
    x: Sequence[float | None],
    y: Sequence[float | None],
    text: Sequence[str],
    style: LineStyle,
    label: str,
    shown: Mapping[str, str],
) -> Trace:
    trace: Trace = {
        "type": "scatter",
        "mode": "lines" if style.marker is None else "lines+markers",
        "x": list(x),
        "y": [plain_value(value) for value in y],
        "text": list(text),
        "line": {"color": style.colour, "width": 2, "dash": dash(style)},
        "connectgaps": False,
        "hovertemplate": f"{plotly_text(label)}: %{{text}}<extra></extra>",
        "meta": dict(shown),
    }
    if style.marker is not None:
        trace["marker"] = {"symbol": MARKERS[style.marker], "size": 6, "color": style.colour}
    return trace


def choices(summary: Row) -> dict[str, list[tuple[str, str]]]:
    """What the page's selects offer: value and text."""
    return {
        "measure": [(measure.label, measure.axis) for measure in all_measures(summary)],
        "domain": [(name, name) for name in (MEAN, *domain_names(summary))],
    }


def legend_lines(summary: Row) -> Iterator[tuple[str, LineStyle]]:
    """Every domain with its line."""
    for index, name in enumerate(domain_names(summary)):
        yield name, domain_style(index)
