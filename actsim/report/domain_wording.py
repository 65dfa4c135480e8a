"""What a run over domains comes to, in sentences, for every form of its report."""

from __future__ import annotations

from collections.abc import Iterator

from actsim.report.compare_tables import p_text
from actsim.report.domain_tables import ACTIVATION, PUBLISHED, SERIES, correlation_text, estimate_text
from actsim.report.wording import Row, band_label, layers_label, percent

VERDICTS = {"higher": "it is higher in the deep half", "lower": "it is lower in the deep half"}
UNDECIDED = "the two halves are not distinguishable"


def findings(summary: Row) -> list[str]:
    """One sentence for each question, with its interval or p-value."""
    return [*_gap(summary), *_depth(summary), *_vocabulary(summary), *_related(summary)]


def _gap(summary: Row) -> Iterator[str]:
    row = _band(summary, ACTIVATION)
    below = 1 - summary["level"]
    significant = [own["layer"] for own in summary["layers"] if own["gap"]["p_holm"] < below]
    where = f"in {len(significant)} of {summary['n_layers']} layers"
    gap = f"{estimate_text(row['gap'], signed=True)} (permutation test, p {equals_text(row['gap']['p'])})"
    yield (
        f"Are samples of one domain more alike than samples of two? Over the {band_label(summary['band'])} the mean "
        f"cosine is {estimate_text(row['within'])} within domains, {estimate_text(row['cross'])} between them, the gap "
        f"{gap}; layer by layer it is significant {where} (Holm's p below {below:.2g})."
    )


def _depth(summary: Row) -> Iterator[str]:
    for row in summary["depth"]:
        if row["figure"] == "cross":
            halves = f"{layers_label(row['deep'])} minus {layers_label(row['shallow'])}"
            yield (
                f"Are domains less alike in deep layers? Mean cosine between domains, {halves}: "
                f"{estimate_text(row, signed=True)}: {VERDICTS.get(row['deep_half_is'], UNDECIDED)}."
            )


def _vocabulary(summary: Row) -> Iterator[str]:
    own = _band(summary, ACTIVATION)
    for row in summary["bands"]:
        name = row["name"]
        if name == ACTIVATION:
            continue
        gained = row["separation_gained"]
        yield (
            f"Do activation patterns tell domains apart better than {SERIES[name]}? A sample is closer to one of its "
            f"own domain than to one of another in {_share(own)} of all cases by the patterns and in {_share(row)} by "
            f"{SERIES[name]}: difference {estimate_text(gained, signed=True)}, {_beats(gained)}."
        )


def _related(summary: Row) -> Iterator[str]:
    questions = {
        "tfidf": "Are domains with common words more alike?",
        "same_token": "Are domains more alike whose texts are followed by the same token?",
        PUBLISHED: "Are the domains alike that are published to be?",
    }
    for row in summary["correlations"]:
        if (row["a"], row["held"], row["diagonal"]) == (ACTIVATION, None, False) and row["b"] in questions:
            other = "the published one" if row["b"] == PUBLISHED else f"that of {SERIES[row['b']]}"
            yield (
                f"{questions[row['b']]} Spearman's ρ of the matrix with {other}, pairs of different domains: "
                f"{correlation_text(row)}, Mantel's p {equals_text(row['p'])} ({row['domains']} domains)."
            )


def _band(summary: Row, name: str) -> Row:
    return next(row for row in summary["bands"] if row["name"] == name)


def _share(row: Row) -> str:
    return f"{100 * row['separation']['value']:.1f} %"


def _beats(gained: Row) -> str:
    if gained["ci_low"] is None:
        return "no interval"
    if gained["ci_low"] > 0:
        return "the patterns do"
    return "they do worse" if gained["ci_high"] < 0 else "not distinguishable"


def equals_text(p: float | None) -> str:
    """``= 0.034`` or ``< 0.001``, to stand behind a p."""
    text = p_text(p)
    return text.replace("<", "< ") if text.startswith("<") else f"= {text}"


def method_sentences(summary: Row) -> list[str]:
    """How intervals and p-values come about, in plain text."""
    return [
        f"Samples go through in {summary['n_groups']} groups of two a domain; every two samples of a group are "
        "compared: one cosine within each domain, four between any two. Groups share no sample.",
        f"Intervals: {percent(summary['level'])} percentile bootstrap over the groups, {summary['resamples']} "
        f"resamples (seed {summary['seed']}), the same for every figure. They speak of other samples of these domains, "
        "not of other domains. Correlations of matrices are pulled towards zero in resamples, so their intervals are "
        "wide on that side.",
        "The p of a gap: the domain labels of the samples are permuted within every group, in each for itself, "
        f"{summary['permutations']} times. If the domains' samples were alike, those of a group might be exchanged, so "
        "the test is exact. One-sided; corrected over the layers by Holm's method.",
        "The p of a correlation of matrices: Mantel's test. The domains of one matrix are permuted, rows and columns "
        "together; one-sided; all orders are tried where they are no more than the permutations.",
        "Separation: the share of cases in which a sample is closer to the other sample of its domain than to one of "
        "another domain, 0.5 by chance. As a matter of order it compares similarities of different scales.",
    ]
