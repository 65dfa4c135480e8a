"""How a task scores its pairs: what a model does not decide by itself."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from actsim.config import DEFAULT_BATCH_TOKENS, PLAIN, Scoring
from actsim.core.objectives import OBJECTIVES
from actsim.errors import UsageError
from actsim.models.loading import LoadedModel
from actsim.registry import unknown_name
from actsim.stats.band_forms import BAND_FORMS, BandForm


@dataclass(frozen=True)
class Settings:
    """The settings of a task. The model decides its floating point type, its length and, by default, the read-out.

    Attributes:
        layers: the band whose mean score is the main one, as ``--layers`` of ``actsim eval``.
        kinds: whether every kind of linear map is scored too.
        objective: name of the read-out; by default the one of the model's family.
        template: of causal language models, see ``Scoring``.
        pattern: one of PATTERNS.
        measure: one of MEASURES.
        gamma: threshold of the measures of sets, or None.
        top_fraction: share that counts as activated for the measures of sets, or None.
        max_tokens: sentences are cut here; by default at the model's length.
        batch_tokens: budget of tokens per batch.

    Raises:
        UsageError: settings that are impossible whatever the model.
    """

    layers: str = "deep"
    kinds: bool = False
    objective: str | None = None
    template: str = PLAIN
    pattern: str = "absolute-weighted"
    measure: str = "cosine"
    gamma: float | None = None
    top_fraction: float | None = None
    max_tokens: int | None = None
    batch_tokens: int = DEFAULT_BATCH_TOKENS

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "layers", BandForm.read(self.layers).name)
        except ValueError as reason:
            raise UsageError(f"cannot read layers {self.layers!r}: {reason}; allowed: {BAND_FORMS}.") from None
        known = [name for registry in OBJECTIVES.values() for name in registry]
        if self.objective is not None and self.objective not in known:
            raise unknown_name("objective", self.objective, known)
        checked = replace(Scoring(objective=""), **self._scoring_changes())
        for name in ("template", "gamma", "top_fraction"):  # one spelling of what is the same
            object.__setattr__(self, name, getattr(checked, name))

    def _scoring_changes(self) -> dict[str, Any]:
        same = ("objective", "template", "pattern", "gamma", "top_fraction", "max_tokens", "batch_tokens")
        changes = {name: getattr(self, name) for name in same if getattr(self, name) is not None}
        return {**changes, "measures": (self.measure,), "baselines": False}

    def changed_to(self, **changes: Any) -> Settings:
        """These settings but for ``changes``; an unknown name is a UsageError."""
        names = [field.name for field in fields(self)]
        for name in changes:
            if name not in names:
                raise unknown_name("setting of a task", name, names)
        return replace(self, **changes)

    def other_than_default(self) -> dict[str, Any]:
        """The settings that differ from their defaults, by name."""
        defaults = asdict(Settings())
        return {name: value for name, value in asdict(self).items() if value != defaults[name]}

    def scoring_for(self, loaded: LoadedModel) -> Scoring:
        """How pairs are scored by this model.

        Raises:
            UsageError: an objective of the other family.
        """
        scoring = replace(loaded.default_scoring(), **self._scoring_changes())
        OBJECTIVES[loaded.family].check(scoring.objective)
        return scoring
