"""The report of a density run in Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from actsim.report.density_curves import (
    MEAN,
    SCALE,
    WITHOUT_THRESHOLD,
    Measure,
    contrasts,
    domain_names,
    share_over,
    shown_first,
    values_by_layer,
)
from actsim.report.density_tables import (
    HALVES,
    KINDS_OF_TEXT,
    QUESTIONS,
    contrast_cells,
    holds_in,
    intervals_sentence,
    mean_contrast,
)
from actsim.report.markdown import (
    CITATION,
    escaped,
    files_section,
    notes_section,
    provenance_section,
    table,
)
from actsim.report.wording import Row, counted, layers_label

LAYERS_FIGURE, GAMMA_FIGURE = "layers", "gamma"
"""Names of the figures that the report shows."""

VERDICTS = {"holds": "holds", "opposite": "is the other way round", "open": "is open", None: "has no interval"}


def density_markdown(summary: Row, manifest: Row, files: Mapping[str, str]) -> str:
    """The whole report.

    Args:
        summary: the summary of a run.
        manifest: its manifest; ``config``, ``digest``, ``record`` and ``seconds`` are read.
        files: what is beside the report, name -> path relative to it. Those named LAYERS_FIGURE and GAMMA_FIGURE are
            embedded, the others are listed.
    """
    others = {name: path for name, path in files.items() if name not in (LAYERS_FIGURE, GAMMA_FIGURE)}
    sections = [
        f"# Density of activation: {escaped(summary['model']['name'])}",
        *_lead(summary),
        *_layers(summary, files),
        *_depth(summary),
        *_running_text(summary),
        *_thresholds(summary, files),
        *_without_threshold(summary),
        *_kinds(summary),
        *_domains(summary),
        *_provenance(summary, manifest),
        *notes_section(summary),
        *files_section(others),
        "## Reference",
        CITATION,
    ]
    return "\n\n".join(sections) + "\n"


def halves(summary: Row) -> tuple[str, str]:
    """``layers 1-3`` and ``layers 4-6``."""
    middle = max(summary["layers"]) // 2
    return (
        layers_label([layer for layer in summary["layers"] if layer <= middle]),
        layers_label([layer for layer in summary["layers"] if layer > middle]),
    )


def _lead(summary: Row) -> Iterator[str]:
    yield (
        f"How many parameters of each layer have an activation, averaged over the samples of a domain, above a "
        f"threshold γ: {counted(len(summary['domains']), 'domain')}, read-out {escaped(summary['objective'])}, pattern "
        f"{escaped(summary['pattern'])}."
    )
    if not summary["depth"]:
        yield "The model has a single layer, so shallow and deep layers cannot be compared."
        return
    shallow, deep = halves(summary)
    lines = []
    for measure in shown_first(summary):
        row = mean_contrast(summary["depth"], measure)
        lines.append(
            f"- {measure.axis}: {measure.text(row['shallow'])} in the shallow half, {measure.text(row['deep'])} in the "
            f"deep half, a difference of {measure.difference_text(row)}: that shallow layers "
            f"are denser **{VERDICTS[row['verdict']]}**; in single domains it holds in {holds_in(summary, measure)}."
        )
    yield f"Shallow half: {shallow}. Deep half: {deep}. The mean of the domains:"
    yield "\n".join(lines)
    yield escaped(intervals_sentence(summary))


def _layers(summary: Row, files: Mapping[str, str]) -> Iterator[str]:
    measure = share_over(summary["headline"][0])
    yield "## Layers"
    if LAYERS_FIGURE in files:
        yield f"![{escaped(measure.axis)}, by layer and domain]({files[LAYERS_FIGURE]})"
    yield f"{escaped(measure.axis)}:"
    yield _by_layer(summary, {name: values_by_layer(summary, measure, name) for name in domain_names(summary)}, measure)


def _by_layer(summary: Row, columns: Mapping[str, Mapping[int, float | None]], measure: Measure) -> str:
    """A table of one measure: a row per layer, a column per name."""
    rows = [
        [str(layer), *(measure.text(found.get(layer)) for found in columns.values())] for layer in summary["layers"]
    ]
    return table(["layer", *map(escaped, columns)], rows)


def _depth(summary: Row) -> Iterator[str]:
    if not summary["depth"]:
        return
    yield "## Shallow and deep layers"
    yield f"{QUESTIONS[HALVES].capitalize()} Domain by domain:"
    for measure in shown_first(summary):
        yield f"{escaped(measure.axis)}:"
        rows = [
            [escaped(row["domain"] or MEAN), *contrast_cells(measure, row, HALVES)]
            for row in contrasts(summary["depth"], measure)
        ]
        yield table(["domain", *HALVES, "difference", "verdict"], rows)


def _running_text(summary: Row) -> Iterator[str]:
    if not summary["running_text"]:
        return
    running = [escaped(row["name"]) for row in summary["domains"] if row["running_text"]]
    yield "## Running text and tasks"
    yield f"{QUESTIONS[KINDS_OF_TEXT].capitalize()} Running text: {', '.join(running)}; tasks: the other domains."
    yield _contrast_table(summary, summary["running_text"], shown_first(summary), KINDS_OF_TEXT)


def _contrast_table(
    summary: Row, rows: Sequence[Row], measures: Sequence[Measure], ends: tuple[str, str], *, singly: bool = False
) -> str:
    """A row per measure: the contrast of all domains together; with ``singly`` in how many domains it holds."""
    cells = []
    for measure in measures:
        own = [measure.label, *contrast_cells(measure, mean_contrast(rows, measure), ends)]
        cells.append([*own, holds_in(summary, measure)] if singly else own)
    return table(["measure", *ends, "difference", "verdict", *(["domains"] if singly else [])], cells)


def _thresholds(summary: Row, files: Mapping[str, str]) -> Iterator[str]:
    yield "## Thresholds"
    if GAMMA_FIGURE in files:
        yield f"![Shares over γ, and what the threshold does to the finding]({files[GAMMA_FIGURE]})"
    if summary["depth"]:
        yield "The mean of the domains over every γ that was counted; in how many single domains the finding holds."
        measures = [share_over(gamma) for gamma in summary["gammas"]]
        yield _contrast_table(summary, summary["depth"], measures, HALVES, singly=True)


def _without_threshold(summary: Row) -> Iterator[str]:
    yield "## Without a threshold"
    bound = max(row["gini_error"] or 0.0 for row in summary["rows"])
    yield (
        "The participation ratio (ΣĀ)² / (n ΣĀ²) is the share of parameters that would do if all of them were "
        "activated alike; the Gini coefficient is 0 where they are. The mean of the domains. The Gini coefficients are "
        f"off by at most {bound:.1g}. The mean of Ā is no density: it decides what a threshold counts."
    )
    measures = (*WITHOUT_THRESHOLD, SCALE)
    columns = {measure.axis: (measure, values_by_layer(summary, measure, None)) for measure in measures}
    rows = [
        [str(layer), *(measure.text(values.get(layer)) for measure, values in columns.values())]
        for layer in summary["layers"]
    ]
    yield table(["layer", *columns], rows)


def _kinds(summary: Row) -> Iterator[str]:
    measure = share_over(summary["headline"][0])
    yield "## Module kinds"
    yield f"{escaped(measure.axis)}, the mean of the domains:"
    kinds = list(dict.fromkeys(row["kind"] for row in summary["rows"]))
    yield _by_layer(summary, {kind: values_by_layer(summary, measure, None, kind) for kind in kinds}, measure)


def _domains(summary: Row) -> Iterator[str]:
    yield "## Domains"
    rows = [
        [
            escaped(row["name"]),
            escaped(row["split"] or ""),
            "running text" if row["running_text"] else "a text a sample",
            str(row["samples"]),
            str(row["tokens"]),
            str(row["truncated"]),
        ]
        for row in summary["domains"]
    ]
    yield table(["domain", "split", "form", "samples", "tokens", "cut"], rows, text_columns=3)


def _provenance(summary: Row, manifest: Row) -> Iterator[str]:
    record = {key: value for key, value in manifest["record"].items() if key != "sample_ids"}
    command = record.pop("command", None)
    parts = {
        "samples": {name: own["fingerprint"] for name, own in manifest["config"]["samples"].items()},
        "model": summary["model"],
        "scoring": manifest["config"]["scoring"],
        "density": manifest["config"]["settings"],
        "intervals": {"level": summary["level"], "method": "random groups: Student's t over the folds"},
        "run": {**record, "wall time": f"{manifest['seconds']:.1f} s", "configuration digest": manifest["digest"]},
    }
    yield from provenance_section(parts, command)
