"""The table of several scorings: on the screen, as scorings.md and scorings.csv.

Every function takes the ``summary`` that ``evaluate_several`` makes.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from rich.console import RenderableType

from actsim.report.markdown import CITATION, code_block, escaped, table
from actsim.report.tables import csv_text
from actsim.report.terminal import Ink, Page
from actsim.report.wording import (
    MISSING,
    Row,
    band_label,
    counted,
    data_label,
    interval,
    layers_label,
    number,
    one_line,
    percent,
    statistic_text,
    template_lines,
)

NAMES = ("objective", "pattern", "measure")


def differing(summary: Row) -> list[str]:
    """Those of objective, pattern and measure in which the rows differ."""
    return [name for name in NAMES if len({row[name] for row in summary["scorings"]}) > 1]


def scoring_label(summary: Row, row: Row) -> str:
    """What tells a row from the others: ``nll, signed-weighted``."""
    return ", ".join(row[name] for name in differing(summary))


def common_label(summary: Row) -> str:
    """What all rows have in common: objective, pattern, measure, band; empty where that is nothing."""
    first = summary["scorings"][0]
    same = [first[name] for name in NAMES if name not in differing(summary)]
    return ", ".join([*same, *([] if summary["ranked_on"]["chose_bands"] else [band_label(first["band"])])])


def ranking_sentences(summary: Row) -> list[str]:
    """Which row is ranked first, where that was decided, and what its figure on the evaluated rows is worth."""
    ranked, first = summary["ranked_on"], summary["scorings"][0]
    here = one_line(summary["dataset"]["split"])
    where = f"{one_line(ranked['split'])} ({counted(ranked['n_pairs'], 'pair')})"
    if first["rank"] is None:
        return [f"Nothing is ranked: no correlation is defined on {where}."]
    label = scoring_label(summary, first)
    if ranked["evaluated_rows"]:
        return [
            f"Ranked first: {label}; {statistic_text(first)}.",
            f"There is no other split to rank on: the order was decided on the evaluated rows themselves, so the "
            f"figure of the first is the best of {len(summary['scorings'])} on these rows, which flatters it.",
        ]
    sentences = [
        f"Ranked first on {where}: {label}; on {here}: {statistic_text(first)}.",
        f"The order was decided on {one_line(ranked['split'])} alone: no figure on {here} had a part in it.",
    ]
    if ranked["chose_bands"]:
        sentences.append(
            f"Each run's band was chosen on {one_line(ranked['split'])} too, by its first measure: the figures there "
            "are the best of many."
        )
    return sentences


def scorings_table(summary: Row) -> Page:
    """The last thing an evaluation of several scorings prints."""
    return Page(lambda ink: _blocks(ink, summary))


def _blocks(ink: Ink, summary: Row) -> Iterator[RenderableType]:
    yield ink.text(f"{data_label(summary)}: {summary['n_pairs']} pairs", "bold")
    yield ink.text(one_line(summary["model"]["name"]))
    if label := common_label(summary):
        yield ink.text(label, "dim")
    yield from (ink.text(line, "dim") for line in template_lines(summary))
    yield ink.text("")
    header, rows = _cells(summary)
    yield ink.table(header, rows, labels=["scoring"])
    yield ink.text(f"Spearman; intervals at {percent(summary['level'])}.", "dim")
    yield ink.text("")
    first, *others = ranking_sentences(summary)
    yield ink.text(first, "bold")
    yield from (ink.text(sentence) for sentence in others)


def _cells(summary: Row) -> tuple[list[str], list[list[str]]]:
    """Header and rows: rank, scoring, layers where they differ, figure on the split that ranks, figure and interval."""
    ranked = summary["ranked_on"]
    header, columns = ["rank", "scoring"], []
    if ranked["chose_bands"]:
        header.append("layers")
        columns.append(lambda row: layers_label(row["band"]["layers"]).partition(" ")[2])
    if not ranked["evaluated_rows"]:
        header.append(one_line(ranked["split"]))
        columns.append(lambda row: number(row["spearman_ranking"]))
    header += [one_line(summary["dataset"]["split"]), "interval"]
    columns.append(lambda row: number(row["spearman"]))
    columns.append(lambda row: interval(row["ci_low"], row["ci_high"]))
    rows = [
        [
            MISSING if row["rank"] is None else str(row["rank"]),
            scoring_label(summary, row),
            *(show(row) for show in columns),
        ]
        for row in summary["scorings"]
    ]
    return header, rows


def scorings_csv(summary: Row) -> str:
    """One row per scoring and measure, in the order of their ranks; floats parse back to the same bits."""
    names = ["rank", *NAMES]
    figures = ["spearman_ranking", "spearman", "ci_low", "ci_high", "n", "directory", "digest"]
    rows = [
        [*(row[name] for name in names), " ".join(map(str, row["band"]["layers"])), *(row[name] for name in figures)]
        for row in summary["scorings"]
    ]
    return csv_text([*names, "layers", *figures], rows)


def scorings_markdown(summary: Row) -> str:
    """The table as a page of Markdown, with the directories of the runs and the command that repeats it."""
    header, cells = _cells(summary)
    runs = dict.fromkeys((row["objective"], row["pattern"], row["directory"]) for row in summary["scorings"])
    sections = [
        f"# {len(summary['scorings'])} scorings of {escaped(one_line(summary['model']['name']))} on "
        f"{escaped(data_label(summary))}",
        f"{counted(summary['n_pairs'], 'pair')}. {escaped(common_label(summary))}",
        *(escaped(line) for line in template_lines(summary)),
        " ".join(escaped(sentence) for sentence in ranking_sentences(summary)),
        table(header, [[escaped(cell) for cell in row] for row in cells], text_columns=2),
        f"Spearman correlations with the human scores; intervals at {percent(summary['level'])} from "
        f"{summary['resamples']} bootstrap resamples of the pairs (seed {summary['seed']}).",
        "## Runs",
        table(["objective", "pattern", "directory"], [[escaped(cell) for cell in row] for row in runs], text_columns=3),
    ]
    if summary["command"]:
        sections += ["## Command", code_block(shlex.join(summary["command"]))]
    return "\n\n".join([*sections, "## Reference", CITATION]) + "\n"
