"""The comparison of several runs in Markdown."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from urllib.parse import quote

from actsim.report.compare_figures import intervals_sentence
from actsim.report.compare_tables import (
    best_layer_text,
    often_best_text,
    p_text,
    row_interval,
    verdict_sentence,
)
from actsim.report.markdown import CITATION, code_block, escaped, table
from actsim.report.wording import Row, band_label, data_label, difference_text, number, percent


def method_sentences(summary: Row) -> list[str]:
    """How the differences are judged, in plain text, for every form of the report."""
    smallest = 2 / (summary["resamples"] + 1)
    return [
        f"What decides is the paired bootstrap over the {summary['n_pairs']} common pairs: {summary['resamples']} "
        f"resamples (seed {summary['seed']}), the same for all runs, every one ranked anew; p is twice the share of "
        f"resamples in which the difference is zero or has the other sign, and cannot be below {smallest:.2g}. It is "
        f"corrected over all {len(summary['differences'])} differences by Holm's method, and a difference is called "
        f"one where the corrected p is below {1 - summary['level']:.2g}. Intervals are not corrected.",
        "Steiger's test (1980, eq. 14, covariance pooled) stands beside it: two-sided, for two correlations that share "
        "the gold score. It assumes that gold and both scores are jointly normal; on ranks, as here, it is an "
        "approximation. It is not corrected and does not decide.",
        "The best layer was picked on these very pairs, so its figure flatters it; the headline is the band.",
    ]


def compare_markdown(summary: Row, figures: Sequence[str]) -> str:
    """The whole report.

    Args:
        summary: the summary of a comparison; ``files`` are listed.
        figures: names of the figures without their endings, embedded as SVG; the curves first.
    """
    curves, *heat_maps = figures
    sections = [
        f"# Comparison of {len(summary['runs'])} runs: {escaped(data_label(summary))}",
        f"{summary['n_pairs']} pairs, measure {escaped(summary['measure'])}.",
        "\n".join(f"- {escaped(verdict_sentence(summary, row))}" for row in summary["differences"]),
        *(f"Note: {escaped(note)}." for note in summary["notes"]),
        f"![Spearman correlation over relative depth]({quote(curves)}.svg)",
        intervals_sentence(summary["level"]),
        *_runs(summary),
        *_differences(summary),
        *_layer_by_layer(summary, heat_maps),
        *_disagreements(summary),
        *_made(summary),
        "## Reference",
        CITATION,
    ]
    return "\n\n".join(sections) + "\n"


def _runs(summary: Row) -> Iterator[str]:
    level = percent(summary["level"])
    header = ["run", "", "headline band", "Spearman", f"{level} interval", "best layer", "its Spearman"]
    header += [f"its {level} interval", "how sure"]
    rows = []
    for run in summary["runs"]:
        headline, best = run["headline"], run["best_layer"] or {}
        figures = [number(headline["spearman"]), row_interval(headline), best_layer_text(run)]
        figures += [number(best.get("spearman")), row_interval(best)]
        figures.append(often_best_text(best, summary["level"]) if best else "")
        rows.append([run["key"], escaped(run["label"]), escaped(band_label(run["band"])), *figures])
    yield "## Runs"
    yield table(header, rows, text_columns=3)


def _differences(summary: Row) -> Iterator[str]:
    header = ["difference", "of headlines", "p", "p (Holm)", "verdict", "Steiger's Z", "its p", "agreement"]
    rows = [
        [
            f"{row['a']} − {row['b']}",
            difference_text(row),
            p_text(row["p"]).replace("<", r"\<"),
            p_text(row["p_holm"]).replace("<", r"\<"),
            f"{row['a']} {row['verdict']} {row['b']}",
            number(row["steiger"]["z"], 2, signed=True),
            p_text(row["steiger"]["p"]).replace("<", r"\<"),
            f"{number(found['spearman'])} {row_interval(found)}",
        ]
        for row, found in zip(summary["differences"], summary["agreements"], strict=True)
    ]
    yield "## Differences"
    yield table(header, rows)
    yield from method_sentences(summary)
    yield "Agreement is Spearman's ρ between the headline scores of the two runs, whatever the gold score says."


def _layer_by_layer(summary: Row, heat_maps: Sequence[str]) -> Iterator[str]:
    yield "## Layer against layer"
    yield "Spearman's ρ between the pair scores of a layer of one run and of a layer of another."
    for name, row in zip(heat_maps, summary["agreements"], strict=True):
        yield f"![Layers of {row['a']} against layers of {row['b']}]({quote(name)}.svg)"


def _disagreements(summary: Row) -> Iterator[str]:
    yield "## Where the runs disagree"
    yield (
        "Relative ranks, from 0 (least similar) to 1. The gain says how much nearer to the gold score's rank the first "
        "run is than the second; below zero the second is nearer."
    )
    for found in summary["agreements"]:
        texts = [name for name in ("sentence_a", "sentence_b") if any(name in row for row in found["disagreements"])]
        header = ["row", *(["first sentence", "second sentence"] if texts else []), "gold", "its rank"]
        header += [found["a"], found["b"], "gain"]
        rows = [
            [
                str(row["row"]),
                *(escaped(row[name]) for name in texts),
                f"{row['gold']:g}",
                *(number(row[name], 2) for name in ("gold_rank", "rank_a", "rank_b")),
                number(row["gain"], 2, signed=True),
            ]
            for row in found["disagreements"]
        ]
        yield f"### {found['a']} and {found['b']}"
        yield table(header, rows, text_columns=1 + len(texts)) if rows else "None: both rank all pairs alike."


def _made(summary: Row) -> Iterator[str]:
    yield "## How this was made"
    yield "\n".join(
        f"- {run['key']}: {escaped(run['directory'])}, configuration {run['digest'][:8]}, {run['n_rows']} pairs"
        for run in summary["runs"]
    )
    yield f"actsim {summary['actsim']}. Files: {', '.join(escaped(name) for name in summary['files'])}."
    if summary["command"]:
        yield "The same again:"
        yield code_block(shlex.join(summary["command"]))
