"""From the options of a command to what the library takes: models, scorings and pairs."""

from __future__ import annotations

import atexit
import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

from actsim.config import OBJECTIVES, Scoring
from actsim.data.benchmarks import BENCHMARKS
from actsim.errors import UsageError
from actsim.models.locate import check_name
from actsim.models.settings import check_settings
from actsim.registry import unknown_name

from .display import LOG, Screen

if TYPE_CHECKING:
    from actsim.data.pairs import PairSet
    from actsim.models.loading import LoadedModel
    from actsim.studies.evaluate import Statistics

Options = Mapping[str, Any]

_LOADING = (
    "revision",
    "family",
    "device",
    "device_map",
    "dtype",
    "max_tokens",
    "trust_remote_code",
    "allow_unsafe_weights",
)
_SCORING = ("objective", "template", "pattern", "measures", "gamma", "top_fraction", "batch_tokens")


def load(screen: Screen, name: str, options: Options, **more: Any) -> LoadedModel:
    """The model, loaded as the options and ``more`` say, and a remark on which copy of it that is."""
    loaded = load_silently(screen, name, options, **more)
    screen.say(f"{loaded.source['note']}; {loaded.family}, {loaded.dtype} on {', '.join(loaded.devices)}")
    return loaded


def load_silently(screen: Screen, name: str, options: Options, **more: Any) -> LoadedModel:
    """The model, for a command whose result says which copy of it that is."""
    check_name(name, options["revision"])
    with screen.working(f"loading {name}"), no_collection():
        import torch

        from actsim.core.side_by_side import share_heap
        from actsim.models.loading import load_model

        keep_imports()
        share_heap()
        if options["threads"] is not None:
            torch.set_num_threads(options["threads"])
        return load_model(name, **{key: options[key] for key in _LOADING}, **more)


def check_loading(options: Options) -> None:
    """Raise for what of the options of a model is wrong whatever the model, before torch is imported."""
    check_settings(
        family=options.get("family"),
        device=options["device"],
        dtype=options["dtype"],
        device_map=options.get("device_map"),
    )


@cache
def keep_imports() -> None:
    """Spare what is there by now, 400 000 objects that imports leave and that stay, from all searches for garbage.

    Once in a process, before a model is loaded: of what comes later nothing is kept. At the interpreter's end all are
    given back, because extensions report objects that are never freed.
    """
    gc.freeze()
    atexit.register(gc.unfreeze)


@contextmanager
def no_collection() -> Iterator[None]:
    """While open, no garbage is looked for: imports make hundreds of thousands of objects, and none is any."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def scoring_changes(options: Options) -> dict[str, Any]:
    """What the options change in a model's default scoring.

    Raises:
        UsageError: what can be told to be wrong without the model and without torch.
    """
    changes = {key: options[key] for key in _SCORING if options.get(key) is not None}
    if "no_baselines" in options:
        changes["baselines"] = not options["no_baselines"]
    Scoring(**{"objective": "", **changes})
    check_objective(changes.get("objective"))
    return changes


def check_objective(name: str | None) -> None:
    """Raise UsageError for an objective that is given, and that no model has."""
    known = [name for names in OBJECTIVES.values() for name in names]
    if name is not None and name not in known:
        raise unknown_name("objective", name, known)


def scoring_for(loaded: LoadedModel, changes: Mapping[str, Any]) -> Scoring:
    """The model's default scoring with the changes.

    Raises:
        UsageError: the objective belongs to the other family.
    """
    known = OBJECTIVES[loaded.family]
    objective = changes.get("objective")
    if objective is not None and objective not in known:
        raise UsageError(
            f"--objective {objective} is for another family of models; {loaded.source['name']} was loaded as "
            f"{loaded.family}, which has {', '.join(known)}. Choose one of these, or load it with another --family."
        )
    scoring = replace(loaded.default_scoring(), **changes)
    LOG.info("%s", scoring)
    return scoring


def load_evaluated_pairs(dataset: str, options: Options) -> tuple[PairSet, PairSet | None]:
    """The pairs to evaluate, and with --select-on those on which the band is chosen.

    Raises:
        ActsimError: see ``load_pairs``; options that do not act on this data set.
    """
    from actsim.data.pairs import load_pairs

    benchmark = BENCHMARKS.get(dataset)
    if options["data_dir"] is not None and (benchmark is None or benchmark.local_folder is None):
        names = ", ".join(name for name, known in BENCHMARKS.items() if known.local_folder is not None)
        raise UsageError(f"--data-dir acts on {names}; {dataset} is not looked for there. Leave it out.")
    chosen = options["select_on"]
    if chosen is not None and benchmark is None:
        raise UsageError(f"--select-on {chosen}: {dataset} is no benchmark and has no other split; leave it out.")
    if chosen is not None and benchmark is not None and chosen == (options["split"] or benchmark.default_split):
        others = ", ".join(name for name in benchmark.splits if name != chosen)
        way_out = f"choose the band on another one: {others}" if others else f"{dataset} has no other; leave it out"
        raise UsageError(f"--select-on {chosen} is the split that is evaluated; {way_out}.")
    given = {key: options[key] for key in ("data_dir", "limit", "first", "seed", "columns", "release")}
    given["revision"] = options["data_revision"]
    pairs = load_pairs(dataset, options["split"], **given)
    return pairs, load_pairs(dataset, chosen, **given) if chosen is not None else None


def statistics_for(options: Options, select_on: PairSet | None) -> Statistics:
    """How scores are summed up, the band chosen on ``select_on`` where that is given."""
    from actsim.studies.evaluate import Statistics

    names = ("layers", "resamples", "level", "seed", "controls", "control_seed")
    return Statistics(**{name: options[name] for name in names}, select_on=select_on)
