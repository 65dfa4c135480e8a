"""How a model is to be pruned: what is asked for, checked before a model is loaded."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from actsim.config import (
    DEFAULT_BATCH_TOKENS,
    DEFAULT_SPARSITY,
    PRUNING_SCORES,
    PUBLISHED_GAMMAS,
    NOfM,
)
from actsim.errors import UsageError
from actsim.registry import unknown_name

SETTINGS: dict[str, dict[str, float]] = {
    "uniform": {},
    "activation": {"alpha": 2.0, "beta": 0.2, "gamma": PUBLISHED_GAMMAS[0]},
    "progression": {"delta": 0.1},
    "owl": {"outlier_factor": 5.0, "width": 0.08},
    "dlp": {"width": 0.15},
}
"""The allocations that have a name, and what each can be given, with its defaults: the published ones, where there are
any."""
DEFAULT_ALLOCATION = next(iter(SETTINGS))

SPELLINGS = {"outlier_factor": "--outlier-factor", "width": "--lambda"}
"""Settings whose option is not called as they are."""

EXPORTS = ("llm-compressor",)
"""Programs that can be given a plan, see ``studies.exports``."""


@dataclass(frozen=True)
class Recipe:
    """How a model is pruned.

    Attributes:
        score: one of PRUNING_SCORES.
        allocation: one of SETTINGS, or the path of a plan.
        sparsity: the target S; None with a plan or with N:M, which have their own.
        settings: changes of SETTINGS of this allocation.
        n_of_m: N:M in place of rows of one sparsity, or None.
        profile: directory of a density run that the allocation ``activation`` takes counts from; None to count them on
            the calibration samples.
        objective: read-out behind the score and the allocation ``activation``; None for the family's default.
        batch_tokens: tokens that go side by side.
    """

    score: str = PRUNING_SCORES[0]
    allocation: str = DEFAULT_ALLOCATION
    sparsity: float | None = None
    settings: dict[str, float] = field(default_factory=dict)
    n_of_m: NOfM | None = None
    profile: Path | None = None
    objective: str | None = None
    batch_tokens: int = DEFAULT_BATCH_TOKENS

    def __post_init__(self) -> None:
        """Refuse what does not go together."""
        if self.score not in PRUNING_SCORES:
            raise unknown_name("score", self.score, PRUNING_SCORES)
        if not self.is_plan and self.allocation not in SETTINGS:
            raise unknown_name("allocation", self.allocation, SETTINGS, "Or give a plan, PLAN.json.")
        self._check_target()
        self._check_settings()
        if self.profile is not None and self.allocation != "activation":
            raise UsageError("--profile acts on the allocation activation only; leave it out.")
        if self.objective is not None and not self.uses_patterns:
            raise UsageError("--objective acts on the score and the allocation activation only; leave it out.")

    def _check_settings(self) -> None:
        for name in self.settings:
            if name not in SETTINGS.get(self.allocation, {}):
                takers = " and ".join(other for other, own in SETTINGS.items() if name in own)
                raise UsageError(f"{_spelling(name)} acts on the allocation {takers} only; leave it out.")
            if not math.isfinite(self.settings[name]):
                raise UsageError(f"{_spelling(name)} must be a finite number, got {self.settings[name]}.")

    def _check_target(self) -> None:
        if self.n_of_m is not None and self.allocation != "uniform":
            raise UsageError(f"--n-of-m {self.n_of_m} makes every block equally sparse; leave --allocation out.")
        if self.sparsity is None:
            return
        if self.is_plan:
            raise UsageError(f"{self.allocation} says how sparse every block becomes; leave --sparsity out.")
        if not 0 < self.sparsity < 1:
            raise UsageError(f"--sparsity must be between 0 and 1, got {self.sparsity}.")
        if self.n_of_m is not None and self.sparsity != self.n_of_m.sparsity:
            raise UsageError(
                f"--n-of-m {self.n_of_m} is a sparsity of {self.n_of_m.sparsity:g}, not {self.sparsity:g}; leave "
                "--sparsity out."
            )

    def check_export(self, export: str) -> None:
        """Raise UsageError for a program that is not in EXPORTS, or a score that it does not have."""
        if export not in EXPORTS:
            raise unknown_name("export", export, EXPORTS)
        if self.score != "wanda":
            raise UsageError(
                f"--export {export} writes a recipe of Wanda; the score {self.score} within rows does not exist there. "
                "Use --score wanda, or leave --export out."
            )

    @property
    def is_plan(self) -> bool:
        """Whether the allocation is a plan in a file."""
        return self.allocation.endswith(".json")

    @property
    def target(self) -> float:
        """S of an allocation that has a name."""
        if self.n_of_m is not None:
            return self.n_of_m.sparsity
        return DEFAULT_SPARSITY if self.sparsity is None else self.sparsity

    @property
    def uses_patterns(self) -> bool:
        """Whether patterns are formed of the calibration samples."""
        return self.score == "activation" or (self.allocation == "activation" and self.profile is None)

    @property
    def needs_calibration(self) -> bool:
        """Whether the calibration samples matter at all."""
        return self.score != "magnitude" or self.allocation in ("owl", "dlp") or self.uses_patterns

    @property
    def full_settings(self) -> dict[str, float]:
        """The settings of this allocation, those that were not given at their defaults."""
        return SETTINGS.get(self.allocation, {}) | self.settings


def _spelling(setting: str) -> str:
    """How the option of a setting is written."""
    return SPELLINGS.get(setting, f"--{setting}")
