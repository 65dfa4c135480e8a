"""Semantic similarity inside transformers, measured on how strongly each parameter is activated.

The public names are imported when they are first used, so that ``import actsim`` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from actsim.config import Encoding, Scoring
    from actsim.core.fingerprint import Fingerprint
    from actsim.data.pairs import PairSet, load_pairs
    from actsim.errors import (
        ActsimError,
        DataError,
        MissingExtraError,
        ModelError,
        NumericError,
        ResumeError,
        UsageError,
    )
    from actsim.models.loading import LoadedModel, load_model, wrap_model
    from actsim.pipelines.encoding import encode
    from actsim.pipelines.similarity import Similarity, fingerprint, similarity
    from actsim.store import Run, open_run
    from actsim.studies.compare import Comparison, compare
    from actsim.studies.evaluate import evaluate
    from actsim.studies.several import Ranking, evaluate_several

__version__ = "0.1.0"

_HOMES = {
    "ActsimError": "actsim.errors",
    "Comparison": "actsim.studies.compare",
    "DataError": "actsim.errors",
    "Encoding": "actsim.config",
    "Fingerprint": "actsim.core.fingerprint",
    "LoadedModel": "actsim.models.loading",
    "MissingExtraError": "actsim.errors",
    "ModelError": "actsim.errors",
    "NumericError": "actsim.errors",
    "PairSet": "actsim.data.pairs",
    "Ranking": "actsim.studies.several",
    "ResumeError": "actsim.errors",
    "Run": "actsim.store",
    "Scoring": "actsim.config",
    "Similarity": "actsim.pipelines.similarity",
    "UsageError": "actsim.errors",
    "compare": "actsim.studies.compare",
    "encode": "actsim.pipelines.encoding",
    "evaluate": "actsim.studies.evaluate",
    "evaluate_several": "actsim.studies.several",
    "fingerprint": "actsim.pipelines.similarity",
    "load_model": "actsim.models.loading",
    "load_pairs": "actsim.data.pairs",
    "open_run": "actsim.store",
    "similarity": "actsim.pipelines.similarity",
    "wrap_model": "actsim.models.loading",
}

__all__ = [
    "ActsimError",
    "Comparison",
    "DataError",
    "Encoding",
    "Fingerprint",
    "LoadedModel",
    "MissingExtraError",
    "ModelError",
    "NumericError",
    "PairSet",
    "Ranking",
    "ResumeError",
    "Run",
    "Scoring",
    "Similarity",
    "UsageError",
    "__version__",
    "compare",
    "encode",
    "evaluate",
    "evaluate_several",
    "fingerprint",
    "load_model",
    "load_pairs",
    "open_run",
    "similarity",
    "wrap_model",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'actsim' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
