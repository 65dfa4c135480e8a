"""The frozen configuration of a run and its digest.

The digest covers whatever changes numbers. What does not (device, threads, display) is recorded in the
manifest beside it. Two runs with one digest have equal results up to float rounding.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from actsim.errors import UsageError
from actsim.registry import refuse_repeated, unknown_name

PATTERNS = ("absolute-weighted", "signed-weighted", "absolute-gradient", "signed-gradient")
MEASURES = ("cosine", "ruzicka", "jaccard", "overlap")
SET_MEASURES = ("jaccard", "overlap")
"""Measures of activated sets: they need a threshold, either ``gamma`` or ``top_fraction``."""

CONTROLS = ("random-weights", "shuffled-tokens")
"""What a model is set against: its architecture with fresh weights, its sentences in a random order."""

OBJECTIVES = {"causal": ("next-token", "nll", "log-prob", "log-sum-exp"), "encoder": ("embedding-norm",)}
"""Read-outs by model family; the first of each is the family's default."""
TOKEN_OBJECTIVES = ("next-token", "log-prob")
"""Read-outs of one token: the likeliest to come next."""

SLOT = "{text}"
"""Where the sentence stands in a template."""
PLAIN = SLOT
TEMPLATES = {
    "plain": PLAIN,
    "prompteol": f'This sentence : "{SLOT}" means in one word:"',
    "echo": f"Rewrite the sentence: {SLOT}, rewritten sentence: {SLOT}",
}
"""Templates that have a name; any other text with one or two slots is one as well."""

DEFAULT_TOP_FRACTION = 0.01
DEFAULT_BATCH_TOKENS = 1024

FINGERPRINTS = ("columns", "rows", "neurons", "sketch", "sets")
"""What a sentence's vector is made of: sums over the columns or rows of a pattern or both, the whole pattern sketched,
or its most activated parameters."""
FINGERPRINT_MEASURES = ("cosine", "overlap")
DEFAULT_DIM = 8192
DEFAULT_SAMPLES = 64
DEFAULT_SAMPLE_TOKENS = 256
PUBLISHED_GAMMAS = (2e-5, 2e-6)
"""The paper's threshold for models of 32 layers, as it is printed and as its script has it."""
PRUNING_SCORES = ("wanda", "magnitude", "activation")
DEFAULT_SPARSITY = 0.5
DEFAULT_CALIBRATION_SAMPLES = 128
LONGEST_CALIBRATION = 2048
"""Tokens of a calibration sample where nothing is said, at most: those of the published figures."""
DEFAULT_FOLDS = 8
"""Groups that the samples of a domain are taken apart into for intervals."""
SAMPLES_OF_A_DOMAIN = 2
"""In a group; fewer have no similarity within, more would only make groups larger."""


def check_controls(names: Sequence[str]) -> None:
    """Raise UsageError for a control that is unknown, or named twice."""
    for name in names:
        if name not in CONTROLS:
            raise unknown_name("control", name, CONTROLS)
    refuse_repeated("control", names)


def check_density(pattern: str, folds: int, samples: int) -> None:
    """Raise UsageError for a signed pattern, or folds that so many samples cannot be taken apart into."""
    _check_absolute(pattern, "a density is")
    if not 1 <= folds <= samples:
        raise UsageError(
            f"--folds {folds}: {samples} samples can be taken apart in 1 to {samples} folds; give fewer folds or more "
            "--samples."
        )


def check_grouping(samples: int) -> None:
    """Raise UsageError for samples of a domain that cannot be compared in groups."""
    if samples < SAMPLES_OF_A_DOMAIN or samples % SAMPLES_OF_A_DOMAIN:
        raise UsageError(f"--samples {samples}: samples of a domain go in twos; give an even number of at least 2.")


def check_shares(pattern: str) -> None:
    """Raise UsageError for a signed pattern: products of two may be negative, and are no shares of their sum."""
    _check_absolute(pattern, "shares of the common activation are")


def _check_absolute(pattern: str, what: str) -> None:
    if pattern.startswith("signed"):
        allowed = " or ".join(name for name in PATTERNS if name.startswith("absolute"))
        raise UsageError(f"--pattern {pattern}: {what} of absolute patterns; use {allowed}.")


