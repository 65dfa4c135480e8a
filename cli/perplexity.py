"""``actsim ppl``: the perplexity of a causal language model on a text."""

from __future__ import annotations

from typing import Any

import click

from . import domain_options
from . import options as shared
from .arguments import Options, check_loading, load
from .display import Screen

SHORT_HELP = "Perplexity of a causal language model on a text."
EPILOG = """\b
Examples:
  actsim ppl -m my-models/llama --data wikitext2 --data-dir data
  actsim ppl -m my-models/llama --data wikitext2:validation --context 2048
  actsim ppl -m my-models/llama --data notes.txt --context 256 --json
"""

model = shared.option(
    "-m",
    "--model",
    section=shared.MODEL,
    required=True,
    metavar="NAME|DIR",
    help="Causal language model: a folder, or an id on the Hugging Face hub.",
)
data = shared.option(
    "--data",
    section=shared.DATA,
    default="wikitext2",
    metavar="NAME|FILE",
    help="A corpus ('actsim list domains'), by default its test split, also NAME:split; a file: notes.txt, "
    "file.jsonl:column; or NAME=path/*.txt. Rows are joined by blank lines.",
)
context = shared.option(
    "--context",
    section=shared.SCORING,
    type=click.IntRange(min=2),
    metavar="N",
    help="Tokens of a window; by default what the model takes. Figures of different contexts are not comparable.",
)
first_tokens = shared.option(
    "--first-tokens",
    section=shared.DATA,
    type=click.IntRange(min=1),
    metavar="N",
    help="Take the first N tokens of the text alone.",
)


@click.command("ppl", cls=shared.SectionCommand, context_settings=shared.CONTEXT, epilog=EPILOG, short_help=SHORT_HELP)
@data
@first_tokens
@domain_options.data_dir
@model
@domain_options.loading
@context
@shared.batch_tokens
@shared.display_options
def perplexity_command(**options: Any) -> None:
    """Print exp of the mean negative log-likelihood of a text's tokens, in whole windows that do not see each other, as
    the released scripts of Wanda and of the paper do.
    """
    screen = Screen.of(options)
    check_loading(options)
    document = _measure(screen, options)
    from actsim.report.pruning_tables import perplexity_table

    screen.show(perplexity_table(document), document)


def _measure(screen: Screen, options: Options) -> dict[str, Any]:
    """The perplexity and what it is of, ready for JSON."""
    with screen.working("reading the text"):
        from actsim.data.running_text import load_running_text

        text = load_running_text(options["data"], data_dir=options["data_dir"])
    loaded = load(screen, options["model"], {**options, "max_tokens": None})
    from actsim.pipelines.perplexity import perplexity

    with screen.progress("windows", ("reading", "read")) as progress:
        found = perplexity(
            loaded,
            text.text,
            **{name: options[name] for name in ("context", "first_tokens", "batch_tokens")},
            progress=progress,
        )
    return {
        **found.to_dict(),
        "data": text.identity(),
        "model": loaded.identity(),
        "dtype": loaded.dtype,
        "notes": list(loaded.notes),
    }
