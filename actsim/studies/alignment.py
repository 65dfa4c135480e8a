"""Several runs side by side: names that tell them apart, and the rows that all of them have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int

from actsim.data.checks import MIN_PAIRS
from actsim.errors import DataError, UsageError
from actsim.report.wording import counted
from actsim.store import Run

if TYPE_CHECKING:
    import pandas as pd

KEY = ["row", "id"]
"""What a pair is known by within one split of one release of a data set."""
TEXTS = ["sentence_a", "sentence_b"]

ALWAYS_TOLD = ("objective", "pattern")
"""Part of every name where the runs differ in it."""
NO_MATTER = ("measures", "baselines", "batch_tokens")
"""Part of a name only where nothing else tells two runs apart."""
HASH_DIGITS = 8
VALUE_CHARACTERS = 40


def run_keys(count: int) -> list[str]:
    """``A``, ``B``, …, ``Z``, ``AA``, ``AB``, …: short names of so many runs."""
    keys = []
    for number in range(count):
        key, rest = "", number
        while rest >= 0:
            key, rest = chr(ord("A") + rest % 26) + key, rest // 26 - 1
        keys.append(key)
    return keys


def run_labels(configs: Sequence[Mapping[str, Any]], directories: Sequence[str]) -> list[str]:
    """One name per run, no two alike: the model, then the settings in which runs differ.

    Objective and pattern are named where any two runs differ in them. Runs that would still be called alike get the
    settings in which they differ among themselves: of the scoring, else of the model, else their directories.

    Args:
        configs: ``config`` of each run's manifest.
        directories: where the runs lie, all different.
    """
    shown = [_shown(config) for config in configs]
    short = [facts["model"]["name"].rstrip("/").rpartition("/")[2] for facts in shown]
    names = {facts["model"]["name"] for facts in shown}
    labels = short if len(set(short)) == len(names) else [facts["model"]["name"] for facts in shown]
    told = [key for key in ALWAYS_TOLD if len({facts["scoring"].get(key) for facts in shown}) > 1]
    labels = [
        ", ".join([label, *(facts["scoring"][key] for key in told)]) for label, facts in zip(labels, shown, strict=True)
    ]
    for part, left_out in (("scoring", NO_MATTER), ("model", ()), ("scoring", ())):
        labels = _tell_apart(labels, [facts[part] for facts in shown], left_out)
    return _tell_apart(labels, [{"in": directory} for directory in directories], ())


def _shown(config: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Settings of model and scoring as short texts."""
    return {part: {key: _short(key, value) for key, value in config[part].items()} for part in ("model", "scoring")}


def _short(key: str, value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    if key in ("sha256", "revision"):
        return text[:HASH_DIGITS]
    return text if key == "name" or len(text) <= VALUE_CHARACTERS else text[: VALUE_CHARACTERS - 1] + "…"


def _tell_apart(labels: list[str], facts: Sequence[Mapping[str, str]], left_out: Sequence[str]) -> list[str]:
    """The labels, to those that are shared the facts are added in which their owners differ."""
    found = list(labels)
    for label in {label for label in labels if labels.count(label) > 1}:
        owners = [index for index, other in enumerate(labels) if other == label]
        keys = dict.fromkeys(key for index in owners for key in facts[index] if key not in left_out)
        differing = [key for key in keys if len({facts[index].get(key) for index in owners}) > 1]
        for index in owners:
            told = [
                value if key in ALWAYS_TOLD else f"{key.replace('_', ' ')} {value}"
                for key in differing
                if (value := facts[index].get(key)) not in (None, "None")
            ]
            found[index] = ", ".join([label, *told])
    return found


@dataclass(frozen=True, eq=False)
class CommonRows:
    """The pairs that every run has.

    Attributes:
        frame: one row per common pair, in the order of the split: row, id, gold, and the sentences if a run has them.
        positions: for each run, where these pairs stand in it.
        totals: the number of pairs of each run.
    """

    frame: pd.DataFrame
    positions: tuple[Int[np.ndarray, " common"], ...]
    totals: tuple[int, ...]

    def __len__(self) -> int:
        """Number of common pairs."""
        return len(self.frame)


def common_rows(runs: Sequence[Run], keys: Sequence[str]) -> CommonRows:
    """Intersect the rows of runs over one data set.

    Args:
        runs: at least one.
        keys: what the runs are called in errors.

    Raises:
        UsageError: the runs are over different data sets, splits or releases.
        DataError: rows of one name have different gold scores or sentences, or too few rows are common; says how many.
    """
    _check_same_data(runs, keys)
    frames = [run.pairs.reset_index(names="position") for run in runs]
    common = frames[0][[*KEY, "gold", *_texts(frames[0])]].assign(position_0=frames[0]["position"])
    for number, frame in enumerate(frames[1:], start=1):
        other = frame[[*KEY, "gold", *_texts(frame), "position"]].rename(columns={"position": f"position_{number}"})
        common = common.merge(other, on=KEY, suffixes=("", "_other"))
        _check_same_pairs(common, keys[0], keys[number])
        missing = [name for name in TEXTS if name not in common.columns]
        common = common.rename(columns={f"{name}_other": name for name in missing})
        common = common.drop(columns=[name for name in common.columns if name.endswith("_other")])
    common = common.sort_values(KEY, kind="stable").reset_index(drop=True)
    totals = tuple(len(frame) for frame in frames)
    told = ", ".join(f"{key} has {total}" for key, total in zip(keys, totals, strict=True))
    if len(common) < MIN_PAIRS:
        raise DataError(
            f"the runs have {counted(len(common), 'row')} in common ({told}), and a correlation needs at least "
            f"{MIN_PAIRS}; score the same rows with each model (the same --limit and --seed, or none)."
        )
    if common["gold"].nunique() < 2:
        raise DataError(
            f"the {len(common)} rows that the runs have in common ({told}) all have the gold score "
            f"{common['gold'][0]:g}; compare runs over more rows."
        )
    positions = tuple(common[f"position_{number}"].to_numpy() for number in range(len(runs)))
    return CommonRows(common[[*KEY, "gold", *_texts(common)]], positions, totals)


def _texts(frame: pd.DataFrame) -> list[str]:
    return [name for name in TEXTS if name in frame.columns]


def _check_same_data(runs: Sequence[Run], keys: Sequence[str]) -> None:
    """One data set, one split, one release."""
    first = runs[0]
    for run, key in zip(runs[1:], keys[1:], strict=True):
        for name in ("name", "split", "release"):
            ours, theirs = (each.manifest["config"]["data"][name] for each in (first, run))
            if ours != theirs:
                what = "data set" if name == "name" else name
                raise UsageError(
                    f"runs over different data cannot be compared: the {what} of {keys[0]} is {ours} "
                    f"({len(first.pairs)} rows), that of {key} is {theirs} ({len(run.pairs)} rows); "
                    "give runs over the same one."
                )


def _check_same_pairs(common: pd.DataFrame, first: str, other: str) -> None:
    """A row's gold score and, where both runs keep them, its sentences are the same in both."""
    checked = ["gold", *(name for name in TEXTS if f"{name}_other" in common.columns and name in common.columns)]
    for name in checked:
        differing = int((common[name] != common[f"{name}_other"]).sum())
        if differing:
            what = "gold scores" if name == "gold" else "sentences"
            raise DataError(
                f"the data of {first} and {other} have one name but are not the same: of {len(common)} rows that both "
                f"have, {differing} have different {what}; give runs over the same data."
            )
