"""``actsim score``: how alike two sentences activate a model, layer by layer."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING, Any

import click

from actsim.config import Scoring, check_shares

from . import options as shared
from .arguments import Options, check_loading, load, scoring_changes, scoring_for
from .display import Screen
from .option_types import Sentence

if TYPE_CHECKING:
    from actsim.models.loading import LoadedModel
    from actsim.pipelines.similarity import Similarity

SHORT_HELP = "Compare two sentences."
EPILOG = """\b
Examples:
  actsim score "A dog sleeps." "A dog is asleep."
  actsim score "A dog sleeps." "A cat sleeps." --measure ruzicka --layers all
  actsim score "A dog sleeps." "A cat sleeps." --explain --top 5
"""


@click.command(
    "score", cls=shared.SectionCommand, context_settings=shared.CONTEXT, epilog=EPILOG, short_help=SHORT_HELP
)
@click.argument("a", metavar="SENTENCE_A", type=Sentence())
@click.argument("b", metavar="SENTENCE_B", type=Sentence())
@shared.model
@shared.loading_options
@shared.pattern_options
@shared.layers
@shared.explain
@shared.top
@shared.display_options
@click.pass_context
def score_command(ctx: click.Context, a: str, b: str, **options: Any) -> None:
    """Compare how strongly two sentences activate every parameter of a model, layer by layer."""
    screen = Screen.of(options)
    shared.refuse_without(ctx, "--explain", ["--top"])
    check_loading(options)
    changes = scoring_changes(options)
    if options["explain"]:
        check_shares(options["pattern"])
    loaded = load(screen, options["model"], options)
    document = _compare(a, b, loaded, scoring_for(loaded, changes), options)
    from actsim.report.terminal import score_report

    screen.show(score_report(document), document)


def _compare(a: str, b: str, loaded: LoadedModel, scoring: Scoring, options: Options) -> dict[str, Any]:
    """Everything that is shown, ready for JSON."""
    from actsim.models.tokenise import tokenise_for
    from actsim.pipelines.similarity import similarity
    from actsim.stats.bands import Band

    band = Band.parse(options["layers"], loaded.n_layers)
    compared = similarity(a, b, loaded, scoring)
    cut = tokenise_for(loaded, [a, b], ["a", "b"], scoring).truncated
    document = {
        "sentences": [a, b],
        "model": loaded.identity(),
        "objective": scoring.objective,
        "pattern": scoring.pattern,
        "template": scoring.template,
        "measures": list(scoring.measures),
        "band": {"name": band.name, "layers": list(band.layers)},
        "readouts": list(next(iter(compared.values())).readouts),
        "scores": [_scores(similar, band.layers) for similar in compared.values()],
        "notes": [
            *loaded.notes,
            *(
                f"sentence {name} was cut to {scoring.max_tokens} tokens"
                for name, was in zip("ab", cut, strict=True)
                if was
            ),
        ],
    }
    if options["explain"]:
        from actsim.pipelines.explain import explain

        explanation = explain(a, b, loaded, scoring, top=options["top"]).to_dict()
        document["notes"] += explanation.pop("notes")
        document["explanation"] = explanation
    return document


def _scores(similar: Similarity, band: tuple[int, ...]) -> dict[str, Any]:
    """One measure's scores: of the band (the mean of its layers; None where one is undefined), layers and kinds."""
    in_band = [similar.layers[layer] for layer in band]
    defined = [score for score in in_band if score is not None]
    return {
        "measure": similar.measure,
        "band": fmean(defined) if len(defined) == len(in_band) else None,
        "layers": [{"layer": layer, "score": score} for layer, score in similar.layers.items()],
        "kinds": [{"layer": layer, "kind": kind, "score": score} for (layer, kind), score in similar.kinds.items()],
    }
