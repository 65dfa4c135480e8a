"""The report of a run over domains in Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from actsim.report.compare_tables import p_text
from actsim.report.domain_tables import (
    ACTIVATION,
    FIGURES,
    PUBLISHED,
    SERIES,
    cells,
    correlation_name,
    domain_names,
    estimate_text,
)
from actsim.report.domain_wording import findings, method_sentences
from actsim.report.markdown import CITATION, embedded, escaped, files_section, notes_section, provenance_section, table
from actsim.report.wording import Row, band_label, counted, interval, number

MATRIX, LAYERS, BOXES = "matrix", "layers", "boxes"
"""Names of the figures."""


def domain_markdown(summary: Row, manifest: Row, files: Mapping[str, str]) -> str:
    """The whole report.

    Args:
        summary: the summary of a run.
        manifest: its manifest; ``config``, ``digest``, ``record`` and ``seconds`` are read.
        files: what is beside the report, name -> path relative to it. The figures are embedded, the others listed.
    """
    others = {name: path for name, path in files.items() if name not in (MATRIX, LAYERS, BOXES)}
    sections = [
        f"# Similarity of domains: {escaped(summary['model']['name'])}",
        *_lead(summary),
        *_matrix(summary, files),
        *_layers(summary, files),
        *_distributions(summary, files),
        *_domains(summary),
        *_beside(summary),
        *_correlations(summary),
        *_kinds(summary),
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
    yield (
        f"How alike the activation patterns of samples of {counted(len(summary['domains']), 'domain')} are: read-out "
        f"{escaped(summary['objective'])}, pattern {escaped(summary['pattern'])}."
    )
    yield "\n".join(f"- {escaped(sentence)}" for sentence in findings(summary))


def _matrix(summary: Row, files: Mapping[str, str]) -> Iterator[str]:
    yield "## Matrix"
    yield from embedded(files, MATRIX, "Mean cosines within and between domains")
    yield f"Mean cosine over the {escaped(band_label(summary['band']))}; intervals are in matrix.csv:"
    names, found = domain_names(summary), cells(summary)
    rows = [[escaped(a), *(number(found[a, b]["value"], 2) for b in names)] for a in names]
    yield table(["domain", *map(escaped, names)], rows)


def _layers(summary: Row, files: Mapping[str, str]) -> Iterator[str]:
    yield "## Layers"
    yield from embedded(files, LAYERS, "Similarity within and between domains, and separation, layer by layer")
    rows = [
        [str(row["layer"]), *(estimate_text(row[name]) for name in FIGURES), escaped(p_text(row["gap"]["p_holm"]))]
        for row in summary["layers"]
    ]
    yield table(["layer", *FIGURES, "p of the gap (Holm)"], rows, text_columns=0)
    if summary["depth"]:
        yield "The deep half of the layers minus the shallow half:"
        yield table(
            ["similarity", "difference", "the deep half is"],
            [[row["figure"], estimate_text(row, signed=True), row["deep_half_is"]] for row in summary["depth"]],
        )


def _distributions(summary: Row, files: Mapping[str, str]) -> Iterator[str]:
    if BOXES in files:
        yield "## Distributions"
        yield from embedded(files, BOXES, "Cosines within and between domains, a box per layer")
        yield "Boxes reach from quartile to quartile, whiskers to the extremes; every pair of domains is in pairs.csv."


def _domains(summary: Row) -> Iterator[str]:
    apart = {row["domain"]: row for row in summary["domains_apart"]}
    rows = [
        [
            escaped(row["name"]),
            escaped(row["split"] or ""),
            str(row["samples"]),
            str(row["tokens"]),
            str(row["truncated"]),
            *(estimate_text(apart[row["name"]][name]) for name in ("within", "cross", "gap")),
        ]
        for row in summary["domains"]
    ]
    yield "## Domains"
    yield f"Over the {escaped(band_label(summary['band']))}; cross is the mean with all other domains:"
    yield table(["domain", "split", "samples", "tokens", "cut", "within", "cross", "gap"], rows, text_columns=2)


def _beside(summary: Row) -> Iterator[str]:
    yield "## Beside the patterns"
    yield f"The same samples by other similarities, over the {escaped(band_label(summary['band']))}:"
    rows = [
        [
            SERIES[row["name"]],
            *(estimate_text(row[name]) for name in FIGURES),
            escaped(p_text(row["gap"]["p"])),
            estimate_text(row["separation_gained"], signed=True) if row["name"] != ACTIVATION else "",
        ]
        for row in summary["bands"]
    ]
    yield table(["similarity of", *FIGURES, "p of the gap", "separation, patterns minus this"], rows)


def _correlations(summary: Row) -> Iterator[str]:
    yield "## Correlations of the matrices"
    if not summary["correlations"]:
        yield "Fewer than four domains: their matrices have too few cells to be correlated."
        return
    rows = [
        [
            escaped(correlation_name(row)),
            str(row["domains"]),
            number(row["value"]),
            interval(row["ci_low"], row["ci_high"]),
            escaped(p_text(row["p"])),
            f"{row['permutations']}{', all' if row['exact'] else ''}",
        ]
        for row in summary["correlations"]
    ]
    yield table(["matrices", "domains", "Spearman", "interval", "p", "orders"], rows)
    if any(row["b"] == PUBLISHED for row in summary["correlations"]):
        yield f"The published matrix: {escaped(summary['published'])}."


def _kinds(summary: Row) -> Iterator[str]:
    yield "## Module kinds"
    yield "Separation by module kind; similarities within and between domains are in kinds.csv."
    kinds = list(dict.fromkeys(row["kind"] for row in summary["kinds"]))
    found = {(row["layer"], row["kind"]): row["separation"] for row in summary["kinds"]}
    rows = [
        [str(row["layer"]), *(number(found.get((row["layer"], kind))) for kind in kinds)] for row in summary["layers"]
    ]
    yield table(["layer", *map(escaped, kinds)], rows, text_columns=0)


def _provenance(summary: Row, manifest: Row) -> Iterator[str]:
    record = {key: value for key, value in manifest["record"].items() if key != "sample_ids"}
    command = record.pop("command", None)
    draws = ("level", "resamples", "permutations", "seed")
    parts: dict[str, dict[str, Any]] = {
        "samples": manifest["config"]["samples"],
        "model": summary["model"],
        "scoring": manifest["config"]["scoring"],
        "summary": {"band": band_label(summary["band"]), **{name: summary[name] for name in draws}},
        "run": {**record, "wall time": f"{manifest['seconds']:.1f} s", "configuration digest": manifest["digest"]},
    }
    yield from provenance_section(parts, command)
