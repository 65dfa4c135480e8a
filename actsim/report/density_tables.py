"""The tables of a density run: what the terminal shows last, and ``density.csv``."""

from __future__ import annotations

from actsim.report.tables import csv_text
from actsim.report.wording import Row

MEASURES = ("mean", "participation", "gini", "gini_error")


def density_csv(summary: Row) -> str:
    """One row per domain, layer, module kind and γ: count and share of the parameters with Ā > γ, and what has no γ.

    Intervals are of whole layers; those of the shares only. Floats are written with ``repr``; what is undefined is an
    empty field.
    """
    header = ["domain", "layer", "kind", "gamma", "count", "share", "ci_low", "ci_high", "parameters", "zeros"]
    ends = {
        (row["domain"], row["layer"], "all", gamma): end
        for row in summary["intervals"]
        for gamma, end in zip(summary["gammas"], row["share"], strict=True)
    }
    rows = []
    for row in summary["rows"]:
        for gamma, count in zip(summary["gammas"], row["counts"], strict=True):
            place = (row["domain"], row["layer"], row["kind"], gamma)
            low, high = ends.get(place, (None, None))
            shares = [count, count / row["parameters"], low, high]
            rows.append([*place, *shares, row["parameters"], row["zeros"], *(row[name] for name in MEASURES)])
    return csv_text([*header, *MEASURES], rows)
