"""The report of a run in Markdown: what came out, set against the baselines, and how to make it again."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from urllib.parse import quote

from actsim.report.tables import beside_layers, layer_baselines, strongest
from actsim.report.wording import (
    ABOVE,
    BELOW,
    MISSING,
    NOT_DISTINGUISHABLE,
    Row,
    band_label,
    baseline_label,
    control_label,
    control_sentence,
    data_label,
    defined,
    difference_text,
    figure_text,
    given_label,
    interval,
    layer_sentences,
    number,
    one_line,
    percent,
    reaches,
    selection_sentence,
    template_lines,
    unbeaten_overlap,
    verdict,
)

FIGURE = "figure"
CITATION = (
    "Wang, Dai, Yang, Ma, Sui: *Exploring Activation Patterns of Parameters in Language Models*. AAAI 2025, "
    "[arXiv 2405.17799](https://arxiv.org/abs/2405.17799)."
)


def report_markdown(summary: Row, manifest: Row, files: Mapping[str, str]) -> str:
    """The whole report.

    Args:
        summary: the summary of a run.
        manifest: its manifest; ``config.scoring``, ``digest``, ``record`` and ``seconds`` are read.
        files: what is beside the report, name -> path relative to it. The one named ``figure`` is embedded, the
            others are listed.
    """
    title = f"# Activation similarity: {escaped(data_label(summary))}, {escaped(summary['model']['name'])}"
    sections = [
        title,
        *_headline(summary),
        *_figure(summary, files),
        *_layers(summary),
        *_controls(summary),
        *_baselines(summary),
        *_partial(summary),
        *_kinds(summary),
        *_provenance(summary, manifest),
        *notes_section(summary),
        *files_section(files),
        "## Reference",
        CITATION,
    ]
    return "\n\n".join(sections) + "\n"


def escaped(value: object) -> str:
    """Text on one line that Markdown shows as it is, inside a table cell too."""
    text = re.sub(r"([\\`*_\[\]<>|#~&$])", r"\\\1", one_line(value))
    return re.sub(r"^(\d*)(?=[.)](\s|$))|^(?=[-+](\s|$)|=+$)", r"\1\\", text)


def table(header: Sequence[str], rows: Iterable[Sequence[str]], text_columns: int = 1) -> str:
    """A Markdown table of Markdown cells; the columns after the first ``text_columns`` are right-aligned."""
    rule = ["---"] * text_columns + ["---:"] * (len(header) - text_columns)
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, rule, *rows))


def code_block(text: str) -> str:
    """A fenced block; the fence is longer than any run of backticks in the text."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}sh\n{text}\n{fence}"


def _range(row: Row, level: str) -> str:
    """``95 % interval 0.602 to 0.699``."""
    if MISSING in (low := number(row["ci_low"]), high := number(row["ci_high"])):
        return f"no {level} interval"
    return f"{level} interval {low} to {high}"


def _headline(summary: Row) -> Iterator[str]:
    headline, level = summary["headline"], percent(summary["level"])
    band = escaped(band_label(summary["band"]))
    doubts = control_sentence(summary)
    doubts = f" {doubts}" if doubts else ""
    where = f"On {summary['n_pairs']} pairs ({escaped(data_label(summary))}), the similarity of the activation patterns"
    if defined(headline["spearman"]) is None:
        yield (
            f"{where} that two sentences leave in {escaped(summary['model']['name'])} has no defined Spearman "
            f"correlation with the human scores (n = {headline['n']}).{doubts}"
        )
    else:
        yield (
            f"{where} that two sentences leave in {escaped(summary['model']['name'])} follows the human scores with a "
            f"Spearman correlation of **{number(headline['spearman'])}** ({_range(headline, level)}, "
            f"n = {headline['n']}).{doubts}"
        )
    default = " This band is the default and is fixed before anything is scored." if _is_default(summary) else ""
    yield f"The score of a pair is the mean of the measure {escaped(headline['measure'])} over the {band}.{default}"
    yield from (f"Every sentence stands in the {escaped(line)}" for line in template_lines(summary))
    if summary["selection"]:
        yield escaped(selection_sentence(summary["selection"]))
    if comparisons := [f"- {sentence}" for sentence in _comparisons(summary)]:
        yield "\n".join(comparisons)
        yield (
            f"“Above” and “below” mean that the paired {level} interval of the difference leaves out 0; "
            "these intervals are not corrected for the number of comparisons."
        )


def _is_default(summary: Row) -> bool:
    return summary["band"]["name"] == "deep" and not summary["selection"]


