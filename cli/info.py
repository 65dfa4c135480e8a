"""``actsim info``: what a model is made of, what of it is scored, what a pair costs, how good the estimate is."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from actsim.models.locate import DEFAULT_MODEL

from . import options as shared
from .arguments import Options, check_loading, load_silently, scoring_changes, scoring_for
from .display import Screen

if TYPE_CHECKING:
    from actsim.models.loading import LoadedModel

CHECK_DTYPE = "float64"
"""One weight changes D by some 1e-6 of it: too little for the usual types."""
CHECK_SENTENCES = 4

SHORT_HELP = "Describe a model and what scoring it costs."
EPILOG = """\b
Examples:
  actsim info
  actsim info my-models/llama --objective nll --tokens 64
  actsim info --check-estimate
  actsim info --check-estimate --text "A dog sleeps." --text "A cat runs."
"""


@click.command("info", cls=shared.SectionCommand, context_settings=shared.CONTEXT, epilog=EPILOG, short_help=SHORT_HELP)
@click.argument("model", default=DEFAULT_MODEL, metavar="[MODEL]")
@shared.loading_options
@shared.objective
@shared.measure
@shared.gamma
@shared.top_fraction
@shared.batch_tokens
@shared.tokens
@shared.check_estimate
@shared.texts
@shared.weights
@shared.neurons
@shared.seed
@shared.display_options
@click.pass_context
def info_command(ctx: click.Context, model: str, **options: Any) -> None:
    """Describe MODEL: its blocks, the linear maps that are scored, what is left out, and what scoring a pair costs.

    MODEL is a folder or an id on the Hugging Face hub, by default the model that eval and score use.
    """
    screen = Screen.of(options)
    shared.refuse_without(ctx, "--check-estimate", ["--text", "--weights", "--neurons", "--seed"])
    check_loading(options)
    changes = scoring_changes(options)
    loaded = load_silently(screen, model, options)
    from actsim.pipelines.inspect_model import describe_model
    from actsim.report.terminal import model_report

    description = describe_model(loaded, scoring_for(loaded, changes), options["tokens"])
    runs = [(first, last, asdict(layer)) for first, last, layer in description.folded_layers()]
    document = description.to_dict()
    if options["check_estimate"]:
        if options["dtype"] is None:
            loaded = load_silently(screen, model, {**options, "dtype": CHECK_DTYPE})
        document["estimate_check"] = _check(screen, loaded, changes, options)
    screen.show(model_report(document, runs), document)


def _check(screen: Screen, loaded: LoadedModel, changes: dict[str, Any], options: Options) -> dict[str, Any]:
    """The first-order estimate against removals, ready for JSON."""
    import numpy as np

    from actsim.data.pairs import load_pairs
    from actsim.pipelines.estimate import check_estimate

    texts = options["texts"] or load_pairs("sample", limit=CHECK_SENTENCES, seed=options["seed"]).sentences_a
    with screen.progress("removals", ("measuring", "measured")) as progress:
        return check_estimate(
            loaded,
            texts,
            scoring_for(loaded, changes),
            weights_per_layer=options["weights"],
            neurons_per_layer=options["neurons"],
            rng=np.random.default_rng(options["seed"]),
            progress=progress,
        ).to_dict()
