"""The options that commands share, each defined once, and the headings they stand under in ``--help``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from actsim.config import (
    CONTROLS,
    DEFAULT_BATCH_TOKENS,
    DEFAULT_TOP_FRACTION,
    MEASURES,
    PATTERNS,
    SET_MEASURES,
    TEMPLATES,
)
from actsim.data.sources import DATA_DIR_VARIABLE
from actsim.errors import UsageError
from actsim.models.locate import DEFAULT_MODEL

from .option_types import BandType, Columns, Number, Sentence

Function = TypeVar("Function", bound=Callable[..., Any])
Decorator = Callable[[Function], Function]

DATA, MODEL, SCORING, PRUNING, STATISTICS, CHECK, OUTPUT, DISPLAY = (
    "Data",
    "Model",
    "Scoring",
    "Pruning",
    "Statistics",
    "Check of the estimate",
    "Output",
    "Display",
)
COMMAND = "actsim_cli.command"
"""Key of the context's ``meta`` under which the command line stands as it was given."""

HELP_WIDTH = 80
UNBREAKABLE_HYPHEN = "\u2011"
"""Stands for a hyphen while help texts are wrapped, so that no name is broken there."""

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": HELP_WIDTH}


class SectionOption(click.Option):
    """An option that stands under a heading of its own in ``--help``."""

    def __init__(self, *args: Any, section: str, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.section = section


class SectionCommand(click.Command):
    """A command whose ``--help`` lists options under their headings, in the order in which they were added."""

    def get_help(self, ctx: click.Context) -> str:
        """The help text, in which no name is broken at its hyphens."""
        return super().get_help(ctx).replace(UNBREAKABLE_HYPHEN, "-")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write one definition list per heading, Display last; ``--help`` itself stands there."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                names, text = record
                records = sections.setdefault(getattr(parameter, "section", DISPLAY), [])
                records.append((names, text.replace("-", UNBREAKABLE_HYPHEN)))
        for heading in sorted(sections, key=lambda heading: heading == DISPLAY):
            with formatter.section(heading):
                formatter.write_dl(sections[heading])


def option(*names: str, section: str, **attributes: Any) -> Decorator:
    """``click.option`` under a heading; a default that is a value is shown."""
    return click.option(*names, cls=SectionOption, section=section, **{"show_default": True, **attributes})


def together(*decorators: Decorator) -> Decorator:
    """Several decorators as one; the options appear in the order given."""

    def decorate(function: Function) -> Function:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


def was_given(ctx: click.Context, spelling: str) -> bool:
    """Whether the option of that spelling stands on the command line."""
    name = next(parameter.name for parameter in ctx.command.params if spelling in parameter.opts)
    return ctx.get_parameter_source(str(name)) is not ParameterSource.DEFAULT


def refuse_without(ctx: click.Context, switch: str, spellings: Sequence[str]) -> None:
    """Raise UsageError when one of the options is given that act with ``switch`` only, and ``switch`` is not."""
    given = [spelling for spelling in spellings if was_given(ctx, spelling)]
    if given and not was_given(ctx, switch):
        raise UsageError(f"{given[0]} acts together with {switch} only; give that too, or leave it out.")


split = option("--split", section=DATA, metavar="NAME", help="Split of a benchmark; by default the test split.")
limit = option("--limit", section=DATA, type=int, metavar="N", help="Take a random sample of N pairs (see --seed).")
first = option("--first", section=DATA, type=int, metavar="N", help="Take the first N pairs.")
columns = option(
    "--columns",
    section=DATA,
    type=Columns(),
    help="Columns of your own file: a=..,b=..,gold=.. and, if there is one, id=..; common names are recognised.",
)
data_dir = option(
    "--data-dir",
    section=DATA,
    metavar="DIR",
    help="Read benchmarks from DIR/<folder>/<split>.jsonl (or csv, tsv, parquet) instead of the hub; see "
    f"'actsim list datasets'.  [env var: {DATA_DIR_VARIABLE}]",
)
release = option("--release", section=DATA, metavar="NAME", help="Release of a benchmark; sick has semeval and hub.")
data_revision = option(
    "--data-revision", section=DATA, metavar="COMMIT", help="Revision on the hub in place of the pinned one."
)

model = option(
    "-m",
    "--model",
    section=MODEL,
    default=DEFAULT_MODEL,
    metavar="NAME|DIR",
    help="Causal language model or encoder: a folder, or an id on the Hugging Face hub.",
)
revision = option("--revision", section=MODEL, metavar="COMMIT", help="The model's branch, tag or commit on the hub.")
family = option(
    "--family",
    section=MODEL,
    metavar="NAME",
    help="Load as causal or encoder; by default as the model's own files say.",
)
device = option("--device", section=MODEL, default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:N or mps.")
device_map = option(
    "--device-map",
    section=MODEL,
    metavar="LAYOUT",
    help="Spread a model over all devices: auto (evenly) or sequential (one device after the other).",
)
dtype = option(
    "--dtype",
    section=MODEL,
    metavar="NAME",
    help="float32, float16, bfloat16 or float64; by default float32 on the CPU, the checkpoint's on an accelerator.",
)
max_tokens = option(
    "--max-tokens",
    section=MODEL,
    type=click.IntRange(min=1),
    metavar="N",
    help="Cut sentences to N tokens; by default to the model's limit.",
)
threads = option(
    "--threads", section=MODEL, type=click.IntRange(min=1), metavar="N", help="CPU threads; by default torch's choice."
)
trust_remote_code = option(
    "--trust-remote-code", section=MODEL, is_flag=True, help="Run Python code that comes with the model."
)
allow_unsafe_weights = option(
    "--allow-unsafe-weights",
    section=MODEL,
    is_flag=True,
    help="Open pickled weights, which can run code, where there are no safetensors.",
)

objective = option(
    "--objective",
    section=SCORING,
    metavar="NAME",
    help="Read-out D of a sentence; by default next-token (causal) or embedding-norm (encoder). See "
    "'actsim list objectives'.",
)
pattern = option(
    "--pattern", section=SCORING, default=PATTERNS[0], metavar="NAME", help=f"One of {', '.join(PATTERNS)}."
)
measure = option(
    "--measure",
    "measures",
    section=SCORING,
    multiple=True,
    default=MEASURES[:1],
    metavar="NAME",
    help=f"One of {', '.join(MEASURES)}; may be repeated, the first is the headline.",
)
gamma = option(
    "--gamma",
    section=SCORING,
    type=float,
    metavar="X",
    help=f"Parameters above X count as activated ({', '.join(SET_MEASURES)}).",
)
top_fraction = option(
    "--top-fraction",
    section=SCORING,
    type=float,
    metavar="F",
    help=f"The share F of a layer with the largest values counts as activated ({', '.join(SET_MEASURES)}); "
    f"{DEFAULT_TOP_FRACTION:g} where neither this nor --gamma is given.",
)
batch_tokens = option(
    "--batch-tokens",
    section=SCORING,
    type=click.IntRange(min=1),
    default=DEFAULT_BATCH_TOKENS,
    metavar="N",
    help="Tokens per batch: more is faster and needs more memory.",
)
template = option(
    "--template",
    section=SCORING,
    default=next(iter(TEMPLATES)),
    metavar="NAME|TEXT",
    help="What a causal model is given: one of "
    f"{', '.join(TEMPLATES)}, or a text with {{text}} in it; twice to read the second. See 'actsim list templates'.",
)
no_baselines = option(
    "--no-baselines",
    section=SCORING,
    is_flag=True,
    help="Leave out word overlap, hidden states, the model's own embedding and partial correlations.",
)

tokens = option(
    "--tokens",
    section=SCORING,
    type=click.IntRange(min=1),
    default=32,
    metavar="N",
    help="Tokens per sentence that costs are stated for.",
)

layers = option(
    "--layers",
    section=STATISTICS,
    type=BandType(),
    default="deep",
    metavar="BAND",
    help="Headline band: all, deep (the upper half), last, last:4, 21-30, or 3,5,6.",
)
select_on = option(
    "--select-on",
    section=STATISTICS,
    metavar="SPLIT",
    help="Choose the band on another split instead, and report both figures; --limit and --first apply there too.",
)
control = option(
    "--control",
    "controls",
    section=STATISTICS,
    multiple=True,
    default=(),
    metavar="NAME",
    help=f"Set a control against the model: {' or '.join(CONTROLS)}; may be repeated, each is a run of its own.",
)
control_seed = option(
    "--control-seed",
    section=STATISTICS,
    type=click.IntRange(min=0),
    default=0,
    metavar="N",
    help="With --control: seed of the weights and of the order of the tokens.",
)
resamples = option(
    "--resamples",
    section=STATISTICS,
    type=click.IntRange(min=1),
    default=2000,
    metavar="N",
    help="Bootstrap resamples behind the intervals.",
)
permutations = option(
    "--permutations",
    section=STATISTICS,
    type=click.IntRange(min=1),
    default=4999,
    metavar="N",
    help="Permutations behind the p-values.",
)
level = option(
    "--level",
    section=STATISTICS,
    type=Number(0, 1, min_open=True, max_open=True),
    default=0.95,
    metavar="X",
    help="Coverage of the intervals.",
)
seed = option(
    "--seed",
    section=STATISTICS,
    type=click.IntRange(min=0),
    default=0,
    metavar="N",
    help="Seed of whatever is drawn at random.",
)

explain = option(
    "--explain",
    section=OUTPUT,
    is_flag=True,
    help="Also show which layers, kinds, attention heads and neurons have the largest share of the common activation.",
)
top = option(
    "--top",
    section=OUTPUT,
    type=click.IntRange(min=1),
    default=10,
    metavar="N",
    help="With --explain: how many heads and neurons are listed.",
)
check_estimate = option(
    "--check-estimate",
    section=CHECK,
    is_flag=True,
    help="Set sampled weights and neurons to zero, one at a time, and compare what that does to D with the first-order "
    "estimate; in float64 unless --dtype is given.",
)
texts = option(
    "--text",
    "texts",
    section=CHECK,
    multiple=True,
    type=Sentence(),
    metavar="TEXT",
    help="A sentence to check the estimate on, may be repeated; by default four of the data set sample.",
)
weights = option(
    "--weights",
    section=CHECK,
    type=click.IntRange(min=1),
    default=64,
    metavar="N",
    help="Weights that are removed in each layer.",
)
neurons = option(
    "--neurons",
    section=CHECK,
    type=click.IntRange(min=1),
    default=8,
    metavar="N",
    help="Neurons that are removed in each layer.",
)

out = option(
    "--out",
    section=OUTPUT,
    metavar="DIR",
    help="Where the files go; by default reports/<dataset>-<split>-<model>-<digest>, a report's into its run.",
)
fresh = option("--fresh", section=OUTPUT, is_flag=True, help="Start over where the directory holds a run already.")
no_text = option("--no-text", section=OUTPUT, is_flag=True, help="Leave the sentences out of all that is written.")

no_report = option(
    "--no-report", section=OUTPUT, is_flag=True, help="Leave out report.html, report.md and the figures."
)
open_page = option("--open", section=OUTPUT, is_flag=True, help="Show report.html in the browser.")

as_json = option("--json", "as_json", section=DISPLAY, is_flag=True, help="Print JSON alone on standard output.")
quiet = option("-q", "--quiet", section=DISPLAY, is_flag=True, help="No progress and no remarks, only the result.")
verbose = option(
    "-v",
    "--verbose",
    section=DISPLAY,
    count=True,
    show_default=False,
    help="Tell more (-vv: even more), and show the traceback of an internal error.",
)

data_options = together(split, limit, first, columns, data_dir, release, data_revision)
loading_options = together(
    revision, family, device, device_map, dtype, max_tokens, threads, trust_remote_code, allow_unsafe_weights
)
pattern_options = together(objective, template, pattern, measure, gamma, top_fraction)
display_options = together(as_json, quiet, verbose)