@dataclass(frozen=True)
class Scoring:
    """How the patterns of a pair are formed and compared.

    Attributes:
        objective: name of the read-out D, see ``actsim list objectives``.
        pattern: one of PATTERNS; the paper's is ``absolute-weighted``, |W ⊙ ∂D/∂W|.
        measures: names out of MEASURES, the first is the headline.
        gamma: absolute threshold γ of the activated sets {P > γ}, or None.
        top_fraction: share of parameters per sentence and layer that count as activated, or None.
        max_tokens: sentences are cut to this many tokens (special tokens included).
        batch_tokens: budget of tokens per batch.
        dtype: the model's floating point type; patterns and sums are float32 or wider whatever it is.
        baselines: whether hidden states and the model's own embedding are scored beside the patterns.
        template: what a causal language model is given: a name out of TEMPLATES, kept as its text, or a text in which
            the sentence stands once or twice, at ``{text}``. Read in the last of them, see ``core.objectives``.
    """

    objective: str
    pattern: str = "absolute-weighted"
    measures: tuple[str, ...] = ("cosine",)
    gamma: float | None = None
    top_fraction: float | None = None
    max_tokens: int = 512
    batch_tokens: int = DEFAULT_BATCH_TOKENS
    dtype: str = "float32"
    baselines: bool = True
    template: str = PLAIN

    def __post_init__(self) -> None:
        object.__setattr__(self, "measures", tuple(self.measures))
        for name in ("gamma", "top_fraction"):  # 1 and 1.0 are one setting and must have one digest
            if getattr(self, name) is not None:
                object.__setattr__(self, name, float(getattr(self, name)))
        if self.pattern not in PATTERNS:
            raise unknown_name("pattern", self.pattern, PATTERNS)
        if not self.measures:
            raise UsageError(f"no measure given; allowed: {', '.join(MEASURES)}.")
        for measure in self.measures:
            if measure not in MEASURES:
                raise unknown_name("measure", measure, MEASURES)
        if len(set(self.measures)) < len(self.measures):
            raise UsageError(f"a measure is given twice: {', '.join(self.measures)}.")
        if self.pattern.startswith("signed") and self.measures != ("cosine",):
            raise UsageError(
                f"--pattern {self.pattern} allows the measure cosine only, got {', '.join(self.measures)}; "
                "the others are defined for absolute patterns."
            )
        self._check_thresholds()
        object.__setattr__(self, "template", _template_text(self.template))
        for name in ("max_tokens", "batch_tokens"):
            if getattr(self, name) < 1:
                raise UsageError(f"--{name.replace('_', '-')} must be at least 1, got {getattr(self, name)}.")

    def _check_thresholds(self) -> None:
        sets = [measure for measure in self.measures if measure in SET_MEASURES]
        if self.gamma is not None and self.top_fraction is not None:
            raise UsageError("--gamma and --top-fraction exclude each other; give one of them.")
        if not sets:
            if self.gamma is not None or self.top_fraction is not None:
                raise UsageError(
                    "--gamma and --top-fraction act on the measures jaccard and overlap; ask for one of those."
                )
            return
        if self.gamma is None and self.top_fraction is None:
            object.__setattr__(self, "top_fraction", DEFAULT_TOP_FRACTION)
        if self.gamma is not None and not (self.gamma >= 0 and self.gamma < float("inf")):
            raise UsageError(f"--gamma must be a finite number of at least 0, got {self.gamma}.")
        if self.top_fraction is not None and not 0 < self.top_fraction <= 1:
            raise UsageError(f"--top-fraction must be in (0, 1], got {self.top_fraction}.")

    @property
    def absolute(self) -> bool:
        """Whether the pattern's absolute value is taken."""
        return self.pattern.startswith("absolute")

    @property
    def weighted(self) -> bool:
        """Whether the gradient is multiplied by the weight."""
        return self.pattern.endswith("weighted")


def _template_text(name_or_text: str) -> str:
    """The text of a template; UsageError for an unknown name, or a text that is none."""
    slots = name_or_text.count(SLOT)
    if slots == 0:
        if name_or_text not in TEMPLATES:
            raise unknown_name("template", name_or_text, TEMPLATES, f"Or give a text in which {SLOT} stands.")
        return TEMPLATES[name_or_text]
    if slots > 2:
        raise UsageError(
            f"the template {name_or_text!r} has {SLOT} {slots} times; allowed is once, or twice to read the second."
        )
    return name_or_text


@dataclass(frozen=True)
class Encoding:
    """What the vectors of sentences are made of, beside the Scoring that says how patterns are formed.

    Attributes:
        kind: one out of FINGERPRINTS.
        layers: the band whose layers stand side by side, see ``stats.bands.Band``.
        measure: what the cosine of two vectors is: ``cosine`` of what they stand for, or ``overlap`` of activated sets
            (kind ``sets`` only).
        dim: entries of a vector at most, shared out equally among the layers, each of which is folded where it has
            more; None for no limit.
        top_fraction: share of a layer's parameters that count as activated; kind ``sets`` only.
        seed: of the foldings.
    """

    kind: str = "columns"
    layers: str = "deep"
    measure: str = "cosine"
    dim: int | None = DEFAULT_DIM
    top_fraction: float = DEFAULT_TOP_FRACTION
    seed: int = 0

    def __post_init__(self) -> None:
        if self.kind not in FINGERPRINTS:
            raise unknown_name("kind of fingerprint", self.kind, FINGERPRINTS)
        if self.measure not in FINGERPRINT_MEASURES:
            raise unknown_name("measure of fingerprints", self.measure, FINGERPRINT_MEASURES)
        if self.measure == "overlap" and self.kind != "sets":
            raise UsageError(
                f"the measure overlap compares activated sets, and kind={self.kind!r} has none; use kind='sets'."
            )
        if not 0 < self.top_fraction <= 1:
            raise UsageError(f"top_fraction must be in (0, 1], got {self.top_fraction}.")
        if self.top_fraction != DEFAULT_TOP_FRACTION and self.kind != "sets":
            raise UsageError(f"top_fraction acts on kind='sets' only, got kind={self.kind!r}.")
        if self.dim is not None and self.dim < 1:
            raise UsageError(f"dim must be at least 1, got {self.dim}; None leaves the vectors as long as they are.")
        if self.kind == "sketch" and self.dim is None:
            raise UsageError("kind='sketch' folds whole patterns and needs a length; give dim.")
        if self.seed < 0:
            raise UsageError(f"seed must be at least 0, got {self.seed}.")


