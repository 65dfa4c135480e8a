"""The options of commands over samples of domains, and what the library takes instead."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from actsim.config import DEFAULT_SAMPLE_TOKENS, DEFAULT_SAMPLES
from actsim.data.sources import DATA_DIR_VARIABLE
from actsim.report.wording import counted

from . import options as shared

if TYPE_CHECKING:
    from actsim.data.domains import Domain
    from actsim.studies.drawing import Drawing

domain = shared.option(
    "--domain",
    "domains",
    section=shared.DATA,
    multiple=True,
    metavar="NAME",
    help="A corpus ('actsim list domains'), also NAME:split, or your own texts: NAME=path/*.txt, "
    "NAME=file.jsonl:column, NAME=hf:owner/name:split:column; may be repeated.",
)
samples = shared.option(
    "--samples",
    section=shared.DATA,
    type=click.IntRange(min=1),
    default=DEFAULT_SAMPLES,
    metavar="N",
    help="Samples drawn from every domain.",
)
max_tokens = shared.option(
    "--max-tokens",
    section=shared.DATA,
    type=click.IntRange(min=1),
    default=DEFAULT_SAMPLE_TOKENS,
    metavar="N",
    help="Tokens of a sample: running text is packed to N, prompts lose on the left what is beyond.",
)
shots = shared.option(
    "--shots",
    section=shared.DATA,
    type=click.IntRange(min=0),
    default=0,
    metavar="N",
    help="Solved examples in front of each question.",
)
data_dir = shared.option(
    "--data-dir",
    section=shared.DATA,
    metavar="DIR",
    help="Read corpora from DIR/domains/<name>/<split>.jsonl (or csv, tsv, parquet) instead of the hub.  "
    f"[env var: {DATA_DIR_VARIABLE}]",
)
loading = shared.together(
    shared.revision,
    shared.family,
    shared.device,
    shared.device_map,
    shared.dtype,
    shared.threads,
    shared.trust_remote_code,
    shared.allow_unsafe_weights,
)
data = shared.together(domain, samples, max_tokens, shots, shared.seed, data_dir)


def drawing_for(options: Mapping[str, Any]) -> Drawing:
    """How samples are drawn, as the options say."""
    from actsim.studies.drawing import Drawing

    return Drawing(**{name: options[name] for name in ("samples", "max_tokens", "shots", "seed", "data_dir")})


def check_out(options: Mapping[str, Any]) -> None:
    """Raise, before anything is loaded, where no run can be written into --out."""
    if options["out"] is not None:
        from actsim.store.writing import check_directory

        check_directory(Path(options["out"]))


def described(chosen: Domain) -> str:
    """``c4, train: 1000 texts, local domains/c4/train.jsonl``."""
    source = chosen.source
    split = f", {chosen.split}" if chosen.split else ""
    paths = [source["path"]] if isinstance(source["path"], str) else source["path"]
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    place = [source["kind"], paths[0] + more, *([f"at {source['revision']}"] if source.get("revision") else [])]
    return f"{chosen.name}{split}: {counted(len(chosen), 'text')}, {' '.join(place)}"