def _comparisons(summary: Row) -> Iterator[str]:
    """One sentence for each baseline; one for all layers of a baseline that has a figure per layer.

    What the first paragraph speaks of is left out.
    """
    said = unbeaten_overlap(summary)
    for control in summary.get("controls", ()):
        where = verdict(control["difference"])
        if where is not None and not reaches(summary, control):
            label = f"{escaped(control_label(control))} ({figure_text(control['headline'])})"
            yield f"The headline is **{where}** {label}: difference {difference_text(control['difference'])}."
    for row in summary["baselines"]:
        if row["layer"] is None and row is not said:
            label = f"{escaped(baseline_label(row['name']))} ({figure_text(row)})"
            where = verdict(row["difference"])
            if where is None:
                yield f"The headline cannot be compared with {label}: the difference has no interval."
            else:
                yield f"The headline is **{where}** {label}: difference {difference_text(row['difference'])}."
    for name, rows in layer_baselines(summary).items():
        yield _layer_comparison(escaped(baseline_label(name)), list(rows.values()))


def _layer_comparison(label: str, rows: Sequence[Row]) -> str:
    verdicts = [verdict(row["difference"]) for row in rows]
    found = [where for where in (ABOVE, NOT_DISTINGUISHABLE, BELOW) if where in verdicts]
    counts = [f"**{where}** it in {verdicts.count(where)}" for where in found]
    if None in verdicts:
        counts.append(f"not comparable with it, for want of an interval, in {verdicts.count(None)}")
    of = "1 layer" if len(rows) == 1 else f"{len(rows)} layers"
    text = f"{label[0].upper()}{label[1:]}, layer by layer: of {of} the headline is {', '.join(counts)}."
    best = strongest(rows)
    if best is None:
        return text
    return (
        f"{text} The strongest is layer {best['layer']} ({figure_text(best)}): "
        f"difference {difference_text(best['difference'])}."
    )


def _figure(summary: Row, files: Mapping[str, str]) -> Iterator[str]:
    if FIGURE in files:
        alternative = escaped(f"Spearman correlation by layer: {data_label(summary)}, {summary['model']['name']}")
        yield f"![{alternative}]({quote(files[FIGURE])})"


def _statistic_cells(row: Row) -> list[str]:
    return [
        str(row["n"]),
        number(row["spearman"]),
        interval(row["ci_low"], row["ci_high"]),
        number(row["pearson"]),
        number(row["kendall"]),
    ]


def _statistic_header(summary: Row) -> list[str]:
    return ["n", "Spearman", f"{percent(summary['level'])} interval", "Pearson", "Kendall"]


def _layers(summary: Row) -> Iterator[str]:
    beside = {baseline_label(name): rows for name, rows in layer_baselines(summary).items()}
    others = dict(beside_layers(summary).values())
    headline, band = summary["headline"]["measure"], set(summary["band"]["layers"])
    header = ["layer", "measure", *_statistic_header(summary), *map(escaped, (*beside, *others))]
    rows = []
    for row in summary["layers"]:
        layer = row["layer"]
        found = [*beside.values(), *(other if row["measure"] == headline else {} for other in others.values())]
        cells = [number(other[layer]["spearman"]) if layer in other else MISSING for other in found]
        name = f"**{layer}**" if layer in band else str(layer)
        rows.append([name, escaped(row["measure"]), *_statistic_cells(row), *cells])
    for row in summary["bands"]:
        name = escaped(summary["band"]["name"])
        rows.append(
            [f"**{name}**", escaped(row["measure"]), *_statistic_cells(row), *([""] * (len(beside) + len(others)))]
        )
    yield "## Layers"
    yield "Layers of the headline band are bold; the band itself, the mean of their scores, comes last."
    if partial := summary.get("partial_layers"):
        yield f"Partial: the partial correlation given {escaped(given_label(partial[0]['given']))}."
    yield table(header, rows, text_columns=2)


def _controls(summary: Row) -> Iterator[str]:
    """Every control's headline, and in words which layers beat which control and baseline."""
    controls = summary.get("controls")
    if controls:
        header = ["control", *_statistic_header(summary), "headline minus control", "the headline is"]
        rows = [
            [
                escaped(control_label(control)),
                *_statistic_cells(control["headline"]),
                difference_text(control["difference"]),
                verdict(control["difference"]) or MISSING,
            ]
            for control in controls
        ]
        yield "## Controls"
        yield "The same pairs, scored in the same way, through each control; the band is the headline's."
        yield table(header, rows)
    if sentences := layer_sentences(summary):
        yield "## Which layers beat what"
        yield "\n".join(f"- {sentence}" for sentence in sentences)
        yield f"By paired {percent(summary['level'])} intervals, not corrected for the number of comparisons."