@dataclass(frozen=True)
class RunConfig:
    """Everything that changes the numbers of a run: which pairs, which model, which scoring."""

    data: dict[str, Any]
    """``PairSet.identity()``: name, split, release, selection, number of pairs, fingerprint."""
    model: dict[str, Any]
    """``LoadedModel.identity()``: name, revision, weights fingerprint, family, pooling."""
    scoring: Scoring

    def to_dict(self) -> dict[str, Any]:
        """A plain, JSON-ready copy; raises ValueError for NaN and infinities, which JSON does not have."""
        content = asdict(self)
        if self.scoring.template == PLAIN:  # runs from before there were templates keep their digest
            del content["scoring"]["template"]
        return json.loads(json.dumps(content, allow_nan=False))

    def digest(self) -> str:
        """Hexadecimal SHA-256 of the canonical JSON form."""
        return digest_of(self.to_dict())


@dataclass(frozen=True)
class DomainConfig:
    """Everything that changes the numbers of a run over samples of domains."""

    study: str
    """The command: density, domains."""
    samples: dict[str, dict[str, Any]]
    """Domain -> ``Samples.identity()``, in the order of the run. Ids are left out: the fingerprint covers them."""
    model: dict[str, Any]
    """``LoadedModel.identity()``."""
    scoring: Scoring
    """Of it objective, pattern and dtype matter."""
    settings: dict[str, Any]
    """What the study is given beside."""

    def to_dict(self) -> dict[str, Any]:
        """A plain, JSON-ready copy; raises ValueError for NaN and infinities, which JSON does not have."""
        content = {
            "study": self.study,
            "domains": list(self.samples),
            "samples": {
                domain: {key: value for key, value in identity.items() if key != "ids"}
                for domain, identity in self.samples.items()
            },
            "model": self.model,
            "scoring": {name: getattr(self.scoring, name) for name in ("objective", "pattern", "dtype")},
            "settings": self.settings,
        }
        return json.loads(json.dumps(content, allow_nan=False))

    def digest(self) -> str:
        """Hexadecimal SHA-256 of the canonical JSON form."""
        return digest_of(self.to_dict())


@dataclass(frozen=True)
class NOfM:
    """N of every M consecutive weights of an output row are kept.

    Attributes:
        kept: N.
        group: M.
    """

    kept: int
    group: int

    @classmethod
    def read(cls, text: str) -> NOfM:
        """``2:4`` as N and M; UsageError for anything else."""
        kept, _, group = text.partition(":")
        if not (kept.isdecimal() and group.isdecimal() and 0 < int(kept) < int(group)):
            raise UsageError(f"--n-of-m {text}: not understood; write N:M, as 2:4, to keep N of every M weights.")
        return cls(int(kept), int(group))

    def __str__(self) -> str:
        return f"{self.kept}:{self.group}"

    @property
    def sparsity(self) -> float:
        """The share that goes."""
        return 1 - self.kept / self.group


ABSENT = object()
"""Stands for a value that a configuration does not have."""


def digest_of(content: dict[str, Any]) -> str:
    """Hexadecimal SHA-256 of the canonical JSON form of a configuration."""
    return hashlib.sha256(_canonical(content).encode()).hexdigest()


def _canonical(value: Any) -> str:
    """The one JSON text of ``value``, in ASCII: file names may hold bytes that are no UTF-8."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def changed_leaves(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Path, old and new value of every leaf that differs between two configurations; ABSENT for one that is not there.

    Leaves are compared as JSON, so that there are none only between configurations with one digest.
    """
    for key in sorted(old.keys() | new.keys()):
        left, right = old.get(key, ABSENT), new.get(key, ABSENT)
        if isinstance(left, dict) and isinstance(right, dict):
            yield from changed_leaves(left, right, f"{prefix}{key}.")
        elif left is ABSENT or right is ABSENT or _canonical(left) != _canonical(right):
            yield f"{prefix}{key}", left, right


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """One line per leaf that differs between two configurations: ``scoring.objective: 'nll' -> 'next-token'``."""
    return [f"{path}: {shown(left)} -> {shown(right)}" for path, left, right in changed_leaves(old, new)]


def shown(value: Any) -> str:
    """A leaf, or ABSENT, as it is written where two are set against each other."""
    return "absent" if value is ABSENT else repr(value)
