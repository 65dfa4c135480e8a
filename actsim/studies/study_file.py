"""A pruning study as it is declared in a YAML file: read and checked before a model is loaded."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from actsim.config import DEFAULT_BATCH_TOKENS, DEFAULT_CALIBRATION_SAMPLES
from actsim.data.benchmarks import BENCHMARKS
from actsim.data.choices import check_tasks
from actsim.data.domains import check_domains
from actsim.errors import DataError, UsageError
from actsim.registry import refuse_repeated, unknown_name
from actsim.studies.recipe import SETTINGS, Recipe

KEYS = (
    "model",
    "scores",
    "allocations",
    "sparsities",
    "calibrations",
    "samples",
    "seq_len",
    "seeds",
    "perplexity",
    "tasks",
    "pairs",
)
TEXT_KEYS = ("data", "context", "first_tokens")
TASK_KEYS = ("name", "limit", "shots")
PAIR_KEYS = ("data", "split", "limit")


@dataclass(frozen=True)
class NamedAllocation:
    """An allocation with its settings.

    Attributes:
        name: out of ``recipe.SETTINGS``.
        settings: name and value of those that are given.
    """

    name: str
    settings: tuple[tuple[str, float], ...] = ()

    @property
    def label(self) -> str:
        """``activation`` or, with settings, ``activation (beta 0.1)``."""
        if not self.settings:
            return self.name
        return f"{self.name} ({', '.join(f'{key} {value:g}' for key, value in self.settings)})"


@dataclass(frozen=True)
class Cell:
    """One pruned model of a study.

    Attributes:
        score, allocation, sparsity: how it is pruned.
        calibration: on which texts; None where they do not matter.
        seed: of their draw; None where they do not matter.
    """

    score: str
    allocation: NamedAllocation
    sparsity: float
    calibration: str | None
    seed: int | None

    def recipe(self, batch_tokens: int) -> Recipe:
        """How the model is pruned."""
        return Recipe(
            score=self.score,
            allocation=self.allocation.name,
            sparsity=self.sparsity,
            settings=dict(self.allocation.settings),
            batch_tokens=batch_tokens,
        )

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "score": self.score,
            "allocation": self.allocation.label,
            "sparsity": self.sparsity,
            "calibration": self.calibration,
            "seed": self.seed,
        }


@dataclass(frozen=True)
class Study:
    """What a study is of.

    Attributes:
        model: a folder or hub id; None for the default model.
        scores, allocations, sparsities, calibrations, seeds: the axes of the grid.
        samples: calibration samples of each cell.
        seq_len: tokens of a sample; None for the smaller of 2048 and what the model takes.
        perplexity, tasks, pairs: what every pruned model is measured on, each with its settings.
    """

    model: str | None
    scores: tuple[str, ...]
    allocations: tuple[NamedAllocation, ...]
    sparsities: tuple[float, ...]
    calibrations: tuple[str, ...] = ("c4",)
    seeds: tuple[int, ...] = (0,)
    samples: int = DEFAULT_CALIBRATION_SAMPLES
    seq_len: int | None = None
    perplexity: tuple[dict[str, Any], ...] = ()
    tasks: tuple[dict[str, Any], ...] = ()
    pairs: tuple[dict[str, Any], ...] = ()

    def cells(self) -> tuple[Cell, ...]:
        """Every pruned model once, seed after seed, so that an unfinished study has whole grids of its first seeds.

        Where neither score nor allocation goes by calibration samples, calibrations and seeds make no difference, and
        there is one cell.
        """
        return tuple(dict.fromkeys(self._combinations()))

    def _combinations(self) -> Iterator[Cell]:
        axes = (self.seeds, self.calibrations, self.allocations, self.scores, self.sparsities)
        for seed, calibration, allocation, score, sparsity in itertools.product(*axes):
            cell = Cell(score, allocation, sparsity, calibration, seed)
            if cell.recipe(DEFAULT_BATCH_TOKENS).needs_calibration:
                yield cell
            else:
                yield Cell(score, allocation, sparsity, None, None)


SHIPPED = "shipped"
"""The folder of the studies that come with actsim."""


def shipped_studies() -> dict[str, str]:
    """Name -> YAML of the studies that come with actsim."""
    folder = resources.files("actsim.studies") / SHIPPED
    found = {path.name.removesuffix(".yaml"): path.read_text(encoding="utf-8") for path in folder.iterdir()}
    return dict(sorted(found.items()))


def read_study(name: str) -> Study:
    """Read a study: one that comes with actsim, by its name, or a YAML file.

    Raises:
        UsageError: no such file, or something in it that cannot be acted on; names the key.
        DataError: it is not YAML, or not a mapping.
    """
    path, shipped = Path(name), shipped_studies()
    if name not in shipped and path.suffix in (".yaml", ".yml") and not path.is_file():
        raise UsageError(f"{name}: no such file; check the path (the working directory is {Path.cwd()}).")
    if name not in shipped and not path.is_file():
        raise unknown_name("study", name, shipped, "Or give a YAML file, see 'actsim study --help'.")
    try:
        content = yaml.safe_load(shipped[name] if name in shipped else path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"{path.name}: not YAML ({' '.join(str(error).split())}).") from error
    if not isinstance(content, dict):
        raise DataError(f"{path.name}: a study is a mapping with the keys {', '.join(KEYS)}.")
    try:
        return _study(content)
    except UsageError as error:
        raise UsageError(f"{path.name}: {error}") from error


def _study(content: Mapping[str, Any]) -> Study:
    _check_keys("key", content, KEYS)
    optional: dict[str, Any] = {}
    if "calibrations" in content:
        optional["calibrations"] = tuple(_text("calibrations", one) for one in _list(content, "calibrations"))
    if "seeds" in content:
        optional["seeds"] = tuple(_whole("seeds", one, 0) for one in _list(content, "seeds"))
    for name in ("samples", "seq_len"):
        if content.get(name) is not None:
            optional[name] = _whole(name, content[name], 1)
    optional["model"] = None if content.get("model") is None else _text("model", content["model"])
    study = Study(
        scores=tuple(_text("scores", one) for one in _list(content, "scores", ["wanda"])),
        allocations=tuple(map(_allocation, _list(content, "allocations", ["uniform"]))),
        sparsities=tuple(_number("sparsities", one) for one in _list(content, "sparsities", [0.5])),
        perplexity=_measured(content, "perplexity", "data", TEXT_KEYS),
        tasks=_measured(content, "tasks", "name", TASK_KEYS),
        pairs=_measured(content, "pairs", "data", PAIR_KEYS),
        **optional,
    )
    _check(study)
    return study


def _check(study: Study) -> None:
    """Refuse what could only fail, or say nothing, after hours."""
    for what, values in (
        ("score", study.scores),
        ("allocation", [own.label for own in study.allocations]),
        ("sparsity", [f"{own:g}" for own in study.sparsities]),
        ("calibration", study.calibrations),
        ("seed", [str(own) for own in study.seeds]),
    ):
        refuse_repeated(what, list(values))
    check_domains(study.calibrations)
    study.cells()  # every combination is checked by its recipe
    if not (study.perplexity or study.tasks or study.pairs):
        raise UsageError("nothing to measure: give perplexity, tasks or pairs.")
    if study.tasks:
        check_tasks([task["name"] for task in study.tasks])
    for pairs in study.pairs:
        if pairs["data"] not in BENCHMARKS and not Path(pairs["data"]).suffix:
            raise unknown_name("pairs", pairs["data"], BENCHMARKS, "Or a file.")
    if study.pairs and (study.tasks or study.perplexity):
        raise UsageError("pairs measure encoders, perplexity and tasks causal language models; leave one of them out.")
    for kind, own in (("perplexity", study.perplexity), ("pairs", study.pairs)):
        refuse_repeated(f"entry of {kind}", [str(next(iter(one.values()))) for one in own])


def _check_keys(what: str, content: Mapping[Any, Any], allowed: Sequence[str]) -> None:
    for key in content:
        if key not in allowed:
            raise unknown_name(what, str(key), allowed)


def _list(content: Mapping[str, Any], name: str, default: Sequence[Any] = ()) -> list[Any]:
    value = content.get(name, list(default))
    if not isinstance(value, list) or not value:
        raise UsageError(f"{name}: {value!r}; it has to be a list with at least one entry.")
    return value


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise UsageError(f"{name}: {value!r}; it has to be a text.")
    return value


def _whole(name: str, value: Any, least: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise UsageError(f"{name}: {value!r}; it has to be a whole number of at least {least}.")
    return value


def _number(name: str, value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise UsageError(f"{name}: {value!r}; it has to be a number.")
    return float(value)


def _allocation(entry: Any) -> NamedAllocation:
    """``owl``, or ``{name: owl, width: 0.1}``."""
    if isinstance(entry, str):
        entry = {"name": entry}
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise UsageError(f"allocations: {entry!r}; an entry is a name, or a mapping with name and settings.")
    name = entry["name"]
    if name not in SETTINGS:
        raise unknown_name("allocation", name, SETTINGS)
    if len(entry) > 1 and not SETTINGS[name]:
        raise UsageError(f"allocations: {name} has no settings, got {', '.join(map(str, list(entry)[1:]))}.")
    _check_keys(f"setting of {name}", {key: 0 for key in entry if key != "name"}, list(SETTINGS[name]))
    settings = {key: _number(f"{name}: {key}", entry[key]) for key in entry if key != "name"}
    return NamedAllocation(name, tuple(settings.items()))


def _measured(content: Mapping[str, Any], kind: str, first: str, allowed: Sequence[str]) -> tuple[dict[str, Any], ...]:
    """The entries of perplexity, tasks or pairs: a text is short for a mapping with that text alone."""
    if content.get(kind) is None:
        return ()
    found = []
    for entry in _list(content, kind):
        entry = {first: entry} if isinstance(entry, str) else entry
        if not isinstance(entry, dict) or first not in entry:
            raise UsageError(f"{kind}: {entry!r}; an entry is a text, or a mapping with {first}.")
        _check_keys(f"key of {kind}", entry, allowed)
        checked: dict[str, Any] = {first: _text(f"{kind}: {first}", entry[first])}
        for key in allowed:
            if key != first and key in entry:
                least = 0 if key == "shots" else 1
                name = f"{kind}: {key}"
                checked[key] = _text(name, entry[key]) if key == "split" else _whole(name, entry[key], least)
        found.append(checked)
    return tuple(found)


def with_model(study: Study, model: str | None) -> Study:
    """The study, of another model where one is given."""
    return study if model is None else replace(study, model=model)