def _baselines(summary: Row) -> Iterator[str]:
    if not summary["baselines"]:
        return
    header = ["baseline", "layer", *_statistic_header(summary), "headline minus baseline", "the headline is"]
    rows = []
    for row in summary["baselines"]:
        layer = "" if row["layer"] is None else str(row["layer"])
        difference = row["difference"]
        where = verdict(difference) or MISSING
        label = escaped(baseline_label(row["name"]))
        rows.append([label, layer, *_statistic_cells(row), difference_text(difference), where])
    yield "## Baselines on the same pairs"
    yield table(header, rows)


def _partial(summary: Row) -> Iterator[str]:
    if not summary["partial"]:
        return
    header = ["given", "n", "partial Spearman", f"{percent(summary['level'])} interval"]
    rows = [
        [
            escaped(given_label(row["given"])),
            str(row["n"]),
            number(row["spearman"]),
            interval(row["ci_low"], row["ci_high"]),
        ]
        for row in summary["partial"]
    ]
    yield "## The headline with confounds held constant"
    yield table(header, rows)


def _kinds(summary: Row) -> Iterator[str]:
    if not summary["kinds"]:
        return
    yield "## Module kinds"
    yield "Spearman correlation; n is given where it is not the number of all pairs."
    for measure in dict.fromkeys(row["measure"] for row in summary["kinds"]):
        found = {(row["layer"], row["kind"]): row for row in summary["kinds"] if row["measure"] == measure}
        kinds = list(dict.fromkeys(kind for _, kind in found))
        layers = sorted({layer for layer, _ in found})
        header = [f"{escaped(measure)}, layer", *(escaped(kind) for kind in kinds)]
        yield table(
            header,
            ([str(layer), *(_kind_cell(summary, found.get((layer, kind))) for kind in kinds)] for layer in layers),
        )


def _kind_cell(summary: Row, row: Row | None) -> str:
    """Empty where the layer has no such module."""
    if row is None:
        return ""
    fewer = row["n"] != summary["n_pairs"] or defined(row["spearman"]) is None
    return number(row["spearman"]) + (f" (n = {row['n']})" if fewer else "")


def _provenance(summary: Row, manifest: Row) -> Iterator[str]:
    """Everything that shaped the figures, as it is recorded, and the command that repeats them."""
    record = {key: value for key, value in manifest["record"].items() if key != "rows"}
    command = record.pop("command", None)
    statistics = {"level": summary["level"], "resamples": summary["resamples"], "seed": summary["seed"]}
    parts = {
        "data": summary["dataset"],
        "model": summary["model"],
        "scoring": manifest["config"]["scoring"],
        "intervals": {**statistics, "method": "percentile bootstrap over pairs, ranks taken anew"},
        "run": {**record, "wall time": f"{manifest['seconds']:.1f} s", "configuration digest": manifest["digest"]},
    }
    yield from provenance_section(parts, command)


def provenance_section(parts: Mapping[str, Row], command: str | Sequence[str] | None) -> Iterator[str]:
    """A table of settings, part by part, and the command that repeats the run."""
    rows = [
        [escaped(part), escaped(name), escaped(value)]
        for part, content in parts.items()
        for name, value in _leaves(content)
    ]
    yield "## How this was made"
    yield table(["", "setting", "value"], rows, text_columns=3)
    if command:
        yield "The same again:"
        yield code_block(command if isinstance(command, str) else shlex.join(command))


def _leaves(content: Row, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Settings that are set, nested ones under a joined name."""
    for key, value in content.items():
        name = f"{prefix}{str(key).replace('_', ' ')}"
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{name}, ")
        elif isinstance(value, bool):
            yield name, "yes" if value else "no"
        elif isinstance(value, list | tuple):
            yield name, ", ".join(item if isinstance(item, str) else json.dumps(item) for item in value)
        elif value is not None:
            yield name, str(value)


def notes_section(summary: Row) -> Iterator[str]:
    """The notes of a summary, where it has some."""
    if summary["notes"]:
        yield "## Notes"
        yield "\n".join(f"- {escaped(note)}" for note in summary["notes"])


def embedded(files: Mapping[str, str], name: str, label: str) -> Iterator[str]:
    """The figure of that name, where it is among the files beside the report."""
    if name in files:
        yield f"![{escaped(label)}]({quote(files[name])})"


def files_section(files: Mapping[str, str]) -> Iterator[str]:
    """Links to the files beside the report, name -> path; the embedded figure is none of them."""
    others = [f"- [{escaped(name)}]({quote(path)})" for name, path in files.items() if name != FIGURE]
    if others:
        yield "## Files"
        yield "\n".join(others)
