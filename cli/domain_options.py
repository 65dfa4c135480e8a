"""The options of commands over samples of domains, and what the library takes instead."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import click

from actsim.config import DEFAULT_SAMPLE_TOKENS, DEFAULT_SAMPLES
from actsim.data.sources import DATA_DIR_VARIABLE
from actsim.errors import UsageError
from actsim.report.wording import counted

from . import options as shared
from .arguments import check_loading
from .display import LOG, Screen, keeping

if TYPE_CHECKING:
    from rich.console import RenderableType

    from actsim.config import DomainConfig
    from actsim.data.domains import Domain
    from actsim.store import TableRun
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


def check_chosen(options: Mapping[str, Any], *, at_least: int) -> None:
    """Raise for fewer domains than a command needs, and for what is wrong with them or the model whatever they are."""
    given = options["domains"]
    if len(given) < at_least:
        times = "once" if at_least == 1 else "twice"
        got = "no domain given" if not given else f"one domain given, {given[0]}"
        raise UsageError(f"{got}; give --domain NAME at least {times}, see 'actsim list domains'.")
    from actsim.data.domains import check_domains

    check_domains(given, options["shots"])
    check_loading(options)


def load_chosen(screen: Screen, drawing: Drawing, options: Mapping[str, Any]) -> tuple[Domain, ...]:
    """The domains that --domain names, each of them told; raises as ``load_domains``."""
    chosen = drawing.load(options["domains"])
    for own in chosen:
        screen.say(f"domain: {described(own)}")
    return chosen


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


class Request(Protocol):
    """A study that may be begun."""

    @property
    def config(self) -> DomainConfig:
        """What its numbers depend on."""
        ...

    @property
    def default_directory(self) -> Path:
        """Where it goes where nothing is said."""
        ...


def run(
    screen: Screen,
    request: Request,
    study: Callable[..., TableRun],
    stage: str,
    command: list[str],
    options: Mapping[str, Any],
) -> TableRun:
    """Run a study with its progress shown, ``stage`` being what it does; Ctrl-C says where the run is kept."""
    directory = request.default_directory if options["out"] is None else Path(options["out"])
    LOG.info("run in %s, configuration %s", directory, request.config.digest())
    with keeping(directory, options["fresh"]), screen.progress("samples", (stage, "summing up")) as progress:
        return study(
            request,
            out=directory,
            fresh=options["fresh"],
            report=not options["no_report"],
            command=command,
            progress=progress,
        )


def show(screen: Screen, finished: TableRun, table: Callable[[Mapping[str, Any]], RenderableType]) -> None:
    """The result of a study, and its files."""
    from actsim.report.terminal import files_lines
    from actsim.store.manifest import MANIFEST_NAME

    screen.show(table(finished.summary), finished.summary)
    screen.list_files(files_lines(finished.directory, [MANIFEST_NAME, *finished.manifest["files"]]))


def duration(seconds: float) -> str:
    """``40 s``, ``12 min``, ``3.5 h``."""
    if seconds < 100:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
