"""``actsim eval`` with several objectives or patterns: what is refused, the call, and what is printed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from actsim.config import PATTERNS
from actsim.data.benchmarks import BENCHMARKS
from actsim.errors import UsageError
from actsim.registry import refuse_repeated

from . import options as shared
from .arguments import Options, check_objective, scoring_changes, scoring_for, statistics_for
from .display import Interrupted, Screen

if TYPE_CHECKING:
    from actsim.data.pairs import PairSet
    from actsim.models.loading import LoadedModel

objectives = shared.option(
    "--objective",
    "objectives",
    section=shared.SCORING,
    multiple=True,
    metavar="NAME",
    help="Read-out D of a sentence; by default next-token (causal) or embedding-norm (encoder). May be repeated: each "
    "is a run of its own, ranked in a table. See 'actsim list objectives'.",
)
patterns = shared.option(
    "--pattern",
    "patterns",
    section=shared.SCORING,
    multiple=True,
    default=PATTERNS[:1],
    metavar="NAME",
    help=f"One of {', '.join(PATTERNS)}; may be repeated, in passes that are shared.",
)
scoring_options = shared.together(
    objectives, shared.template, patterns, shared.measure, shared.gamma, shared.top_fraction
)


def single(options: Options) -> dict[str, Any]:
    """The options with the first objective, or None, and the first pattern in the place of all."""
    return {**options, "objective": next(iter(options["objectives"]), None), "pattern": options["patterns"][0]}


def several(options: Options) -> bool:
    """Whether more than one scoring is asked for."""
    return len(options["objectives"]) > 1 or len(options["patterns"]) > 1


def check_several(options: Options) -> None:
    """Raise UsageError for what can be told to be wrong without the model: names, repetitions, what excludes what."""
    refuse_repeated("objective", options["objectives"])
    refuse_repeated("pattern", options["patterns"])
    for pattern in options["patterns"]:
        scoring_changes({**options, "pattern": pattern})
    for objective in options["objectives"]:
        check_objective(objective)
    out = options["out"]
    if out is not None and Path(out).is_file():
        raise UsageError(f"{out} is a file; --out takes a directory.")


def ranking_split(dataset: str, options: Options) -> str | None:
    """The split that ranks: that of --select-on, else the validation split where there is one beside the evaluated."""
    if options["select_on"] is not None or dataset not in BENCHMARKS:
        return options["select_on"]
    return BENCHMARKS[dataset].choice_split(options["split"])


def evaluate_scorings(
    screen: Screen,
    loaded: LoadedModel,
    pairs: PairSet,
    other: PairSet | None,
    command: list[str],
    options: Options,
) -> None:
    """Score, rank and print; Ctrl-C keeps what there is.

    Args:
        screen: where it is shown.
        loaded: the model.
        pairs: the evaluated rows.
        other: the rows that rank, or None.
        command: as it was given.
        options: those of ``eval``.
    """
    from actsim.report.scoring_tables import scorings_table
    from actsim.report.terminal import files_lines
    from actsim.studies.several import evaluate_several

    chosen = [{**options, "objective": name} for name in options["objectives"]] or [{**options, "objective": None}]
    scoring, *_ = (scoring_for(loaded, scoring_changes({**each, "pattern": options["patterns"][0]})) for each in chosen)
    selects = options["select_on"] is not None
    statistics = statistics_for(options, other if selects else None)
    try:
        with screen.progress() as progress:
            ranking = evaluate_several(
                pairs,
                loaded,
                options["objectives"],
                options["patterns"],
                scoring,
                rank_on=None if selects else other,
                statistics=statistics,
                out=options["out"],
                fresh=options["fresh"],
                keep_text=not options["no_text"],
                report=not options["no_report"],
                command=command,
                progress=progress,
            )
    except KeyboardInterrupt:
        again = "the same command without --fresh" if options["fresh"] else "the same command"
        raise Interrupted(f"interrupted; what is scored is kept, and {again} goes on with it.") from None
    screen.show(scorings_table(ranking.summary), ranking.summary)
    for place in dict.fromkeys(row["directory"] for row in ranking.summary["scorings"]):
        screen.list_files([f"run in {place}"])
    screen.list_files(files_lines(ranking.directory, ranking.summary["files"]))
