"""The report of a pruning study in Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from actsim.report.compare_tables import p_text
from actsim.report.markdown import CITATION, embedded, escaped, files_section, notes_section, provenance_section, table
from actsim.report.study_series import (
    CalibrationGrid,
    allocations,
    axis_text,
    calibration_grids,
    difference_ends,
    figure_name,
    grid_label,
    measure_label,
    of,
    unit,
    value_text,
    varied,
    way_label,
    ways,
)
from actsim.report.study_tables import TRANSFER_HEADINGS
from actsim.report.study_wording import figure_unit, findings, method_sentences, transfer_cells, under
from actsim.report.wording import Row, interval, number, percent

RESULTS, PLANS, MATRIX = "results", "plans", "matrix"
"""Names of the figures."""


def study_markdown(summary: Row, manifest: Row, files: Mapping[str, str]) -> str:
    """The whole report.

    Args:
        summary: the summary of a study.
        manifest: its manifest; ``config``, ``digest``, ``record`` and ``seconds`` are read.
        files: what is beside the report, name -> path relative to it. The figures are embedded, the others listed.
    """
    others = {name: path for name, path in files.items() if name not in (RESULTS, PLANS, MATRIX)}
    sections = [
        f"# Pruning study: {escaped(summary['model']['name'])}",
        *_lead(summary),
        *_results(summary, files),
        *_differences(summary),
        *_calibrations(summary, files),
        *_plans(summary, files),
        "## Method",
        "\n".join(f"- {escaped(sentence)}" for sentence in method_sentences(summary)),
        *_provenance(summary, manifest),
        *notes_section(summary),
        *files_section(others),
        "## Reference",
        CITATION,
    ]
    return "\n\n".join(sections) + "\n"


def _lead(summary: Row) -> Iterator[str]:
    yield f"{escaped(under(summary))}."
    found = findings(summary)
    if found:
        yield "\n".join(f"- {escaped(sentence)}" for sentence in found)


def _results(summary: Row, files: Mapping[str, str]) -> Iterator[str]:
    """A table for every measure: a row per allocation, a column per way of pruning."""
    yield "## Results"
    yield from embedded(files, RESULTS, "What every allocation comes to, with intervals over the seeds")
    known = ways(summary)
    for dense in summary["dense"]:
        yield (
            f"{escaped(measure_label(dense['measure']))}: {escaped(figure_name(dense))}, dense "
            f"**{number(dense['value'], 2)}** ({dense['items']} items); mean over the seeds "
            f"[{percent(summary['level'])} interval]:"
        )
        rows = []
        for name in allocations(summary):
            found = [of(summary["figures"], way, allocation=name, measure=dense["measure"]) for way in known]
            rows.append([escaped(name), *(escaped(value_text(own[0])) if own else "" for own in found)])
        yield table(["allocation", *(escaped(way_label(summary, way)) for way in known)], rows)


def _differences(summary: Row) -> Iterator[str]:
    if not summary["differences"]:
        return
    yield "## Differences"
    axes = varied(summary)
    several = len(summary["dense"]) > 1
    for figure in dict.fromkeys(row["figure"] for row in summary["dense"]):
        measures = {row["measure"] for row in summary["dense"] if row["figure"] == figure}
        yield f"Allocation minus the one it is compared with, in {unit(figure)}:"
        rows = [
            [
                *([escaped(measure_label(row["measure"]))] if several else []),
                *(escaped(axis_text(row, name)) for name in axes),
                escaped(row["allocation"]),
                escaped(row["against"]),
                number(row["difference"], 2, signed=True),
                escaped(interval(*difference_ends(row), 2, signed=True)),
                escaped(interval(row["items_low"], row["items_high"], 2, signed=True)),
                escaped(p_text(row["p_holm"])),
                row["verdict"],
            ]
            for row in summary["differences"]
            if row["measure"] in measures
        ]
        words = [*(["measured on"] if several else []), *axes, "allocation", "against"]
        level = percent(summary["level"])
        yield table([*words, "difference", level, "over items", "p (Holm)", "verdict"], rows, text_columns=len(words))


def _calibrations(summary: Row, files: Mapping[str, str]) -> Iterator[str]:
    grids = calibration_grids(summary)
    if not grids:
        return
    yield "## Calibrations and texts"
    yield from embedded(files, MATRIX, "What pruning with every calibration costs on every text")
    for grid in grids:
        yield from _grid(summary, grid, grid_label(grid, grids))


def _grid(summary: Row, grid: CalibrationGrid, label: str) -> Iterator[str]:
    where = "" if label == "all" else f"{escaped(label)}: "
    yield f"{where}{figure_unit(grid.figure)} against the dense model; in brackets against the mean of each text:"
    rows = [
        [
            escaped(name),
            *(f"{number(a, 1, signed=True)} ({number(b, 1, signed=True)})" for a, b in zip(*line, strict=True)),
        ]
        for name, *line in zip(grid.calibrations, grid.against_dense, grid.against_text(), strict=True)
    ]
    yield table(["calibration", *map(escaped, grid.texts)], rows)
    rows = [list(map(escaped, transfer_cells(row))) for row in summary["transfer"] if grid.holds(row)]
    if rows:
        yield "Spearman's ρ of what a calibration gains and of its similarity to the text:"
        headings = [escaped(heading.format(level=percent(summary["level"]))) for heading in TRANSFER_HEADINGS]
        yield table(headings, rows, text_columns=2)


def _plans(summary: Row, files: Mapping[str, str]) -> Iterator[str]:
    yield "## Plans"
    yield from embedded(files, PLANS, "Sparsity of every block by allocation")
    for way in ways(summary):
        label = way_label(summary, way)
        where = "" if label == "all" else f", {escaped(label)}"
        yield f"Planned sparsity of every block in per cent{where}:"
        plans = of(summary["plans"], way)
        rows = [
            [str(block + 1), *(number(100 * plan["planned"][block], 1) for plan in plans)]
            for block in range(summary["n_layers"])
        ]
        yield table(["layer", *(escaped(plan["allocation"]) for plan in plans)], rows)


def _provenance(summary: Row, manifest: Row) -> Iterator[str]:
    config, record = manifest["config"], dict(manifest["record"])
    command = record.pop("command", None)
    parts: dict[str, dict[str, Any]] = {
        "model": summary["model"],
        "calibration": {
            "seeds": [seed for seed in dict.fromkeys(cell["seed"] for cell in config["cells"]) if seed is not None],
            **{name.replace("_", " "): config[name] for name in ("samples", "seq_len")},
            **_calibrated(config),
        },
        "measured": dict(map(_measured, summary["evaluations"])),
        "summary": {name: summary[name] for name in ("level", "resamples", "permutations", "seed")},
        "similarity": summary["similarity"] or {},
        "run": {**record, "wall time": f"{manifest['seconds']:.1f} s", "configuration digest": manifest["digest"]},
    }
    yield from provenance_section(parts, command)


def _calibrated(config: Row) -> dict[str, str]:
    """Calibration -> one line of what it is."""
    return {
        own["name"]: "; ".join(_present(own, ("split", "n", "fingerprint"))) for own in config["calibrations"].values()
    }


def _measured(evaluation: Row) -> tuple[str, str]:
    """What is measured, and one line of what it is."""
    kind = next(kind for kind in ("text", "questions", "pairs") if kind in evaluation)
    parts = [*_present(evaluation[kind], ("split", "n", "rows", "shots", "fingerprint"))]
    return evaluation["data"], "; ".join([*parts, *_present(evaluation, ("context", "windows", "tokens_sha256"))])


def _present(content: Row, names: Sequence[str]) -> Iterator[str]:
    return (f"{name.replace('_', ' ')} {content[name]}" for name in names if isinstance(content.get(name), str | int))
